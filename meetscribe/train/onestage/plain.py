"""What the frozen Whisper inside the network makes of a sound, everything learnt left aside.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.onestage.model import TargetWhisper


def plain_encodings(target: TargetWhisper, mel_bft: Tensor, steps: list[int]) -> Tensor:
    """Give plain Whisper's encodings, (B, S, D), without gradients."""
    import torch

    with torch.no_grad(), _without_changes(target):
        return target.encode(mel_bft, None, steps)


@contextmanager
def _without_changes(target: TargetWhisper) -> Iterator[None]:
    """Let low-rank changes count nothing for a while."""
    from meetscribe.onestage.lora import LoraLinear

    changes = [one for one in target.modules() if isinstance(one, LoraLinear)]
    scales = [one.scale for one in changes]
    try:
        for one in changes:
            one.scale = 0.0
        yield
    finally:
        for one, scale in zip(changes, scales, strict=True):
            one.scale = scale
