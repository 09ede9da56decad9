"""How much later each channel hears than another, and whether it hears upside down.

One excerpt at a time; ``alignment`` puts the excerpts together.

Axes: C channel, N sample, T frame, F bin, D lag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_LAG_S = 2.0
SHARP = 8.0
"""A peak over the lags of noise alone comes to 6."""

_BAND_HZ = (200, 4000)
_LOW_BAND_HZ = (100, 500)
"""Where microphones of one array hear nearly the same, also in reverberation."""
_RATE_HZ = 2 * _BAND_HZ[1]
_NEAR_S = 0.0015


@dataclass(frozen=True)
class Lags:
    """What one excerpt says about the lags of its channels.

    Parameters
    ----------
    lag_s_c : seconds by which each channel is later than the reference, in +-2 s; shape (C,)
    sharpness_c : height of the peak that says so, over the root mean square of all lags; noise
        has below 6; shape (C,)
    low_correlation_c : in [-1, 1], with the reference around that lag, 100 to 500 Hz; shape (C,)
    """

    lag_s_c: NDArray[np.float64]
    sharpness_c: NDArray[np.float64]
    low_correlation_c: NDArray[np.float64]


def measure_lags(samples_cn: Samples, level_db_ct: NDArray[np.float64]) -> Lags:
    """Compare every channel with the one that is most like the others.

    Parameters
    ----------
    samples_cn : an excerpt of some seconds at 16 kHz
    level_db_ct : levels of its frames, by which the reference is chosen

    Notes
    -----
    Cross-correlation of whitened spectra (Knapp and Carter 1976,
    doi:10.1109/TASSP.1976.1162830, PHAT) over the whole excerpt, so that reverberation, which
    differs from channel to channel, adds up to noise and not to a broad hill.
    """
    reference = central_channel(level_db_ct)
    seconds = int(np.ceil(samples_cn.shape[1] / SAMPLE_RATE_HZ + MAX_LAG_S))
    # a whole number of seconds: bins are at simple frequencies, and the length has small factors
    spectra_cf = np.fft.rfft(samples_cn, seconds * SAMPLE_RATE_HZ, axis=1)
    cross_cf = _whitened(spectra_cf) * _whitened(spectra_cf[reference]).conj()
    lagged_cd = _over_lags(cross_cf, _BAND_HZ, seconds)
    reach = round(MAX_LAG_S * _RATE_HZ)
    lagged_cd = np.concatenate([lagged_cd[:, -reach:], lagged_cd[:, : reach + 1]], axis=1)
    peak_c = np.argmax(np.abs(lagged_cd), axis=1)
    height_c = np.abs(lagged_cd[np.arange(len(peak_c)), peak_c])
    floor_c = np.sqrt(np.mean(lagged_cd**2, axis=1))
    return Lags(
        lag_s_c=(peak_c - reach) / _RATE_HZ,
        sharpness_c=height_c / np.maximum(floor_c, 1e-12),
        low_correlation_c=_low_correlation(spectra_cf, reference, peak_c - reach, seconds),
    )


def central_channel(level_db_ct: NDArray[np.float64]) -> int:
    """Give the channel whose level goes up and down most like that of the others."""
    moving_ct = level_db_ct - level_db_ct.mean(axis=1, keepdims=True)
    norm_c = np.sqrt(np.sum(moving_ct**2, axis=1))
    alike_cc = moving_ct @ moving_ct.T / np.maximum(np.outer(norm_c, norm_c), 1e-9)
    return int(np.argmax(np.median(alike_cc, axis=1)))


def _whitened(spectra_cf: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    return np.asarray(spectra_cf / np.maximum(np.abs(spectra_cf), 1e-9))


def _over_lags(
    cross_cf: NDArray[np.complexfloating], band_hz: tuple[int, int], seconds: int
) -> NDArray[np.float64]:
    """Transform a band of cross-spectra back, at 8 kHz: lags from 0 on, then those below 0."""
    low, high = (edge * seconds for edge in band_hz)
    band_cf = np.zeros((len(cross_cf), _RATE_HZ // 2 * seconds + 1), cross_cf.dtype)
    band_cf[:, low:high] = cross_cf[:, low:high]
    return np.asarray(np.fft.irfft(band_cf, _RATE_HZ * seconds, axis=1))


def _low_correlation(
    spectra_cf: NDArray[np.complexfloating],
    reference: int,
    lag_c: NDArray[np.int64],
    seconds: int,
) -> NDArray[np.float64]:
    low, high = (edge * seconds for edge in _LOW_BAND_HZ)
    band_cf = spectra_cf[:, low:high]
    power_c = np.sum(np.abs(band_cf) ** 2, axis=1)
    cross_cd = _over_lags(spectra_cf * spectra_cf[reference].conj(), _LOW_BAND_HZ, seconds)
    near = round(_NEAR_S * _RATE_HZ)
    around_cd = lag_c[:, None] + np.arange(-near, near + 1)
    near_cd = np.take_along_axis(cross_cd, around_cd % cross_cd.shape[1], axis=1)
    best_c = np.argmax(np.abs(near_cd), axis=1)
    # irfft halves nothing: a correlation is twice the real part of the sum over positive bins
    scale_c = 2 / (_RATE_HZ * seconds) * np.sqrt(np.maximum(power_c * power_c[reference], 1e-20))
    return np.asarray(near_cd[np.arange(len(best_c)), best_c] / scale_c)
