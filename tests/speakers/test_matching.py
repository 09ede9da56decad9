"""Who is who: one to one, the best total, nobody where nobody fits; the same on every run."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.speakers.matching import Gallery, Match, assign, link, scores_among
from meetscribe.speakers.settings import NamingSettings
from tests.speakers.builders import person, voice

THRESHOLD = NamingSettings().same_person
SCORES = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(st.integers(-10, 10), min_size=columns, max_size=columns), max_size=4
    ).map(lambda rows: np.array(rows, dtype=float).reshape(len(rows), columns) / 10)
)


def gain(scores: np.ndarray, pairs: dict[int, int], threshold: float) -> float:
    return sum(scores[row, column] - threshold for row, column in pairs.items())


def best_of_all(scores: np.ndarray, threshold: float) -> float:
    """Try every way to pair rows with columns, some of them with nobody."""
    num_rows, num_columns = scores.shape
    columns = [*range(num_columns), *[-1] * num_rows]
    ways = set(permutations(columns, num_rows))
    return max(
        sum(max(scores[row, to] - threshold, 0) for row, to in enumerate(way) if to >= 0)
        for way in ways
    )


@settings(deadline=None, max_examples=50)
@given(scores=SCORES, threshold=st.sampled_from([-0.5, 0.0, 0.3, 0.5]))
def test_pairs_are_one_to_one_above_the_threshold_and_the_best(
    scores: np.ndarray, threshold: float
) -> None:
    pairs = assign(scores, threshold)
    assert len(set(pairs.values())) == len(pairs)
    assert all(scores[row, column] >= threshold for row, column in pairs.items())
    assert gain(scores, pairs, threshold) == pytest.approx(best_of_all(scores, threshold))
    # nobody is left who could still have been paired
    free_rows = [row for row in range(len(scores)) if row not in pairs]
    free = [column for column in range(scores.shape[1]) if column not in pairs.values()]
    assert not [1 for row in free_rows for column in free if scores[row, column] >= threshold]


@given(scores=SCORES, seed=st.integers(0, 99))
def test_the_order_of_speakers_does_not_decide(scores: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(scores))
    before, after = assign(scores, 0.2), assign(scores[order], 0.2)
    assert gain(scores, before, 0.2) == pytest.approx(gain(scores[order], after, 0.2))


def test_two_speakers_are_never_one_person() -> None:
    gallery = Gallery([person("Anna", 0)])
    found = gallery.match(
        {"Speaker 1": voice(0, like=0.8), "Speaker 2": voice(0, change=1, like=0.95)}
    )
    assert found["Speaker 2"].name == "Anna"
    assert found["Speaker 1"].name == ""
    assert found["Speaker 1"].nearest == "Anna"
    assert found["Speaker 1"].score > THRESHOLD


def test_strangers_stay_unknown_and_the_short_unsaid() -> None:
    gallery = Gallery([person("Anna", 0), person("Ben", 1)])
    found = gallery.match({"Speaker 1": voice(5), "Speaker 2": voice(0, seconds=0.8)})
    assert list(found) == ["Speaker 1"]
    assert found["Speaker 1"].name == ""
    assert found["Speaker 1"].nearest in {"Anna", "Ben"}
    assert Gallery().match({"Speaker 1": voice(5)}) == {"Speaker 1": Match("", None)}


def test_a_voice_of_ones_own_is_that_person_however_unlike_the_others() -> None:
    own = voice(3)
    gallery = Gallery([person("Anna", 0), person("Ben", 1)])
    gallery.add("Ben", [own])
    assert gallery.match({"Speaker 1": own})["Speaker 1"].name == "Ben"


def test_more_voices_of_one_person_make_one_and_none_counts_twice() -> None:
    gallery = Gallery([person("Anna", 0, changes=3)])
    gallery.add("Anna", person("Anna", 0, changes=3).voices)
    assert [len(one.voices) for one in gallery.people] == [3]
    assert scores_among(person("Anna", 0).voices) == [None]
    scores = scores_among(person("Anna", 0, changes=3).voices)
    assert all(score == pytest.approx(0.81 / np.sqrt(0.905), abs=0.02) for score in scores)


def test_one_name_through_a_series_and_one_for_everybody() -> None:
    series = [
        {"Speaker 1": voice(0), "Speaker 2": voice(1)},
        {"Speaker 1": voice(1, change=1), "Speaker 2": voice(2)},
        {"Speaker 1": voice(2, change=1), "Speaker 2": voice(0, change=1), "Speaker 3": voice(7)},
    ]
    found = link(series, Gallery([person("Anna", 7)]))
    names = [{label: one.name for label, one in matches.items()} for matches in found]
    assert names == [
        {"Speaker 1": "Voice 1", "Speaker 2": "Voice 2"},
        {"Speaker 1": "Voice 2", "Speaker 2": "Voice 3"},
        {"Speaker 1": "Voice 3", "Speaker 2": "Voice 1", "Speaker 3": "Anna"},
    ]
    assert all(one.score > THRESHOLD for matches in found for one in matches.values())
    alone = link([{"Speaker 1": voice(4)}], Gallery())
    assert alone == [{"Speaker 1": Match("Voice 1", None)}]


def test_names_that_are_taken_are_left_out() -> None:
    found = link([{"Speaker 1": voice(4)}], Gallery([person("Voice 1", 0)]))
    assert found[0]["Speaker 1"].name == "Voice 2"


@settings(max_examples=30, deadline=None)
@given(
    series=st.lists(
        st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True), min_size=1, max_size=6
    )
)
def test_linked_as_they_are(series: list[list[int]]) -> None:
    """Voices that are far apart get one name for each person, and never two in a recording."""
    heard = [
        {f"Speaker {at}": voice(number, change=place) for at, number in enumerate(one, 1)}
        for place, one in enumerate(series)
    ]
    found = link(heard, Gallery())
    assert found == link(heard, Gallery())
    called = {}
    for one, matches in zip(series, found, strict=True):
        assert len({match.name for match in matches.values()}) == len(one)
        for at, number in enumerate(one, 1):
            name = matches[f"Speaker {at}"].name
            assert called.setdefault(number, name) == name
    assert len(set(called.values())) == len(called)


@given(
    name=st.text(max_size=5),
    score=st.none() | st.floats(-1, 1).map(lambda value: round(value, 3)),
)
def test_a_match_survives_its_file(name: str, score: float | None) -> None:
    made = Match(name, score, "" if name else "Ben")
    assert Match.from_json(made.to_json()) == made
