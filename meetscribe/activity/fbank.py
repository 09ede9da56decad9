"""Kaldi-compatible log mel filterbank features in plain torch, as the voiceprint network expects.

Axes: N samples, T frames, F mel bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meetscribe.models.kaldi_fbank import (
    FRAME_SAMPLES,
    HOP_SAMPLES,
    NUM_BINS,
    SAMPLE_RATE_HZ,
    log_mel_energies,
)

if TYPE_CHECKING:
    from torch import Tensor


def fbank(samples_n: Tensor) -> Tensor:
    """Give 80 log mel energies per 10 ms frame.

    Parameters
    ----------
    samples_n : float32, shape (N,)
        16 kHz, in [-1, 1] (not scaled to 16-bit integers).

    Returns
    -------
    float32, shape (T, 80), T = 1 + (N - 400) // 160, 0 if N < 400
        Natural logarithm; no mean subtracted.

    Notes
    -----
    Kaldi ``compute-fbank-feats`` with 25 ms Povey windows every 10 ms, dither 0, edges snipped,
    the mean of each frame removed before the pre-emphasis of 0.97; power spectrum of 512 points,
    triangles between 20 Hz and 8 kHz on the scale 1127 ln(1 + f / 700).
    """
    if len(samples_n) < FRAME_SAMPLES:
        return samples_n.new_zeros((0, NUM_BINS))
    frames_tn = samples_n.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    return log_mel_energies(frames_tn, high_hz=SAMPLE_RATE_HZ / 2)
