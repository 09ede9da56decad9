"""Utterance groups of prepared corpora: whole, with all their words, and only what may be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from meetscribe.errors import ConfigError
from meetscribe.evaluate.corpora import Corpus
from meetscribe.evaluate.corpora.references import prepared, publish
from meetscribe.train.data_settings import CorpusSettings
from meetscribe.train.joint.bucketing import SIMILAR
from meetscribe.train.joint.real import RealGroups, load_groups
from meetscribe.types import SAMPLE_RATE_HZ, Transcript, Turn, Utterance

SAID = (
    Utterance("ann", 1.0, 2.0, "one"),
    Utterance("bob", 1.5, 3.0, "two"),
    Utterance("ann", 3.0, 3.5, "three"),  # touches: no pause
    Utterance("bob", 4.0, 5.0, "four"),
    Utterance("ann", 5.04, 6.0, "five"),  # a pause, if a short one
    Utterance("bob", 8.0, 16.0, "six"),  # too long
    Utterance("ann", 17.0, 18.0, ""),  # nobody wrote it down
    Utterance("bob", 17.5, 18.5, "eight"),
)
LENGTH_S = 20.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write meetings whose samples say when they are, and on which channel."""
    place = tmp_path_factory.mktemp("corpus")
    sessions = []
    for name, language, split in (
        ("m1", "en", "train"),
        ("m2", "en", "test"),
        ("m3", "zh", "train"),
    ):
        ramp_n = np.linspace(0.0, 0.4, round(LENGTH_S * SAMPLE_RATE_HZ))
        path = place / f"{name}.wav"
        soundfile.write(path, np.stack([ramp_n, ramp_n + 0.5], axis=1), SAMPLE_RATE_HZ)
        turns = tuple(Turn(one.start, one.end, one.speaker) for one in SAID)
        reference = Transcript(name, SAID, turns=turns, language=language, duration=LENGTH_S)
        sessions.append(
            prepared(
                reference,
                audio={"far": [path], "close": [path]},
                channels={"far": "array", "close": "per-speaker"},
                splits={"full": split},
            )
        )
    folder = place / "made"
    folder.mkdir()
    told = Corpus(
        name="mine", folder=folder, reference="words", licence="CC BY 4.0",
        default_partition="full", sessions=tuple(one.session for one in sessions),
    )  # fmt: skip
    publish(told, sessions)
    return folder


def wanted(corpus: Path, **more: Any) -> CorpusSettings:
    given = {"path": str(corpus), "share": 0.5, "condition": "far", **more}
    return CorpusSettings.model_validate(given)


@pytest.fixture
def groups(corpus: Path) -> RealGroups:
    return load_groups(wanted(corpus), language="en", longest_s=6.0, channels="one")[0]


def test_groups_are_what_is_said_without_a_pause(groups: RealGroups) -> None:
    said = [[one.text for one in place.said] for place in groups.places]
    # the shortest first
    assert said == [["five"], ["four"], ["one", "two", "three"]]
    assert groups.meetings == 1
    assert groups.licence == "CC BY 4.0"


def test_what_cannot_be_used_is_counted(corpus: Path) -> None:
    _, notes = load_groups(wanted(corpus), language="en", longest_s=6.0, channels="one")
    assert notes == [
        "mine: 1 meetings left out: not in 'en'",
        "mine: 1 groups (0 min) left out: longer than 6 s",
        "mine: 1 groups (0 min) left out: not all of their words are known",
    ]


def test_a_group_is_cut_out_where_it_is(groups: RealGroups) -> None:
    seen = set()
    for seed in range(12):
        for group in groups.batch(8.0, channels="one", rng=np.random.default_rng(seed)):
            other = group.samples_n.min() > 0.45
            seen.add(bool(other))
            start = (group.samples_n[0] - 0.5 * other) / 0.4 * LENGTH_S
            for one in group.utterances:
                (real,) = [old for old in SAID if old.text == one.text]
                assert one.start + start == pytest.approx(real.start, abs=0.01)
                assert one.end + start == pytest.approx(real.end, abs=0.01)
                assert 0.0 <= one.start < one.end <= group.duration
            # a little silence on both sides, no more than half of the pause
            assert 0.015 <= group.utterances[0].start <= 0.11
            assert group.source == "mine"
            assert group.samples_cn is None
    assert seen == {True, False}


def test_batches_are_of_similar_length_and_short_enough(groups: RealGroups) -> None:
    for seed in range(12):
        batch = groups.batch(2.5, channels="all", rng=np.random.default_rng(seed))
        longest = max(one.duration for one in batch)
        assert min(one.duration for one in batch) >= SIMILAR * longest
        assert len(batch) == 1 or len(batch) * longest <= 2.5
        assert all(one.samples_cn is not None and len(one.samples_cn) == 2 for one in batch)
        again = groups.batch(2.5, channels="all", rng=np.random.default_rng(seed))
        assert [one.utterances for one in batch] == [one.utterances for one in again]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"condition": "close"}, "hears everybody"),
        ({"split": None}, "divided into splits"),
    ],
)
def test_what_is_not_for_training_is_refused(corpus: Path, more: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_groups(wanted(corpus, **more), language="en", longest_s=6.0, channels="one")


def test_a_split_for_measuring_is_no_setting(corpus: Path) -> None:
    with pytest.raises(ValueError, match="for measuring only"):
        wanted(corpus, split="test")


def test_nothing_that_is_short_enough_is_an_error(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="no group can be trained on"):
        load_groups(wanted(corpus), language="en", longest_s=0.5, channels="one")


def test_another_text_is_another_content(groups: RealGroups, corpus: Path) -> None:
    same, _ = load_groups(wanted(corpus), language="en", longest_s=6.0, channels="all")
    assert same.content_hash() == groups.content_hash()
    longer, _ = load_groups(wanted(corpus), language="en", longest_s=9.0, channels="one")
    assert longer.content_hash() != groups.content_hash()
