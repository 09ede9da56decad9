"""Attention whose weights are made once a layer and used three times.

Axes: B batch, H head, T target and S source time, R relative position, D channel.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, section 3.2; relative positions after Dai et al. 2019,
"Transformer-XL", arXiv 1901.02860.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.joint.zipformer.config import StackShape
from meetscribe.joint.zipformer.elements import scaled_linear

_BLOCKED = -1000.0
"""Score of what may not be looked at: a row with nothing else stays finite."""


def relative_positions(num_frames: int, dim: int) -> Tensor:
    """Encode all offsets between frames: float32, shape (2 T - 1, dim), from -(T-1) to T-1.

    An offset r is compressed to sqrt(dim) sign(r) ln(1 + |r| / sqrt(dim)), bent to an angle of at
    most a quarter turn, and given as cosines and sines of its multiples; the last sine makes way
    for a constant 1. Made on the CPU.
    """
    offset_r = torch.arange(1 - num_frames, num_frames, dtype=torch.float32)
    root = math.sqrt(dim)
    # in float64 and back: multiples of an angle magnify the last bit, in which machines differ
    log_r = (offset_r.abs() + root).double().log().float()
    compressed_r = root * offset_r.sign() * (log_r - math.log(root))
    angle_r = (compressed_r / (dim / (2.0 * math.pi))).double().atan().float()
    angle_rk = angle_r[:, None] * torch.arange(1, dim // 2 + 1)
    made_rd = torch.stack([angle_rk.cos(), angle_rk.sin()], dim=-1).flatten(1)
    made_rd[:, -1] = 1.0
    return made_rd


class AttentionWeights(nn.Module):
    """Who looks at whom, from the layer's input and the distance between frames."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.heads, self.query_dim = shape.heads, shape.query_dim
        self.sizes = [
            shape.heads * size for size in (shape.query_dim, shape.query_dim, shape.pos_head_dim)
        ]
        self.in_proj = scaled_linear(shape.dim, sum(self.sizes), scale=shape.query_dim**-0.25)
        self.linear_pos = scaled_linear(
            shape.pos_dim, shape.heads * shape.pos_head_dim, scale=0.05, bias=False
        )

    def forward(self, x_btd: Tensor, positions_rd: Tensor, blocked_bts: Tensor | None) -> Tensor:
        """Give weights that sum to 1 over sources, shape (B, H, T, S).

        Parameters
        ----------
        x_btd : shape (B, T, D)
        positions_rd : as ``relative_positions`` gives them for T frames
        blocked_bts : bool, broadcastable to (B, T, S)
            True where a target may not look at a source.
        """
        query, key, place = (
            _by_head(part, self.heads) for part in self.in_proj(x_btd).split(self.sizes, dim=-1)
        )
        relative_rhd = self.linear_pos(positions_rd).reshape(len(positions_rd), self.heads, -1)
        scores_bhts = query @ key.transpose(-1, -2)
        scores_bhts = scores_bhts + _shifted(place @ relative_rhd.permute(1, 2, 0))
        if blocked_bts is not None:
            scores_bhts = scores_bhts.masked_fill(blocked_bts[:, None], _BLOCKED)
        weights_bhts: Tensor = scores_bhts.softmax(dim=-1)
        return weights_bhts


def _shifted(scores_bhtr: Tensor) -> Tensor:
    """Pick for target t and source s the column of the offset s - t; shape (B, H, T, S)."""
    time = scores_bhtr.shape[-2]
    # one more column puts the wanted elements of all rows at one distance in memory
    flat = F.pad(scores_bhtr, (1, 0)).flatten(-2)[..., time:]
    return flat.reshape(*scores_bhtr.shape)[..., :time]


def _by_head(x_btd: Tensor, heads: int) -> Tensor:
    """Split channels by head, head first; shape (B, H, T, D)."""
    batch, time, _ = x_btd.shape
    return x_btd.reshape(batch, time, heads, -1).transpose(1, 2)


class SelfAttention(nn.Module):
    """Values gathered by all heads."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.heads = shape.heads
        width = shape.heads * shape.value_dim
        self.in_proj = scaled_linear(shape.dim, width)
        self.out_proj = scaled_linear(width, shape.dim, scale=0.05)

    def forward(self, x_btd: Tensor, weights_bhts: Tensor) -> Tensor:
        """Give the same shape as ``x_btd``."""
        values = _by_head(self.in_proj(x_btd), self.heads)
        gathered = (weights_bhts @ values).transpose(1, 2).flatten(2)
        made: Tensor = self.out_proj(gathered)
        return made


class NonlinAttention(nn.Module):
    """Gated values gathered by the first head alone, gated again."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        hidden = 3 * shape.dim // 4
        self.in_proj = scaled_linear(shape.dim, 3 * hidden)
        self.out_proj = scaled_linear(hidden, shape.dim, scale=0.05)

    def forward(self, x_btd: Tensor, weights_bts: Tensor) -> Tensor:
        """Give the same shape as ``x_btd``."""
        gate, values, after = self.in_proj(x_btd).chunk(3, dim=-1)
        gathered = weights_bts @ (values * gate.tanh())
        made: Tensor = self.out_proj(gathered * after)
        return made
