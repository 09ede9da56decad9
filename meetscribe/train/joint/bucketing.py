"""Batches of groups of similar length: so many seconds of sound at most, found by their number.

A batch's longest group is drawn first; the others are nearly as long, so that little is padded.
Long ones are drawn more often, in proportion to their length, since there are fewer of them in a
batch: so all lengths are equally frequent among groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.simulated import GroupMaker

SIMILAR = 0.8
"""The shortest group of a batch as a share of its longest."""
MOST = 128
"""Groups in a batch."""
_SOURCE, _LENGTH = 1, 2
"""Of the numbers that choose what a batch is; those of a group itself have none."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How long the groups of a batch are, and how many there are."""

    shortest_s: float
    longest_s: float
    count: int


def draw_bucket(length_s: tuple[float, float], batch_s: float, rng: np.random.Generator) -> Bucket:
    """Draw a bucket; its groups together are no longer than ``batch_s``, padded as well.

    Parameters
    ----------
    length_s : shortest and longest group, the latter at most ``batch_s``
    """
    low, high = length_s
    longest_s = math.sqrt(low**2 + float(rng.random()) * (high**2 - low**2))
    return Bucket(max(low, SIMILAR * longest_s), longest_s, count_in(longest_s, batch_s))


def count_in(longest_s: float, batch_s: float) -> int:
    """Say how many groups of that length a batch has.

    >>> count_in(20.0, 80.0), count_in(0.4, 80.0)
    (4, 128)
    """
    return max(1, min(MOST, math.floor(batch_s / longest_s + 1e-9)))


class Source(Protocol):
    """Groups of real meetings."""

    @property
    def share(self) -> float:
        """Of all batches."""
        ...

    def batch(self, batch_s: float, *, channels: str, rng: np.random.Generator) -> list[Group]:
        """Draw groups of similar length."""
        ...


@dataclass(frozen=True)
class BatchMaker:
    """Makes batch number n of a training.

    Parameters
    ----------
    simulated : makes the groups that are of no real meeting
    real : in some shares
    """

    simulated: GroupMaker
    batch_s: float
    real: tuple[Source, ...] = ()

    def __call__(self, number: int) -> list[Group]:
        """Make a batch."""
        of = self.simulated
        where = [of.seed, of.stream, number]
        drawn = float(np.random.default_rng([*where, _SOURCE]).random())
        rng = np.random.default_rng([*where, _LENGTH])
        for one in self.real:
            if drawn < one.share:
                return one.batch(self.batch_s, channels=of.channels, rng=rng)
            drawn -= one.share
        bucket = draw_bucket(of.settings.length_s, self.batch_s, rng)
        return [
            of.make(number * MOST + at, bucket.longest_s, bucket.shortest_s)
            for at in range(bucket.count)
        ]


@dataclass(frozen=True)
class FixedMaker:
    """Makes a set of groups that is always the same, one by one; ``stream`` is another."""

    simulated: GroupMaker

    def __call__(self, number: int) -> Group:
        """Make a group."""
        low, high = self.simulated.settings.length_s
        return self.simulated.make(number, high, low)


def in_buckets(groups: Sequence[Group], batch_s: float) -> list[list[Group]]:
    """Put groups into batches of similar length, the longest first; those alike stay in order.

    A group that is longer than ``batch_s`` is a batch by itself.
    """
    batches: list[list[Group]] = []
    for group in sorted(groups, key=lambda one: -one.duration):
        last = batches[-1] if batches else []
        if not last or len(last) + 1 > count_in(last[0].duration, batch_s):
            batches.append([group])
        else:
            last.append(group)
    return batches
