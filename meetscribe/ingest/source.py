"""What an opened sound file offers, whichever library decodes it.

Axes: C channel, N sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass
class SourceInfo:
    """What one opened file says about itself.

    ``promised_samples`` is the length that the file states where that can be trusted, None where
    it states none; ``num_samples`` is the best guess at the length, 0 if there is no way to know
    without reading it.
    """

    codec: str
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    promised_samples: int | None = None
    stream: int = 0
    audio_streams: tuple[int, ...] = (0,)


class Source(Protocol):
    """An opened file. ``problems`` grows while it is read."""

    info: SourceInfo
    problems: list[str]

    def read(self, num_samples: int) -> Samples:
        """Give the next samples, shape (C, n); n is smaller than asked only at the end."""

    def seek(self, sample: int) -> None:
        """Continue reading at this sample, exactly where the format allows it."""

    def close(self) -> None:
        """Let go of the file."""
