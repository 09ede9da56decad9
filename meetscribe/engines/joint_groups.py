"""Utterance groups: the clips of a meeting that a joint model hears, each without a pause in it.

turns -> stretches of speech -> cut where they are too long: in a pause, else where the fewest
people are cut short, else where it is quietest

Axes: T time (candidate cuts, every 50 ms).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.engines.joint_settings import GroupSettings
from meetscribe.types import SAMPLE_RATE_HZ, AudioReader, Segment, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP_S = 0.05
_LEAST_S = 1.0
"""No cut leaves less than this of a group."""
_QUIET_COUNTS = 0.9
"""What loudness may count at most: less than one more person who is cut short."""
_MIDDLE = (0.3, 0.7)
_READ_S = 60.0


def utterance_groups(
    turns: Iterable[Turn], audio: AudioReader, settings: GroupSettings
) -> tuple[Segment, ...]:
    """Cut a meeting into groups.

    Parameters
    ----------
    turns : who speaks when, of everybody
    audio : is read only where a group has to be cut

    Returns
    -------
    Sorted, without overlap, each at most ``settings.longest_s`` long. All speech is in one of
    them.
    """
    listed = sorted(turns)
    if not listed:
        return ()
    groups: list[Segment] = []
    stretches = _widened(_stretches(listed, settings.pause_s), audio.duration, settings)
    for stretch in stretches:
        inside = [turn for turn in listed if turn.end > stretch.start and turn.start < stretch.end]
        groups += cut(stretch, inside, audio, longest_s=settings.longest_s)
    return tuple(groups)


def halves(
    group: Segment, turns: Iterable[Turn], audio: AudioReader
) -> tuple[Segment, Segment] | None:
    """Cut a group in two, somewhere in its middle; None if it is too short for that."""
    low, high = (group.start + share * group.duration for share in _MIDDLE)
    if low - group.start < _LEAST_S:
        return None
    times_t = np.linspace(low, high, max(2, int((high - low) / _STEP_S)))
    place = float(times_t[int(_costs(times_t, turns, audio).argmin())])
    return Segment(group.start, place), Segment(place, group.end)


def cut(
    stretch: Segment, turns: Sequence[Turn], audio: AudioReader, *, longest_s: float
) -> list[Segment]:
    """Cut a stretch into pieces of at most ``longest_s``, at its best places.

    A cut costs 1, 1 more for every turn that goes on over it, and a part of 1 for loudness. Of all
    ways to cut the cheapest is taken (by dynamic programming).
    """
    if stretch.duration <= longest_s:
        return [stretch]
    count = max(2, int(stretch.duration / _STEP_S))
    times_t = np.linspace(stretch.start, stretch.end, count + 1)
    step_s = stretch.duration / count
    cost_t = _costs(times_t, turns, audio)
    cost_t[[0, -1]] = 0.0
    # a rounding error must not make a piece a step longer
    longest = max(1, int(longest_s / step_s + 1e-6))
    shortest = max(1, min(longest // 2, round(_LEAST_S / step_s)))
    best_t = np.full(count + 1, np.inf)
    before_t = np.zeros(count + 1, dtype=np.intp)
    best_t[0] = 0.0
    for at in range(1, count + 1):
        low, high = max(0, at - longest), at - shortest + 1
        if low < high:
            chosen = low + int(best_t[low:high].argmin())
            best_t[at], before_t[at] = best_t[chosen] + cost_t[at], chosen
    places = [count]
    while places[-1]:
        places.append(int(before_t[places[-1]]))
    edges = [float(times_t[place]) for place in reversed(places)]
    edges[0], edges[-1] = stretch.start, stretch.end
    return [Segment(start, end) for start, end in pairwise(edges)]


def _stretches(turns: Sequence[Turn], pause_s: float) -> list[Segment]:
    """Join sorted turns, whoever has them, over pauses up to ``pause_s``."""
    joined: list[Segment] = []
    for turn in turns:
        if joined and turn.start - joined[-1].end <= pause_s:
            joined[-1] = Segment(joined[-1].start, max(joined[-1].end, turn.end))
        else:
            joined.append(Segment(turn.start, turn.end))
    return joined


def _widened(
    stretches: Sequence[Segment], duration: float, settings: GroupSettings
) -> list[Segment]:
    """Add the margins, and what short stretches lack; neighbours share the pause between them."""
    middles = [(before.end + after.start) / 2 for before, after in pairwise(stretches)]
    lows, highs = [0.0, *middles], [*middles, duration]
    widened = []
    for stretch, low, high in zip(stretches, lows, highs, strict=True):
        lacking = (settings.shortest_s - stretch.duration) / 2
        margin = max(settings.margin_s, lacking)
        start, end = max(low, stretch.start - margin), min(high, stretch.end + margin)
        widened.append(Segment(min(start, stretch.start), max(end, stretch.end)))
    return widened


def _costs(
    times_t: NDArray[np.float64], turns: Iterable[Turn], audio: AudioReader
) -> NDArray[np.float64]:
    return 1.0 + _cut_short(times_t, turns) + _QUIET_COUNTS * _loudness(times_t, audio)


def _cut_short(times_t: NDArray[np.float64], turns: Iterable[Turn]) -> NDArray[np.float64]:
    """Count the turns that begin before and end after each time."""
    count_t = np.zeros(len(times_t))
    for turn in turns:
        count_t += (times_t > turn.start) & (times_t < turn.end)
    return count_t


def _loudness(times_t: NDArray[np.float64], audio: AudioReader) -> NDArray[np.float64]:
    """Give how loud 0.1 s around each time is: from 0, a pause here, to 1, loud speech here."""
    half = round(_STEP_S * SAMPLE_RATE_HZ)
    level_t = np.empty(len(times_t))
    for first in range(0, len(times_t), round(_READ_S / _STEP_S)):
        here_t = times_t[first : first + round(_READ_S / _STEP_S)]
        # from the sample `half` before the first time; before the start there is nothing to read
        begin = max(0.0, float(here_t[0]) - _STEP_S)
        samples_n = audio.read(begin, float(here_t[-1]) + _STEP_S)
        power_n = np.concatenate([[0.0], np.cumsum(np.square(samples_n, dtype=np.float64))])
        middle_t = np.round((here_t - begin) * SAMPLE_RATE_HZ).astype(np.intp)
        low_t = np.clip(middle_t - half, 0, len(samples_n))
        high_t = np.clip(middle_t + half, 0, len(samples_n))
        power_t = (power_n[high_t] - power_n[low_t]) / np.maximum(high_t - low_t, 1)
        level_t[first : first + len(here_t)] = 10 * np.log10(np.maximum(power_t, 1e-12))
    quiet_db, loud_db = np.percentile(level_t, [2, 95])
    made: NDArray[np.float64] = np.clip((level_t - quiet_db) / max(loud_db - quiet_db, 1.0), 0, 1)
    return made
