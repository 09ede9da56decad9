"""Log mel features as the joint model's encoders were trained on them.

Not those of ``meetscribe.activity.fbank``: here a clip's edges are mirrored instead of cut, and
the highest filter ends at 7600 Hz. Axes: N samples, T frames (10 ms), F mel bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded, pad

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
NUM_BINS = 80
PADDING = math.log(1e-10)
"""What fills a batch behind shorter clips; lower than the floor of the features themselves."""

_FFT_SAMPLES = 512
_LOW_HZ = 20.0
_HIGH_HZ = 7600.0
_PREEMPHASIS = 0.97
_FLOOR = 1.1920928955078125e-07  # float32 epsilon, Kaldi's floor before the logarithm


def num_frames(num_samples: int) -> int:
    """Give the number of frames made of so many samples.

    >>> num_frames(51_200), num_frames(79)
    (320, 0)
    """
    return (num_samples + HOP_SAMPLES // 2) // HOP_SAMPLES


def fbank(samples_n: Tensor) -> Tensor:
    """Give 80 log mel energies per 10 ms frame.

    Parameters
    ----------
    samples_n : float32, shape (N,), N at least 80
        16 kHz, in [-1, 1] (not scaled to 16-bit integers).

    Returns
    -------
    float32, shape (T, 80), T = (N + 80) // 160
        Natural logarithm; no mean subtracted.

    Raises
    ------
    ShapeError
        If the clip is not one-dimensional, or too short for one frame.

    Notes
    -----
    Kaldi ``compute-fbank-feats`` with 25 ms Povey windows every 10 ms, dither 0, edges not
    snipped (the samples are mirrored there), the mean of each frame removed before the
    pre-emphasis of 0.97; power spectrum of 512 points, triangles between 20 Hz and 7600 Hz on the
    scale 1127 ln(1 + f / 700).
    """
    if samples_n.ndim != 1 or num_frames(len(samples_n)) < 1:
        raise ShapeError(f"fbank: expected (N,) with N >= 80, found {tuple(samples_n.shape)}")
    window_n, mel_fb = _constants()
    window_n, mel_fb = window_n.to(samples_n.device), mel_fb.to(samples_n.device)
    frames_tn = _mirrored(samples_n).unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    frames_tn = frames_tn - frames_tn.mean(dim=1, keepdim=True)
    before_tn = torch.cat([frames_tn[:, :1], frames_tn[:, :-1]], dim=1)
    frames_tn = (frames_tn - _PREEMPHASIS * before_tn) * window_n
    power_tb = torch.fft.rfft(frames_tn, n=_FFT_SAMPLES).abs().square()
    made: Tensor = (power_tb[:, :-1] @ mel_fb.T).clamp(min=_FLOOR).log()
    return made


def fbank_batch(clips_n: Sequence[Tensor]) -> Padded:
    """Give the features of several clips, each made alone, in one batch."""
    return pad([fbank(clip_n) for clip_n in clips_n], fill=PADDING)


def _mirrored(samples_n: Tensor) -> Tensor:
    """Lengthen a clip on both sides by its mirror image, the edge sample repeated."""
    num_samples = len(samples_n)
    total = (num_frames(num_samples) - 1) * HOP_SAMPLES + FRAME_SAMPLES
    first = (HOP_SAMPLES - FRAME_SAMPLES) // 2
    index_n = torch.arange(first, first + total, device=samples_n.device) % (2 * num_samples)
    return samples_n[torch.minimum(index_n, 2 * num_samples - 1 - index_n)]


@cache
def _constants() -> tuple[Tensor, Tensor]:
    """Give the Povey window, shape (400,), and the mel triangles, shape (80, 256)."""
    hann_n = torch.hann_window(FRAME_SAMPLES, periodic=False, dtype=torch.float64)
    edges = torch.linspace(_mel(_LOW_HZ), _mel(_HIGH_HZ), NUM_BINS + 2, dtype=torch.float64)
    bins_hz = torch.arange(_FFT_SAMPLES // 2, dtype=torch.float64) * SAMPLE_RATE_HZ / _FFT_SAMPLES
    mel_b = 1127.0 * (1.0 + bins_hz / 700.0).log()
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (mel_b - left) / (centre - left)
    falling = (right - mel_b) / (right - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return hann_n.pow(0.85).float(), triangles.float()


def _mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)
