"""Whole milliseconds: rounding, clocks, and intervals put side by side so that none overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

from meetscribe.errors import FormatError


def to_ms(time_s: float) -> int:
    """Round seconds to whole milliseconds, halves up, never below 0.

    Raises
    ------
    FormatError
        If the time is infinite or not a number.
    """
    if not math.isfinite(time_s):
        raise FormatError(f"transcript: a time is {time_s}, expected seconds")
    return max(0, math.floor(time_s * 1000 + 0.5))


def span_ms(start: float, end: float) -> tuple[int, int]:
    """Round a segment; the end never comes before the start."""
    start_ms = to_ms(start)
    return start_ms, max(start_ms, to_ms(end))


def clock(time_ms: int, mark: str = ".") -> str:
    """Write a time as HH:MM:SS and milliseconds; hours grow beyond two digits.

    >>> clock(3_723_004, ",")
    '01:02:03,004'
    """
    seconds, ms = divmod(time_ms, 1000)
    return f"{short_clock(seconds * 1000)}{mark}{ms:03d}"


def short_clock(time_ms: int) -> str:
    """Write a time as HH:MM:SS, cut off below.

    >>> short_clock(360_000_999)
    '100:00:00'
    """
    minutes, seconds = divmod(time_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def plain_seconds(time_ms: int) -> str:
    """Write milliseconds as seconds.

    >>> plain_seconds(61_050)
    '61.050'
    """
    return f"{time_ms // 1000}.{time_ms % 1000:03d}"


Span = tuple[int, int]


def side_by_side(spans: Sequence[Span], wanted_ms: Sequence[int]) -> list[Span]:
    """Move and trim intervals so that none overlap, keeping their order.

    Parameters
    ----------
    spans : (start, end) in ms, in the order they are to have
    wanted_ms : for each, how long it should at least be

    Returns
    -------
    list of (start, end) in ms
        Each at least 1 ms long and not before the end of the one before it. An interval that
        overlaps no other keeps its start, and grows to what is wanted if the next leaves room.
        Those that overlap share the time of their cluster: each gets what it wants, or at least
        a share of the time in proportion to it.
    """
    placed: list[Span] = []
    first = 0
    while first < len(spans):
        cluster_start = max(spans[first][0], placed[-1][1] if placed else 0)
        cluster_end = max(spans[first][1], cluster_start + 1)
        last = first + 1
        while last < len(spans) and spans[last][0] < cluster_end:
            last += 1
            cluster_end = max(cluster_end, spans[last - 1][1], cluster_start + last - first)
        # a crowded cluster spreads into the silence after it
        free = spans[last][0] if last < len(spans) else cluster_end + sum(wanted_ms[first:last])
        cluster_end = max(cluster_end, min(free, cluster_start + sum(wanted_ms[first:last])))
        placed += _share(spans[first:last], wanted_ms[first:last], cluster_start, cluster_end)
        first = last
    return _grow(placed, wanted_ms)


def _share(spans: Sequence[Span], wanted: Sequence[int], start: int, end: int) -> list[Span]:
    """Place the intervals of one cluster into [start, end], which is at least 1 ms for each."""
    room = end - start
    wanted = [max(1, want) for want in wanted]
    total = sum(wanted)
    if total > room:
        spare = room - len(spans)
        wanted = [1 + want * spare // total for want in wanted]
    latest = end - sum(wanted)
    starts: list[int] = []
    earliest = start
    for (span_start, _), want in zip(spans, wanted, strict=True):
        starts.append(min(max(span_start, earliest), latest))
        earliest = starts[-1] + want
        latest += want
    limits = [*starts[1:], end]
    return [
        (begin, min(max(span_end, begin + want), limit))
        for begin, (_, span_end), want, limit in zip(starts, spans, wanted, limits, strict=True)
    ]


def _grow(placed: Sequence[Span], wanted: Sequence[int]) -> list[Span]:
    if not placed:
        return []
    limits = [start for start, _ in placed[1:]] + [placed[-1][1] + wanted[-1]]
    return [
        (start, min(max(end, start + want), limit))
        for (start, end), want, limit in zip(placed, wanted, limits, strict=True)
    ]
