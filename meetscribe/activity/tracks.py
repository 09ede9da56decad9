"""Local speakers of overlapping windows, joined into tracks that need no voice comparison.

Consecutive windows share nine of their ten seconds: local speakers whose activity agrees there are
one person. A track lives as long as its speaker appears at least once in a window's length.
Axes: T frame, K local speaker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.segmentation import Windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SILENT = 2.0
"""Frames' worth of activity below which a local speaker counts as absent."""


@dataclass(frozen=True)
class Track:
    """One local speaker followed through windows.

    Parameters
    ----------
    start : first global frame
    activity_t : float32, shape (T,)
        Mean probability over the windows that saw the frame; zero where they did not hear it.
    """

    start: int
    activity_t: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.start + len(self.activity_t)

    def over(self, start: int, end: int) -> NDArray[np.float32]:
        """Give the activity of global frames [start, end), zero outside the track."""
        out = np.zeros(end - start, dtype=np.float32)
        low, high = max(start, self.start), min(end, self.end)
        if low < high:
            out[low - start : high - start] = self.activity_t[low - self.start : high - self.start]
        return out


@dataclass
class _Open:
    """A track while windows still add to it."""

    start: int
    last: int
    sum_t: NDArray[np.float32] = field(repr=False)
    votes_t: NDArray[np.float32] = field(repr=False)

    def mean(self, start: int, end: int) -> NDArray[np.float32]:
        """Give the mean over the windows that are part of the track, zero where there is none."""
        out = np.zeros(end - start, dtype=np.float32)
        low = max(start, self.start)
        high = min(end, self.start + len(self.sum_t))
        if low < high:
            here = slice(low - self.start, high - self.start)
            out[low - start : high - start] = self.sum_t[here] / np.maximum(self.votes_t[here], 1.0)
        return out

    def add(self, start: int, activity_t: NDArray[np.float32]) -> None:
        grow = start + len(activity_t) - self.start - len(self.sum_t)
        if grow > 0:
            self.sum_t = np.concatenate([self.sum_t, np.zeros(grow, dtype=np.float32)])
            self.votes_t = np.concatenate([self.votes_t, np.zeros(grow, dtype=np.float32)])
        here = slice(start - self.start, start - self.start + len(activity_t))
        self.sum_t[here] += activity_t
        self.votes_t[here] += 1.0


def stitch(windows: Windows, *, agreement: float) -> list[Track]:
    """Join the local speakers of all windows into tracks.

    Parameters
    ----------
    agreement : in (0, 1]
        A local speaker continues a track if the overlap of their activities, over their union, is
        at least this in the frames both know.
    """
    count_g = np.zeros(windows.num_frames, dtype=np.float32)
    open_tracks: list[_Open] = []
    done: list[_Open] = []
    for start, window_tk in zip(windows.starts_w.tolist(), windows.activity_wtk, strict=True):
        activity_tk = window_tk.astype(np.float32)
        still = [track for track in open_tracks if track.last > start]
        done += [track for track in open_tracks if track.last <= start]
        open_tracks = _extend(still, start, activity_tk, count_g, agreement)
        count_g[start : start + len(activity_tk)] += 1
    return [_close(track, count_g) for track in done + open_tracks]


def _extend(
    tracks: list[_Open],
    start: int,
    activity_tk: NDArray[np.float32],
    count_g: NDArray[np.float32],
    agreement: float,
) -> list[_Open]:
    """Add a window's local speakers to the open tracks; those that fit none open their own."""
    end = start + len(activity_tk)
    local = [k for k in range(activity_tk.shape[1]) if activity_tk[:, k].sum() > _SILENT]
    known = int((count_g[start:end] > 0).sum())
    means = [track.mean(start, start + known) for track in tracks]
    pairs = _match(means, [activity_tk[:known, k] for k in local], agreement)
    for index, k in enumerate(local):
        piece = activity_tk[:, k]
        active = np.flatnonzero(piece > 0.1)  # noqa: PLR2004 - what the network holds for silent
        last = start + int(active[-1]) + 1 if len(active) else start + 1
        if index in pairs:
            track = tracks[pairs[index]]
            track.last = max(track.last, last)
        else:
            track = _Open(start, last, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32))
            tracks.append(track)
        track.add(start, piece)
    return tracks


def _match(
    tracks: list[NDArray[np.float32]], local: list[NDArray[np.float32]], agreement: float
) -> dict[int, int]:
    """Pair local speakers with tracks, one to one, so that the summed agreement is largest."""
    from scipy.optimize import linear_sum_assignment

    if not tracks or not local:
        return {}
    score = np.zeros((len(local), len(tracks)))
    for row, mine in enumerate(local):
        for column, theirs in enumerate(tracks):
            union = float(np.maximum(mine, theirs).sum())
            if union > _SILENT:
                score[row, column] = float(np.minimum(mine, theirs).sum()) / union
    rows, columns = linear_sum_assignment(-score)
    return {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if score[row, column] >= agreement
    }


def _close(track: _Open, count_g: NDArray[np.float32]) -> Track:
    seen = count_g[track.start : track.start + len(track.sum_t)]
    mean_t = (track.sum_t / np.maximum(seen, 1.0)).astype(np.float32)
    return Track(track.start, mean_t)
