"""Feed-forward and one layer of a Zipformer. Axes: B batch, H head, T time, S source, D channel.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meetscribe.joint.zipformer.attention import AttentionWeights, NonlinAttention, SelfAttention
from meetscribe.joint.zipformer.config import StackShape
from meetscribe.joint.zipformer.convolution import ConvolutionModule
from meetscribe.joint.zipformer.elements import BiasNorm, Bypass, scaled_linear, swoosh_l


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all layers of a stack share.

    Parameters
    ----------
    positions_rd : as ``relative_positions`` gives them
    padding_bt : bool; frames that are filling
    blocked_bts : bool, broadcastable to (B, T, S); sources that a target may not see
    chunk : frames that a causal convolution sees together, -1 for all
    """

    positions_rd: Tensor
    padding_bt: Tensor
    blocked_bts: Tensor
    chunk: int = -1


class FeedForward(nn.Module):
    """Two linear maps with SwooshL between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, hidden)
        self.out_proj = scaled_linear(hidden, dim, scale=0.1)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Give the same shape."""
        made: Tensor = self.out_proj(swoosh_l(self.in_proj(x_btd)))
        return made


class Layer(nn.Module):
    """Two halves of attention, convolution and feed-forward, sharing one set of weights."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        dim, hidden = shape.dim, shape.feedforward_dim
        # published files have it, nothing uses it
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self.bypass = Bypass(dim)
        self.bypass_mid = Bypass(dim)
        self.self_attn_weights = AttentionWeights(shape)
        self.self_attn1 = SelfAttention(shape)
        self.self_attn2 = SelfAttention(shape)
        self.feed_forward1 = FeedForward(dim, 3 * hidden // 4)
        self.feed_forward2 = FeedForward(dim, hidden)
        self.feed_forward3 = FeedForward(dim, 5 * hidden // 4)
        self.nonlin_attention = NonlinAttention(shape)
        self.conv_module1 = ConvolutionModule(shape)
        self.conv_module2 = ConvolutionModule(shape)
        self.norm = BiasNorm(dim)

    def forward(self, input_btd: Tensor, around: Surroundings) -> Tensor:
        """Give the same shape."""
        weights = self.self_attn_weights(input_btd, around.positions_rd, around.blocked_bts)
        x: Tensor = input_btd + self.feed_forward1(input_btd)
        x = x + self.nonlin_attention(x, weights[:, 0])
        x = x + self.self_attn1(x, weights)
        x = x + self.conv_module1(x, around.padding_bt, chunk=around.chunk)
        x = x + self.feed_forward2(x)
        x = self.bypass_mid(input_btd, x)
        x = x + self.self_attn2(x, weights)
        x = x + self.conv_module2(x, around.padding_bt, chunk=around.chunk)
        x = x + self.feed_forward3(x)
        made: Tensor = self.bypass(input_btd, self.norm(x))
        return made
