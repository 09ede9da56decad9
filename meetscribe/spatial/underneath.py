"""Speech under somebody else's that one channel does not reveal, found with all of them.

A mixture model that was guided by the turns known so far gives, for every cell of the spectrum,
the speaker it belongs to: also outside of his turns, where the guide is let go (``mixture``). Where
a speaker's share of the spectrum stays high there, he talks underneath, and his turn is longer
than was known, or there is one more.

Axes: C channel, N sample, F bin, T frame, K class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from meetscribe.config import Settings
from meetscribe.spatial.blocks import plan_blocks
from meetscribe.spatial.separate import SeparationSettings, separate, working_device
from meetscribe.types import (
    SAMPLE_RATE_HZ,
    Activity,
    Parts,
    Progress,
    Turn,
    all_at_once,
    no_progress,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.separate import Separation
    from meetscribe.spatial.streams import ChannelReader

STAGE = "underneath"
_BAND_HZ = (200.0, 4000.0)
_POWER = 0.25


class UnderneathSettings(Settings):
    """When a speaker's share of the spectrum is speech that was not known of."""

    share: float = Field(0.08, gt=0.0, lt=1.0)
    """Of the band 200 to 4000 Hz, above which he speaks."""
    smooth_s: float = Field(0.4, ge=0.0)
    """Mean over so long."""
    shortest_s: float = Field(0.3, ge=0.0)
    """Shorter finds are left."""


def find_underneath(
    reader: ChannelReader,
    turns: Iterable[Turn],
    settings: UnderneathSettings,
    separation: SeparationSettings,
    *,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = no_progress,
    keep: Parts[list[Turn]] = all_at_once,
) -> list[Turn]:
    """Give the turns that were not known, without what was.

    Parameters
    ----------
    reader : all channels of an array
    turns : who speaks when, as far as known
    separation : ``stft``, ``mixture``, ``block_s`` and ``context_s`` are used
    device : torch device that does the work
    progress : called with ``underneath``
    keep : keeps what was found in each block
    """
    known = sorted(turns)
    if not known:
        return []
    # reverberation matters less for who is there than for what he sounds like
    plain = separation.model_copy(update={"dereverb": None})
    spans = [(turn.start, turn.end) for turn in known]
    found: list[Turn] = []
    blocks = plan_blocks(spans, reader.duration, plain.block_s)

    def inside(start: float, end: float) -> list[Turn]:
        low, high = max(0.0, start - plain.context_s), min(reader.duration, end + plain.context_s)
        speakers = sorted({t.speaker for t in known if t.start < high and t.end > low})
        if len(speakers) < 2:  # noqa: PLR2004 - who is alone talks under nobody
            return []
        share_kt, times_t = _shares(
            reader, known, speakers, (low, high), plain, device=device, threads=threads
        )
        inside_t = (times_t >= start) & (times_t < end)
        return _new_turns(share_kt[:, inside_t], times_t[inside_t], speakers, known, settings)

    if len(blocks) < 2:  # noqa: PLR2004 - the result of the stage has it all
        keep = all_at_once
    for index, block in enumerate(blocks):
        progress(STAGE, index / len(blocks))
        found += keep(index, partial(inside, *block))
    progress(STAGE, 1.0)
    return found


def _shares(
    reader: ChannelReader,
    known: list[Turn],
    speakers: list[str],
    span: tuple[float, float],
    settings: SeparationSettings,
    *,
    device: str,
    threads: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Give each speaker's share of the spectrum, shape (K, T), and the time of every frame."""
    import torch

    low, high = span
    activity = [
        [
            (round((max(t.start, low) - low) * SAMPLE_RATE_HZ),
             round((min(t.end, high) - low) * SAMPLE_RATE_HZ))
            for t in known
            if t.speaker == speaker and t.start < high and t.end > low
        ]
        for speaker in speakers
    ]  # fmt: skip
    samples_cn = np.ascontiguousarray(reader.read_cn(low, high))
    with torch.inference_mode():
        made = separate(
            torch.from_numpy(samples_cn).to(working_device(device)),
            activity,
            settings,
            threads=threads,
        )
        share_kt = _band_share(made, len(speakers))
    stft = settings.stft
    frames = np.arange(share_kt.shape[1])
    # the middle of a frame; the first frame begins before the signal
    middle = frames * stft.hop_samples + stft.hop_samples - stft.window_samples / 2
    return share_kt, low + middle / SAMPLE_RATE_HZ


def _band_share(made: Separation, count: int) -> NDArray[np.float32]:
    bins = made.stft_cft.shape[1]
    low, high = (round(hz / (SAMPLE_RATE_HZ / 2) * (bins - 1)) for hz in _BAND_HZ)
    power_ft = made.stft_cft[:, low:high].abs().square().mean(dim=0)
    weight_ft = power_ft.pow(_POWER)
    total_t = weight_ft.sum(dim=0).clamp(min=1e-12)
    share_kt = (made.mask_kft[:count, low:high] * weight_ft).sum(dim=1) / total_t
    shares: NDArray[np.float32] = share_kt.float().cpu().numpy()
    return shares


def _new_turns(
    share_kt: NDArray[np.float32],
    times_t: NDArray[np.float64],
    speakers: list[str],
    known: list[Turn],
    settings: UnderneathSettings,
) -> list[Turn]:
    if len(times_t) < 2:  # noqa: PLR2004 - a frame has no length
        return []
    step_s = float(times_t[1] - times_t[0])
    width = max(1, round(settings.smooth_s / step_s))
    kernel = np.full(width, 1 / width)
    found = []
    for share_t, speaker in zip(share_kt, speakers, strict=True):
        speaks_t = np.convolve(share_t, kernel, mode="same") > settings.share
        for turn in known:
            if turn.speaker == speaker:
                speaks_t &= (times_t < turn.start) | (times_t >= turn.end)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], speaks_t, [False]])))
        for first, last in pairwise(edges.tolist()):
            start, end = times_t[first], times_t[min(last, len(times_t) - 1)]
            if speaks_t[first] and end - start >= settings.shortest_s:
                found.append(Turn(round(float(start), 3), round(float(end), 3), speaker))
    return found


def with_turns(activity: Activity, more: Iterable[Turn]) -> Activity:
    """Add turns; those of one speaker that touch or overlap become one."""
    joined: list[Turn] = []
    last: dict[str, int] = {}
    for turn in sorted([*activity.turns, *more]):
        at = last.get(turn.speaker)
        if at is not None and turn.start <= joined[at].end:
            whole = Turn(joined[at].start, max(joined[at].end, turn.end), turn.speaker)
            joined[at] = whole
        else:
            last[turn.speaker] = len(joined)
            joined.append(turn)
    return replace(activity, turns=tuple(sorted(joined)))
