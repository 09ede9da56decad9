"""Where a speaker talks alone: the solo segments that ``solo`` learns his place from.

Segments are spans in seconds, chosen before any sound is read, except where loudness decides.

Axes: C channel, N sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.errors import AudioError, ConfigError
from meetscribe.spatial.phase import FEATURE_STFT, PairChoice
from meetscribe.spatial.stft import StftSettings
from meetscribe.types import Segment, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.streams import ChannelReader

SoloForm = Literal["power", "phat", "mean-cosine", "power-reliability"]
SoloPick = Literal["longest", "loudest", "nearest", "concatenated"]

_LEAST_PIECE_S = 0.3
"""Shortest run that may be one of several."""
_LISTENED_TO = 20
"""Runs whose loudness is compared, the longest of a speaker; each has to be read."""


class SoloSettings(Settings):
    """Which moments of a speaker are taken, and what is made of them."""

    pick: SoloPick = "longest"
    """Which run: the longest, the loudest, the nearest in time to the utterance (people move), or
    the longest ones one after the other."""
    form: SoloForm = "power"
    """How cells are weighted, see ``profile_of``."""
    pairs: PairChoice = "all"
    """Pairs of channels, see ``choose_pairs``."""
    stft: StftSettings = FEATURE_STFT
    """Spectrum that is used, the same for segments and mixture."""
    trim_s: float = Field(0.25, ge=0.0)
    """Seconds taken off both ends of a run: turns are not exact, and rooms reverberate."""
    shortest_s: float = Field(1.0, gt=0.0)
    """Less is no solo segment."""
    wanted_s: float = Field(2.0, gt=0.0)
    """Among runs of at least so long, loudness and time decide; more seconds bring little."""
    at_most_s: float = Field(8.0, gt=0.0)
    """Longer runs are cut to this; several together are no longer."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.shortest_s <= self.wanted_s <= self.at_most_s:
            raise ValueError(
                f"shortest_s {self.shortest_s}, wanted_s {self.wanted_s}, at_most_s"
                f" {self.at_most_s}: expected them to ascend"
            )
        return self


def solo_runs(turns: Iterable[Turn], *, trim_s: float = 0.0) -> dict[str, tuple[Segment, ...]]:
    """Find the longest stretches in which one speaker and nobody else is active.

    Parameters
    ----------
    turns : who speaks when, in any order
    trim_s : taken off both ends of each

    Returns
    -------
    dict of every speaker, in order of first appearance, to runs in order of time
    """
    ordered = sorted(turn for turn in turns if turn.end > turn.start)
    runs: dict[str, list[Segment]] = {turn.speaker: [] for turn in ordered}
    edges = sorted({edge for turn in ordered for edge in (turn.start, turn.end)})
    active: list[Turn] = []
    coming = iter(ordered)
    ahead = next(coming, None)
    for start, end in pairwise(edges):
        active = [turn for turn in active if turn.end > start]
        while ahead is not None and ahead.start <= start:
            active.append(ahead)
            ahead = next(coming, None)
        speakers = {turn.speaker for turn in active}
        if len(speakers) != 1:
            continue
        own = runs[speakers.pop()]
        if own and own[-1].end == start:
            own[-1] = Segment(own[-1].start, end)
        else:
            own.append(Segment(start, end))
    return {
        speaker: tuple(
            Segment(run.start + trim_s, run.end - trim_s)
            for run in own
            if run.duration > 2 * trim_s
        )
        for speaker, own in runs.items()
    }


def choose_solo(
    turns: Iterable[Turn],
    settings: SoloSettings | None = None,
    *,
    near: Segment | None = None,
    reader: ChannelReader | None = None,
) -> dict[str, tuple[Segment, ...]]:
    """Choose the solo segments of every speaker, in seconds; nothing where there are none.

    Parameters
    ----------
    turns : who speaks when, of everybody
    near : the utterance that the feature is for; needed to pick the nearest
    reader : all channels; needed to pick the loudest

    Returns
    -------
    dict of every speaker, in order of first appearance, to segments in order of time: none, one
    or, concatenated, several; together ``shortest_s`` to ``at_most_s``

    Raises
    ------
    ConfigError
        If the pick needs ``near`` or ``reader`` and has not got it.
    AudioError
        If the recording cannot be read.
    """
    settings = settings or SoloSettings()
    lacking = {"nearest": near, "loudest": reader}.get(settings.pick, settings) is None
    if lacking:
        needed = "the time of an utterance" if settings.pick == "nearest" else "the recording"
        raise ConfigError(f"solo segments: pick '{settings.pick}' needs {needed}")
    runs = solo_runs(turns, trim_s=settings.trim_s)
    return {speaker: _chosen(own, settings, near, reader) for speaker, own in runs.items()}


def _chosen(
    runs: Sequence[Segment],
    settings: SoloSettings,
    near: Segment | None,
    reader: ChannelReader | None,
) -> tuple[Segment, ...]:
    by_length = sorted(runs, key=lambda run: (-run.duration, run.start))
    if settings.pick == "concatenated":
        return _pooled(by_length, settings)
    enough = [run for run in by_length if run.duration >= settings.shortest_s]
    if not enough:
        return ()
    wanted = [run for run in enough if run.duration >= settings.wanted_s] or enough
    if settings.pick == "nearest" and near is not None:
        best = min(wanted, key=lambda run: (_apart(run, near), -run.duration))
        return (_cut(best, settings.at_most_s, (near.start + near.end) / 2),)
    cut = [_cut(run, settings.at_most_s) for run in wanted]
    if settings.pick == "loudest" and reader is not None:
        return (max(cut[:_LISTENED_TO], key=_loudness(reader)),)
    return (cut[0],)


def _pooled(by_length: Sequence[Segment], settings: SoloSettings) -> tuple[Segment, ...]:
    pooled: list[Segment] = []
    left = settings.at_most_s
    for run in by_length:
        part = _cut(run, left)
        if part.duration < _LEAST_PIECE_S:
            break
        pooled.append(part)
        left -= part.duration
    enough = sum(part.duration for part in pooled) >= settings.shortest_s
    return tuple(sorted(pooled)) if enough else ()


def _apart(run: Segment, near: Segment) -> float:
    return max(0.0, run.start - near.end, near.start - run.end)


def _cut(run: Segment, at_most_s: float, around: float | None = None) -> Segment:
    """Shorten a run to the part around a time, its middle if that is None."""
    if run.duration <= at_most_s:
        return run
    centre = (run.start + run.end) / 2 if around is None else around
    start = min(max(run.start, centre - at_most_s / 2), run.end - at_most_s)
    return Segment(start, start + at_most_s)


def _loudness(reader: ChannelReader) -> Callable[[Segment], float]:
    def level(run: Segment) -> float:
        samples_cn = read_finite(reader, run)
        return float(np.mean(np.square(samples_cn, dtype=np.float64))) if samples_cn.size else 0.0

    return level


def read_finite(reader: ChannelReader, span: Segment) -> NDArray[np.float32]:
    """Give the samples of a span inside the recording, float32, shape (C, N), all finite."""
    end = min(span.end, reader.duration)
    samples_cn = np.asarray(reader.read_cn(min(span.start, end), end), dtype=np.float32)
    if samples_cn.ndim != len("CN") or not len(samples_cn):
        raise AudioError(
            f"recording, {span.start:.1f} to {span.end:.1f} s: samples of shape"
            f" {samples_cn.shape}, expected (channels, samples)"
        )
    return np.nan_to_num(samples_cn, nan=0.0, posinf=0.0, neginf=0.0)
