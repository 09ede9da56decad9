"""Late reverberation removed by linear prediction over frames: WPE.

Axes: C channel, F bin, T frame, K tap; Q = K * C rows of the past, oldest tap first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.spatial.stft import check_spectrum
from meetscribe.spatial.workers import over_bins

if TYPE_CHECKING:
    from torch import Tensor

_POWER_FLOOR = 1e-10
_LEAST_POWER = 1e-60
_LOADINGS = (1e-13, 1e-10, 1e-7)
"""Shares of the mean power added to the diagonal, the next one where a solution fails.

The first is far below any effect on a live recording; copies of a channel need it.
"""
_TAPS_PER_PRODUCT = 3
"""Taps whose correlations with all later ones are one product; the earlier ones are their mirror
image. Measured: fewer cost more calls, more cost more products."""
_FRAMES_AT_ONCE = 512
"""Frames per product on a CPU: their past in double precision fits the second-level cache."""


class DereverbSettings(Settings):
    """How late reverberation is predicted."""

    taps: int = Field(10, ge=1)
    """Frames of the past, over all channels, that the prediction uses."""
    delay: int = Field(2, ge=1)
    """Frames between the present and the latest one used: what is within it is kept."""
    iterations: int = Field(3, ge=1)
    """Rounds of estimating the power of the speech and the prediction in turn."""
    psd_context: int = Field(0, ge=0)
    """Frames on either side over which the power is averaged."""
    work_mb: float = Field(8.0, gt=0.0)
    """Memory for the past of the bins that are worked on together, per core."""


def dereverberate(
    stft_cft: Tensor,
    settings: DereverbSettings | None = None,
    *,
    statistics: tuple[int, int] | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] = lambda _done: None,
) -> Tensor:
    """Subtract from every channel what can be predicted from the past of all of them.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (C, F, T)
    statistics : frames [begin, end) that the prediction is learned from, None for all; it is
        subtracted from all
    threads : cores to use, None as many as torch has
    progress : called with the share of the bins that are done

    Returns
    -------
    As ``stft_cft``, also in its type; statistics are made in double precision, which the small
    spacing of an array needs below 500 Hz.

    Raises
    ------
    ShapeError
        If ``stft_cft`` is not complex of shape (C, F, T).

    Notes
    -----
    Nakatani et al. 2010, doi:10.1109/TASL.2010.2052251; the iterative offline form with one
    power for all channels of Yoshioka and Nakatani 2012, doi:10.1109/TASL.2012.2210879. Powers
    are floored at 1e-10 of the maximum of the bin; before the start there is silence.
    """
    import torch

    settings = settings or DereverbSettings()
    check_spectrum(stft_cft, "dereverberate")
    num_channels, num_bins, num_frames = stft_cft.shape
    made_cft = torch.empty_like(stft_cft)
    begin, end = statistics or (0, num_frames)
    learned = max(0, begin), min(num_frames, end)
    frames = _FRAMES_AT_ONCE if stft_cft.device.type == "cpu" else 8 * _FRAMES_AT_ONCE
    frames = min(frames, max(1, num_frames))

    def work(bins: slice) -> None:
        stft_fct = stft_cft[:, bins].transpose(0, 1).to(torch.complex128)
        prediction = _Prediction(stft_fct, settings, frames)
        made_cft[:, bins] = prediction.run(*learned).transpose(0, 1)

    over_bins(
        work,
        num_bins,
        bytes_per_bin=32 * (settings.taps + 1) * num_channels * frames,
        work_mb=settings.work_mb,
        device=stft_cft.device,
        threads=threads,
        progress=progress,
    )
    return made_cft


class _Prediction:
    """The iterations on some bins, in double precision."""

    def __init__(self, stft_fct: Tensor, settings: DereverbSettings, frames: int) -> None:
        import torch

        self.stft_fct = stft_fct.contiguous()
        self.settings = settings
        self.frames = frames
        num_bins, self.num_channels, self.num_frames = stft_fct.shape
        reach = settings.delay + settings.taps - 1
        padded_fct = torch.nn.functional.pad(self.stft_fct, (reach, 0))
        # tap k of frame t is frame t - reach + k: a view, in which nothing is copied
        past_fckt = padded_fct.unfold(2, max(1, self.num_frames), 1)[:, :, : settings.taps]
        self.past_fkct = past_fckt.transpose(1, 2)
        rows = (settings.taps + 1) * self.num_channels
        self.work_fqt = stft_fct.new_empty((num_bins, rows, frames))
        self.conj_fqt = torch.empty_like(self.work_fqt)

    def run(self, begin: int, end: int) -> Tensor:
        """Give the dereverberated spectrum, complex128, shape (F, C, T); learn from some frames."""
        made_fct = self.stft_fct[..., begin:end]
        if begin >= end:
            return self.stft_fct
        for iteration in range(self.settings.iterations):
            root_ft = self._root_weight(made_fct)
            filters_fqc = self._solve(*self._correlations(root_ft, begin, end))
            last = iteration == self.settings.iterations - 1
            made_fct = self._subtract(
                filters_fqc, *((0, self.num_frames) if last else (begin, end))
            )
        return made_fct

    def _root_weight(self, made_fct: Tensor) -> Tensor:
        """Give the square root of one over the power of the speech, shape (F, T)."""
        import torch

        power_ft = (made_fct.real.square() + made_fct.imag.square()).mean(dim=1)
        context = self.settings.psd_context
        if context:
            # at the edges the mean is over the frames there are
            power_ft = torch.nn.functional.avg_pool1d(
                power_ft[:, None], 2 * context + 1, 1, context, count_include_pad=False
            )[:, 0]
        floor_f1 = (_POWER_FLOOR * power_ft.amax(dim=1, keepdim=True)).clamp(min=_LEAST_POWER)
        return torch.maximum(power_ft, floor_f1).rsqrt()

    def _correlations(self, root_ft: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Correlate the past with itself, (F, Q, Q), and with the present, (F, Q, C)."""
        import torch

        num_past = self.settings.taps * self.num_channels
        group = _TAPS_PER_PRODUCT * self.num_channels
        work_fqt = self.work_fqt
        sums_fqr = work_fqt.new_zeros((len(work_fqt), num_past, work_fqt.shape[1]))
        for first in range(begin, end, self.frames):
            last = min(first + self.frames, end)
            past_fqt, conj_fqt = work_fqt[..., : last - first], self.conj_fqt[..., : last - first]
            root_f1t = root_ft[:, None, first - begin : last - begin]
            self._fill(past_fqt, first, last, root_f1t)
            torch.mul(self.stft_fct[..., first:last], root_f1t, out=past_fqt[:, num_past:])
            torch.conj_physical(past_fqt, out=conj_fqt)
            for row in range(0, num_past, group):
                rows = slice(row, min(row + group, num_past))
                sums_fqr[:, rows, row:].baddbmm_(past_fqt[:, rows], conj_fqt[:, row:].mT)
        return _mirrored(sums_fqr[:, :, :num_past]), sums_fqr[:, :, num_past:]

    def _fill(self, past_fqt: Tensor, first: int, last: int, factor_f1t: Tensor | None) -> None:
        """Lay out the past of frames [first, last), times a factor per frame."""
        import torch

        view_fkct = self.past_fkct[..., first:last]
        num_bins, num_taps, num_channels, num_frames = view_fkct.shape
        rows_fqt = past_fqt[:, : num_taps * num_channels]
        target_fkct = rows_fqt.view(num_bins, num_taps, num_channels, num_frames)
        if factor_f1t is None:
            target_fkct.copy_(view_fkct)
        else:
            torch.mul(view_fkct, factor_f1t[:, None], out=target_fkct)

    def _solve(self, past_fqq: Tensor, present_fqc: Tensor) -> Tensor:
        """Give the prediction filters, shape (F, Q, C); zeros where there is no solution."""
        import torch

        mean_f = past_fqq.diagonal(dim1=1, dim2=2).real.mean(-1)
        eye_qq = torch.eye(past_fqq.shape[1], dtype=past_fqq.dtype, device=past_fqq.device)
        filters_fqc = torch.zeros_like(present_fqc)
        left = torch.arange(len(past_fqq), device=past_fqq.device)
        for loading in _LOADINGS:
            # a silent bin gets the unit matrix, and with it filters of zero
            load_f = torch.where(mean_f[left] > 0, loading * mean_f[left], 1.0)
            loaded_fqq = past_fqq[left] + load_f[:, None, None] * eye_qq
            lower_fqq, failed_f = torch.linalg.cholesky_ex(loaded_fqq)
            solved_fqc = torch.cholesky_solve(present_fqc[left], lower_fqq)
            good_f = (failed_f == 0) & torch.isfinite(solved_fqc.real).all(-1).all(-1)
            filters_fqc[left[good_f]] = solved_fqc[good_f]
            left = left[~good_f]
            if not len(left):
                break
        return filters_fqc

    def _subtract(self, filters_fqc: Tensor, begin: int, end: int) -> Tensor:
        """Give frames [begin, end) without their prediction, shape (F, C, end - begin)."""
        import torch

        made_fct = torch.empty_like(self.stft_fct[..., begin:end])
        hermitian_fcq = filters_fqc.mH.resolve_conj()
        for first in range(begin, end, self.frames):
            last = min(first + self.frames, end)
            past_fqt = self.work_fqt[:, : filters_fqc.shape[1], : last - first]
            self._fill(past_fqt, first, last, None)
            made_fct[..., first - begin : last - begin] = torch.baddbmm(
                self.stft_fct[..., first:last], hermitian_fcq, past_fqt, alpha=-1
            )
        return made_fct


def _mirrored(upper_fqq: Tensor) -> Tensor:
    """Fill the lower triangle of Hermitian matrices from the upper one."""
    strict_fqq = upper_fqq.triu(1)
    diagonal_fq = upper_fqq.diagonal(dim1=1, dim2=2).real
    return strict_fqq + strict_fqq.mH + diagonal_fq.to(upper_fqq.dtype).diag_embed()
