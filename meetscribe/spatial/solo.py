"""Solo-SF: where a speaker is, learned from a moment in which nobody else speaks.

    turns -> choose_solo -> spans (solo_segments)            who speaks alone where
    reader, spans -> solo_profile -> SoloProfile             the phases of that speaker's place
    reader, turns -> solo_profiles, find_places              the same of everybody
    spectrum, profiles -> solo_features -> SoloFeatures      how well each cell fits each place
    against_others, strongest_others                         a target beside the competitors

No geometry, no position and no voiceprint is needed: in a solo segment the phase differences
between microphones are those that the speaker's place has, reflections included. Nothing is ever
borrowed: a speaker without a solo segment has a plane of zeros and a flag that says so.

Axes: C channel, P pair, F bin, T frame, K speaker, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meetscribe.errors import ShapeError
from meetscribe.spatial.phase import Pair, match_phases, match_planes, unit_phases
from meetscribe.spatial.separate import frame_range
from meetscribe.spatial.solo_segments import SoloForm, SoloSettings, choose_solo, read_finite
from meetscribe.spatial.stft import check_spectrum, stft
from meetscribe.types import Segment, Turn

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.spatial.streams import ChannelReader

Against = Literal["difference", "softmax"]

_SHARPNESS = 10.0
"""Of the softmax: a lead of 0.1 multiplies the odds by e."""
_SECOND = 101
"""Frames of about one second, at the hop of ``FEATURE_STFT``."""
_SCRAPED_TOGETHER_S, _SCRAPED_TRIM_S = 0.5, 0.1
"""Who is never alone for long is learnt from many short moments, of which so much must be left."""


@dataclass(frozen=True, slots=True)
class SoloProfile:
    """What the solo segments of one speaker say about the phases of his place.

    Attributes
    ----------
    sum_fcc : complex128, shape (F, C, C), on the CPU: sum over frames of w z z^H
    weight_fcc : float64, shape (F, C, C): the same sum of the sizes
    form : what w is, and whether reliability counts; see ``profile_of``
    frames : number of frames summed
    """

    sum_fcc: Tensor
    weight_fcc: Tensor
    form: SoloForm
    frames: int

    def __add__(self, other: SoloProfile) -> SoloProfile:
        """Pool two profiles of one speaker: they are sums.

        Raises
        ------
        ShapeError
            If they differ in form, channels or bins.
        """
        if self.form != other.form or self.sum_fcc.shape != other.sum_fcc.shape:
            raise ShapeError(
                f"solo profiles: {self.form} of shape {tuple(self.sum_fcc.shape)} and"
                f" {other.form} of shape {tuple(other.sum_fcc.shape)} cannot be pooled"
            )
        return SoloProfile(
            self.sum_fcc + other.sum_fcc,
            self.weight_fcc + other.weight_fcc,
            self.form,
            self.frames + other.frames,
        )

    def steering(self, pairs: Sequence[Pair]) -> Tensor:
        """Give what ``match_phases`` compares with: complex128, shape (P, F), on the CPU.

        exp(j theta_p), times the reliability in the forms that have one; 0 in silent bins.

        Raises
        ------
        ShapeError
            If a pair names no channel.
        """
        import torch

        num_channels = self.sum_fcc.shape[-1]
        if any(not 0 <= channel < num_channels for pair in pairs for channel in pair):
            raise ShapeError(
                f"solo profile: pairs {list(pairs)}, expected channels below {num_channels}"
            )
        first, second = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).T
        sum_pf = self.sum_fcc[:, first, second].mT
        if self.form in {"power", "phat"}:
            return unit_phases(sum_pf)
        weight_pf = self.weight_fcc[:, first, second].mT
        return torch.where(weight_pf > 0, sum_pf / torch.where(weight_pf > 0, weight_pf, 1), 0)


@dataclass(frozen=True, slots=True)
class SoloFeatures:
    """How well every cell fits the place of every speaker.

    Attributes
    ----------
    feature_ktf : float, shape (K, T, F), or (K, P, T, F) as planes; in [-1, 1]
    present_k : bool, shape (K,): False for a speaker without a solo segment, whose plane is zero
    """

    feature_ktf: Tensor
    present_k: Tensor


def profile_of(stft_cft: Tensor, form: SoloForm = "power") -> SoloProfile:
    """Sum up the phase differences of a spectrum in which one speaker is alone.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (C, F, T): Z of the solo segment
    form : ``power``, C_p = sum Z1 conj(Z2); ``phat``, the same of unit phasors; ``mean-cosine``,
        the mean unit phasor, shorter where phases scatter, so that the feature is the mean of
        cos(IPD - IPD of a solo frame); ``power-reliability``, C_p / sum |Z1 Z2|

    Raises
    ------
    ShapeError
        If ``stft_cft`` is not complex of shape (C, F, T).

    Notes
    -----
    Our own form of the idea of arXiv 2406.09589: the target phase difference of arXiv 2111.11023,
    estimated where only the target speaks; under the multiplicative transfer function model of
    arXiv 2311.00146 it is the phase difference of the room's response.
    """
    import torch

    check_spectrum(stft_cft, "profile_of")
    # a defect of one sample must not spoil the sum
    stft_fct = torch.where(torch.isfinite(stft_cft.abs()), stft_cft, 0).transpose(0, 1)
    if form in {"phat", "mean-cosine"}:
        stft_fct = unit_phases(stft_fct)
    size_fct = stft_fct.abs()
    return SoloProfile(
        (stft_fct @ stft_fct.mH).cpu().to(torch.complex128),
        (size_fct @ size_fct.mT).cpu().to(torch.float64),
        form,
        stft_cft.shape[-1],
    )


def solo_profile(
    reader: ChannelReader,
    spans: Sequence[Segment],
    settings: SoloSettings | None = None,
    *,
    device: str = "cpu",
) -> SoloProfile | None:
    """Read the solo segments of a speaker, one at a time, and sum them up.

    Parameters
    ----------
    reader : all channels of the recording
    spans : of this speaker, as of ``choose_solo``
    settings : ``form`` and ``stft`` are used
    device : torch device that does the work

    Returns
    -------
    None if there are no spans, or nothing but silence in them.

    Raises
    ------
    AudioError
        If the recording cannot be read.
    """
    import torch

    settings = settings or SoloSettings()
    total: SoloProfile | None = None
    for span in spans:
        samples_cn = torch.from_numpy(read_finite(reader, span)).to(device)
        num_samples = samples_cn.shape[1]
        begin, end = frame_range((0, num_samples), num_samples, settings.stft)
        part = profile_of(stft(samples_cn, settings.stft)[..., begin:end], settings.form)
        total = part if total is None else total + part
    return total if total is not None and bool((total.weight_fcc > 0).any()) else None


def solo_profiles(
    reader: ChannelReader,
    turns: Iterable[Turn],
    settings: SoloSettings | None = None,
    *,
    near: Segment | None = None,
    device: str = "cpu",
) -> dict[str, SoloProfile | None]:
    """Choose and read the solo segments of every speaker; None for those who have none.

    Parameters, order and errors as of ``choose_solo`` and ``solo_profile``.
    """
    chosen = choose_solo(turns, settings, near=near, reader=reader)
    return {
        speaker: solo_profile(reader, spans, settings, device=device)
        for speaker, spans in chosen.items()
    }


def find_places(
    reader: ChannelReader,
    turns: Sequence[Turn],
    settings: SoloSettings | None = None,
    *,
    device: str = "cpu",
) -> dict[str, SoloProfile | None]:
    """Learn where every speaker is, whoever is never alone for long included.

    Whoever is never alone as long as the settings ask for is learnt from many shorter moments;
    None for a speaker who is hardly alone at all.

    Parameters, order and errors as of ``solo_profiles``.
    """
    settings = settings or SoloSettings()
    found = solo_profiles(reader, turns, settings, device=device)
    if all(found.values()):
        return found
    short = settings.model_copy(
        update={
            "pick": "concatenated",
            "trim_s": min(settings.trim_s, _SCRAPED_TRIM_S),
            "shortest_s": min(settings.shortest_s, _SCRAPED_TOGETHER_S),
        }
    )
    chosen = choose_solo(turns, short)
    return {
        speaker: profile or solo_profile(reader, chosen[speaker], short, device=device)
        for speaker, profile in found.items()
    }


def solo_features(
    stft_cft: Tensor,
    profiles: Sequence[SoloProfile | None] | Mapping[str, SoloProfile | None],
    pairs: Sequence[Pair],
    *,
    planes: bool = False,
) -> SoloFeatures:
    """Give Solo-SF of every speaker.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (C, F, T): the mixture, made with the settings that
        the profiles were made with
    profiles : of K speakers, None for one without a solo segment
    pairs : P pairs, see ``choose_pairs``, ``channel_pairs``
    planes : a plane per pair, instead of their mean

    Returns
    -------
    float32 or float64, shape (K, T, F), or (K, P, T, F), on the device of ``stft_cft``:
        mean over p of cos(IPD_p - theta_p), times the reliability in the forms that have one

    Raises
    ------
    ShapeError
        If the shapes do not fit together, or a pair names no channel.
    """
    import torch

    check_spectrum(stft_cft, "solo_features")
    listed = list(profiles.values()) if isinstance(profiles, Mapping) else list(profiles)
    _, num_bins, num_frames = stft_cft.shape
    shape = (len(listed), *((len(pairs),) if planes else ()), num_frames, num_bins)
    feature_ktf = torch.zeros(shape, dtype=stft_cft.real.dtype, device=stft_cft.device)
    for feature_tf, profile in zip(feature_ktf, listed, strict=True):
        if profile is None:
            continue
        if profile.sum_fcc.shape[-1] != len(stft_cft):
            raise ShapeError(
                f"solo_features: a profile of {profile.sum_fcc.shape[-1]} channels for a spectrum"
                f" of {len(stft_cft)}"
            )
        match = match_planes if planes else match_phases
        feature_tf.copy_(match(stft_cft, profile.steering(pairs), pairs))
    present_k = torch.tensor([profile is not None for profile in listed], dtype=torch.bool)
    return SoloFeatures(feature_ktf, present_k.to(stft_cft.device))


def against_others(features: SoloFeatures, form: Against = "difference") -> Tensor:
    """Give the feature of every speaker as a target against the others.

    Parameters
    ----------
    features : of K speakers, planes or means
    form : ``difference``, the own feature minus that of the strongest other, see
        ``strongest_others``; ``softmax``, the share of the own one among all, in [0, 1]

    Returns
    -------
    As ``feature_ktf``; zeros for a speaker without a solo segment. Speakers without one are no
    competitors; where no competitor is left the difference is the feature itself, the share 1.
    """
    value_ktf, hidden_k = features.feature_ktf, ~features.present_k
    hidden_k11 = hidden_k.reshape(-1, *[1] * (value_ktf.ndim - 1))
    if form == "softmax":
        odds_ktf = (_SHARPNESS * value_ktf).masked_fill(hidden_k11, -math.inf)
        # without any speaker there is nothing to share
        made_ktf = odds_ktf.softmax(dim=0).nan_to_num(0.0)
    else:
        made_ktf = value_ktf.clone()
        for target in range(len(value_ktf)):
            made_ktf[target] -= strongest_others(features, target, 1).feature_ktf[0]
    return made_ktf.masked_fill(hidden_k11, 0.0)


def strongest_others(
    features: SoloFeatures, target: int, count: int, *, window_frames: int = _SECOND
) -> SoloFeatures:
    """Give the features of the competitors of one target that are most likely talking.

    Parameters
    ----------
    features : of K speakers, planes or means
    target : index of the target, which is left out
    count : competitors wanted
    window_frames : in every frame competitors are ranked by the mean of their feature over this
        many frames around it, one second by default

    Returns
    -------
    SoloFeatures of ``count`` ranks, the strongest first; those for which there is no competitor
    with a solo segment are zero and not present. Which speaker has which index does not matter.

    Raises
    ------
    ShapeError
        If there is no such target, or ``count`` or ``window_frames`` makes no sense.

    Notes
    -----
    The largest value of every cell would be chance too often where some competitors are silent.
    """
    import torch

    value_ktf, rivals_k = features.feature_ktf, features.present_k.clone()
    if not 0 <= target < len(value_ktf) or count < 0 or window_frames < 1:
        raise ShapeError(
            f"strongest_others: target {target} of {len(value_ktf)} speakers, {count} wanted,"
            f" window of {window_frames} frames"
        )
    rivals_k[target] = False
    num = min(count, int(rivals_k.sum()))
    made_ktf = value_ktf.new_zeros((count, *value_ktf.shape[1:]))
    if num and value_ktf.shape[-2]:
        rival_ktf = value_ktf[rivals_k]
        rank_kt = _running_mean(rival_ktf.movedim(-2, 1).flatten(2).mean(dim=2), window_frames)
        order_kt = rank_kt.topk(num, dim=0).indices
        order_kt1 = order_kt.reshape(num, *[1] * (value_ktf.ndim - 3), -1, 1)
        made_ktf[:num] = rival_ktf.gather(0, order_kt1.expand(num, *value_ktf.shape[1:]))
    return SoloFeatures(made_ktf, torch.arange(count, device=value_ktf.device) < num)


def _running_mean(value_kt: Tensor, window: int) -> Tensor:
    """Average over a window of frames, an odd number of them; at the edges over those there are."""
    import torch

    reach = min(window // 2, value_kt.shape[1])
    made_kt: Tensor = torch.nn.functional.avg_pool1d(
        value_kt[None], 2 * reach + 1, 1, reach, count_include_pad=False
    )[0]
    return made_kt
