"""Sequences of different lengths in one tensor, each with its length.

Axes: B batch, T time, D channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from meetscribe.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Padded:
    """A batch of sequences, filled up on the right.

    Parameters
    ----------
    values_btd : shape (B, T, D)
    lens : frames of each sequence that are its own, at most T
    """

    values_btd: Tensor
    lens: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = tuple(self.values_btd.shape)
        if len(shape) != 3 or shape[0] != len(self.lens):  # noqa: PLR2004 - B, T, D
            raise ShapeError(f"padded batch: {len(self.lens)} lengths for a tensor {shape}")

    def rows(self) -> list[Tensor]:
        """Give each sequence without its filling, shape (T, D)."""
        return [row[:length] for row, length in zip(self.values_btd, self.lens, strict=True)]

    def padding_bt(self) -> Tensor:
        """Tell which frames are filling: bool, shape (B, T)."""
        device = self.values_btd.device
        time_t = torch.arange(self.values_btd.shape[1], device=device)
        return time_t[None] >= torch.tensor(self.lens, device=device)[:, None]


def pad(rows_td: Sequence[Tensor], *, fill: float = 0.0) -> Padded:
    """Put sequences of shape (T, D) into one batch as long as the longest.

    Raises
    ------
    ShapeError
        If there is none.
    """
    if not rows_td:
        raise ShapeError("padded batch: no sequence")
    values = torch.nn.utils.rnn.pad_sequence(list(rows_td), batch_first=True, padding_value=fill)
    return Padded(values, tuple(len(row) for row in rows_td))
