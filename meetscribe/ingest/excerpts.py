"""Listen to excerpts of a recording, once, and measure how its channels relate.

What is measured serves three decisions: what the channels are (``layout``), which of them make
the mono signal (``mono``), and which of an array can be used (``faults``).

Axes: C channel, E excerpt, N sample, T frame, F bin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.decode import Decoder
from meetscribe.ingest.lags import Lags, measure_lags
from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ, AudioFile, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray


FRAME_S = 0.1
"""Long enough that a sound reaches all microphones of a room within one frame."""
SILENT_DB = -90.0
"""Level of digital silence: below the last bit of 16."""
CLIPPED_SHARE = 0.001
"""From here on clipping is worth a note, and excludes a channel where there are others."""

_EXCERPT_S = 5.0
_MAX_EXCERPTS = 24
_BAND_HZ = (200.0, 4000.0)
_HIGH_HZ = 2000.0
_MOST_COHERENCE_CHANNELS = 8
_AT_PEAK = 0.98
_FLAT = 5e-4
_LEAST_PEAK = 0.02
"""Below, the steps of 16 bits make flat tops of their own."""
_KEPT_SURVEYS = 8


@dataclass(frozen=True)
class Excerpt:
    """A stretch of all channels.

    Parameters
    ----------
    start : seconds
    samples_cn : at 16 kHz
    clipped_share_c : share of the file's samples that stay at full scale
    """

    start: float
    samples_cn: Samples
    clipped_share_c: NDArray[np.float64]


@dataclass(frozen=True)
class ChannelSurvey:
    """How the channels of a recording relate, measured on excerpts.

    Parameters
    ----------
    level_db_ct : shape (C, T), level per 100 ms frame in the speech band, dB of full scale
    excerpt_t : shape (T,), which excerpt a frame belongs to
    correlation_cc : shape (C, C), in [-1, 1], at lag zero in the speech band
    high_correlation_cc : the same from 2 to 4 kHz, where neighbours differ too
    coherence : mean magnitude-squared coherence of channel pairs, in [0, 1]; at most 8 channels
    clipped_share_c : shape (C,), share of samples that stay at full scale, or at the highest
        level there is in the channel
    start_e : shape (E,), seconds, of the excerpts
    lag_s_ec, sharpness_ec, low_correlation_ec : shape (E, C), see ``Lags``; per excerpt, for the
        reference that is its own
    """

    level_db_ct: NDArray[np.float64]
    excerpt_t: NDArray[np.int64]
    correlation_cc: NDArray[np.float64]
    high_correlation_cc: NDArray[np.float64]
    coherence: float
    clipped_share_c: NDArray[np.float64]
    start_e: NDArray[np.float64]
    lag_s_ec: NDArray[np.float64]
    sharpness_ec: NDArray[np.float64]
    low_correlation_ec: NDArray[np.float64]

    @property
    def num_channels(self) -> int:
        """Channels that were measured."""
        return len(self.level_db_ct)

    @property
    def loud_db_c(self) -> NDArray[np.float64]:
        """Level of the loud frames of each channel: the 95th percentile, shape (C,)."""
        return np.asarray(np.percentile(self.level_db_ct, 95, axis=1))

    @property
    def alive_c(self) -> NDArray[np.bool_]:
        """Channels that carry sound: not silent, not 40 dB below the loudest whole one; (C,)."""
        loud_db_c = self.loud_db_c
        # one channel turned up until it clips does not make the others silent
        whole_c = self.clipped_share_c < CLIPPED_SHARE
        loudest_db = float(loud_db_c[whole_c if whole_c.any() else ...].max())
        return np.asarray(loud_db_c > max(SILENT_DB + 5.0, loudest_db - 40.0))

    @property
    def active_t(self) -> NDArray[np.bool_]:
        """Frames with sound in at least one channel, by its own measure; shape (T,)."""
        near_ct = self.level_db_ct > np.maximum(self.loud_db_c[:, None] - 20.0, SILENT_DB + 5.0)
        return np.asarray(near_ct[self.alive_c].any(axis=0))


def survey(recording: Recording) -> ChannelSurvey:
    """Measure up to 24 excerpts of 5 s, evenly spread, or all of a short recording.

    Who asks again gets the same survey, as long as the files have not changed.

    Raises
    ------
    AudioError
        If a file cannot be opened.
    """
    return _survey_files(recording.files, tuple(_stamp(file) for file in recording.files))


def _stamp(file: AudioFile) -> tuple[int, int]:
    try:
        found = Path(file.path).stat()
    except OSError:
        return 0, 0  # reading it will say what is wrong
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=_KEPT_SURVEYS)
def _survey_files(
    files: tuple[AudioFile, ...],
    stamps: tuple[tuple[int, int], ...],  # noqa: ARG001 - tells whether they are the same
) -> ChannelSurvey:
    recording = Recording("", files)
    return measure(excerpts(recording), recording.num_channels)


def measure(heard: Iterable[Excerpt], num_channels: int) -> ChannelSurvey:
    """Measure excerpts, one in memory at a time."""
    near = min(num_channels, _MOST_COHERENCE_CHANNELS)
    levels_ct: list[NDArray[np.float64]] = []
    lags: list[Lags] = []
    starts: list[float] = []
    power_cc, high_power_cc = np.zeros((2, num_channels, num_channels))
    coherences: list[tuple[float, float]] = []
    clipping = _Clipping(num_channels)
    for excerpt in heard:
        spectra_ctf = _band_spectra(excerpt.samples_cn)
        levels_ct.append(_level_db(spectra_ctf))
        power_cc += _products(spectra_ctf)
        high_power_cc += _products(spectra_ctf[:, :, round((_HIGH_HZ - _BAND_HZ[0]) * FRAME_S) :])
        clipping.add(excerpt)
        starts.append(excerpt.start)
        lags.append(measure_lags(excerpt.samples_cn, levels_ct[-1]))
        if near > 1:
            coherences.append(_coherence(spectra_ctf[:near]))
    if not levels_ct:
        levels_ct = [np.full((num_channels, 1), SILENT_DB)]
    weight = sum(power for _, power in coherences)
    return ChannelSurvey(
        level_db_ct=np.concatenate(levels_ct, axis=1),
        excerpt_t=np.repeat(np.arange(len(levels_ct)), [part.shape[1] for part in levels_ct]),
        correlation_cc=_normalised(power_cc),
        high_correlation_cc=_normalised(high_power_cc),
        coherence=sum(value * power for value, power in coherences) / weight if weight else 0.0,
        clipped_share_c=clipping.share_c,
        start_e=np.array(starts),
        lag_s_ec=_rows([part.lag_s_c for part in lags], num_channels),
        sharpness_ec=_rows([part.sharpness_c for part in lags], num_channels),
        low_correlation_ec=_rows([part.low_correlation_c for part in lags], num_channels),
    )


def excerpts(recording: Recording) -> Iterator[Excerpt]:
    """Read excerpts from start to end.

    Raises
    ------
    AudioError
        If a file cannot be opened.
    """
    duration = recording.duration
    count = min(_MAX_EXCERPTS, max(1, int(duration / _EXCERPT_S)))
    length = duration if count == 1 else _EXCERPT_S
    starts = np.linspace(0.0, max(0.0, duration - length), count)
    for start in starts:
        with Decoder(
            recording, start=float(start), duration=min(length, 2 * _EXCERPT_S)
        ) as decoder:
            for samples_cn in decoder.blocks(2 * _EXCERPT_S):
                yield Excerpt(float(start), samples_cn, decoder.clipped_share_c)


class _Clipping:
    """Counts samples at full scale, and those that stay at the channel's own highest level.

    What was clipped before it was turned down has its flat tops below full scale, all at the same
    height; so excerpts that do not get there do not count.
    """

    def __init__(self, num_channels: int) -> None:
        self._full_ec: list[NDArray[np.float64]] = []
        self._flat_ec: list[NDArray[np.float64]] = []
        self._peak_ec: list[NDArray[np.float64]] = []
        self._num_channels = num_channels

    def add(self, excerpt: Excerpt) -> None:
        size_cn = np.abs(excerpt.samples_cn)
        peak_c = size_cn.max(axis=1)
        # both of two neighbours are up there, and on the same side
        up_cn = (size_cn >= _AT_PEAK * peak_c[:, None])[:, 1:]
        still_cn = np.abs(np.diff(excerpt.samples_cn, axis=1)) <= _FLAT * peak_c[:, None]
        self._full_ec.append(excerpt.clipped_share_c)
        self._flat_ec.append(np.mean(up_cn & still_cn, axis=1) * (peak_c > _LEAST_PEAK))
        self._peak_ec.append(peak_c.astype(np.float64))

    @property
    def share_c(self) -> NDArray[np.float64]:
        if not self._full_ec:
            return np.zeros(self._num_channels)
        peak_ec = np.array(self._peak_ec)
        flat_ec = np.array(self._flat_ec) * (peak_ec >= _AT_PEAK * peak_ec.max(axis=0))
        return np.asarray(np.maximum(np.mean(self._full_ec, axis=0), flat_ec.mean(axis=0)))


def _rows(rows: list[NDArray[np.float64]], num_channels: int) -> NDArray[np.float64]:
    return np.stack(rows) if rows else np.zeros((0, num_channels))


def _products(spectra_ctf: NDArray[np.complex64]) -> NDArray[np.float64]:
    flat_cx = spectra_ctf.reshape(len(spectra_ctf), -1)
    return np.asarray(np.real(flat_cx @ flat_cx.conj().T))


def _normalised(power_cc: NDArray[np.float64]) -> NDArray[np.float64]:
    scale_c = np.sqrt(np.maximum(np.diag(power_cc), 1e-20))
    return np.asarray(power_cc / np.outer(scale_c, scale_c))


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
