"""How to score: one group of options for the command line, YAML (configs/evaluate) and Python."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings

TokenUnit = Literal["word", "char", "mixed"]
"""What a token is; mixed keeps Latin words whole between Chinese characters."""

Unit = Literal["auto", "word", "char", "mixed"]
"""auto takes characters for Chinese and words for everything else."""

METRICS = ("der", "jer", "wer", "cp", "tcp", "orc", "tcorc")
BY_DEFAULT = METRICS[:-1]
NEED_MEETEVAL = ("tcp", "orc", "tcorc")


class EvaluateSettings(Settings):
    """Options of scoring. Times in seconds.

    ``collar`` is in the md-eval sense: ±collar around every reference boundary is not scored.
    ``normaliser`` auto is chime8 for text without Chinese and zh for text with it.
    """

    collar: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    score_overlap: bool = True
    tcp_collar: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    normaliser: str = "auto"
    fillers: Literal["keep", "drop"] = "keep"
    numerals: Literal["keep", "unify"] = "keep"
    unit: Unit = "auto"
    metrics: tuple[str, ...] = ()
    """Of METRICS; none means all of BY_DEFAULT that this installation can compute."""
    partial: bool = False
    """Leave out sessions that only one side has, instead of scoring them as lost."""
