"""Validation on generated text: what is not there counts, and sums are over groups."""

from __future__ import annotations

import numpy as np
import pytest

from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.score import by_speakers, score, summary
from meetscribe.train.joint.task import Fitting
from meetscribe.types import Utterance


def group(*said: tuple[str, float, float, str], seconds: float = 4.0) -> Group:
    utterances = tuple(Utterance(*one) for one in said)
    return Group(np.zeros(round(seconds * 16_000), np.float32), utterances)


ONE = group(("ann", 0.0, 2.0, "one two three four"))
TWO = group(("ann", 0.0, 2.0, "five six"), ("bob", 1.0, 3.0, "Seven, eight!"))


def test_a_perfect_text_has_no_errors() -> None:
    found = summary(score([[ONE, TWO]], lambda batch: [one.utterances for one in batch]))
    assert (found["cpwer"], found["der"], found["nothing"]) == (0.0, 0.0, 0.0)
    assert found["count_accuracy"] == 1.0


def test_names_of_speakers_do_not_count_but_who_is_who_does() -> None:
    swapped = (Utterance("1", 1.0, 3.0, "seven eight"), Utterance("2", 0.0, 2.0, "five six"))
    assert summary(score([[TWO]], lambda _: [swapped]))["cpwer"] == 0.0
    alone = tuple(Utterance("1", one.start, one.end, one.text) for one in TWO.utterances)
    found = summary(score([[TWO]], lambda _: [alone]))
    # two words are of nobody, two too many of the other
    assert found["cpwer"] == pytest.approx(1.0)
    assert found["count_accuracy"] == 0.0
    # of bob's two seconds one is missed, one of the other
    assert found["der"] == pytest.approx(2 / 4)


def test_nothing_written_is_deletions_and_missed_speech() -> None:
    found = score(
        [[ONE], [TWO]], lambda batch: [() if one is TWO else one.utterances for one in batch]
    )
    total = summary(found)
    assert total["cpwer"] == pytest.approx(4 / 8)
    assert total["der"] == pytest.approx(4 / 6)
    assert total["nothing"] == 0.5
    parts = by_speakers(found)
    assert parts[1]["cpwer"] == 0.0
    assert parts[2]["cpwer"] == 1.0


def test_characters_count_where_there_are_no_spaces() -> None:
    spoken = group(("ann", 0.0, 2.0, "今天开会"))
    written = (Utterance("1", 0.0, 2.0, "今天开"),)
    assert summary(score([[spoken]], lambda _: [written]))["cpwer"] == pytest.approx(1 / 4)


def test_what_does_not_fit_is_split_or_counted() -> None:
    pause = group(("ann", 0.0, 1.0, "one"), ("bob", 2.0, 3.5, "two"))
    fitting = Fitting()
    kept = fitting([pause, TWO, ONE], lambda one: one.duration < 3.0 or len(one.utterances) == 1)
    assert [one.text for kept_one in kept for one in kept_one.utterances] == [
        "one", "two", "one two three four",
    ]  # fmt: skip
    assert (fitting.halved, fitting.refused) == (1, 1)
