"""What one recording offers the recogniser of each speaker: planes of place, and a log-mel.

    reader, turns -> FrontEnd                     the place of every speaker, from solo segments
    FrontEnd.hear(region, targets) -> [Hearing]   one per target: planes and mel, frame for frame

Training and transcription go through the same code. A region is read once for all its targets.

Axes: B batch, C channel, K speaker, F bin, band or mel bin, T frame (10 ms), N sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from meetscribe.errors import AudioError, ConfigError, NameNotFoundError, ShapeError
from meetscribe.onestage.adapter_settings import ChannelPairs, FrontEndSettings
from meetscribe.onestage.features import STEP_SAMPLES, log_mel
from meetscribe.spatial.embedding_inputs import SpatialEmbSettings, SpatialPlanes, to_bands
from meetscribe.spatial.phase import FEATURE_STFT, Pair, ipd, unit_phases
from meetscribe.spatial.solo import (
    SoloFeatures,
    SoloProfile,
    solo_profiles,
    strongest_others,
)
from meetscribe.spatial.solo_segments import read_finite
from meetscribe.spatial.stft import stft
from meetscribe.types import Segment, Turn

if TYPE_CHECKING:
    from meetscribe.spatial.streams import ChannelReader

_FEWEST = 2
_LEAST_POWER = 1e-10
_FLOOR_SHARE = 0.1
"""Frames that are quieter than this share of all are the noise."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the recogniser of one target gets of a region.

    ``mel_ft`` is that of ``channel``, with ``trailing_s`` seconds of silence at the end that
    ``planes`` (one item) do not have; before that, frame t of both is the same time, but for the
    2.5 ms by which their windows differ.
    """

    target: str
    channel: int
    mel_ft: Tensor
    planes: SpatialPlanes
    trailing_s: float

    @property
    def has_place(self) -> bool:
        """Whether the target has a solo segment; without one nothing says who the target is."""
        has_b = self.planes.has_target_b
        return has_b is None or bool(has_b[0])


class FrontEnd:
    """All speakers of a recording, as far as their place is known.

    Parameters
    ----------
    reader : all channels, at least two
    turns : who speaks when; solo segments are found in them
    settings : how channels get their features
    embedding : bands, competitors and phases that are asked for
    num_mel_bins, trailing_s : of the recogniser's own input, see ``log_mel``
    device : torch device that does the work
    profiles : of all speakers, made earlier for the same recording; None: they are made here

    Raises
    ------
    AudioError
        If the recording cannot be read or has one channel only.
    ConfigError
        If the solo settings have another spectrum than the features, or are tied to an utterance.
    """

    def __init__(
        self,
        reader: ChannelReader,
        turns: Iterable[Turn],
        settings: FrontEndSettings,
        embedding: SpatialEmbSettings,
        *,
        num_mel_bins: int = 80,
        trailing_s: float = 1.0,
        device: str = "cpu",
        profiles: Mapping[str, SoloProfile | None] | None = None,
    ) -> None:
        if settings.solo.stft != FEATURE_STFT:
            raise ConfigError("front_end.solo.stft: expected the spectrum of the features")
        self._reader, self._settings, self._embedding = reader, settings, embedding
        self._mel = {"num_bins": num_mel_bins, "trailing_s": trailing_s}
        self._trailing_s, self._device = trailing_s, device
        self._profiles = (
            solo_profiles(reader, turns, settings.solo, device=device)
            if profiles is None
            else profiles
        )
        self._steering = {name: _steering(one) for name, one in self._profiles.items() if one}

    @property
    def profiles(self) -> Mapping[str, SoloProfile | None]:
        """The place of every speaker, None where there is no solo segment: worth keeping."""
        return self._profiles

    def hear(self, region: Segment, targets: Sequence[str]) -> list[Hearing]:
        """Give what the recogniser of each target needs of a region.

        Parameters
        ----------
        region : inside the recording
        targets : speakers of the turns

        Returns
        -------
        One per target, in order, on the device. T = 2 ceil(N / 320) frames of planes.

        Raises
        ------
        NameNotFoundError
            If a target is no speaker of this recording.
        AudioError
            If the recording cannot be read, or the region has no sample.
        """
        unknown = [name for name in targets if name not in self._profiles]
        if unknown:
            raise NameNotFoundError(
                f"speaker '{unknown[0]}' has no turn",
                hint=f"there are: {', '.join(self._profiles)}",
            )
        samples_cn = torch.from_numpy(read_finite(self._reader, region)).to(self._device)
        num_channels, num_samples = samples_cn.shape
        if num_channels < _FEWEST or not num_samples:
            raise AudioError(
                f"{region.start:.2f} to {region.end:.2f} s: {num_channels} channels, {num_samples} "
                "samples; expected at least 2 channels and some sound",
                hint="features of place need a recording with several microphones",
            )
        num_frames = 2 * -(-num_samples // STEP_SAMPLES)
        stft_cft = stft(samples_cn, FEATURE_STFT)[..., :num_frames]
        everybody, others = self._banded(stft_cft)
        channels = [self._best_channel(name, stft_cft) for name in targets]
        mels = {channel: log_mel(samples_cn[channel], **self._mel) for channel in set(channels)}  # type: ignore[arg-type]
        return [
            Hearing(
                name,
                channel,
                mels[channel],
                self._planes(name, everybody, others),
                self._trailing_s,
            )
            for name, channel in zip(targets, channels, strict=True)
        ]

    def _banded(self, stft_cft: Tensor) -> tuple[SpatialPlanes, SoloFeatures]:
        """Give spectrum and phases over bands, and the Solo-SF (K, C, T, F) of all speakers."""
        names = list(self._profiles)
        num_channels, num_bins, num_frames = stft_cft.shape
        solo_kctf = stft_cft.real.new_zeros((len(names), num_channels, num_frames, num_bins))
        for plane_ctf, name in zip(solo_kctf, names, strict=True):
            if name in self._steering:
                steering_fcc = self._steering[name].to(stft_cft)
                plane_ctf.copy_(_match(stft_cft, steering_fcc, self._settings.pairs))
        power_ctf = stft_cft.abs().square().mT
        phases: dict[str, Tensor] = {}
        if self._embedding.phase_differences:
            pairs = [(0, channel) for channel in range(num_channels)]
            cos_ctf, sin_ctf = ipd(stft_cft, pairs).chunk(2)
            phases = {"phase_cos_bctf": cos_ctf[None], "phase_sin_bctf": sin_ctf[None]}
        planes = SpatialPlanes(
            power_ctf.clamp(min=_LEAST_POWER).log()[None],
            competitors_bkctf=solo_kctf[None],
            **phases,
        )
        banded = to_bands(planes, self._embedding.num_bands)
        present_k = torch.tensor([name in self._steering for name in names], dtype=torch.bool)
        if banded.competitors_bkctf is None:
            raise ShapeError("front end: no plane of a speaker")  # for the type checker
        return banded, SoloFeatures(banded.competitors_bkctf[0], present_k.to(stft_cft.device))

    def _planes(self, name: str, banded: SpatialPlanes, solo: SoloFeatures) -> SpatialPlanes:
        row = list(self._profiles).index(name)
        rivals = strongest_others(solo, row, self._embedding.num_competitors)
        return replace(
            banded,
            target_bctf=solo.feature_ktf[row][None],
            has_target_b=solo.present_k[row][None],
            competitors_bkctf=rivals.feature_ktf[None],
            has_competitors_bk=rivals.present_k[None],
        )

    def _best_channel(self, name: str, stft_cft: Tensor) -> int:
        """Give the channel in which the target stands out most from the others and from noise.

        By the powers in solo segments, so that neither a microphone's gain nor who talks in the
        region matters; on a compact array all channels are about as good.
        """
        own = self._profiles[name]
        if own is None:
            return 0
        power_ct = stft_cft.abs().square().mean(dim=1)
        noise_c = power_ct.quantile(_FLOOR_SHARE, dim=1).cpu().double()
        others = [one for key, one in self._profiles.items() if key != name and one is not None]
        rivals_c = torch.stack([noise_c, *(_power(one) for one in others)]).sum(dim=0)
        return int((_power(own) / rivals_c.clamp(min=_LEAST_POWER)).argmax())


def _power(profile: SoloProfile) -> Tensor:
    """Give the mean power of every channel, float64, shape (C,)."""
    diagonal_fc = profile.weight_fcc.diagonal(dim1=-2, dim2=-1)
    return diagonal_fc.mean(dim=0) / max(1, profile.frames)


def _steering(profile: SoloProfile) -> Tensor:
    """Give exp(j theta) of all pairs, complex64, shape (F, C, C), 0 on the diagonal."""
    num_channels = profile.sum_fcc.shape[-1]
    grid = range(num_channels)
    pairs: list[Pair] = [(first, second) for first in grid for second in grid]
    steering_pf = profile.steering(pairs)
    steering_fcc = steering_pf.mT.reshape(-1, num_channels, num_channels)
    return (steering_fcc * (1 - torch.eye(num_channels))).to(torch.complex64)


def _match(stft_cft: Tensor, steering_fcc: Tensor, pairs: ChannelPairs) -> Tensor:
    """Give Solo-SF of every channel, shape (C, T, F): cos(IPD - theta), the mean over its pairs.

    The sum over n of Re(u_m u_n* s_mn*) is Re(u_m* sum_n s_mn u_n): one product of matrices for
    all pairs.
    """
    num_channels = len(stft_cft)
    unit_fct = unit_phases(stft_cft).transpose(0, 1)
    if pairs == "reference":
        # cos(IPD - theta) of (m, 0) is that of (0, m); channel 0 with itself fits everywhere
        aligned_fct = steering_fcc[:, :, :1] * unit_fct[:, :1]
        plane_fct = (unit_fct.conj() * aligned_fct).real
        plane_fct[:, 0] = unit_fct[:, 0].abs()
    else:
        plane_fct = (unit_fct.conj() * (steering_fcc @ unit_fct)).real / (num_channels - 1)
    return plane_fct.clamp(-1.0, 1.0).permute(1, 2, 0)
