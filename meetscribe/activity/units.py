"""Pieces of tracks that get a voiceprint each: single-speaker speech, in overlapping windows.

Axes: G global frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.segmentation import Windows
from meetscribe.activity.tracks import Track

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPEECH = 0.5
_OVERLAP = 0.4


@dataclass(frozen=True)
class Unit:
    """A piece of one track.

    Parameters
    ----------
    track : index of the track
    start, end : global frames
    run : number of the uninterrupted stretch that it is cut from
    clean : nobody else speaks; False for what a track without any clean piece is judged by
    """

    track: int
    start: int
    end: int
    run: int = 0
    clean: bool = True

    @property
    def num_frames(self) -> int:
        """Length in frames."""
        return self.end - self.start


def find_units(
    windows: Windows,
    tracks: Sequence[Track],
    *,
    unit_frames: int,
    hop_frames: int,
    shortest_frames: int,
) -> list[Unit]:
    """Cut the tracks into units.

    A frame is clean for the strongest track where speech is likely and overlap is not. A clean
    stretch gives units of ``unit_frames`` about every ``hop_frames``, a shorter one a single
    unit. Tracks that are never clean for long enough give their longest active stretch, marked
    not clean.

    Returns
    -------
    units sorted by run, runs by start
    """
    owner_g = _owners(windows, tracks)
    stretches = [
        (start, end, int(owner_g[start]), True)
        for start, end in _runs(owner_g)
        if owner_g[start] >= 0 and end - start >= shortest_frames
    ]
    heard = {track for _, _, track, _ in stretches}
    for index, track in enumerate(tracks):
        if index not in heard:
            stretches += [
                (start, end, index, False)
                for start, end in _unclean(track, 2 * unit_frames, shortest_frames)
            ]
    units: list[Unit] = []
    for run, (start, end, track_index, clean) in enumerate(sorted(stretches)):
        pieces = _windows(start, end, unit_frames, hop_frames) if clean else [(start, end)]
        units += [Unit(track_index, a, b, run, clean) for a, b in pieces]
    return units


def _owners(windows: Windows, tracks: Sequence[Track]) -> NDArray[np.int32]:
    """Give the index of the only track that is active in each frame, -1 for none or several."""
    speech_g, overlap_g = _speech_and_overlap(windows)
    best_g = np.zeros(windows.num_frames, dtype=np.float32)
    owner_g = np.full(windows.num_frames, -1, dtype=np.int32)
    for index, track in enumerate(tracks):
        here = slice(track.start, track.end)
        better = track.activity_t > best_g[here]
        best_g[here][better] = track.activity_t[better]
        owner_g[here][better] = index
    owner_g[(speech_g <= _SPEECH) | (overlap_g >= _OVERLAP)] = -1
    return owner_g


def _speech_and_overlap(windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the mean number of speakers up to the first, and beyond the first, shape (G,)."""
    speech_g = np.zeros(windows.num_frames, dtype=np.float32)
    overlap_g = np.zeros(windows.num_frames, dtype=np.float32)
    count_g = np.zeros(windows.num_frames, dtype=np.float32)
    for start, activity_tk in zip(windows.starts_w.tolist(), windows.activity_wtk, strict=True):
        speakers_t = activity_tk.sum(axis=1, dtype=np.float32)
        here = slice(start, start + len(speakers_t))
        speech_g[here] += np.minimum(speakers_t, 1.0)
        overlap_g[here] += np.maximum(speakers_t - 1.0, 0.0)
        count_g[here] += 1.0
    count_g = np.maximum(count_g, 1.0)
    return speech_g / count_g, overlap_g / count_g


def _runs(values_g: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Give [start, end) of the stretches of equal values."""
    if not len(values_g):
        return []
    edges = (np.flatnonzero(np.diff(values_g)) + 1).tolist()
    return list(zip([0, *edges], [*edges, len(values_g)], strict=True))


def _windows(start: int, end: int, length: int, hop: int) -> list[tuple[int, int]]:
    """Cover [start, end) with windows of ``length``, or with one if it is not longer."""
    if end - start <= length:
        return [(start, end)]
    hops = math.ceil((end - start - length) / hop)
    starts = np.linspace(start, end - length, hops + 1).round().astype(int).tolist()
    return [(first, first + length) for first in starts]


def _unclean(track: Track, longest: int, shortest: int) -> list[tuple[int, int]]:
    """Give the longest active stretch, at most ``longest`` of its middle, or nothing."""
    active = (track.activity_t > _SPEECH).astype(np.int32)
    runs = [(a, b) for a, b in _runs(active) if active[a] and b - a >= shortest]
    if not runs:
        return []
    start, end = max(runs, key=lambda run: run[1] - run[0])
    middle = (start + end) // 2
    start, end = max(start, middle - longest // 2), min(end, middle + longest // 2)
    return [(track.start + start, track.start + end)]
