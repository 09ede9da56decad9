"""Spatial features from room impulse responses (RIR-SF): reverberation is a cue, not a nuisance.

For simulation and for rooms in which responses were measured: it takes the response of every
speaker to every microphone, and suffers much where speakers have moved.

Axes: C channel, P pair, F bin, T frame, K tap (frame of a response), N sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meetscribe.errors import ShapeError
from meetscribe.spatial.phase import FEATURE_STFT, Pair, match_phases, pair_phases
from meetscribe.spatial.stft import StftSettings, stft

if TYPE_CHECKING:
    from torch import Tensor

_ONSET = 0.3
"""Share of a response's highest peak that it first reaches where the direct sound arrives."""


def rir_spectra(rir_cn: Tensor, settings: StftSettings = FEATURE_STFT, *, taps: int = 10) -> Tensor:
    """Give the frames R(0), R(1), ... of the responses of one source.

    Parameters
    ----------
    rir_cn : float32 or float64, shape (..., C, N), at the rate of the spectra
        Axes before C are sources.
    settings : of the spectra that the responses are to be used with
    taps : frames wanted, K

    Returns
    -------
    complex64 or complex128, shape (..., C, F, K)
        The middle of frame 0 is where the direct sound reaches the first of a source's channels;
        what lies before the start or beyond the end is zero.

    Raises
    ------
    ShapeError
        If ``rir_cn`` is not real floating point of shape (..., C, N), N above 0, or ``taps`` is
        below 1.

    Notes
    -----
    One shift for all channels, which keeps their phase differences. arXiv 2311.00146 does not
    say where frame 0 is: with the direct sound at its edge, the window would hide it.
    """
    if rir_cn.ndim < len("CN") or not rir_cn.is_floating_point() or not rir_cn.shape[-1]:
        raise ShapeError(
            f"rir_spectra: expected real responses of shape (..., C, N), found {rir_cn.dtype}"
            f" of shape {tuple(rir_cn.shape)}"
        )
    if taps < 1:
        raise ShapeError(f"rir_spectra: {taps} taps, expected at least 1")
    # frame ``skipped`` is the first one without padding, and begins at sample ``lead``
    skipped = settings.num_frames(0)
    lead = settings.frame_span(skipped)[0]
    length = settings.frame_span(skipped + taps - 1)[1]
    rows_rcn = rir_cn.reshape(math.prod(rir_cn.shape[:-2]), *rir_cn.shape[-2:])
    laid_rcn = rir_cn.new_zeros((*rows_rcn.shape[:2], length))
    for row_cn, laid_cn in zip(rows_rcn, laid_rcn, strict=True):
        begin = _onset(row_cn) - settings.window_samples // 2 - lead
        part_cn = row_cn[:, max(0, begin) : begin + length]
        place = max(0, -begin)
        laid_cn[:, place : place + part_cn.shape[1]] = part_cn
    laid_cn = laid_rcn.reshape(*rir_cn.shape[:-1], length)
    return stft(laid_cn, settings)[..., skipped : skipped + taps]


def rir_steering(rir_cfk: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Give exp(j TPD) of the direct sound, angle R^m1(0) - angle R^m2(0): shape (..., P, F)."""
    return pair_phases(rir_cfk[..., :1], pairs)[..., 0]


def rir_feature(
    stft_cft: Tensor,
    rir_cfk: Tensor,
    pairs: Sequence[Pair],
    *,
    taps: int | None = None,
    average: bool = False,
) -> Tensor:
    """Give RIR-SF: how well every cell, and what follows it, fits the responses of a source.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (..., C, F, T)
    rir_cfk : complex, shape (..., C, F, K), the frames of the responses, as of ``rir_spectra``
        Axes before C are sources; they broadcast with those of ``stft_cft``.
    taps : frames of the responses to use, None for all; 1 makes it SF with the phases of the
        direct sound. Frame t looks ahead to t + taps - 1; after the end there is silence.
    average : divide by P, for a value in [-1, 1]; the paper has the plain sum

    Returns
    -------
    float32 or float64, shape (..., T, F): sum over p of cos(RP^m1 - RP^m2), with
        RP^m(t) = angle of sum over n < taps of Y^m(t + n) conj(R^m(n))

    Raises
    ------
    ShapeError
        If the shapes do not fit together, ``taps`` is not 1 to K, or a pair names no channel.

    Notes
    -----
    arXiv 2311.00146. Where the source is alone, the sum is its own spectrum filtered with the
    correlation of the response with itself, whose phase is 0 in the middle: nearly the same on
    all channels, although they reverberate differently.
    """
    import torch

    taps = rir_cfk.shape[-1] if taps is None else taps
    _check(stft_cft, rir_cfk, taps)
    num_frames = stft_cft.shape[-1]
    ahead_cft = torch.nn.functional.pad(stft_cft, (0, taps - 1))
    conj_cfk = rir_cfk.to(stft_cft.device, stft_cft.dtype).conj()
    # tap by tap: all taps at once would take as many times the memory, and no less time
    made_cft = ahead_cft[..., :num_frames] * conj_cfk[..., :1]
    for tap in range(1, taps):
        made_cft += ahead_cft[..., tap : tap + num_frames] * conj_cfk[..., tap : tap + 1]
    equal_pf = torch.ones(
        (len(pairs), stft_cft.shape[-2]), dtype=made_cft.dtype, device=made_cft.device
    )
    return match_phases(made_cft, equal_pf, pairs, average=average)


def _onset(rir_cn: Tensor) -> int:
    """Give the sample at which the direct sound reaches the first channel; 0 for silence."""
    import torch

    size_cn = rir_cn.abs()
    peak_c1 = size_cn.amax(dim=1, keepdim=True)
    heard_n = ((size_cn >= _ONSET * peak_c1) & (peak_c1 > 0)).any(dim=0)
    return int(heard_n.to(torch.uint8).argmax())


def _check(stft_cft: Tensor, rir_cfk: Tensor, taps: int) -> None:
    found = tuple(stft_cft.shape), tuple(rir_cfk.shape)
    fits = min(stft_cft.ndim, rir_cfk.ndim) >= len("CFT") and found[0][-3:-1] == found[1][-3:-1]
    if not fits or not (stft_cft.is_complex() and rir_cfk.is_complex()):
        raise ShapeError(
            "rir_feature: expected complex spectra of shape (..., C, F, T) and responses of shape"
            f" (..., C, F, K), found {found[0]} and {found[1]}"
        )
    if not 1 <= taps <= rir_cfk.shape[-1]:
        raise ShapeError(f"rir_feature: {taps} taps, expected 1 to {rir_cfk.shape[-1]}")
