"""What can be set in the stream of places; light to import."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from meetscribe.config import Settings
from meetscribe.spatial.phase import PairChoice


class SpatialStreamSettings(Settings):
    """How many speakers the frames have room for, and how fine they are."""

    num_speakers: PositiveInt = 4
    """The first to speak in a clip; others have no place in it."""
    num_bands: int = Field(default=16, ge=8)
    """Mel bands of each speaker."""
    pairs: PairChoice = "all"
    """Pairs of microphones, see ``choose_pairs``."""

    @property
    def dim(self) -> int:
        """Values of a frame: the bands of each speaker, and whether the place is known."""
        return self.num_speakers * (self.num_bands + 1)
