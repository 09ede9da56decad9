"""Kaldi's log mel energies of frames that are cut already, in plain torch.

Voiceprints and the joint model's encoders were trained on them, with other edges of a clip and
another highest filter each. Axes: N samples of a frame, T frames, F mel bins, B bins.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
NUM_BINS = 80
_FFT_SAMPLES = 512
_LOW_HZ = 20.0
_PREEMPHASIS = 0.97
_FLOOR = 1.1920928955078125e-07  # float32 epsilon, Kaldi's floor before the logarithm


def log_mel_energies(frames_tn: Tensor, *, high_hz: float) -> Tensor:
    """Give 80 log mel energies per frame.

    Parameters
    ----------
    frames_tn : float32, shape (T, 400)
        16 kHz, in [-1, 1] (not scaled to 16-bit integers).
    high_hz : where the highest filter ends

    Returns
    -------
    float32, shape (T, 80)
        Natural logarithm; no mean subtracted.

    Notes
    -----
    Kaldi ``compute-fbank-feats`` with 25 ms Povey windows, dither 0, the mean of each frame removed
    before the pre-emphasis of 0.97; power spectrum of 512 points, triangles between 20 Hz and
    ``high_hz`` on the scale 1127 ln(1 + f / 700).
    """
    import torch

    window_n, mel_fb = _constants(high_hz)
    window_n, mel_fb = window_n.to(frames_tn.device), mel_fb.to(frames_tn.device)
    frames_tn = frames_tn - frames_tn.mean(dim=1, keepdim=True)
    before_tn = torch.cat([frames_tn[:, :1], frames_tn[:, :-1]], dim=1)
    frames_tn = (frames_tn - _PREEMPHASIS * before_tn) * window_n
    power_tb = torch.fft.rfft(frames_tn, n=_FFT_SAMPLES).abs().square()
    made: Tensor = (power_tb[:, :-1] @ mel_fb.T).clamp(min=_FLOOR).log()
    return made


@cache
def _constants(high_hz: float) -> tuple[Tensor, Tensor]:
    """Give the Povey window, shape (400,), and the mel triangles, shape (80, 256)."""
    import torch

    hann_n = torch.hann_window(FRAME_SAMPLES, periodic=False, dtype=torch.float64)
    edges = torch.linspace(_mel(_LOW_HZ), _mel(high_hz), NUM_BINS + 2, dtype=torch.float64)
    bins_hz = torch.arange(_FFT_SAMPLES // 2, dtype=torch.float64) * SAMPLE_RATE_HZ / _FFT_SAMPLES
    mel_b = 1127.0 * (1.0 + bins_hz / 700.0).log()
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (mel_b - left) / (centre - left)
    falling = (right - mel_b) / (right - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return hann_n.pow(0.85).float(), triangles.float()


def _mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)
