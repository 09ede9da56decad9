"""Whisper's input: log-mel frames of 10 ms, as many as the signal is long.

Axes: N sample, T frame, F mel bin, C frequency of the transform.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.spatial.mel import triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_RATE_HZ = 16_000
_WINDOW, _HOP = 400, 160
STEP_SAMPLES = 2 * _HOP
"""What one frame of the encoder, 20 ms, is made of."""
_RANGE = 8.0
_FLOOR = 1e-10


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
    mel_fc = _filters(num_bins).to(signal.device)
    log_ft = (mel_fc @ spectrum_ct.abs().square()).clamp(min=_FLOOR).log10()
    log_ft = torch.maximum(log_ft, log_ft.max() - _RANGE)
    return ((log_ft + 4.0) / 4.0).float()


@cache
def _filters(num_bins: int) -> Tensor:
    """Give the mel filters, of equal area, float64, shape (F, 201)."""
    import torch

    bin_hz = np.arange(_WINDOW // 2 + 1, dtype=np.float64) * _RATE_HZ / _WINDOW
    weights, edge_hz = triangles(num_bins, bin_hz)
    return torch.from_numpy(weights * 2.0 / (edge_hz[2:] - edge_hz[:-2])[:, None])
