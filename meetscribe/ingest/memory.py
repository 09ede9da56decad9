"""Samples that are in memory, read as those of a file are.

Axes: C channel, N sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class InMemory:
    """Samples, float32, shape (N,), at 16 kHz, as an ``AudioReader``."""

    samples_n: NDArray[np.float32]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples_n) / SAMPLE_RATE_HZ

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        """Give the samples of [start, end); zeros beyond the end."""
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        piece_n = self.samples_n[first:last]
        return np.pad(piece_n, (0, last - first - len(piece_n)))


@dataclass(frozen=True)
class ChannelsInMemory:
    """Samples of several channels, float32, shape (C, N), at 16 kHz, as a ``ChannelReader``."""

    samples_cn: NDArray[np.float32]

    @property
    def num_channels(self) -> int:
        """Channels that are read."""
        return len(self.samples_cn)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return float(self.samples_cn.shape[1]) / SAMPLE_RATE_HZ

    def read_cn(self, start: float, end: float) -> NDArray[np.float32]:
        """Give the samples of [start, end), shape (C, N); zeros beyond the end."""
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        piece_cn = self.samples_cn[:, first:last]
        return np.pad(piece_cn, ((0, 0), (0, last - first - piece_cn.shape[1])))
