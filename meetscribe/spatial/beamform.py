"""One filter over the channels that keeps a speaker and removes the rest.

Axes: C channel, F bin, T frame, N sample. The statistics and filters are time-invariant: one per
stretch of signal that they are made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meetscribe.errors import ShapeError
from meetscribe.spatial.stft import check_spectrum

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 1e-10
_LOADING = 1e-12
"""Share of the mean noise power added to the diagonal: harmless, and dead channels are no harm."""


@dataclass(frozen=True, slots=True)
class Beamformer:
    """A filter and how its reference channel was chosen.

    Attributes
    ----------
    weight_fc : complex128, shape (F, C)
        The output is w^H y, see ``apply``.
    reference : channel at which the target is estimated
    snr_c : float64, shape (C,), power ratio of target and noise with each channel as reference
    """

    weight_fc: Tensor
    reference: int
    snr_c: Tensor


def covariance(stft_cft: Tensor, mask_ft: Tensor) -> Tensor:
    """Give the spatial covariance of what a mask lets through, per bin.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (C, F, T)
    mask_ft : float, shape (F, T), in [0, 1]
        Divided by its sum over time (at least 1e-10).

    Returns
    -------
    complex128, shape (F, C, C), Hermitian: sum over t of mask y y^H

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    """
    import torch

    check_spectrum(stft_cft, "covariance")
    if tuple(mask_ft.shape) != tuple(stft_cft.shape[1:]):
        raise ShapeError(
            f"covariance: spectrum {tuple(stft_cft.shape)} and mask {tuple(mask_ft.shape)},"
            " expected (C, F, T) and (F, T)"
        )
    stft_fct = stft_cft.transpose(0, 1)
    weight_f1t = (mask_ft / mask_ft.sum(dim=1, keepdim=True).clamp(min=_FLOOR))[:, None]
    matrix_fcc = ((stft_fct * weight_f1t) @ stft_fct.mH).to(torch.complex128)
    return (matrix_fcc + matrix_fcc.mH) / 2


def souden_mvdr(
    target_fcc: Tensor, noise_fcc: Tensor, *, reference: int | None = None, ban: bool = True
) -> Beamformer:
    """Make the minimum-variance distortionless beamformer from two covariances.

    Parameters
    ----------
    target_fcc, noise_fcc : complex, shape (F, C, C)
        Of the target and of everything else, as made by ``covariance``.
    reference : channel to estimate the target at; None takes the one with the best ratio of
        target to noise power, summed over all bins
    ban : scale every bin by blind analytic normalisation

    Raises
    ------
    ShapeError
        If the shapes do not fit together or ``reference`` is no channel.

    Notes
    -----
    Souden, Benesty and Affes 2010, doi:10.1109/TASL.2009.2025790, eq. 22; the reference as in
    Erdogan et al. 2016, doi:10.21437/Interspeech.2016-552; blind analytic normalisation of
    Warsitz and Haeb-Umbach 2007, doi:10.1109/TASL.2007.898454, without dividing by the number of
    channels.
    """
    import torch

    _check(target_fcc, noise_fcc, reference)
    target_fcc, noise_fcc = target_fcc.to(torch.complex128), noise_fcc.to(torch.complex128)
    ratio_fcc = torch.linalg.solve(_loaded(noise_fcc), target_fcc)
    trace_f = ratio_fcc.diagonal(dim1=1, dim2=2).real.sum(-1)
    filters_fcc = ratio_fcc / trace_f.clamp(min=_FLOOR)[:, None, None]
    snr_c = _power(filters_fcc, target_fcc) / _power(filters_fcc, noise_fcc).clamp(min=1e-300)
    if reference is None:
        reference = int(snr_c.argmax())
    weight_fc = filters_fcc[:, :, reference]
    if ban:
        weight_fc = weight_fc * _ban(weight_fc, noise_fcc)[:, None]
    return Beamformer(weight_fc, reference, snr_c)


def apply(weight_fc: Tensor, stft_cft: Tensor) -> Tensor:
    """Filter a spectrum: w^H y, complex64 or complex128 as ``stft_cft``, shape (F, T)."""
    stft_fct = stft_cft.transpose(0, 1)
    made: Tensor = (weight_fc.conj().to(stft_cft.dtype)[:, None] @ stft_fct)[:, 0]
    return made


def _check(target_fcc: Tensor, noise_fcc: Tensor, reference: int | None) -> None:
    shape = tuple(target_fcc.shape)
    if len(shape) != len("FCC") or shape[1] != shape[2] or tuple(noise_fcc.shape) != shape:
        raise ShapeError(
            "mvdr: expected two covariances of shape (F, C, C), found"
            f" {shape} and {tuple(noise_fcc.shape)}"
        )
    if reference is not None and not 0 <= reference < shape[1]:
        raise ShapeError(f"mvdr: reference channel {reference}, expected 0 to {shape[1] - 1}")


def _loaded(noise_fcc: Tensor) -> Tensor:
    """Add a little to the diagonal, so that the matrix of any signal can be inverted."""
    import torch

    mean_f = noise_fcc.diagonal(dim1=1, dim2=2).real.mean(-1)
    # a bin without noise is divided by the unit matrix; its filter is that of the target alone
    load_f = torch.where(mean_f > 0, _LOADING * mean_f, 1.0)
    eye_cc = torch.eye(noise_fcc.shape[1], dtype=noise_fcc.dtype, device=noise_fcc.device)
    return noise_fcc + load_f[:, None, None] * eye_cc


def _power(filters_fcc: Tensor, matrix_fcc: Tensor) -> Tensor:
    """Give w^H M w summed over the bins for every column w, shape (C,)."""
    import torch

    return torch.einsum("fcr,fcd,fdr->r", filters_fcc.conj(), matrix_fcc, filters_fcc).real


def _ban(weight_fc: Tensor, noise_fcc: Tensor) -> Tensor:
    """Give the factor per bin, shape (F,); 1 where there is no noise to go by."""
    import torch

    seen_fc = (noise_fcc @ weight_fc[..., None])[..., 0]
    top_f = torch.linalg.vector_norm(seen_fc, dim=1)
    bottom_f = (weight_fc.conj() * seen_fc).sum(dim=1).abs()
    return torch.where(bottom_f > 0, top_f / bottom_f.clamp(min=1e-300), 1.0)
