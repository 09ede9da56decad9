"""Listen to excerpts of a recording and measure how its channels relate.

What is measured serves two decisions: what the channels are (``layout``), and which of them make
the mono signal (``mono``).

Axes: C channel, N sample, T frame, F bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.decode import Decoder
from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray


FRAME_S = 0.1
"""Long enough that a sound reaches all microphones of a room within one frame."""
SILENT_DB = -90.0
"""Level of digital silence: below the last bit of 16."""

_EXCERPT_S = 5.0
_MAX_EXCERPTS = 24
_BAND_HZ = (200.0, 4000.0)
_MOST_COHERENCE_CHANNELS = 8


@dataclass(frozen=True)
class ChannelStats:
    """How the channels of a recording relate, measured on excerpts.

    Parameters
    ----------
    level_db_ct : shape (C, T), level per 100 ms frame in the speech band, dB of full scale
    correlation_cc : shape (C, C), in [-1, 1], at lag zero in the speech band
    coherence : mean magnitude-squared coherence of channel pairs, in [0, 1]; at most 8 channels
    clipped_share_c : shape (C,), share of samples that stay at full scale
    """

    level_db_ct: NDArray[np.float64]
    correlation_cc: NDArray[np.float64]
    coherence: float
    clipped_share_c: NDArray[np.float64]

    @property
    def loud_db_c(self) -> NDArray[np.float64]:
        """Level of the loud frames of each channel: the 95th percentile, shape (C,)."""
        return np.asarray(np.percentile(self.level_db_ct, 95, axis=1))

    @property
    def alive_c(self) -> NDArray[np.bool_]:
        """Channels that carry sound: not silent, and not 40 dB below the loudest; shape (C,)."""
        loud_db_c = self.loud_db_c
        floor_db = max(SILENT_DB + 5.0, float(loud_db_c.max()) - 40.0)
        return np.asarray(loud_db_c > floor_db)

    @property
    def active_t(self) -> NDArray[np.bool_]:
        """Frames with sound in at least one channel, by its own measure; shape (T,)."""
        near_ct = self.level_db_ct > np.maximum(self.loud_db_c[:, None] - 20.0, SILENT_DB + 5.0)
        return np.asarray(near_ct[self.alive_c].any(axis=0))


def measure(recording: Recording) -> ChannelStats:
    """Measure up to 24 excerpts of 5 s, evenly spread, or all of a short recording.

    Raises
    ------
    AudioError
        If a file cannot be opened.
    """
    num = recording.num_channels
    near = min(num, _MOST_COHERENCE_CHANNELS)
    levels_ct: list[NDArray[np.float64]] = []
    power_cc = np.zeros((num, num))
    coherences: list[tuple[float, float]] = []
    clipped: list[NDArray[np.float64]] = []
    for samples_cn, clipped_share_c in _excerpts(recording):
        spectra_ctf = _band_spectra(samples_cn)
        levels_ct.append(_level_db(spectra_ctf))
        flat_cx = spectra_ctf.reshape(num, -1)
        power_cc += np.real(flat_cx @ flat_cx.conj().T)
        clipped.append(clipped_share_c)
        if near > 1:
            coherences.append(_coherence(spectra_ctf[:near]))
    if not levels_ct:
        levels_ct = [np.full((num, 1), SILENT_DB)]
    scale_c = np.sqrt(np.maximum(np.diag(power_cc), 1e-20))
    weight = sum(power for _, power in coherences)
    return ChannelStats(
        level_db_ct=np.concatenate(levels_ct, axis=1),
        correlation_cc=power_cc / np.outer(scale_c, scale_c),
        coherence=sum(value * power for value, power in coherences) / weight if weight else 0.0,
        clipped_share_c=np.mean(clipped, axis=0) if clipped else np.zeros(num),
    )


def _excerpts(recording: Recording) -> Iterator[tuple[Samples, NDArray[np.float64]]]:
    duration = recording.duration
    count = min(_MAX_EXCERPTS, max(1, int(duration / _EXCERPT_S)))
    length = duration if count == 1 else _EXCERPT_S
    starts = np.linspace(0.0, max(0.0, duration - length), count)
    for start in starts:
        with Decoder(
            recording, start=float(start), duration=min(length, 2 * _EXCERPT_S)
        ) as decoder:
            for samples_cn in decoder.blocks(2 * _EXCERPT_S):
                yield samples_cn, decoder.clipped_share_c


def _band_spectra(samples_cn: Samples) -> NDArray[np.complex64]:
    """Give the speech band of the spectra of 100 ms frames, shape (C, T, F)."""
    size = round(FRAME_S * SAMPLE_RATE_HZ)
    if samples_cn.shape[1] < size:
        samples_cn = np.pad(samples_cn, ((0, 0), (0, size - samples_cn.shape[1])))
    frames = samples_cn.shape[1] // size
    window_n = np.hanning(size).astype(np.float32)
    framed_ctn = samples_cn[:, : frames * size].reshape(-1, frames, size) * window_n
    low, high = (round(edge * FRAME_S) for edge in _BAND_HZ)
    spectra_ctf = np.fft.rfft(framed_ctn, axis=2)[:, :, low:high] / (size / 2)
    return np.asarray(spectra_ctf.astype(np.complex64))


def _level_db(spectra_ctf: NDArray[np.complex64]) -> NDArray[np.float64]:
    power_ct = np.sum(np.abs(spectra_ctf.astype(np.complex128)) ** 2, axis=2)
    return np.asarray(np.maximum(10 * np.log10(power_ct + 1e-12), SILENT_DB))


def _coherence(spectra_ctf: NDArray[np.complex64]) -> tuple[float, float]:
    """Give the mean magnitude-squared coherence over pairs, and the power it rests on."""
    fct = spectra_ctf.transpose(2, 0, 1)
    cross_fcc = fct @ fct.conj().transpose(0, 2, 1)
    power_fc = np.real(np.einsum("fcc->fc", cross_fcc))
    both_fcc = np.maximum(power_fc[:, :, None] * power_fc[:, None, :], 1e-20)
    squared_fcc = np.abs(cross_fcc) ** 2 / both_fcc
    pairs = np.triu_indices(fct.shape[1], 1)
    weight_f = power_fc.sum(axis=1)
    total = float(weight_f.sum())
    if total <= 0:
        return 0.0, 0.0
    return float(squared_fcc[:, pairs[0], pairs[1]].mean(axis=1) @ weight_f / total), total
