"""From labelled tracks to turns: frame by frame activity per speaker, thresholds, edges.

Axes: G global frame, S speaker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.segmentation import FRAME_STEP_S, frame_time
from meetscribe.activity.tracks import Track
from meetscribe.activity.units import Unit
from meetscribe.types import Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray


def add_track(speakers_gs: NDArray[np.float32], track: Track, units: Mapping[Unit, int]) -> None:
    """Add a track to its speakers' activity, each frame to the speaker of the nearest unit."""
    nearest = sorted(units.items(), key=lambda item: item[0].start)
    start = track.start
    for index, (unit, speaker) in enumerate(nearest):
        last = index + 1 == len(nearest)
        end = track.end if last else (unit.end + nearest[index + 1][0].start + 1) // 2
        end = min(max(end, start), track.end)
        speakers_gs[start:end, speaker] += track.activity_t[start - track.start : end - track.start]
        start = end


def overlapping_turns(
    speakers_gs: NDArray[np.float32],
    labels: Sequence[str],
    duration: float,
    *,
    threshold: float,
    shortest_turn_s: float,
    shortest_pause_s: float,
) -> list[Turn]:
    """Give the turns of every speaker, sorted; turns of different speakers may overlap."""
    turns: list[Turn] = []
    for speaker, label in enumerate(labels):
        runs = active_runs(speakers_gs[:, speaker] > threshold)
        runs = bridged(runs, round(shortest_pause_s / FRAME_STEP_S))
        shortest = shortest_turn_s / FRAME_STEP_S
        runs = [run for run in runs if run[1] - run[0] >= shortest]
        turns += as_turns(runs, label, len(speakers_gs), duration)
    return sorted(turns)


def exclusive_turns(
    speakers_gs: NDArray[np.float32],
    turns: Sequence[Turn],
    labels: Sequence[str],
    duration: float,
) -> list[Turn]:
    """Give the same speech with one speaker at a time, the likelier one."""
    active_gs = np.zeros_like(speakers_gs)
    times_g = frame_time(0) + np.arange(len(speakers_gs)) * FRAME_STEP_S
    for turn in turns:
        first, last = np.searchsorted(times_g, [turn.start, turn.end])
        active_gs[first:last, labels.index(turn.speaker)] = 1.0
    # 0.01 so that a bridged pause, where nobody is likely, still has its speaker
    winner_g = ((speakers_gs + 0.01) * active_gs).argmax(axis=1)
    winner_g[~active_gs.any(axis=1)] = -1
    made: list[Turn] = []
    for speaker, label in enumerate(labels):
        made += as_turns(active_runs(winner_g == speaker), label, len(winner_g), duration)
    return sorted(made)


def active_runs(active_g: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give [start, end) of the stretches that are true.

    >>> active_runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active_g.astype(np.int8), [0]]))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def as_turns(
    runs: Sequence[tuple[int, int]], label: str, num_frames: int, duration: float
) -> list[Turn]:
    """Give runs of frames as turns: edges half-way between frames, or the signal's own."""
    turns = []
    for first, last in runs:
        start = 0.0 if first == 0 else frame_time(first - 0.5)
        end = duration if last == num_frames else min(frame_time(last - 0.5), duration)
        if start < end:
            # rounding must not lead beyond the signal
            turns.append(Turn(round(start, 4), min(round(end, 4), duration), label))
    return turns


def bridged(runs: list[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    """Join runs whose gap is at most ``longest`` frames."""
    made: list[tuple[int, int]] = []
    for first, last in runs:
        if made and first - made[-1][1] <= longest:
            made[-1] = (made[-1][0], last)
        else:
            made.append((first, last))
    return made
