"""One mono signal of a recording, decoded once to a scratch file and read in any order.

Models hear pieces of the recording again and again; compressed files cannot be read from any
place quickly, and a long meeting must not lie in memory. So it is decoded once, at 16 kHz, to a
temporary file that has no name where the system allows it.

Axes: C channel, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.alignment import find_late
from meetscribe.ingest.decode import Decoder, nothing_decoded
from meetscribe.ingest.excerpts import CLIPPED_SHARE, SILENT_DB, ChannelSurvey, survey
from meetscribe.ingest.faults import plan_surveyed
from meetscribe.ingest.layout import SAME_CORRELATION
from meetscribe.ingest.scratch import OnDisk, ScratchFile, samples_between
from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ, Layout, Progress, Recording, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


STAGE = "ingest"

_BLOCK_S = 10.0
_BYTES = 4
_OPPOSED = -0.3
_LOUD_QUANTILE = 0.99
_OVERSHOOT = 1.05
"""Resampling goes a little beyond full scale; that much is cut off rather than turned down."""


@dataclass(frozen=True, slots=True)
class MonoPlan:
    """Which channels make the mono signal: the weighted sum of ``channels``.

    ``reason`` says it in one line for the person who reads the output.
    """

    channels: tuple[int, ...]
    weights: tuple[float, ...]
    reason: str


def plan_mono(recording: Recording) -> MonoPlan:
    """Choose the channels of the mono signal by the layout of the recording.

    One channel is taken as it is; of an array the channel with the best signal to noise, neither
    dead nor clipped; of a mix the mean (of copies, or of channels of opposite sign, one); of one
    microphone per speaker the sum, so that everybody is heard.

    Raises
    ------
    AudioError
        If a file cannot be read.
    """
    num = recording.num_channels
    if num == 1:
        return MonoPlan((0,), (1.0,), "one channel, used as it is")
    heard = survey(recording)
    alive = tuple(int(channel) for channel in np.flatnonzero(heard.alive_c))
    if not alive:
        return MonoPlan((0,), (1.0,), f"{num} channels without sound: channel 0 used")
    if len(alive) == 1:
        return _single(alive[0], f"only channel {alive[0]} of {num} carries sound: used")
    if recording.layout is Layout.ARRAY:
        array = plan_surveyed(heard)
        # one that has to be moved would put the mono signal at other times than the array's
        late = find_late(heard, array.channels)
        in_line = [channel for channel in array.channels if channel not in late]
        best = _best_channel(heard, in_line or array.channels)
        reason = f"channel {best} of 0 to {num - 1} used (best signal to noise)"
        return _single(best, f"{num}-channel array: {reason}")
    left_out = f", {num - len(alive)} silent left out" if len(alive) < num else ""
    if recording.layout is Layout.PER_SPEAKER:
        reason = f"one microphone per speaker: sum of {len(alive)} channels{left_out}"
        return MonoPlan(alive, (1.0,) * len(alive), reason)
    return _plan_mix(heard, alive, left_out)


def _single(channel: int, reason: str) -> MonoPlan:
    return MonoPlan((channel,), (1.0,), reason)


def _plan_mix(heard: ChannelSurvey, alive: tuple[int, ...], left_out: str) -> MonoPlan:
    correlation_cc = heard.correlation_cc[np.ix_(alive, alive)]
    if float(np.abs(correlation_cc).min()) >= SAME_CORRELATION:
        first = alive[0]
        return _single(
            first, f"{len(alive)} channels are copies of one signal: channel {first} used{left_out}"
        )
    if float(correlation_cc.min()) < _OPPOSED:
        best = _best_channel(heard, alive)
        return _single(best, f"mix with channels of opposite sign: channel {best} used")
    weight = 1.0 / len(alive)
    return MonoPlan(alive, (weight,) * len(alive), f"mix: mean of {len(alive)} channels{left_out}")


def _best_channel(heard: ChannelSurvey, among: Sequence[int]) -> int:
    """Give the channel with the largest distance of speech from noise in the speech band."""
    noise_db_c = np.maximum(np.percentile(heard.level_db_ct, 10, axis=1), SILENT_DB + 10.0)
    snr_db_c = heard.loud_db_c - noise_db_c
    whole = [channel for channel in among if heard.clipped_share_c[channel] < CLIPPED_SHARE]
    return max(whole or among, key=lambda channel: float(snr_db_c[channel]))


@dataclass(frozen=True, slots=True)
class _Measured:
    """What one pass over the signal found."""

    num_samples: int
    peak: float
    rms: float
    num_nonfinite: int
    clipped_share: float
    gain: float
    notes: tuple[str, ...]


class MonoAudio(OnDisk):
    """The mono signal of a recording at 16 kHz, on disk; made by ``open_mono``.

    Attributes
    ----------
    num_samples, duration : length in samples at 16 kHz, and in seconds, as really decoded
    peak, rms : of what ``read`` gives, full scale 1
    num_nonfinite : samples that were NaN or infinite and were taken as 0
    clipped_share : share of the files' samples that stay at full scale
    notes : what a reader of the transcript should know
    """

    def __init__(self, file: ScratchFile, measured: _Measured) -> None:
        super().__init__(file, measured.num_samples)
        self._gain = np.float32(measured.gain)
        self.peak = measured.peak
        self.rms = measured.rms
        self.num_nonfinite = measured.num_nonfinite
        self.clipped_share = measured.clipped_share
        self.notes = measured.notes

    def read(self, start: float, end: float) -> Samples:
        """Give the samples from ``start`` to ``end`` in seconds, both rounded to a sample.

        Returns
        -------
        float32, shape (N,), in [-1, 1]
            Before the start and beyond the end of the recording there is silence.

        Raises
        ------
        ValueError
            If ``end`` is before ``start``.
        """
        return self.read_samples(*samples_between(start, end))

    def read_samples(self, first: int, last: int) -> Samples:
        """Give the samples [first, last), with silence outside the recording."""
        samples_n = np.zeros(last - first, np.float32)
        low, high = max(0, first), min(self.num_samples, last)
        if low < high:
            inside_n = samples_n[low - first : high - first]
            self._file.read_into(inside_n, low * _BYTES)
            if self._gain != 1:
                inside_n *= self._gain
            np.clip(inside_n, -1, 1, out=inside_n)
        return samples_n

    def blocks(self, block_s: float, *, overlap_s: float = 0.0) -> Iterator[tuple[float, Samples]]:
        """Give (start in seconds, samples) of blocks that overlap; the last may be shorter.

        Raises
        ------
        ValueError
            If the overlap is not below the length of a block.
        """
        size = round(block_s * SAMPLE_RATE_HZ)
        step = size - round(overlap_s * SAMPLE_RATE_HZ)
        if not 0 < step <= size:
            raise ValueError(f"overlap_s={overlap_s}: expected 0 up to below block_s={block_s}")
        for first in range(0, self.num_samples, step):
            last = min(first + size, self.num_samples)
            yield first / SAMPLE_RATE_HZ, self.read_samples(first, last)
            if last == self.num_samples:
                return


def open_mono(
    recording: Recording,
    plan: MonoPlan | None = None,
    *,
    progress: Progress = no_progress,
    scratch_dir: Path | None = None,
) -> MonoAudio:
    """Decode a recording to one mono signal that can be read in any order.

    Parameters
    ----------
    recording : made by ``probe``
    plan : made by ``plan_mono``, which is called for None
    progress : called with "ingest" and the share that is done
    scratch_dir : where the signal is kept, 230 MB per hour; None takes the system's folder for
        temporary files, which ``TMPDIR`` names

    Returns
    -------
    MonoAudio
        Close it, or use it in a ``with``: that deletes the scratch file.

    Raises
    ------
    AudioError
        If a file cannot be read, or nothing in it can be decoded.
    OutputError
        If the scratch file cannot be written, for instance because the disk is full.
    """
    plan = plan_mono(recording) if plan is None else plan
    file = ScratchFile(scratch_dir, mb_per_hour=230)
    try:
        measured = _decode_to(file, recording, plan, progress)
    except BaseException:
        file.close()
        raise
    return MonoAudio(file, measured)


def _decode_to(
    file: ScratchFile, recording: Recording, plan: MonoPlan, progress: Progress
) -> _Measured:
    weights_c = np.asarray(plan.weights, np.float32)
    meter = _Meter()
    progress(STAGE, 0.0)
    with Decoder(recording, plan.channels) as decoder:
        for block_cn in decoder.blocks(_BLOCK_S):
            mono_n = block_cn[0] if plan.weights == (1.0,) else weights_c @ block_cn
            mono_n = np.ascontiguousarray(mono_n, np.float32)
            file.append(mono_n)
            meter.add(mono_n)
            progress(STAGE, decoder.share_done)
        if not meter.num_samples:
            raise nothing_decoded(recording)
        notes = list(decoder.notes())
        clipped_share = float(decoder.clipped_share_c.mean())
        num_nonfinite = decoder.num_nonfinite
    gain = meter.gain()
    if meter.peak == 0:
        notes.append("silent: every sample is 0")
    if clipped_share >= CLIPPED_SHARE:
        notes.append(f"clipped: {100 * clipped_share:.1f} % of the samples are at full scale")
    if gain < 1:
        notes.append(f"louder than full scale: turned down by {-20 * math.log10(gain):.1f} dB")
    progress(STAGE, 1.0)
    return _Measured(
        num_samples=meter.num_samples,
        peak=min(1.0, meter.peak * gain),
        rms=min(1.0, meter.rms * gain),
        num_nonfinite=num_nonfinite,
        clipped_share=clipped_share,
        gain=gain,
        notes=tuple(notes),
    )


class _Meter:
    """Running level of a signal."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._squares = 0.0
        self._peaks: list[NDArray[np.float32]] = []

    def add(self, mono_n: Samples) -> None:
        """Take note of the next samples, which are finite."""
        self.num_samples += mono_n.size
        self._squares += float(np.sum(np.square(mono_n, dtype=np.float64)))
        seconds = np.arange(0, mono_n.size, SAMPLE_RATE_HZ)
        self._peaks.append(np.maximum.reduceat(np.abs(mono_n), seconds))

    @property
    def peak(self) -> float:
        return float(max(peaks.max() for peaks in self._peaks))

    @property
    def rms(self) -> float:
        return math.sqrt(self._squares / max(1, self.num_samples))

    def gain(self) -> float:
        """Give the factor that brings all but the loudest seconds to full scale, at most 1.

        A single pop beyond full scale is cut off rather than the whole meeting turned down.
        """
        loud = float(np.quantile(np.concatenate(self._peaks), _LOUD_QUANTILE, method="lower"))
        return 1.0 if loud <= _OVERSHOOT else 1.0 / loud
