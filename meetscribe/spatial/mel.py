"""Slaney's mel scale, linear up to 1 kHz, and triangles on it.

Axes: B band, F frequency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27


def triangles(
    num_bands: int, bin_hz: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give triangles equally wide on the mel scale, from 0 Hz to the last bin.

    Parameters
    ----------
    bin_hz : float64, shape (F,), ascending, the last above 1 kHz

    Returns
    -------
    weights : float64, shape (B, F), at most 1
    edge_hz : float64, shape (B + 2,)
        Band b rises from edge b to edge b + 1 and falls to edge b + 2.
    """
    break_mel = _BREAK_HZ / _LINEAR_HZ
    last_mel = break_mel + math.log(bin_hz[-1] / _BREAK_HZ) / _LOG_STEP
    mel_b = np.linspace(0.0, last_mel, num_bands + 2)
    log_hz = _BREAK_HZ * np.exp(_LOG_STEP * (mel_b - break_mel))
    edge_hz = np.where(mel_b < break_mel, _LINEAR_HZ * mel_b, log_hz)
    low, middle, high = edge_hz[:-2, None], edge_hz[1:-1, None], edge_hz[2:, None]
    rise = (bin_hz - low) / (middle - low)
    fall = (high - bin_hz) / (high - middle)
    return np.maximum(0.0, np.minimum(rise, fall)), edge_hz
