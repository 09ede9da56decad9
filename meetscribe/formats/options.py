"""How subtitles and labels look: the options that all renderers share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings


class RenderOptions(Settings):
    """What a person may choose about the looks of an export; only subtitles heed most of it.

    The defaults follow what players and style guides expect: two lines of 42 Latin letters (or
    18 full-width characters, of which players fit 16 to 20), at most 7 seconds.

    Parameters
    ----------
    overlap : where people speak at once, a cue shows all of them (``stack``), or the cues come
        one after the other (``split``), or only the one with more words is shown (``dominant``,
        the only choice that may lose words)
    max_line_chars : columns of a line
    max_wide_chars : full-width characters (Chinese, Japanese, emoji) of a line
    max_lines : lines of a cue; a cue of more speakers than this has one line for each of them
    max_cue_s : longest cue
    min_cue_s : shortest cue, where the next one leaves room
    max_chars_per_s : reading speed; a cue stays on longer than its words where there is room
    speaker_labels : name the speakers
    """

    overlap: Literal["stack", "split", "dominant"] = "stack"
    max_line_chars: int = Field(default=42, ge=10)
    max_wide_chars: int = Field(default=18, ge=5)
    max_lines: int = Field(default=2, ge=1)
    max_cue_s: float = Field(default=7.0, ge=1.0)
    min_cue_s: float = Field(default=0.8, ge=0.0, le=5.0)
    max_chars_per_s: float = Field(default=20.0, gt=0.0)
    speaker_labels: bool = True


DEFAULT = RenderOptions()
