"""The stacks of a Zipformer at their rates, and the encoder as a whole.

Axes: B batch, T time, S source time, D channel.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded
from meetscribe.joint.fbank import fbank_batch
from meetscribe.joint.zipformer import front_end
from meetscribe.joint.zipformer.attention import relative_positions
from meetscribe.joint.zipformer.config import StackShape, ZipformerConfig
from meetscribe.joint.zipformer.convolution import chunk_blocked
from meetscribe.joint.zipformer.elements import (
    Bypass,
    Downsample,
    all_channels,
    upsample,
    with_channels,
)
from meetscribe.joint.zipformer.front_end import FrontEnd
from meetscribe.joint.zipformer.layers import Layer, Surroundings


class Zipformer(nn.Module):
    """Features at 100 Hz to frames at 25 Hz (40 ms).

    A clip's result depends a little on the clips beside it in a batch: the filling behind shorter
    ones is seen by the front-end and by averages over frames. The published models behave so;
    give one clip at a time where results must not depend on neighbours.
    """

    features = staticmethod(fbank_batch)
    """What this encoder hears of clips: samples, shape (N,), to features."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.dim = max(shape.dim for shape in config.stacks)
        self.num_bins = config.feature_dim
        # counts training batches in published files; nothing here depends on it
        self.register_buffer("model_batch_count", torch.tensor(0.0))
        self.encoder_embed = FrontEnd(config.feature_dim, config.stacks[0].dim)
        self.encoder = Stacks(config)

    def forward(self, features: Padded) -> Padded:
        """Give frames, shape (B, E, dim), E = ((T - 7) // 2 + 1) // 2.

        Raises
        ------
        ShapeError
            If a clip has fewer than 9 frames of features, or the batch is longer than its
            longest clip.
        """
        shape, lens = features.values_btd.shape, features.lens
        if shape[2] != self.num_bins or min(lens) < front_end.MIN_FRAMES or max(lens) != shape[1]:
            raise ShapeError(
                f"zipformer: expected (B, T, {self.num_bins}) with T the longest of lengths of at "
                f"least {front_end.MIN_FRAMES}, found {tuple(shape)} with {list(lens)}"
            )
        frames_btd = self.encoder_embed(features.values_btd)
        frames = Padded(frames_btd, tuple(front_end.num_frames(length) for length in lens))
        made_btd = self.encoder(frames.values_btd, frames.padding_bt())
        return Padded(made_btd, tuple((length + 1) // 2 for length in frames.lens))


class Stacks(nn.Module):
    """All stacks one after another, then half the rate."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.shapes = config.stacks
        self.chunk, self.left_context = config.chunk, config.left_context
        self.encoders = nn.ModuleList(
            SlowStack(shape) if shape.factor > 1 else Stack(shape) for shape in self.shapes
        )
        self.downsample_output = Downsample(config.output_downsampling_factor)

    def forward(self, x_btd: Tensor, padding_bt: Tensor) -> Tensor:
        """Give frames at 25 Hz of frames at 50 Hz."""
        blocked_bts = padding_bt[:, None]
        if self.chunk > 0:
            blocked_bts = blocked_bts | chunk_blocked(
                x_btd.shape[1],
                chunk=self.chunk,
                left_context=self.left_context,
                device=x_btd.device,
            )
        outputs = []
        for shape, stack in zip(self.shapes, self.encoders, strict=True):
            around = self._at_rate(padding_bt, blocked_bts, shape)
            x_btd = stack(with_channels(x_btd, shape.dim), around)
            outputs.append(x_btd)
        made: Tensor = self.downsample_output(all_channels(outputs))
        return made

    def _at_rate(self, padding_bt: Tensor, blocked_bts: Tensor, shape: StackShape) -> Surroundings:
        """Give the masks of a stack: those of the first frame of each block."""
        factor = shape.factor
        slow_bt = padding_bt[:, ::factor]
        if blocked_bts.shape[1] > 1:
            blocked_bts = blocked_bts[:, ::factor]
        return Surroundings(
            positions_rd=relative_positions(slow_bt.shape[1], shape.pos_dim).to(slow_bt.device),
            padding_bt=slow_bt,
            blocked_bts=blocked_bts[..., ::factor],
            chunk=self.chunk // factor if self.chunk > 0 else -1,
        )


class Stack(nn.Module):
    """Layers at one rate."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, x_btd: Tensor, around: Surroundings) -> Tensor:
        """Give the same shape."""
        for layer in self.layers:
            x_btd = layer(x_btd, around)
        return x_btd


class SlowStack(nn.Module):
    """A stack that works at a lower rate than its neighbours see."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.downsample = Downsample(shape.factor)
        self.encoder = Stack(shape)
        self.out_combiner = Bypass(shape.dim)

    def forward(self, x_btd: Tensor, around: Surroundings) -> Tensor:
        """Give the same shape; ``around`` is at the stack's own rate."""
        slow_btd = self.encoder(self.downsample(x_btd), around)
        back_btd = upsample(slow_btd, self.downsample.factor, x_btd.shape[1])
        made: Tensor = self.out_combiner(x_btd, back_btd)
        return made
