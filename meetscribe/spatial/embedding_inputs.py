"""What the embedding of an array hears: its settings, its planes, and what is done to them before.

Light to import; the network itself is in ``embedding``.

A plane is one value per channel, frame of 10 ms and band: the spectrum, and how well each cell's
phases fit the target's or a competitor's solo speech (Solo-SF). The order of channels is free,
but the same in every plane. How a channel gets its Solo-SF is the caller's choice: that of the
pair with one reference channel, or with the channel opposite.

Axes: B batch, C channel, K competitor, T frame (10 ms), F bin or band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.errors import ConfigError, ShapeError
from meetscribe.spatial.mel import triangles
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

Topology = Literal["fixed", "mean", "tac", "dac", "dac-last"]
"""How channels are mixed. ``fixed``: stacked, so tied to their number and order. The others know
neither: ``mean`` averages once, at the end; ``tac`` transforms, averages and concatenates before
every convolution but the first; ``dac`` divides, averages and concatenates there, without
parameters; ``dac-last`` only before the last one."""

FRAMES_PER_S = 100
_LEAST_POWER = 1e-10
_LEAST_WEIGHT = 1e-3


class ConvSettings(Settings):
    """One convolution over 3 frames and 3 bands."""

    maps: int = Field(ge=2)
    """Feature maps it makes."""
    time_stride: Literal[1, 2] = 1
    """2 halves the frames."""
    band_stride: Literal[1, 2] = 2
    """2 halves the bands."""


class SpatialEmbSettings(Settings):
    """Which planes the embedding hears, how it mixes channels, and how large it is.

    Time is halved by the first convolution: what is made has half the frames anyway, three taps
    still see every one of them, and all later layers cost half.
    """

    topology: Topology = "dac"
    """How channels are mixed."""
    num_channels: int | None = Field(None, ge=1)
    """Channels of the ``fixed`` topology; the others take any number."""
    num_bands: int = Field(64, ge=8)
    """Bands of every plane, F."""
    target: bool = True
    """Hear the Solo-SF of the target."""
    num_competitors: int = Field(2, ge=0)
    """Hear the Solo-SF of so many competitors, the strongest first."""
    phase_differences: bool = False
    """Hear the cosine and sine of each channel's phase difference."""
    convolutions: tuple[ConvSettings, ...] = Field(
        (
            ConvSettings(maps=16, time_stride=2),
            ConvSettings(maps=32),
            ConvSettings(maps=64),
            ConvSettings(maps=128),
        ),
        min_length=1,
    )
    """From planes to maps; the time strides make the rate of the embedding, 50 Hz with one."""
    trunk_width: int = Field(256, ge=1)
    """Features of the layers after the channels are one."""
    trunk_layers: int = Field(2, ge=0)
    """Layers after the channels are one; they cost the same for any number of channels."""
    trunk_kernel: int = Field(15, ge=1)
    """Frames, an odd number, that a layer of the trunk sees at once."""
    width: int = Field(512, ge=1)
    """Features of the embedding, D."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.topology == "fixed") != (self.num_channels is not None):
            raise ValueError(
                f"num_channels {self.num_channels} with topology '{self.topology}':"
                " expected a number for 'fixed', none for the others"
            )
        if self.num_competitors and not self.target:
            raise ValueError(f"num_competitors {self.num_competitors} without target")
        odd = [conv.maps for conv in self.convolutions[:-1] if conv.maps % 2]
        if odd and self.topology in {"dac", "dac-last"}:
            raise ValueError(f"convolutions: {odd[0]} maps cannot be divided in two halves")
        if not self.trunk_kernel % 2:
            raise ValueError(f"trunk_kernel {self.trunk_kernel} is even")
        return self

    @property
    def num_planes(self) -> int:
        """Planes of one channel."""
        return 1 + self.target + self.num_competitors + 2 * self.phase_differences

    @property
    def frame_step(self) -> int:
        """Frames of 10 ms to one of the embedding: 2 for 50 Hz, 4 for 25 Hz."""
        return math.prod(conv.time_stride for conv in self.convolutions)

    def num_frames(self, num_frames: int) -> int:
        """Give the frames of the embedding of so many frames of 10 ms: a part counts whole."""
        return -(-num_frames // self.frame_step)


@dataclass(frozen=True, slots=True)
class SpatialPlanes:
    """A batch of what arrays heard, each item with one target speaker.

    Planes that settings do not ask for are ignored, and so is whatever padding holds, NaN
    included. None for a mask means that everything is there.

    Attributes
    ----------
    spectral_bctf : float32, shape (B, C, T, F), log of power or log-mel, to any base and offset
    target_bctf : float32, shape (B, C, T, F), Solo-SF of the target, in [-1, 1]
    competitors_bkctf : float32, shape (B, K, C, T, F), Solo-SF of others, the strongest first
        Fewer than the settings say are the same as absent ones; more are ignored.
    phase_cos_bctf, phase_sin_bctf : float32, shape (B, C, T, F)
    has_target_b : bool, shape (B,), False where the target has no solo speech
    has_competitors_bk : bool, shape (B, K), False where there is no such competitor
    channels_bc : bool, shape (B, C), False where a channel is padding; one is needed
    frames_bt : bool, shape (B, T), False where a frame is padding
    """

    spectral_bctf: Tensor
    target_bctf: Tensor | None = None
    competitors_bkctf: Tensor | None = None
    phase_cos_bctf: Tensor | None = None
    phase_sin_bctf: Tensor | None = None
    has_target_b: Tensor | None = None
    has_competitors_bk: Tensor | None = None
    channels_bc: Tensor | None = None
    frames_bt: Tensor | None = None

    def check(self, settings: SpatialEmbSettings) -> None:
        """Refuse a batch that does not fit together or lacks what the settings ask for.

        Raises
        ------
        ShapeError
            With the plane, what was found and what was expected.
        """
        shape = tuple(self.spectral_bctf.shape)
        if len(shape) != len("BCTF") or not math.prod(shape) or shape[-1] != settings.num_bands:
            raise ShapeError(
                f"embedding: spectral_bctf of shape {shape},"
                f" expected (B, C, T, {settings.num_bands}), nothing empty"
            )
        num_items, num_channels, num_frames, _ = shape
        if settings.num_channels not in {None, num_channels}:
            raise ShapeError(
                f"embedding: {num_channels} channels, expected {settings.num_channels}"
                " for the topology 'fixed'"
            )
        needed = {"target_bctf": settings.target}
        needed |= dict.fromkeys(("phase_cos_bctf", "phase_sin_bctf"), settings.phase_differences)
        for name in (name for name, is_needed in needed.items() if is_needed):
            _check_shape(name, getattr(self, name), shape, needed=True)
        others = self.competitors_bkctf
        num_others = 0 if others is None or others.ndim < 2 else others.shape[1]  # noqa: PLR2004
        _check_shape("competitors_bkctf", others, (num_items, num_others, *shape[1:]))
        _check_shape("has_target_b", self.has_target_b, (num_items,))
        _check_shape("has_competitors_bk", self.has_competitors_bk, (num_items, num_others))
        _check_shape("channels_bc", self.channels_bc, (num_items, num_channels))
        _check_shape("frames_bt", self.frames_bt, (num_items, num_frames))
        if self.channels_bc is not None and not bool(self.channels_bc.any(dim=1).all()):
            raise ShapeError("embedding: channels_bc: an item without a channel, expected one")


def to_bands(planes: SpatialPlanes, num_bands: int) -> SpatialPlanes:
    """Give planes over mel bands of planes over the bins of a spectrum.

    Parameters
    ----------
    planes : over F linearly spaced bins from 0 to 8 kHz
        The spectrum is the natural logarithm of power.

    Returns
    -------
    planes over ``num_bands`` bands, the same masks
        The spectrum is the log of the power in each band; any other plane is averaged over the
        bins of the band, each weighted with its amplitude in that channel.

    Raises
    ------
    ConfigError
        If there are so many bands that one holds no bin.

    Notes
    -----
    Why: convolutions cost as many multiply-adds as there are bands, and 64 of them are a third of
    201 bins; below 1 kHz they are as fine as bins anyway, and above, a recogniser's own input is
    no finer. The weights keep bins without sound, whose phases say nothing, from blurring a band:
    what counts is whose the sound in it is. Amplitude and not power, so that a band is not the
    noisy phase of its one loudest bin. Worth doing before features are kept.
    """
    import torch

    spectral = planes.spectral_bctf
    band_fb = torch.from_numpy(_triangles(num_bands, spectral.shape[-1]).T).to(spectral)
    weight_bctf = (0.5 * spectral).exp()
    total_bctf = (weight_bctf @ band_fb).clamp(min=_LEAST_POWER)

    def averaged(plane: Tensor) -> Tensor:
        return ((plane * weight_bctf) @ band_fb) / total_bctf

    made: dict[str, Tensor] = {
        name: averaged(plane)
        for name in ("target_bctf", "phase_cos_bctf", "phase_sin_bctf")
        if (plane := getattr(planes, name)) is not None
    }
    if planes.competitors_bkctf is not None:
        others_kbctf = planes.competitors_bkctf.transpose(0, 1)
        made["competitors_bkctf"] = averaged(others_kbctf).transpose(0, 1)
    power_bctf = weight_bctf.square() @ band_fb
    made["spectral_bctf"] = power_bctf.clamp(min=_LEAST_POWER).log()
    return replace(planes, **made)


def join(items: Sequence[SpatialPlanes]) -> SpatialPlanes:
    """Join batches of any numbers of channels, frames and competitors into one, with masks.

    Parameters
    ----------
    items : at least one; all have the same kinds of planes and the same bands

    Raises
    ------
    ShapeError
        If there is none, or only some have a plane.
    """
    import torch

    if not items:
        raise ShapeError("embedding: no items to join, expected at least one")
    complete = [_with_masks(item) for item in items]
    most = [max(item.spectral_bctf.shape[axis] for item in items) for axis in (1, 2)]
    others = [item.competitors_bkctf for item in items]
    most_others = max(0 if other is None else other.shape[1] for other in others)
    lengths = {"C": most[0], "T": most[1], "K": most_others}
    made: dict[str, Tensor] = {}
    for field in fields(SpatialPlanes):
        values = [getattr(item, field.name) for item in complete]
        if all(value is None for value in values):
            continue
        if any(value is None for value in values):
            raise ShapeError(f"embedding: only some items have {field.name}, expected all or none")
        axes = field.name.rpartition("_")[2].upper()
        made[field.name] = torch.cat([_padded(value, axes, lengths) for value in values])
    return SpatialPlanes(**made)


def drop_channels(planes: SpatialPlanes, generator: Generator, *, fewest: int = 2) -> SpatialPlanes:
    """Leave out some channels of every item, at random: for training on any number of them.

    Parameters
    ----------
    generator : of the CPU, used for nothing else, so that its state resumes a run exactly
    fewest : every number of channels from this one to all is as likely

    Notes
    -----
    Only planes are left out: a Solo-SF whose pair had a dropped channel as its partner stays.
    Not for the ``fixed`` topology, which is to see all its channels.
    """
    import torch

    shape_bc = planes.spectral_bctf.shape[:2]
    # drawn even where nothing can be dropped: how much is drawn depends on the shape alone
    order_bc = torch.rand(shape_bc, generator=generator)
    share_b = torch.rand(shape_bc[0], generator=generator)
    there_bc = torch.ones(shape_bc, dtype=torch.bool)
    if planes.channels_bc is not None:
        there_bc = planes.channels_bc.cpu()
    count_b = there_bc.sum(dim=1)
    spare_b = (count_b - fewest).clamp(min=0)
    kept_b = count_b - (share_b * (spare_b + 1)).long()
    # ranks among the channels that are there; padding comes last
    rank_bc = order_bc.masked_fill(~there_bc, 2.0).argsort(dim=1).argsort(dim=1)
    kept_bc = there_bc & (rank_bc < kept_b[:, None])
    return replace(planes, channels_bc=kept_bc.to(planes.spectral_bctf.device))


def _check_shape(
    name: str, value: Tensor | None, expected: tuple[int, ...], *, needed: bool = False
) -> None:
    found = None if value is None else tuple(value.shape)
    if found != expected and (needed or value is not None):
        raise ShapeError(f"embedding: {name} of shape {found}, expected {expected}")


def _with_masks(item: SpatialPlanes) -> SpatialPlanes:
    import torch

    spectral, others = item.spectral_bctf, item.competitors_bkctf
    device = spectral.device
    num_items, num_channels, num_frames = spectral.shape[:3]
    if others is None:
        others = spectral.new_zeros((num_items, 0, *spectral.shape[1:]))

    def mask(given: Tensor | None, length: int) -> Tensor:
        if given is not None:
            return given
        return torch.ones((num_items, length), dtype=torch.bool, device=device)

    has_target = item.has_target_b
    if has_target is None:
        has_target = torch.ones(num_items, dtype=torch.bool, device=device)
    return replace(
        item,
        competitors_bkctf=others,
        has_target_b=has_target,
        has_competitors_bk=mask(item.has_competitors_bk, others.shape[1]),
        channels_bc=mask(item.channels_bc, num_channels),
        frames_bt=mask(item.frames_bt, num_frames),
    )


def _padded(value: Tensor, axes: str, lengths: Mapping[str, int]) -> Tensor:
    from torch.nn import functional

    missing = [lengths.get(axis, size) - size for axis, size in zip(axes, value.shape, strict=True)]
    # pairs (before, after), the last axis first
    return functional.pad(value, [n for size in reversed(missing) for n in (0, size)])


@cache
def _triangles(num_bands: int, num_bins: int) -> NDArray[np.float32]:
    """Give the weights, shape (bands, bins), of triangles equally wide on Slaney's mel scale."""
    weights, _ = triangles(num_bands, np.linspace(0.0, SAMPLE_RATE_HZ / 2, num_bins))
    empty = int((weights.sum(axis=1) < _LEAST_WEIGHT).sum())
    if empty:
        raise ConfigError(
            f"{num_bands} bands of {num_bins} bins: {empty} bands hold no bin",
            hint="choose fewer bands, or a longer window",
        )
    return np.asarray(weights, dtype=np.float32)
