"""What sound has between two microphones: phase differences, correlations and delays.

The conventions of all spatial features: the forward transform is exp(-j w t), so that what
arrives later has a more negative phase; a pair is ordered, (m1, m2), and its phase difference is
the angle at m1 minus the angle at m2. Angles are never subtracted: wrapped, they jump where
nothing has changed. What is kept is their cosine and sine.

Axes: C channel, P pair, F bin, T frame, D delay. Spectra are (..., C, F, T) as ``stft`` makes
them, features (..., T, F) as recognisers take them; any number of axes may stand before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meetscribe.errors import AudioError, ConfigError, ShapeError
from meetscribe.spatial.stft import StftSettings
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]
PairChoice = Literal["all", "adjacent", "diametric", "reference"] | tuple[Pair, ...]
"""Which pairs of channels: a rule, or a list. Which one serves best is measured by
``benchmarks/solo_sf.py``."""

FEATURE_STFT = StftSettings(window_samples=400, hop_samples=160, window="hann")
"""Spectrum of features that stand beside a log-mel spectrum: 25 ms every 10 ms, 201 bins."""

_SILENCE = 1e-30
"""Amplitude below which a cell has no phase; the size of what is weaker is not exact."""


def choose_pairs(
    num_channels: int, choice: PairChoice = "all", *, reference: int = 0
) -> tuple[Pair, ...]:
    """Give the pairs of channels (m1, m2) that features are made of.

    Parameters
    ----------
    num_channels : C, at least 2
    choice : ``all`` C (C - 1) / 2 pairs; ``adjacent``, each channel with the next one, the last
        with the first; ``diametric``, each with the one half the channels further, which on a
        circle is opposite (with an odd number, nearly opposite: C pairs); ``reference``, one
        channel with each of the others; or a list of pairs, given back as it is
    reference : channel that ``reference`` starts from

    Raises
    ------
    AudioError
        If there are less than two channels.
    ConfigError
        If a listed pair or the reference names a channel that does not exist, or a channel twice.

    Examples
    --------
    >>> choose_pairs(4, "diametric")
    ((0, 2), (1, 3))
    >>> choose_pairs(3, "reference", reference=1)
    ((1, 0), (1, 2))
    """
    if num_channels < 2:  # noqa: PLR2004 - a pair is two
        raise AudioError(
            f"pairs of microphones: {num_channels} channel, expected at least 2",
            hint="features of place need a recording with several microphones",
        )
    if choice == "all":
        return tuple((i, j) for i in range(num_channels) for j in range(i + 1, num_channels))
    if choice == "adjacent" or choice == "diametric":  # noqa: PLR1714 - what mypy understands
        step = 1 if choice == "adjacent" else num_channels // 2
        # a ring that is stepped through in halves comes back to its first pair
        count = num_channels if num_channels != 2 * step else step
        return tuple((i, (i + step) % num_channels) for i in range(count))
    if choice == "reference":
        _check_pairs(num_channels, ((reference, (reference + 1) % num_channels),))
        return tuple((reference, other) for other in range(num_channels) if other != reference)
    listed = tuple((first, second) for first, second in choice)
    _check_pairs(num_channels, listed)
    return listed


def channel_pairs(num_channels: int, reference: int = 0) -> tuple[Pair, ...]:
    """Pair one channel with every channel, itself included: for features of one plane a channel.

    With itself, the phase difference is 0 and every match 1 where there is sound.

    Raises
    ------
    ConfigError
        If the reference names no channel.
    """
    if not 0 <= reference < num_channels:
        raise ConfigError(f"reference channel {reference}: expected 0 to {num_channels - 1}")
    return tuple((reference, channel) for channel in range(num_channels))


def unit_phases(values: Tensor) -> Tensor:
    """Divide every complex number by its size; zeros, NaN and what is as good as zero give 0."""
    import torch

    size = values.abs()
    heard = (size >= _SILENCE) & (size < math.inf)
    units: Tensor = torch.sgn(values).masked_fill_(~heard, 0)
    return units


def pair_phases(stft_cft: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Give exp(j IPD) of every cell: complex as ``stft_cft``, shape (..., P, F, T).

    0 where one of the channels is silent.

    Raises
    ------
    ShapeError
        If ``stft_cft`` is not complex of shape (..., C, F, T), or a pair names no channel.
    """
    first, second = _split(stft_cft, pairs, "pair_phases")
    unit_cft = unit_phases(stft_cft)
    return unit_cft[..., first, :, :] * unit_cft[..., second, :, :].conj()


def ipd(stft_cft: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Give the inter-channel phase differences as cosines and sines.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (..., C, F, T)

    Returns
    -------
    float32 or float64, shape (..., 2 P, T, F), in [-1, 1]
        The cosines of all pairs, then the sines; both 0 where one of the channels is silent.

    Raises
    ------
    ShapeError
        If ``stft_cft`` is not complex of shape (..., C, F, T), or a pair names no channel.
    """
    import torch

    phase_pft = pair_phases(stft_cft, pairs)
    return torch.cat([phase_pft.real, phase_pft.imag], dim=-3).mT


def match_phases(
    stft_cft: Tensor, steering_pf: Tensor, pairs: Sequence[Pair], *, average: bool = True
) -> Tensor:
    """Tell how well the phases of every cell fit those of one place, over all pairs.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (..., C, F, T)
    steering_pf : complex, shape (..., P, F), at most 1 in size
        exp(j phase difference) of that place per pair, shorter where it is not reliable, 0 where
        it is not known. Axes before P are places; they broadcast with those before C.
    average : divide the sum over the pairs by P

    Returns
    -------
    float32 or float64, shape (..., T, F), in [-1, 1] or, as a sum, [-P, P]
        sum over p of Re(exp(j IPD_p) conj(steering_p)): for unit steering, of the cosines of the
        difference.

    Raises
    ------
    ShapeError
        If the shapes do not fit together, or a pair names no channel.

    Notes
    -----
    The sum is a Hermitian form u^H A u of the phases u of the channels, with the steering of
    pair (i, j) at A[j, i]: two products per bin instead of a plane per pair.
    """
    first, second = _split(stft_cft, pairs, "match_phases")
    num_channels, num_bins = stft_cft.shape[-3], stft_cft.shape[-2]
    _check_steering(steering_pf, len(pairs), num_bins)
    steering_fp = steering_pf.to(stft_cft.device, stft_cft.dtype).mT.conj()
    form_fcc = (
        steering_fp.new_zeros((*steering_fp.shape[:-1], num_channels**2))
        .index_add(-1, second * num_channels + first, steering_fp)
        .reshape(*steering_fp.shape[:-1], num_channels, num_channels)
    )
    unit_fct = unit_phases(stft_cft).transpose(-3, -2)
    seen_fct = form_fcc @ unit_fct
    sum_ft = (unit_fct.real * seen_fct.real + unit_fct.imag * seen_fct.imag).sum(dim=-2)
    # rounding must not break the promise
    made_tf: Tensor = sum_ft.clamp(-len(pairs), len(pairs)).mT
    return made_tf / max(1, len(pairs)) if average else made_tf


def match_planes(stft_cft: Tensor, steering_pf: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Tell for every pair how well its phases fit those of one place, shape (..., P, T, F).

    As ``match_phases``, without the sum.
    """
    phase_pft = pair_phases(stft_cft, pairs)
    _check_steering(steering_pf, len(pairs), stft_cft.shape[-2])
    steering_pf1 = steering_pf.to(stft_cft.device, stft_cft.dtype)[..., None]
    plane_pft = phase_pft.real * steering_pf1.real + phase_pft.imag * steering_pf1.imag
    return plane_pft.clamp(-1.0, 1.0).mT


def delay_grid_s(
    max_delay_s: float, *, interpolation: int = 1, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> list[float]:
    """Give the delays in seconds at which ``gcc_phat`` correlates, ascending, shape (D,).

    ``interpolation`` delays per sample, from ``-max_delay_s`` to ``max_delay_s``, 0 in the middle.

    Raises
    ------
    ConfigError
        If ``max_delay_s`` is negative or no number, or ``interpolation`` is not at least 1.
    """
    if not 0 <= max_delay_s < math.inf or interpolation < 1:
        raise ConfigError(
            f"delays: max_delay_s {max_delay_s}, interpolation {interpolation}: expected at least"
            " 0 seconds and at least 1 delay per sample"
        )
    step_s = 1 / (sample_rate_hz * interpolation)
    # a delay of 3 samples, written in seconds, is not to be lost to rounding
    reach = math.floor(max_delay_s / step_s + 1e-9)
    return [step_s * index for index in range(-reach, reach + 1)]


def gcc_phat(
    stft_cft: Tensor,
    pairs: Sequence[Pair],
    *,
    max_delay_s: float,
    settings: StftSettings | None = None,
    interpolation: int = 1,
    pooled: bool = False,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> Tensor:
    """Correlate pairs of microphones after whitening: generalised cross-correlation, PHAT.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (..., C, F, T)
    max_delay_s : delays from minus this to this, see ``delay_grid_s``
    settings : that ``stft_cft`` was made with
    interpolation : delays per sample
    pooled : give the mean over all frames

    Returns
    -------
    float32 or float64, shape (..., P, D, T), or (..., P, D) if pooled, in [-1, 1]
        D ascends with delay; positive where m2 of the pair (m1, m2) hears later than m1. Silent
        frames give 0.

    Raises
    ------
    ShapeError
        If ``stft_cft`` has not the bins of ``settings``, or a pair names no channel.
    ConfigError
        If the delays make no sense.

    Notes
    -----
    Knapp and Carter 1976, doi:10.1109/TASSP.1976.1162830, PHAT weighting: the inverse transform
    of conj(exp(j IPD)), whole, taken at exactly the delays of the grid. That between samples is
    band-limited interpolation.
    """
    import torch

    settings = settings or StftSettings()
    if stft_cft.ndim < len("CFT") or stft_cft.shape[-2] != settings.num_bins:
        raise ShapeError(
            f"gcc_phat: spectrum of shape {tuple(stft_cft.shape)}, expected (..., C,"
            f" {settings.num_bins}, T) for windows of {settings.window_samples} samples"
        )
    grid_s = delay_grid_s(max_delay_s, interpolation=interpolation, sample_rate_hz=sample_rate_hz)
    phase_pft = pair_phases(stft_cft, pairs)
    if pooled:
        phase_pft = phase_pft.mean(dim=-1, keepdim=True)
    hz_f = torch.from_numpy(settings.bin_hz(sample_rate_hz))
    turn_df = 2 * math.pi * torch.tensor(grid_s, dtype=torch.float64)[:, None] * hz_f
    # bins but the first and, of an even window, the last stand for two of the whole spectrum
    twice_f = torch.full((settings.num_bins,), 2.0, dtype=torch.float64)
    twice_f[0] = 1.0
    if settings.window_samples % 2 == 0:
        twice_f[-1] = 1.0
    share_f = twice_f / settings.window_samples
    real = phase_pft.real.dtype
    cos_df = (turn_df.cos() * share_f).to(stft_cft.device, real)
    sin_df = (turn_df.sin() * share_f).to(stft_cft.device, real)
    made_pdt: Tensor = (cos_df @ phase_pft.real + sin_df @ phase_pft.imag).clamp(-1.0, 1.0)
    return made_pdt[..., 0] if pooled else made_pdt


@dataclass(frozen=True, slots=True)
class PairDelays:
    """How much later the second microphone of each pair hears than the first.

    Attributes
    ----------
    delay_s_p : float64, shape (..., P), seconds
    peak_p : shape (..., P), the correlation there, in [-1, 1]: 1 for one source in a dry room
    """

    delay_s_p: Tensor
    peak_p: Tensor

    def in_samples(self, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Tensor:
        """Give the delays in samples, shape (..., P), with their fractions."""
        return self.delay_s_p * sample_rate_hz


def pair_delays(
    stft_cft: Tensor,
    pairs: Sequence[Pair],
    *,
    max_delay_s: float,
    settings: StftSettings | None = None,
    interpolation: int = 4,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> PairDelays:
    """Find the one delay of every pair that fits all frames best: the peak of ``gcc_phat``.

    A parabola through the peak and its neighbours gives the delay between those of the grid.
    Silence has a delay of 0 and a peak of 0. Parameters and errors as of ``gcc_phat``.
    """
    import torch

    heard_pd = gcc_phat(
        stft_cft,
        pairs,
        max_delay_s=max_delay_s,
        settings=settings,
        interpolation=interpolation,
        pooled=True,
        sample_rate_hz=sample_rate_hz,
    ).to("cpu", torch.float64)
    grid = delay_grid_s(max_delay_s, interpolation=interpolation, sample_rate_hz=sample_rate_hz)
    grid_d = torch.tensor(grid, dtype=torch.float64)
    peak_p1, best_p1 = heard_pd.max(dim=-1, keepdim=True)
    inside_p1 = (best_p1 > 0) & (best_p1 < len(grid) - 1)
    before_p1 = heard_pd.gather(-1, (best_p1 - 1).clamp(min=0))
    after_p1 = heard_pd.gather(-1, (best_p1 + 1).clamp(max=len(grid) - 1))
    bend_p1 = (before_p1 - 2 * peak_p1 + after_p1).clamp(max=-1e-12)
    shift_p1 = torch.where(inside_p1, 0.5 * (before_p1 - after_p1) / bend_p1, 0.0)
    step_s = 1 / (sample_rate_hz * interpolation)
    delay_p1 = grid_d[best_p1] + step_s * shift_p1.clamp(-0.5, 0.5)
    heard_p1 = peak_p1 > 0
    return PairDelays(torch.where(heard_p1, delay_p1, 0.0)[..., 0], peak_p1[..., 0])


def _split(stft_cft: Tensor, pairs: Sequence[Pair], place: str) -> tuple[Tensor, Tensor]:
    """Give the first and the second channel of all pairs, on the device of the spectrum."""
    import torch

    if stft_cft.ndim < len("CFT") or not stft_cft.is_complex():
        raise ShapeError(
            f"{place}: expected a complex spectrum of shape (..., C, F, T), found"
            f" {stft_cft.dtype} of shape {tuple(stft_cft.shape)}"
        )
    num_channels = stft_cft.shape[-3]
    if any(not 0 <= channel < num_channels for pair in pairs for channel in pair):
        raise ShapeError(f"{place}: pairs {list(pairs)}, expected channels below {num_channels}")
    index_2p = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).T.to(stft_cft.device)
    return index_2p[0], index_2p[1]


def _check_steering(steering_pf: Tensor, num_pairs: int, num_bins: int) -> None:
    if tuple(steering_pf.shape[-2:]) != (num_pairs, num_bins) or not steering_pf.is_complex():
        raise ShapeError(
            f"steering: expected complex of shape (..., {num_pairs}, {num_bins}), found"
            f" {steering_pf.dtype} of shape {tuple(steering_pf.shape)}"
        )


def _check_pairs(num_channels: int, pairs: Sequence[Pair]) -> None:
    for first, second in pairs:
        if first == second or not (0 <= first < num_channels and 0 <= second < num_channels):
            raise ConfigError(
                f"pair ({first}, {second}): expected two different channels of 0 to"
                f" {num_channels - 1}"
            )
    if not pairs:
        raise ConfigError("pairs: none listed, expected at least one")
