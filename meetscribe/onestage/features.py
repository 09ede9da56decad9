"""Whisper's input: log-mel frames of 10 ms, as many as the signal is long.

Axes: N sample, T frame, F mel bin, C frequency of the transform.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_RATE_HZ = 16_000
_WINDOW, _HOP = 400, 160
STEP_SAMPLES = 2 * _HOP
"""What one frame of the encoder, 20 ms, is made of."""
_RANGE = 8.0
_FLOOR = 1e-10
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27


def log_mel(
    samples_n: NDArray[np.float32] | Tensor, *, num_bins: int = 80, trailing_s: float = 0.0
) -> Tensor:
    """Give the log-mel features of a signal of any length.

    Parameters
    ----------
    samples_n : float32, shape (N,)
        16 kHz. Zeros are added up to a whole number of encoder frames, at least one.
    num_bins : 80, or 128 for Whisper large-v3
    trailing_s : seconds of silence added at the end, see ``TargetWhisperSettings.trailing_s``

    Returns
    -------
    float32, shape (F, T), T = 2 ceil(N / 320), at least 2, and the silence
        Within a range of 2: 80 dB below the loudest bin is the floor.

    Notes
    -----
    As openai/whisper and its descendants compute it: periodic Hann window of 25 ms every 10 ms,
    centred, mirrored at the ends, the last frame dropped; mel triangles of equal area on Slaney's
    scale (linear up to 1 kHz). Here in double precision inside, since the floor lies near the
    rounding errors of single precision.
    """
    import torch

    signal = torch.as_tensor(samples_n).double()
    steps = max(1, -(-len(signal) // STEP_SAMPLES)) + round(trailing_s * _RATE_HZ / STEP_SAMPLES)
    signal = torch.nn.functional.pad(signal, (0, steps * STEP_SAMPLES - len(signal)))
    window_n = torch.hann_window(_WINDOW, dtype=torch.float64, device=signal.device)
    spectrum_ct = torch.stft(signal, _WINDOW, _HOP, window=window_n, return_complex=True)[:, :-1]
    mel_fc = _triangles(num_bins).to(signal.device)
    log_ft = (mel_fc @ spectrum_ct.abs().square()).clamp(min=_FLOOR).log10()
    log_ft = torch.maximum(log_ft, log_ft.max() - _RANGE)
    return ((log_ft + 4.0) / 4.0).float()


@cache
def _triangles(num_bins: int) -> Tensor:
    """Give the mel filters, float64, shape (F, 201)."""
    import torch

    edges_mel = torch.linspace(0.0, _mel(_RATE_HZ / 2), num_bins + 2, dtype=torch.float64)
    linear = edges_mel * _LINEAR_HZ
    curved = _BREAK_HZ * ((edges_mel - _BREAK_HZ / _LINEAR_HZ) * _LOG_STEP).exp()
    edges = torch.where(linear < _BREAK_HZ, linear, curved)
    bins_hz = torch.arange(_WINDOW // 2 + 1, dtype=torch.float64) * _RATE_HZ / _WINDOW
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0) * 2.0 / (right - left)


def _mel(hz: float) -> float:
    return _BREAK_HZ / _LINEAR_HZ + math.log(hz / _BREAK_HZ) / _LOG_STEP
