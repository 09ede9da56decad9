"""Cutting speech into pieces that Whisper can hear at once.

A piece is a stretch of the recording, at most 30 s long, that begins and ends in a pause where
there is one. Pieces never overlap, so no word is recognised twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from meetscribe.types import SAMPLE_RATE_HZ, AudioReader, Segment

_LOUDNESS_S = 0.02
_SMOOTH_FRAMES = 9
"""A cut goes where 180 ms are quiet, so that it does not hit the closure of a plosive."""
_SHORTEST_REST_S = 3.0
_LONG_ENOUGH_S = 2.0
_TOLERANCE_S = 0.02
"""A recording of thirty seconds is one piece, whatever its last samples are rounded to."""


def merge(segments: Iterable[Segment], *, gap: float = 0.0) -> list[Segment]:
    """Join segments that overlap or are at most ``gap`` seconds apart; sorted.

    >>> merge([Segment(2.0, 3.0), Segment(0.0, 1.5)], gap=0.5)
    [Segment(start=0.0, end=3.0)]
    """
    merged: list[Segment] = []
    for segment in sorted(segments):
        if merged and segment.start <= merged[-1].end + gap:
            merged[-1] = Segment(merged[-1].start, max(merged[-1].end, segment.end))
        else:
            merged.append(segment)
    return merged


def cut_regions(
    speech: Iterable[Segment],
    duration: float,
    *,
    longest: float = 30.0,
    bridge: float = 4.0,
    padding: float = 0.5,
    audio: AudioReader | None = None,
) -> list[Segment]:
    """Cut speech into pieces.

    Parameters
    ----------
    speech : where somebody speaks; may overlap
    duration : of the recording, seconds
    longest : length of a piece with its padding, seconds
    bridge : pauses up to this many seconds stay inside a piece
    padding : seconds kept on both sides of speech where neighbours leave room
    audio : to find a quiet place when speech goes on without a pause

    Returns
    -------
    Sorted, disjoint, each at most ``longest`` seconds (and 20 ms); together they cover ``speech``.
    """
    clipped = [
        Segment(max(0.0, segment.start), min(duration, segment.end))
        for segment in speech
        if segment.start < duration and segment.end > segment.start
    ]
    pieces: list[Segment] = []
    for group in _grouped(merge(clipped), bridge):
        pieces += _split(group, longest, audio)
    return _padded(pieces, duration, padding, longest)


def _padded(
    pieces: Sequence[Segment], duration: float, padding: float, longest: float
) -> list[Segment]:
    """Widen pieces, up to the middle of the pause between two and to the longest length."""
    if not pieces:
        return []
    middles = [(left.end + right.start) / 2 for left, right in pairwise(pieces)]
    made = []
    for low, piece, high in zip([0.0, *middles], pieces, [*middles, duration], strict=True):
        room = min(padding, max(0.0, (longest - piece.duration) / 2))
        made.append(Segment(max(low, piece.start - room), min(high, piece.end + room)))
    return made


def _grouped(islands: Sequence[Segment], bridge: float) -> list[list[Segment]]:
    groups: list[list[Segment]] = []
    for island in islands:
        if groups and island.start - groups[-1][-1].end <= bridge:
            groups[-1].append(island)
        else:
            groups.append([island])
    return groups


def _split(group: Sequence[Segment], longest: float, audio: AudioReader | None) -> list[Segment]:
    """Cut a group at its widest pauses, or at quiet moments where it has none."""
    pieces: list[Segment] = []
    rest = list(group)
    while rest[-1].end - rest[0].start > longest + _TOLERANCE_S:
        start = rest[0].start
        earliest = start + longest / 2
        # a rest of a second would be heard without context
        latest = max(earliest, min(start + longest, rest[-1].end - _SHORTEST_REST_S))
        pauses = [(left, right) for left, right in pairwise(rest) if earliest <= left.end <= latest]
        if pauses:
            left, right = max(pauses, key=lambda pair: pair[1].start - pair[0].end)
            pieces.append(Segment(start, left.end))
            rest = [segment for segment in rest if segment.start >= right.start]
        else:
            at = _quiet_place(audio, earliest, latest)
            pieces.append(Segment(start, at))
            rest = [Segment(max(at, one.start), one.end) for one in rest if one.end > at]
    return [*pieces, Segment(rest[0].start, rest[-1].end)]


def _quiet_place(audio: AudioReader | None, earliest: float, latest: float) -> float:
    """Give the quietest moment in [earliest, latest]."""
    if audio is None:
        return latest
    samples = audio.read(earliest, latest)
    hop = int(_LOUDNESS_S * SAMPLE_RATE_HZ)
    frames = len(samples) // hop
    if frames <= _SMOOTH_FRAMES:
        return latest
    power = np.square(samples[: frames * hop].reshape(frames, hop)).mean(axis=1)
    smooth = np.convolve(power, np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES, mode="valid")
    return earliest + (int(np.argmin(smooth)) + _SMOOTH_FRAMES / 2) * _LOUDNESS_S


def spread(pieces: Sequence[Segment], number: int) -> list[Segment]:
    """Choose ``number`` pieces, or all if there are fewer, spread evenly over all speech."""
    long_enough = [piece for piece in pieces if piece.duration >= _LONG_ENOUGH_S] or list(pieces)
    if len(long_enough) <= number:
        return long_enough
    places = np.linspace(0, len(long_enough) - 1, 2 * number + 1)[1::2]
    return [long_enough[round(float(place))] for place in places]
