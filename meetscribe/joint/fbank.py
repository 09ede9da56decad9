"""Log mel features as the joint model's encoders were trained on them.

Not those of ``meetscribe.activity.fbank``: here a clip's edges are mirrored instead of cut, and
the highest filter ends at 7600 Hz. Axes: N samples, T frames (10 ms), F mel bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded, pad
from meetscribe.models.kaldi_fbank import FRAME_SAMPLES, HOP_SAMPLES, log_mel_energies

PADDING = math.log(1e-10)
"""What fills a batch behind shorter clips; lower than the floor of the features themselves."""

_HIGH_HZ = 7600.0


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
    total = (num_frames(len(samples_n)) - 1) * HOP_SAMPLES + FRAME_SAMPLES
    whole_n = mirrored(samples_n, (HOP_SAMPLES - FRAME_SAMPLES) // 2, total)
    frames_tn = whole_n.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    return log_mel_energies(frames_tn, high_hz=_HIGH_HZ)


def fbank_batch(clips_n: Sequence[Tensor]) -> Padded:
    """Give the features of several clips, each made alone, in one batch."""
    return pad([fbank(clip_n) for clip_n in clips_n], fill=PADDING)


def mirrored(samples_n: Tensor, first: int, total: int) -> Tensor:
    """Give so many samples from the first one on; around the clip is its mirror image.

    >>> mirrored(torch.tensor([1.0, 2.0, 3.0]), -1, 6)
    tensor([1., 1., 2., 3., 3., 2.])
    """
    num_samples = len(samples_n)
    index_n = torch.arange(first, first + total, device=samples_n.device) % (2 * num_samples)
    return samples_n[torch.minimum(index_n, 2 * num_samples - 1 - index_n)]
