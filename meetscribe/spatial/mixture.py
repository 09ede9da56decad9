"""Which source dominates each cell of the spectrum: a guided mixture of directions.

A complex angular central Gaussian mixture per frequency bin (cACGMM): each class is a spatial
covariance, the observations are unit vectors over the channels, and known speaker activity fixes
which class is which speaker.

Axes: C channel, F bin, T frame, K class (speakers in order, then noise if there is one).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.errors import ShapeError
from meetscribe.spatial.stft import check_spectrum
from meetscribe.spatial.workers import over_bins

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 1e-10
"""Of posteriors, of relative eigenvalues, and of what is divided by; as in the reference."""
_LEAST_FORM = 1e-30
"""Floor of y^H B^-1 y, reached only by silent cells; its inverse is finite in single precision."""
_LEAST_POWER = 1e-60
"""Floor of the power of a cell over all channels: silence stays silence."""
_CELL_BYTES = 1200
"""Rough memory of one cell of the spectrum inside the iterations."""


class MixtureSettings(Settings):
    """How the masks are estimated."""

    iterations: int = Field(10, ge=1)
    """M-steps of the EM algorithm; more than 5 change little, 10 is the usual choice."""
    noise_class: bool = True
    """A class beside the speakers that may be active at any time."""
    work_mb: float = Field(24.0, gt=0.0)
    """Memory for the bins that are worked on together, per core; more does not help."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What the mixture model found.

    Attributes
    ----------
    mask_kft : float32, shape (K, F, T), in [0, 1], sums to 1 over K
        Posterior of each class, found without the activity: it may contradict it.
    weight_fk : float32, shape (F, K), mean posterior of each class in the last M-step
    eigenvalues_fkc : float64, shape (F, K, C), ascending, the largest 1
    eigenvectors_fkcc : complex128, shape (F, K, C, C), in columns: B = V diag(eigenvalues) V^H
    """

    mask_kft: Tensor
    weight_fk: Tensor
    eigenvalues_fkc: Tensor
    eigenvectors_fkcc: Tensor


def fit_mixture(
    stft_cft: Tensor,
    activity_kt: Tensor,
    settings: MixtureSettings | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] = lambda _done: None,
) -> Mixture:
    """Estimate which class dominates each cell, guided by who speaks when.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (C, F, T)
    activity_kt : bool, shape (K, T)
        Which class may be active in which frame, the noise class included.
    settings : only ``iterations`` and ``work_mb`` are used
    threads : cores to use, None as many as torch has
    progress : called with the share of the bins that are done

    Raises
    ------
    ShapeError
        If the shapes do not fit together.

    Notes
    -----
    Ito, Araki and Nakatani 2016, doi:10.1109/EUSIPCO.2016.7760429 (the model); Boeddeker et al.
    2018, doi:10.21437/CHiME.2018-8 (the guidance). Starts from the activity as posterior; the
    last E-step drops it, which mends small errors of the activity. Bins are independent.
    """
    import torch

    settings = settings or MixtureSettings()
    _check(stft_cft, activity_kt)
    num_channels, num_bins, num_frames = stft_cft.shape
    num_classes = len(activity_kt)
    device = stft_cft.device
    mask_kft = torch.empty((num_classes, num_bins, num_frames), device=device)
    weight_fk = torch.empty((num_bins, num_classes), device=device)
    shape = (num_bins, num_classes, num_channels)
    values_fkc = torch.empty(shape, dtype=torch.float64, device=device)
    vectors_fkcc = torch.empty((*shape, num_channels), dtype=torch.complex128, device=device)

    def work(bins: slice) -> None:
        fit = _Fit(stft_cft[:, bins].transpose(0, 1), activity_kt)
        fit.run(settings.iterations)
        mask_kft[:, bins] = fit.posterior_fkt.transpose(0, 1)
        weight_fk[bins] = fit.weight_fk
        values_fkc[bins], vectors_fkcc[bins] = fit.values_fkc, fit.vectors_fkcc

    over_bins(
        work,
        num_bins,
        bytes_per_bin=num_frames * _CELL_BYTES,
        work_mb=settings.work_mb,
        device=device,
        threads=threads,
        progress=progress,
    )
    return Mixture(mask_kft, weight_fk, values_fkc, vectors_fkcc)


def _check(stft_cft: Tensor, activity_kt: Tensor) -> None:
    check_spectrum(stft_cft, "mixture")
    fits = activity_kt.ndim == len("KT") and activity_kt.shape[1] == stft_cft.shape[2]
    if not fits or not len(activity_kt):
        raise ShapeError(
            f"mixture: expected activity of shape (K, {stft_cft.shape[2]}), K at least 1,"
            f" found {tuple(activity_kt.shape)}"
        )


class _Fit:
    """The EM algorithm on some bins; cells in single precision, class matrices in double.

    Single precision is enough because the cells are whitened by the covariance of all of them
    first: at low frequencies channels are nearly copies of each other, and what tells the classes
    apart is in their small differences. Matrices and floors are those of the cells as they were.
    """

    def __init__(self, stft_fct: Tensor, activity_kt: Tensor) -> None:
        import torch

        stft_fct = stft_fct.to(torch.complex128)
        power_fct = stft_fct.real.square() + stft_fct.imag.square()
        unit_fct = stft_fct * power_fct.sum(dim=1, keepdim=True).clamp_(min=_LEAST_POWER).rsqrt_()
        self.num_channels = stft_fct.shape[1]
        values_fc, vectors_fcc = torch.linalg.eigh(unit_fct @ unit_fct.mH)
        root_fc = torch.maximum(values_fc, _FLOOR * values_fc[:, -1:]).sqrt()
        # a silent bin has no directions: any finite whitening will do
        root_fc = torch.where(root_fc > 0, root_fc, 1.0)
        self.colour_fcc = vectors_fcc * root_fc[:, None]
        white_fct = (vectors_fcc.mH / root_fc[..., None] @ unit_fct).to(torch.complex64)
        # real arithmetic on [real; imaginary] rows is as fast as complex, and simpler to reduce
        self.parts_fct = torch.cat([white_fct.real, white_fct.imag], dim=1)
        self.outer_fpt = _outer(white_fct)
        guide_kt = torch.zeros(activity_kt.shape, device=activity_kt.device)
        self.guide_kt = guide_kt.masked_fill_(~activity_kt.to(torch.bool), -math.inf)
        start_kt = activity_kt.to(torch.float32).clamp(min=_FLOOR)
        start_kt = start_kt / start_kt.sum(dim=0)
        self.posterior_fkt = start_kt.expand(len(stft_fct), *start_kt.shape)
        self.weight_fk = self.values_fkc = self.vectors_fkcc = stft_fct.new_empty(0)
        self.form_fkt: Tensor | None = None

    def run(self, iterations: int) -> None:
        """Alternate M- and E-steps; the last E-step is neither guided nor clipped."""
        for iteration in range(iterations):
            self._maximise()
            last = iteration == iterations - 1
            self._expect(guided=not last)

    def _maximise(self) -> None:
        """Estimate weights and class matrices from the posteriors."""
        import torch

        self.weight_fk = self.posterior_fkt.mean(dim=2)
        share_fkt = self.posterior_fkt
        if self.form_fkt is not None:
            share_fkt = share_fkt / self.form_fkt
        # the scale (C over the sum of the posteriors) goes away with the normalisation below
        sums_fkp = share_fkt @ self.outer_fpt.mT
        white_fkcc = _hermitian(sums_fkp.to(torch.float64), self.num_channels)
        colour_f1cc = self.colour_fcc[:, None]
        matrix_fkcc = colour_f1cc @ white_fkcc @ colour_f1cc.mH
        matrix_fkcc = (matrix_fkcc + matrix_fkcc.mH) / 2
        # a class without any cell keeps the identity: no direction is likelier than another
        trace_fk11 = matrix_fkcc.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
        eye_cc = torch.eye(self.num_channels, dtype=matrix_fkcc.dtype, device=trace_fk11.device)
        matrix_fkcc = torch.where(trace_fk11 > 0, matrix_fkcc / trace_fk11, eye_cc)
        values_fkc, self.vectors_fkcc = torch.linalg.eigh(matrix_fkcc)
        self.values_fkc = (values_fkc / values_fkc[..., -1:]).clamp(min=_FLOOR)

    def _expect(self, *, guided: bool) -> None:
        """Estimate posteriors from weights and class matrices."""
        import torch

        self.form_fkt = self._quadratic_form()
        log_fk1 = (self.weight_fk.double().log() - self.values_fkc.log().sum(-1))[..., None]
        log_fkt = self.form_fkt.log().mul_(-self.num_channels).add_(log_fk1.float())
        if guided:
            log_fkt += self.guide_kt
        top_f1t = log_fkt.amax(dim=1, keepdim=True)
        # frames in which nobody may be active give no posterior to anybody
        top_f1t = top_f1t.masked_fill_(top_f1t == -math.inf, 0.0)
        posterior_fkt = log_fkt.sub_(top_f1t).exp_()
        total_f1t = posterior_fkt.sum(dim=1, keepdim=True)
        posterior_fkt /= total_f1t.clamp_(min=torch.finfo(torch.float32).tiny)
        self.posterior_fkt = posterior_fkt.clamp_(_FLOOR, 1 - _FLOOR) if guided else posterior_fkt

    def _quadratic_form(self) -> Tensor:
        """Give y^H B^-1 y as the squared length of the whitened y, which cannot be negative."""
        import torch

        num_bins, num_classes, num_channels = self.values_fkc.shape
        white_fkcc = (
            self.vectors_fkcc.mH / self.values_fkc.sqrt()[..., None] @ self.colour_fcc[:, None]
        )
        white_fcc = white_fkcc.reshape(num_bins, num_classes * num_channels, num_channels)
        real_fcc, imag_fcc = white_fcc.real.float(), white_fcc.imag.float()
        upper_fcc = torch.cat([real_fcc, -imag_fcc], dim=2)
        lower_fcc = torch.cat([imag_fcc, real_fcc], dim=2)
        form_fkt = _square_sum(upper_fcc @ self.parts_fct, num_classes)
        form_fkt += _square_sum(lower_fcc @ self.parts_fct, num_classes)
        return form_fkt.clamp_(min=_LEAST_FORM)


def _square_sum(white_fct: Tensor, num_classes: int) -> Tensor:
    num_bins, rows, num_frames = white_fct.shape
    white_fkct = white_fct.view(num_bins, num_classes, rows // num_classes, num_frames)
    total: Tensor = white_fkct.square_().sum(dim=2)
    return total


def _outer(unit_fct: Tensor) -> Tensor:
    """Give the independent real parts of y y^H, shape (F, C * C, T).

    Rows are |y_i|^2, then the real, then the imaginary parts of y_i conj(y_j) for i < j.
    """
    import torch

    upper = torch.triu_indices(unit_fct.shape[1], unit_fct.shape[1], 1, device=unit_fct.device)
    cross_fpt = unit_fct[:, upper[0]] * unit_fct[:, upper[1]].conj()
    power_fct = unit_fct.real.square() + unit_fct.imag.square()
    return torch.cat([power_fct, cross_fpt.real, cross_fpt.imag], dim=1)


def _hermitian(sums_fkp: Tensor, num_channels: int) -> Tensor:
    """Give the Hermitian matrices of which ``sums_fkp`` has the independent real parts."""
    import torch

    upper = torch.triu_indices(num_channels, num_channels, 1, device=sums_fkp.device)
    pairs = upper.shape[1]
    cross_fkp = torch.complex(
        sums_fkp[..., num_channels : num_channels + pairs], sums_fkp[..., num_channels + pairs :]
    )
    shape = (*sums_fkp.shape[:-1], num_channels, num_channels)
    matrix_fkcc = torch.zeros(shape, dtype=cross_fkp.dtype, device=sums_fkp.device)
    matrix_fkcc[..., upper[0], upper[1]] = cross_fkp
    matrix_fkcc[..., upper[1], upper[0]] = cross_fkp.conj()
    diagonal = torch.arange(num_channels, device=sums_fkp.device)
    matrix_fkcc[..., diagonal, diagonal] = sums_fkp[..., :num_channels].to(cross_fkp.dtype)
    return matrix_fkcc
