"""Samples that are in memory, read as those of a file are.

Axes: N sample.
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
