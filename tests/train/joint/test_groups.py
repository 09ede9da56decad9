"""Groups: made from their number alone, valid, and never cut through what somebody says."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from meetscribe.errors import ConfigError
from meetscribe.train.joint.groups import Group, split
from meetscribe.train.joint.simulated import GroupMaker
from meetscribe.train.turns import overlap_share
from meetscribe.types import SAMPLE_RATE_HZ, Turn, Utterance
from tests.train.joint.tiny import group_maker


@pytest.fixture(scope="module")
def maker(given_settings: dict[str, Any], place: Path) -> GroupMaker:
    return group_maker(given_settings, place / "work", voices=[0.3, 0.4, 0.3])


def turns(group: Group) -> list[Turn]:
    return [Turn(one.start, one.end, one.speaker) for one in group.utterances]


@effort(max_examples=25, deadline=None)
@given(number=st.integers(0, 2**40), longest_s=st.floats(2.5, 7.0), share=st.floats(0.5, 1.0))
def test_every_group_is_valid(
    maker: GroupMaker, number: int, longest_s: float, share: float
) -> None:
    group = maker.make(number, longest_s, share * longest_s)
    assert group.samples_n.dtype == np.float32
    assert np.isfinite(group.samples_n).all()
    assert 0.0 < np.abs(group.samples_n).max() <= 0.5
    assert group.duration <= longest_s + 1 / SAMPLE_RATE_HZ
    assert 1 <= len(group.speakers) <= 3
    assert list(group.utterances) == sorted(group.utterances, key=lambda one: one.start)
    known = {atom.text for one in maker.library.utterances for atom in one.atoms}
    for one in group.utterances:
        assert 0.0 <= one.start < one.end <= group.duration
        assert one.text.lower() in known
        assert one.speaker in maker.library.names
    texts = [(one.speaker, one.text.lower()) for one in group.utterances]
    assert len(set(texts)) == len(texts)
    for speaker in group.speakers:
        own = [one for one in group.utterances if one.speaker == speaker]
        assert all(before.end < after.start for before, after in pairwise(own))


def test_a_group_follows_from_its_number(maker: GroupMaker) -> None:
    again = pickle.loads(pickle.dumps(maker))  # noqa: S301 - our own
    for number in range(3):
        one, other = maker.make(number, 5.0, 3.0), again.make(number, 5.0, 3.0)
        assert np.array_equal(one.samples_n, other.samples_n)
        assert one.utterances == other.utterances
    assert maker.make(0, 5.0, 3.0).utterances != maker.make(1, 5.0, 3.0).utterances


@pytest.mark.parametrize(
    ("overlapped", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.01, 0.3), (1.0, 0.1, 0.5)]
)
def test_the_share_of_overlap_can_be_set(
    given_settings: dict[str, Any], place: Path, overlapped: float, low: float, high: float
) -> None:
    maker = group_maker(
        given_settings, place / "work", overlapped=overlapped, voices=[0.0, 1.0], goes_on=0.0
    )
    found = [overlap_share(turns(maker.make(number, 7.0, 6.0))) for number in range(12)]
    assert low <= float(np.mean(found)) <= high


def test_speech_is_where_the_utterances_say(maker: GroupMaker) -> None:
    """The pieces begin and end with sound, and the room is dry: levels tell."""
    inside, outside = [], []
    for number in range(8):
        group = maker.make(number, 6.0, 4.0)
        there = np.zeros(len(group.samples_n), bool)
        for one in group.utterances:
            there[round(one.start * SAMPLE_RATE_HZ) : round(one.end * SAMPLE_RATE_HZ)] = True
        power_n = np.square(group.samples_n / np.abs(group.samples_n).max())
        inside.append(power_n[there].mean())
        # what is heard before the first word; after a word the room goes on
        outside.append(power_n[: round(group.utterances[0].start * SAMPLE_RATE_HZ) - 400].mean())
    assert np.median(inside) > 5 * np.median(outside)


def test_an_array_hears_everybody_and_moments_alone(
    given_settings: dict[str, Any], place: Path
) -> None:
    maker = group_maker(given_settings, place / "work", channels="all", voices=[0.0, 1.0])
    group = next(
        one
        for one in (maker.make(number, 7.0, 6.0) for number in range(9))
        if len(one.speakers) > 1
    )
    assert group.samples_cn is not None
    assert group.samples_cn.shape == (3, len(group.samples_n))
    assert np.array_equal(group.samples_cn[0], group.samples_n)
    assert {name for name, _ in group.alone} == set(group.speakers)
    assert all(len(samples_cn) == 3 and samples_cn.any() for _, samples_cn in group.alone)


def test_speech_without_short_pieces_is_refused(
    given_settings: dict[str, Any], place: Path
) -> None:
    maker = group_maker(given_settings, place / "work", piece_s=[0.1, 0.2], length_s=[1.5, 7.0])
    with pytest.raises(ConfigError, match="nobody has a piece"):
        maker.make(0, 5.0, 3.0)


spans = st.lists(
    st.tuples(st.floats(0.0, 9.0), st.floats(0.05, 3.0), st.sampled_from("abc")),
    min_size=1,
    max_size=6,
)


def group_of(given: list[tuple[float, float, str]]) -> Group:
    said = sorted(
        (
            Utterance(name, start, start + length, f"{name} {number}")
            for number, (start, length, name) in enumerate(given)
        ),
        key=lambda one: one.start,
    )
    samples_n = np.arange(12.5 * SAMPLE_RATE_HZ, dtype=np.float32)
    return Group(samples_n, tuple(said))


@given(given=spans)
def test_splitting_loses_no_utterance_and_cuts_none(given: list[tuple[float, float, str]]) -> None:
    group = group_of(given)
    halves = split(group)
    if halves is None:
        ends = np.maximum.accumulate([one.end for one in group.utterances])
        assert all(
            after.start <= end for end, after in zip(ends, group.utterances[1:], strict=False)
        )
        return
    assert [one.text for half in halves for one in half.utterances] == [
        one.text for one in group.utterances
    ]
    for half in halves:
        for one in half.utterances:
            (before,) = [old for old in group.utterances if old.text == one.text]
            # the samples say where they come from
            late = float(half.samples_n[0]) / SAMPLE_RATE_HZ
            assert one.start + late == pytest.approx(before.start, abs=1e-4)
            assert one.end + late == pytest.approx(before.end, abs=1e-4)
            assert 0.0 <= one.start < one.end <= half.duration
