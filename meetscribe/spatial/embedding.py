"""SpatialEmb: one sequence of vectors that says what one talker says, from all microphones.

    planes -> scale per band -> convolutions that mix channels -> mean -> trunk -> (B, S, D)

What the planes are, and all settings, is in ``embedding_inputs``. Any number of channels may
stand in one batch; what is padding is never computed (channels) or is zero before every layer
that looks across frames (frames), so that an item alone and in a batch gives the same.

Normalisation is over the feature maps of one cell of one channel (LayerNorm). BatchNorm and
GroupNorm average over frames, channels or items, so padding and neighbours would change results,
and what is learned with 8 channels would not hold for 2; a cell normalised by itself knows none
of them, and with the maps last in memory it is one pass.

Maps stand last everywhere, also around convolutions, whose weights see them as "channels last":
on CPUs that is up to five times as fast as the usual order for so few maps.

Axes: B item, C channel, R row (a channel of an item that is there), P plane, H feature map,
T frame (10 ms before the first convolution), F band, S frame of the embedding, D feature.

Notes
-----
Shao, Xu, Khudanpur and Yu 2024, "SpatialEmb", arXiv 2601.18037, of which only the idea is public:
the layers here are our own. Transform-average-concatenate: Luo et al. 2020, arXiv 1910.14104,
written from the description, per cell and with LayerNorm for GroupNorm. Layers of the trunk: Liu
et al. 2022 (ConvNeXt), arXiv 2201.03545, in one dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.spatial.embedding_inputs import (
    FRAMES_PER_S,
    ConvSettings,
    SpatialEmbSettings,
    SpatialPlanes,
)

_COUNTED_S = 4
_LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, slots=True)
class EmbeddingCost:
    """What an embedding costs.

    Attributes
    ----------
    parameters : numbers that are trained
    multiply_adds_per_s : multiplications with an addition, per second of audio, of one target
        Of convolutions and matrices; what is done per value (norms, activations) is not in it.
    """

    parameters: int
    multiply_adds_per_s: int


def cost(settings: SpatialEmbSettings, num_channels: int) -> EmbeddingCost:
    """Count parameters, and multiply-adds as the network really does them.

    Raises
    ------
    ShapeError
        If the topology is ``fixed``, to another number of channels.
    """
    from torch.utils.flop_counter import FlopCounterMode

    shape = (1, num_channels, _COUNTED_S * FRAMES_PER_S, settings.num_bands)
    plane = torch.zeros(shape)
    planes = SpatialPlanes(plane, target_bctf=plane, phase_cos_bctf=plane, phase_sin_bctf=plane)
    # counting must not change what a caller draws next
    with torch.random.fork_rng(devices=()):
        network = SpatialEmb(settings)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(planes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    # an operation is a multiplication or an addition
    return EmbeddingCost(parameters, counter.get_total_flops() // (2 * _COUNTED_S))


class SpatialEmb(nn.Module):
    """The network; ``SpatialPlanes`` in, embedding (B, S, D) out."""

    def __init__(self, settings: SpatialEmbSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or SpatialEmbSettings()
        self.planes = _Planes(settings)
        maps, bands = settings.num_planes * (settings.num_channels or 1), settings.num_bands
        self.convolutions = nn.ModuleList()
        last = len(settings.convolutions) - 1
        for index, conv in enumerate(settings.convolutions):
            mixes = settings.topology in {"tac", "dac"} and index > 0
            mixes = mixes or (settings.topology == "dac-last" and index == last > 0)
            if not mixes:
                self.convolutions.append(_Convolution(maps, conv))
            elif settings.topology == "tac":
                self.convolutions.append(_TacConvolution(maps, conv))
            else:
                self.convolutions.append(_DacConvolution(maps, conv))
            maps, bands = conv.maps, -(-bands // conv.band_stride)
        self.flatten = nn.Linear(bands * maps, settings.trunk_width)
        self.trunk = nn.ModuleList(
            _TrunkLayer(settings.trunk_width, settings.trunk_kernel)
            for _ in range(settings.trunk_layers)
        )
        self.norm = nn.LayerNorm(settings.trunk_width)
        self.output = nn.Linear(settings.trunk_width, settings.width)

    def forward(self, planes: SpatialPlanes) -> Tensor:
        """Give the embedding of every item's target.

        Returns
        -------
        float, shape (B, S, D), S = ceil(T / settings.frame_step)
            Frames that ``frames`` calls padding hold 0.

        Raises
        ------
        ShapeError
            If the planes do not fit together or lack what the settings ask for.
        """
        planes.check(self.settings)
        rows = _Rows.of(planes)
        frames_bt = planes.frames_bt
        x_rtfh = self.planes(planes, rows)
        if self.settings.num_channels is not None:
            x_rtfh, rows = rows.stacked(x_rtfh), rows.merged()
        for convolution in self.convolutions:
            x_rtfh = convolution(x_rtfh, rows, frames_bt)
            frames_bt = _strided(frames_bt, cast("_Convolution", convolution).time_stride)
        e_bsd = self.flatten(rows.mean(x_rtfh).flatten(2))
        for layer in self.trunk:
            e_bsd = layer(e_bsd, frames_bt)
        return _silenced(self.output(self.norm(e_bsd)), frames_bt)

    def frames(self, frames_bt: Tensor) -> Tensor:
        """Give which frames of the embedding are no padding: bool, shape (B, S).

        A frame is there if the frame of 10 ms that it stands at is.
        """
        return frames_bt[:, :: self.settings.frame_step]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The channels that are there, of all items, one after the other.

    ``channels_bc`` is None where all are, which spares a copy of everything.
    """

    num_items: int
    num_channels: int
    channels_bc: Tensor | None
    item_r: Tensor | None

    @classmethod
    def of(cls, planes: SpatialPlanes) -> Self:
        num_items, num_channels = planes.spectral_bctf.shape[:2]
        mask_bc = planes.channels_bc
        if mask_bc is None or bool(mask_bc.all()):
            return cls(num_items, num_channels, None, None)
        return cls(num_items, num_channels, mask_bc, mask_bc.nonzero()[:, 0])

    def merged(self) -> _Rows:
        """Give the rows after all channels of an item became one."""
        return _Rows(self.num_items, 1, None, None)

    def select(self, value_bc: Tensor) -> Tensor:
        """Give the rows (R, ...) of a value per item and channel (B, C, ...)."""
        if self.channels_bc is None:
            return value_bc.flatten(0, 1)
        chosen: Tensor = value_bc[self.channels_bc]
        return chosen

    def spread(self, value_b: Tensor) -> Tensor:
        """Give every row the value of its item: (B, ...) to (R, ...)."""
        if self.item_r is None:
            return value_b.repeat_interleave(self.num_channels, dim=0)
        chosen: Tensor = value_b[self.item_r]
        return chosen

    def mean(self, value_r: Tensor) -> Tensor:
        """Average over the channels of each item: (R, ...) to (B, ...)."""
        if self.channels_bc is None or self.item_r is None:
            return value_r.reshape(self.num_items, self.num_channels, *value_r.shape[1:]).mean(
                dim=1
            )
        sum_b = value_r.new_zeros((self.num_items, *value_r.shape[1:]))
        sum_b = sum_b.index_add(0, self.item_r, value_r)
        count_b = self.channels_bc.sum(dim=1).to(value_r.dtype)
        mean_b: Tensor = sum_b / count_b.reshape(-1, *(1,) * (value_r.ndim - 1))
        return mean_b

    def stacked(self, x_rtfh: Tensor) -> Tensor:
        """Lay the maps of all channels side by side, (B, T, F, C H); 0 for those not there."""
        all_bc = x_rtfh
        if self.channels_bc is not None:
            all_bc = x_rtfh.new_zeros((self.num_items * self.num_channels, *x_rtfh.shape[1:]))
            all_bc = all_bc.masked_scatter(
                self.channels_bc.reshape(-1, 1, 1, 1).expand_as(all_bc), x_rtfh
            )
        made = all_bc.reshape(self.num_items, self.num_channels, *x_rtfh.shape[1:])
        return made.permute(0, 2, 3, 1, 4).flatten(3)


class _Planes(nn.Module):
    """Brings planes to one scale, says which are absent, and where in frequency each band is.

    Convolutions treat all bands alike, but phases mean little in low bands and are ambiguous in
    high ones: hence a scale and a shift per plane and band. A plane that is absent is replaced by
    a learned value, 0 before training: it differs from one that is there and happens to be 0.
    """

    def __init__(self, settings: SpatialEmbSettings) -> None:
        super().__init__()
        self.settings = settings
        shape = (settings.num_bands, settings.num_planes)
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))
        self.absent = nn.Parameter(torch.zeros(shape))

    def forward(self, planes: SpatialPlanes, rows: _Rows) -> Tensor:
        """Give rows (R, T, F, P)."""
        level_rtf = rows.select(planes.spectral_bctf)
        made = [_levelled(level_rtf, rows, planes.frames_bt)]
        is_there = [planes.spectral_bctf.new_ones(rows.num_items, dtype=torch.bool)]
        for plane_bctf, there_b in self._others(planes, is_there[0]):
            made.append(rows.select(plane_bctf))
            is_there.append(there_b)
        there_rp = rows.spread(torch.stack(is_there, dim=-1))[:, None, None]
        # what stands in an absent plane or in padding may be NaN: out before anything is
        # multiplied with it, or it is NaN again in the gradient
        x_rtfp = torch.stack(made, dim=-1).masked_fill(~there_rp, 0.0)
        x_rtfp = _silenced(x_rtfp, planes.frames_bt, rows)
        x_rtfp = torch.where(there_rp, x_rtfp * self.scale + self.shift, self.absent)
        return _silenced(x_rtfp, planes.frames_bt, rows)

    def _others(self, planes: SpatialPlanes, always_b: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Give the planes (B, C, T, F) after the spectrum, each with where it is there (B,)."""
        made: list[tuple[Tensor, Tensor]] = []
        if self.settings.target:
            has = planes.has_target_b
            made.append((cast("Tensor", planes.target_bctf), always_b if has is None else has))
        others = planes.competitors_bkctf
        for index in range(self.settings.num_competitors):
            if others is None or index >= others.shape[1]:
                made.append((torch.zeros_like(planes.spectral_bctf), ~always_b))
                continue
            has = planes.has_competitors_bk
            made.append((others[:, index], always_b if has is None else has[:, index]))
        if self.settings.phase_differences:
            both = (planes.phase_cos_bctf, planes.phase_sin_bctf)
            made += [(cast("Tensor", plane), always_b) for plane in both]
        return made


class _Convolution(nn.Module):
    """A convolution over frames and bands, LayerNorm over the maps of each cell, SiLU."""

    def __init__(self, maps: int, settings: ConvSettings) -> None:
        super().__init__()
        self.time_stride = settings.time_stride
        stride = (settings.time_stride, settings.band_stride)
        self.conv = nn.Conv2d(maps, settings.maps, 3, stride=stride, padding=1)
        self.norm = nn.LayerNorm(settings.maps)

    def forward(self, x_rtfh: Tensor, rows: _Rows, frames_bt: Tensor | None) -> Tensor:
        """Take and give rows (R, T, F, H), 0 in frames of padding."""
        made_rtfh = F.silu(self.norm(self.convolved(x_rtfh, rows, frames_bt)))
        return _silenced(made_rtfh, _strided(frames_bt, self.time_stride), rows)

    def convolved(self, x_rtfh: Tensor, rows: _Rows, frames_bt: Tensor | None) -> Tensor:
        """Mix what is to be mixed, and convolve."""
        del rows, frames_bt  # each channel for itself
        return self.convolve(x_rtfh, self.conv.weight, self.conv.bias)

    def convolve(self, x_rtfh: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve with a part of the weights."""
        x_rhtf = x_rtfh.permute(0, 3, 1, 2)
        made = F.conv2d(x_rhtf, weight, bias, stride=self.conv.stride, padding=1)
        return made.permute(0, 2, 3, 1)


class _DacConvolution(_Convolution):
    """Divide, average, concatenate, then convolve: half the maps are the mean over channels.

    A convolution of two halves is the sum of two convolutions, and that of the mean is the same
    for all channels: done once per item, it leaves little more than half the multiply-adds.
    """

    def convolved(self, x_rtfh: Tensor, rows: _Rows, frames_bt: Tensor | None) -> Tensor:
        """Take rows (R, T, F, H)."""
        del frames_bt  # a mean of zeros is zero
        half = x_rtfh.shape[-1] // 2
        own, shared = self.conv.weight.chunk(2, dim=1)
        mean_btfh = self.convolve(rows.mean(x_rtfh[..., half:]), shared, self.conv.bias)
        return self.convolve(x_rtfh[..., :half], own) + rows.spread(mean_btfh)


class _TacConvolution(_Convolution):
    """Transform, average, concatenate, with learned layers per cell and a residual; convolve."""

    def __init__(self, maps: int, settings: ConvSettings) -> None:
        super().__init__(maps, settings)
        self.mix = _Tac(maps)

    def convolved(self, x_rtfh: Tensor, rows: _Rows, frames_bt: Tensor | None) -> Tensor:
        """Take rows (R, T, F, H)."""
        mixed_rtfh = _silenced(self.mix(x_rtfh, rows), frames_bt, rows)
        return super().convolved(mixed_rtfh, rows, frames_bt)


class _Tac(nn.Module):
    def __init__(self, maps: int) -> None:
        super().__init__()
        self.transform = nn.Linear(maps, maps)
        self.transform_slope = nn.PReLU()
        self.average = nn.Linear(maps, maps)
        self.average_slope = nn.PReLU()
        self.concatenate = nn.Linear(2 * maps, maps)
        self.concatenate_slope = nn.PReLU()
        self.norm = nn.LayerNorm(maps)
        # near the identity at first: training starts as steadily as without mixing
        nn.init.constant_(self.norm.weight, 0.1)

    def forward(self, x_rtfh: Tensor, rows: _Rows) -> Tensor:
        """Take and give rows (R, T, F, H)."""
        own_rtfh = self.transform_slope(self.transform(x_rtfh))
        mean_btfh = self.average_slope(self.average(rows.mean(own_rtfh)))
        # as in ``_DacConvolution``: the half that is the same for all channels is done once
        own, shared = self.concatenate.weight.chunk(2, dim=1)
        shared_btfh = F.linear(mean_btfh, shared, self.concatenate.bias)
        both_rtfh = F.linear(own_rtfh, own) + rows.spread(shared_btfh)
        return cast("Tensor", x_rtfh + self.norm(self.concatenate_slope(both_rtfh)))


class _TrunkLayer(nn.Module):
    """Each feature over some frames, then all features of a frame, added to what came in."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x_bsd: Tensor, frames_bs: Tensor | None) -> Tensor:
        """Take and give (B, S, D)."""
        around_bds = self.depthwise(_silenced(x_bsd, frames_bs).mT)
        inner_bsd = self.narrow(F.gelu(self.widen(self.norm(around_bds.mT))))
        return cast("Tensor", x_bsd + inner_bsd)


def _levelled(level_rtf: Tensor, rows: _Rows, frames_bt: Tensor | None) -> Tensor:
    """Give log spectra with mean 0 and deviation 1 over each item: loudness says nothing.

    Over all its channels, frames and bands together, so that differences between them stay.
    """
    level_rtf = _silenced(level_rtf, frames_bt, rows)
    share_b = level_rtf.new_ones(rows.num_items)
    if frames_bt is not None:
        share_b = frames_bt.to(level_rtf.dtype).mean(dim=1).clamp(min=1 / frames_bt.shape[1])
    mean_b = rows.mean(level_rtf.mean(dim=(1, 2))) / share_b
    centred_rtf = _silenced(level_rtf - rows.spread(mean_b)[:, None, None], frames_bt, rows)
    variance_b = rows.mean(centred_rtf.square().mean(dim=(1, 2))) / share_b
    scale_r = rows.spread(variance_b.clamp(min=_LEAST_VARIANCE).rsqrt())
    return centred_rtf * scale_r[:, None, None]


def _silenced(value: Tensor, frames_bt: Tensor | None, rows: _Rows | None = None) -> Tensor:
    """Give 0 in frames of padding, NaN or not; frames are the second axis of ``value``."""
    if frames_bt is None:
        return value
    there = frames_bt if rows is None else rows.spread(frames_bt)
    return value.masked_fill(~there.reshape(*there.shape, *(1,) * (value.ndim - 2)), 0.0)


def _strided(frames_bt: Tensor | None, stride: int) -> Tensor | None:
    return None if frames_bt is None else frames_bt[:, ::stride]
