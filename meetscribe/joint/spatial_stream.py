"""The third stream: whose place the sound fits, for an array of microphones.

A frame holds, for each of a few speakers, how well the phases between the microphones fit the
place where this speaker was heard alone (Solo-SF), band by band, and whether that place is known.
Nothing of it is trained: its projector is.

Axes: C channel, N sample, K speaker, F bin or band, T frame (10 ms), S frame (20 ms), D value.

Notes
-----
Solo-SF: ``meetscribe.spatial.solo``. The published model has no such stream; this one is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from meetscribe.errors import ShapeError
from meetscribe.ingest import ChannelsInMemory
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.spatial_settings import SpatialStreamSettings
from meetscribe.spatial.embedding_inputs import SpatialPlanes, to_bands
from meetscribe.spatial.phase import FEATURE_STFT, choose_pairs
from meetscribe.spatial.solo import SoloProfile, solo_features, solo_profiles
from meetscribe.spatial.solo_segments import SoloSettings
from meetscribe.spatial.stft import stft
from meetscribe.types import Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP_SAMPLES = 320
_LEAST_POWER = 1e-10
SOLO = SoloSettings(stft=FEATURE_STFT)
"""Solo segments as the stream takes them: the longest run in which a speaker is alone."""


@dataclass(frozen=True, slots=True)
class ArrayClip:
    """A clip of an array: what streams of one signal hear, and what the stream of places hears.

    Parameters
    ----------
    samples_n : float32, shape (N,), the signal for streams that hear one: a channel, or what was
        beamformed or separated
    samples_cn : float32, shape (C, N), all channels of the same time
    places : of the speakers of the clip, in order of first appearance; None for one whose place
        is not known. Empty where nobody's place is known: then C may be 1.

    Raises
    ------
    ShapeError
        If the two are not of the same time.
    """

    samples_n: Tensor
    samples_cn: Tensor
    places: tuple[SoloProfile | None, ...] = ()

    def __post_init__(self) -> None:
        one, several = tuple(self.samples_n.shape), tuple(self.samples_cn.shape)
        if len(one) != len("N") or len(several) != len("CN") or one[0] != several[1]:
            raise ShapeError(f"clip: signals {one} and {several}, expected (N,) and (C, N)")

    def to(self, device: torch.device | str) -> ArrayClip:
        """Give the clip with its signals on a device."""
        return replace(
            self, samples_n=self.samples_n.to(device), samples_cn=self.samples_cn.to(device)
        )


Clip = Tensor | ArrayClip
"""What a joint model hears of a clip: samples, float32, shape (N,), or a clip of an array."""


def array_clip(
    samples_cn: Tensor,
    turns: Iterable[Turn],
    *,
    samples_n: Tensor | None = None,
    profiles: Mapping[str, SoloProfile | None] | None = None,
    solo: SoloSettings = SOLO,
) -> ArrayClip:
    """Make a clip of an array from who speaks when in it.

    Parameters
    ----------
    samples_cn : float32, shape (C, N), 16 kHz
    turns : of the clip; with ``profiles``, on any clock: only who comes first counts
    samples_n : what streams of one signal hear; by default channel 0
    profiles : places of the speakers, learned from a whole meeting with ``solo_profiles``; by
        default they are learned from where ``turns``, on the clip's clock, leave one speaker alone
    solo : which of these moments

    Raises
    ------
    ShapeError
        If the signals are not of the same time.
    """
    ordered = sorted(turns)
    if profiles is None:
        reader = ChannelsInMemory(samples_cn.detach().cpu().float().numpy())
        profiles = solo_profiles(reader, ordered, solo) if len(samples_cn) > 1 else {}
    samples_n = samples_cn[0] if samples_n is None else samples_n
    return ArrayClip(samples_n, samples_cn, places_of(ordered, profiles))


def places_of(
    turns: Iterable[Turn], profiles: Mapping[str, SoloProfile | None]
) -> tuple[SoloProfile | None, ...]:
    """Give the places of those who speak, in the order in which a clip wants them."""
    speakers = dict.fromkeys(turn.speaker for turn in sorted(turns))
    return tuple(profiles.get(speaker) for speaker in speakers)


def profiles_alone(
    alone: Iterable[tuple[str, NDArray[np.float32]]], solo: SoloSettings = SOLO
) -> dict[str, SoloProfile | None]:
    """Learn places from a moment, shape (C, N), of each speaker in which nobody else speaks."""
    profiles: dict[str, SoloProfile | None] = {}
    for speaker, samples_cn in alone:
        reader = ChannelsInMemory(samples_cn)
        profiles |= solo_profiles(reader, [Turn(0.0, reader.duration, speaker)], solo)
    return profiles


def signal_of(clip: Clip) -> Tensor:
    """Give what streams of one signal hear of a clip, shape (N,)."""
    return clip.samples_n if isinstance(clip, ArrayClip) else clip


class SpatialEncoderConfig(SpatialStreamSettings):
    """The settings as the configuration of an encoder."""

    # beside fields that all encoders have
    model_config = ConfigDict(extra="ignore")

    model_type: Literal["spatial"] = "spatial"


class SpatialFrames(nn.Module):
    """An encoder without weights: all of it is in its features, 50 frames a second."""

    def __init__(self, settings: SpatialStreamSettings) -> None:
        super().__init__()
        self.settings = settings
        self.dim = settings.dim

    def features(self, clips: Sequence[Clip]) -> Padded:
        """Give frames of array clips, each made alone, shape (B, S, D).

        Raises
        ------
        ShapeError
            If a clip has one signal only and says nothing of places.
        """
        rows = []
        for number, clip in enumerate(clips):
            if not isinstance(clip, ArrayClip):
                raise ShapeError(
                    f"clip {number}: one signal, expected an ArrayClip: the model hears places",
                    hint="a recording of one microphone is an ArrayClip without places",
                )
            rows.append(solo_frames(clip, self.settings))
        return pad(rows)

    def forward(self, features: Padded) -> Padded:
        """Give the features: there is nothing to be done."""
        return features


def solo_frames(clip: ArrayClip, settings: SpatialStreamSettings) -> Tensor:
    """Give the frames of a clip, float32, shape (S, D), S = ceil(N / 320), in [-1, 1].

    Per speaker the Solo-SF of each band, the mean over two frames, the bins of a band weighted by
    their amplitude (``to_bands``); then 1 if the place is known. Zeros for speakers who are not
    there.

    Raises
    ------
    AudioError
        If there are places and less than two channels.
    ShapeError
        If a place is of another number of channels.
    """
    places = clip.places[: settings.num_speakers]
    steps = -(-clip.samples_cn.shape[1] // _STEP_SAMPLES)
    room = settings.num_bands + 1
    made_skd = clip.samples_cn.new_zeros((steps, settings.num_speakers, room))
    if steps and any(place is not None for place in places):
        stft_cft = stft(clip.samples_cn, FEATURE_STFT)[..., : 2 * steps]
        solo = solo_features(stft_cft, places, choose_pairs(len(stft_cft), settings.pairs))
        power_tf = stft_cft.abs().square().mean(dim=0).mT
        planes = SpatialPlanes(
            power_tf.clamp(min=_LEAST_POWER).log()[None, None],
            competitors_bkctf=solo.feature_ktf[None, :, None],
        )
        banded_ktf = to_bands(planes, settings.num_bands).competitors_bkctf
        if banded_ktf is None:
            raise ShapeError("spatial stream: no plane of a speaker")  # for the type checker
        banded_ktf = banded_ktf[0, :, 0].reshape(len(places), steps, 2, -1).mean(dim=2)
        made_skd[:, : len(places), :-1] = banded_ktf.transpose(0, 1)
        made_skd[:, : len(places), -1] = solo.present_k.to(made_skd)
    return made_skd.flatten(1)
