"""From an encoder's frames to the language model's embeddings: the only trained part.

Axes: B batch, T time, D channel.

Notes
-----
Huo, Shao and Zhang 2026, arXiv 2601.06896; the shape is that of Ma et al. 2024, "An Embarrassingly
Simple Approach for LLM with Strong ASR Capacity", arXiv 2402.08846.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meetscribe.joint.batch import Padded


class Projector(nn.Module):
    """Several frames in a row, as one vector, through two linear maps.

    Parameters
    ----------
    dim : channels of the encoder
    hidden : size of an embedding of the language model
    stack : frames that become one
    """

    def __init__(self, dim: int, hidden: int, *, stack: int = 4) -> None:
        super().__init__()
        self.stack = stack
        self.linear1 = nn.Linear(dim * stack, hidden)
        self.linear2 = nn.Linear(hidden, hidden)

    def start(self) -> None:
        """Get random weights, on the CPU, where there were none."""
        self.to_empty(device="cpu")
        self.linear1.reset_parameters()
        self.linear2.reset_parameters()

    def forward(self, frames: Padded) -> Padded:
        """Give one vector per ``stack`` frames; what is left over at the end is dropped."""
        x_btd: Tensor = frames.values_btd
        batch, time, dim = x_btd.shape
        steps = time // self.stack
        x_btd = x_btd[:, : steps * self.stack].reshape(batch, steps, dim * self.stack)
        made_btd = self.linear2(torch.relu(self.linear1(x_btd)))
        return Padded(made_btd, tuple(length // self.stack for length in frames.lens))
