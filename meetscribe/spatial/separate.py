"""Guided source separation: one enhanced signal per speaker, from all channels and who speaks when.

    samples_cn -> stft -> dereverb (WPE) -> mixture (masks) -> beamform, per turn -> samples_n

No geometry and no positions are needed. This is one block in memory; ``streams`` does it for a
recording of any length.

Axes: C channel, N sample, F bin, T frame, K class (speakers in order, then noise).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.errors import ShapeError
from meetscribe.spatial.beamform import Beamformer, apply, covariance, souden_mvdr
from meetscribe.spatial.dereverb import DereverbSettings, dereverberate
from meetscribe.spatial.mixture import MixtureSettings, fit_mixture
from meetscribe.spatial.stft import StftSettings, istft, stft

if TYPE_CHECKING:
    from torch import Tensor

Span = tuple[int, int]
"""Samples [first, last)."""

_DEREVERB_SHARE = 0.7
"""Share of the time of a block that dereverberation takes, for the progress."""


class SeparationSettings(Settings):
    """How the speakers of a recording are told apart with all its channels."""

    stft: StftSettings = StftSettings()
    """Spectrum that everything works on."""
    dereverb: DereverbSettings | None = DereverbSettings()
    """Dereverberation before all else; None leaves it out."""
    mixture: MixtureSettings = MixtureSettings()
    """Estimation of the masks."""
    block_s: float = Field(60.0, ge=5.0)
    """Seconds that are separated at once, give or take a quarter: cuts are made in pauses."""
    context_s: float = Field(15.0, ge=0.0)
    """Seconds before and after a block that are heard with it."""
    statistics: Literal["turn", "block"] = "turn"
    """A filter for each turn, or one for all turns of a speaker in the block."""
    reference: int | None = Field(None, ge=0)
    """Channel at which the speakers are estimated; None takes the best one for each filter."""
    margin_s: float = Field(0.0, ge=0.0, le=5.0)
    """Seconds before and after each turn that are in the stream too."""


@dataclass(frozen=True, slots=True)
class Separation:
    """What ``separate`` found out about a block, from which each speaker's signal is made.

    Attributes
    ----------
    stft_cft : complex64, shape (C, F, T), dereverberated
    mask_kft : float32, shape (K, F, T), posteriors as in ``mixture.Mixture``
    num_samples : length of the block
    stft : settings of the spectrum
    """

    stft_cft: Tensor
    mask_kft: Tensor
    num_samples: int
    stft: StftSettings

    def beamformer(
        self, source: int, spans: Sequence[Span], *, reference: int | None = None
    ) -> Beamformer:
        """Make the filter for one class from the frames inside some spans of the block.

        Parameters
        ----------
        source : index of the class to keep; all others are the noise
        spans : samples [first, last) whose frames count
        reference : channel to estimate the source at; None chooses

        Raises
        ------
        ShapeError
            If there is no such class or channel, or no span.
        """
        import torch

        if not 0 <= source < len(self.mask_kft) or not spans:
            raise ShapeError(
                f"beamformer: source {source} of {len(self.mask_kft)} with {len(spans)} spans,"
                " expected one that exists and at least one span"
            )
        ranges = [frame_range(span, self.num_samples, self.stft) for span in spans]
        spectrum_cft = torch.cat([self.stft_cft[..., a:b] for a, b in ranges], dim=2)
        mask_kft = torch.cat([self.mask_kft[..., a:b] for a, b in ranges], dim=2)
        target_ft = mask_kft[source]
        noise_ft = mask_kft.sum(dim=0) - target_ft
        return souden_mvdr(
            covariance(spectrum_cft, target_ft),
            covariance(spectrum_cft, noise_ft.clamp(min=0.0)),
            reference=reference,
        )

    def filtered(self, beamformer: Beamformer, span: Span) -> Tensor:
        """Give the samples [first, last) that a filter makes: float32, shape (last - first,)."""
        first, last = span
        begin, end = touched_frames(span, self.stft)
        spectrum_ft = apply(beamformer.weight_fc, self.stft_cft[..., begin:end])
        # frame ``begin`` is the first that touches this sample, as frame 0 touches sample 0
        origin = begin * self.stft.hop_samples
        return istft(spectrum_ft, last - origin, self.stft)[first - origin :]


def separate(
    samples_cn: Tensor,
    activity: Sequence[Sequence[Span]],
    settings: SeparationSettings | None = None,
    *,
    core: Span | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] = lambda _done: None,
) -> Separation:
    """Dereverberate a block and find out which speaker dominates each cell of its spectrum.

    Parameters
    ----------
    samples_cn : float32, shape (C, N), 16 kHz, on the device that is to do the work
        With context: what is wanted is best 15 s away from the edges. NaN and infinite samples
        count as silence.
    activity : per speaker the spans of samples in which it speaks; the spans may overlap others'
    settings : ``stft``, ``dereverb`` and ``mixture`` are used
    core : samples [first, last) without the context, None for all; reverberation, which costs
        most, is learned from them alone, the masks from everything
    threads : cores to use, None as many as torch has
    progress : called with the share that is done

    Raises
    ------
    ShapeError
        If ``samples_cn`` is not of shape (C, N) with at least one channel, or nobody is named.

    Notes
    -----
    Boeddeker et al. 2018, doi:10.21437/CHiME.2018-8; as in Raj, Povey and Khudanpur 2023,
    arXiv 2212.05271, all bins at once, but with one EM for all speakers of the block.
    """
    settings = settings or SeparationSettings()
    if samples_cn.ndim != len("CN") or not len(samples_cn) or not activity:
        raise ShapeError(
            f"separate: expected samples of shape (C, N) and at least one speaker, found"
            f" {tuple(samples_cn.shape)} and {len(activity)}"
        )
    num_samples = samples_cn.shape[1]
    stft_cft = stft(samples_cn.nan_to_num(0.0, 0.0, 0.0), settings.stft)
    share = 0.0
    if settings.dereverb is not None:
        share = _DEREVERB_SHARE
        stft_cft = dereverberate(
            stft_cft,
            settings.dereverb,
            statistics=None if core is None else touched_frames(core, settings.stft),
            threads=threads,
            progress=lambda done: progress(share * done),
        )
    activity_kt = frame_activity(
        activity, num_samples, settings.stft, noise_class=settings.mixture.noise_class
    )
    mixture = fit_mixture(
        stft_cft,
        activity_kt.to(stft_cft.device),
        settings.mixture,
        threads=threads,
        progress=lambda done: progress(share + (1 - share) * done),
    )
    return Separation(stft_cft, mixture.mask_kft, num_samples, settings.stft)


def working_device(device: str) -> str:
    """Give the device that does the work of ``separate`` where ``device`` is asked for."""
    # Apple's GPU has no double precision, which dereverberation needs
    return "cpu" if device == "mps" else device


def frame_activity(
    activity: Sequence[Sequence[Span]],
    num_samples: int,
    settings: StftSettings,
    *,
    noise_class: bool,
) -> Tensor:
    """Tell which class may be active in which frame.

    Returns
    -------
    bool, shape (K, T)
        A frame is active if any sample under its window is; the noise class, the last one,
        always.
    """
    import torch

    num_frames = settings.num_frames(num_samples)
    active_kt = torch.zeros((len(activity) + noise_class, num_frames), dtype=torch.bool)
    for active_t, spans in zip(active_kt, activity, strict=False):
        for span in spans:
            first, last = max(0, span[0]), min(num_samples, span[1])
            if first < last:
                begin, end = touched_frames((first, last), settings)
                active_t[begin:end] = True
    if noise_class:
        active_kt[-1] = True
    return active_kt


def touched_frames(span: Span, settings: StftSettings) -> tuple[int, int]:
    """Give the frames [begin, end) whose windows have any sample of a span."""
    first, last = span
    return first // settings.hop_samples, settings.num_frames(last)


def frame_range(span: Span, num_samples: int, settings: StftSettings) -> tuple[int, int]:
    """Give the frames [begin, end) whose statistics belong to a span, away from its edges.

    A span too short to have one gets all that touch it.
    """
    first, last = max(0, span[0]), min(num_samples, span[1])
    begin = settings.num_frames(first)
    end = settings.num_frames(num_samples) - settings.num_frames(num_samples - last)
    return (begin, end) if begin < end else touched_frames((first, max(first, last)), settings)
