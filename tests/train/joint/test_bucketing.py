"""Batches: groups of similar length, no more seconds than allowed, the same for a number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.train.joint.bucketing import (
    SIMILAR,
    BatchMaker,
    FixedMaker,
    count_in,
    draw_bucket,
    in_buckets,
)
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.simulated import GroupMaker
from meetscribe.types import Utterance
from tests.train.joint.tiny import group_maker


@pytest.fixture(scope="module")
def maker(given_settings: dict[str, Any], place: Path) -> GroupMaker:
    return group_maker(given_settings, place / "work")


@given(
    seed=st.integers(0, 10**6),
    low=st.floats(0.5, 5.0),
    more=st.floats(0.0, 25.0),
    times=st.floats(1.0, 9.0),
)
def test_a_bucket_is_no_longer_than_a_batch(
    seed: int, low: float, more: float, times: float
) -> None:
    high = low + more
    found = draw_bucket((low, high), times * high, np.random.default_rng(seed))
    assert low - 1e-9 <= found.shortest_s <= found.longest_s <= high + 1e-9
    assert found.shortest_s >= SIMILAR * found.longest_s - 1e-9
    assert found.count >= 1
    assert found.count * found.longest_s <= times * high + 1e-6


def test_all_lengths_are_equally_frequent() -> None:
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(4000):
        found = draw_bucket((2.0, 20.0), 200.0, rng)
        lengths += [found.longest_s] * found.count
    counts, _ = np.histogram(lengths, bins=6, range=(2.0, 20.0))
    assert counts.min() > 0.8 * counts.max()


def test_a_batch_follows_from_its_number_and_fits(maker: GroupMaker) -> None:
    batches = BatchMaker(maker, 14.0)
    for number in (0, 1, 7, 10**6):
        batch, again = batches(number), batches(number)
        assert len(batch) >= 2
        assert len(batch) * max(one.duration for one in batch) <= 14.0 + 1e-3
        assert [one.utterances for one in batch] == [one.utterances for one in again]
        assert all(
            np.array_equal(one.samples_n, other.samples_n)
            for one, other in zip(batch, again, strict=True)
        )
    texts = {str([one.utterances for one in batches(number)]) for number in range(6)}
    assert len(texts) == 6


class Recorded:
    """A source of its own, in place of real meetings."""

    share = 0.4

    def batch(self, batch_s: float, *, channels: str, rng: np.random.Generator) -> list[Group]:
        assert (batch_s, channels) == (14.0, "one")
        return [Group(rng.random(16_000).astype(np.float32), (), source="real")]


def test_real_groups_have_their_share_of_batches(
    maker: GroupMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = groups_of([1.0])[0]
    monkeypatch.setattr(GroupMaker, "make", lambda *_: silence)
    batches = BatchMaker(maker, 14.0, (Recorded(),))
    sources = [batches(number)[0].source for number in range(400)]
    assert sources.count("real") / 400 == pytest.approx(0.4, abs=0.08)
    assert [batches(number)[0].source for number in range(20)] == sources[:20]


def groups_of(lengths: Sequence[float]) -> list[Group]:
    return [
        Group(np.zeros(round(length * 16_000), np.float32), (Utterance("a", 0, 0.1, str(number)),))
        for number, length in enumerate(lengths)
    ]


@given(st.lists(st.floats(0.2, 9.0), max_size=12), st.floats(1.0, 30.0))
def test_buckets_hold_every_group_once(lengths: list[float], batch_s: float) -> None:
    batches = in_buckets(groups_of(lengths), batch_s)
    names = sorted(one.utterances[0].text for batch in batches for one in batch)
    assert names == sorted(map(str, range(len(lengths))))
    longest = [batch[0].duration for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch in batches:
        assert len(batch) <= count_in(batch[0].duration, batch_s)
        assert all(one.duration <= batch[0].duration for one in batch)


def test_the_development_set_is_always_the_same(maker: GroupMaker) -> None:
    fixed = FixedMaker(maker)
    assert fixed(3).utterances == fixed(3).utterances
    assert fixed(3).utterances != fixed(4).utterances
