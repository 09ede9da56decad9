"""Low-rank changes to the attention of a frozen Whisper.

``y = W x + (alpha / rank) B A x``: only A and B learn. B starts at zero, so nothing is changed
before training.

Notes
-----
Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685; on queries
and values, as there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from meetscribe.onestage.settings import LoraSettings
from meetscribe.onestage.whisper import Attention, DecoderLayer, EncoderLayer, Whisper

_PROJECTIONS = ("q_proj", "v_proj")


class LoraLinear(nn.Module):
    """A linear map with a low-rank change beside it."""

    def __init__(self, plain: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.plain = plain
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, plain.in_features))
        self.up = nn.Parameter(torch.zeros(plain.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Give the plain map of ``x`` and the change, together."""
        low = nn.functional.linear(x, self.down)
        made: Tensor = self.plain(x) + self.scale * nn.functional.linear(low, self.up)
        return made

    def merged(self) -> nn.Linear:
        """Give one linear map that does the same, for decoding."""
        made = nn.Linear(
            self.plain.in_features, self.plain.out_features, bias=self.plain.bias is not None
        )
        made.weight = nn.Parameter((self.plain.weight + self.scale * self.up @ self.down).detach())
        made.bias = self.plain.bias
        return made


def add_lora(whisper: Whisper, settings: LoraSettings) -> None:
    """Put low-rank changes into the places named; with rank 0 nothing happens."""
    if settings.rank == 0:
        return
    for attention in _attentions(whisper, settings):
        for name in _PROJECTIONS:
            plain = cast("nn.Linear", getattr(attention, name))
            setattr(attention, name, LoraLinear(plain, rank=settings.rank, alpha=settings.alpha))


def merge_lora(whisper: Whisper) -> None:
    """Make the changes part of the weights: faster, but they can no longer be told apart."""
    for attention in [one for one in whisper.modules() if isinstance(one, Attention)]:
        for name in _PROJECTIONS:
            changed = getattr(attention, name)
            if isinstance(changed, LoraLinear):
                setattr(attention, name, changed.merged())


def _attentions(whisper: Whisper, settings: LoraSettings) -> Iterator[Attention]:
    if "encoder" in settings.places:
        yield from (cast("EncoderLayer", layer).self_attn for layer in whisper.encoder.layers)
    decoder = [cast("DecoderLayer", layer) for layer in whisper.decoder.layers]
    if "decoder" in settings.places:
        yield from (layer.self_attn for layer in decoder)
    if "cross" in settings.places:
        yield from (layer.encoder_attn for layer in decoder)
