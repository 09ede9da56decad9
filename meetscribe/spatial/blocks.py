"""Where a long recording is cut into blocks: in pauses, or where the fewest people speak."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_SLACK = 0.25
"""Share of a block by which a cut may be moved to find a pause."""


def plan_blocks(
    turns: Sequence[tuple[float, float]], duration: float, block_s: float
) -> list[tuple[float, float]]:
    """Cut [0, duration) into blocks of about ``block_s`` seconds.

    Parameters
    ----------
    turns : start and end of every turn of everybody, in seconds, in any order
    duration, block_s : seconds, above 0

    Returns
    -------
    start and end of each block, without gaps; each cut is at the moment with the fewest speakers
    within a quarter of a block of where equal blocks would be cut, in the middle of the longest
    such pause.

    Examples
    --------
    >>> plan_blocks([(0.0, 9.0), (11.0, 20.0)], 20.0, 9.0)
    [(0.0, 10.0), (10.0, 20.0)]
    """
    number = max(1, round(duration / block_s))
    length = duration / number
    edges = [0.0]
    for index in range(1, number):
        middle = index * length
        edges.append(_quietest(turns, middle - _SLACK * length, middle + _SLACK * length))
    edges.append(duration)
    return list(pairwise(edges))


def _quietest(turns: Sequence[tuple[float, float]], low: float, high: float) -> float:
    """Give the middle of the longest stretch with the fewest speakers between two times."""
    near = [turn for turn in turns if turn[1] > low and turn[0] < high]
    marks = sorted({low, high, *(mark for turn in near for mark in turn if low < mark < high)})
    starts, ends = np.array(marks[:-1]), np.array(marks[1:])
    middles = (starts + ends) / 2
    speaking = np.array([sum(a <= middle < b for a, b in near) for middle in middles])
    lengths = np.where(speaking == speaking.min(), ends - starts, -1.0)
    return float(middles[int(lengths.argmax())])
