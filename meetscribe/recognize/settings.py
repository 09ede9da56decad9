"""What can be set in recognition; light to import, so that YAML is checked without any model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings

ComputeType = Literal[
    "auto",
    "int8",
    "int8_float16",
    "int8_float32",
    "int8_bfloat16",
    "float16",
    "bfloat16",
    "float32",
]


class RecognizerSettings(Settings):
    """How words are recognised.

    ``prompt`` is what the recogniser is made to believe was said before: ``auto`` takes a line of
    spontaneous speech in the session's language, which makes Whisper write what was really said,
    hesitations and short answers included, instead of tidying it; an empty text means none.
    """

    model: str = Field(default="whisper-base", description="catalogue name, size, hub id or folder")
    compute_type: ComputeType = Field(
        default="auto", description="auto: int8 on CPU, float16 on GPU"
    )
    beam_size: int = Field(default=5, ge=1, le=32)
    prompt: str = "auto"
    batch_size: int = Field(
        default=0, ge=0, description="pieces decoded together; 0: chosen by device"
    )
    longest_piece_s: float = Field(
        default=30.0, gt=6, le=30, description="Whisper hears 30 s at a time"
    )
    bridge_s: float = Field(default=4.0, ge=0, description="pauses up to this stay inside a piece")
    padding_s: float = Field(default=0.5, ge=0, description="sound kept on both sides of speech")
    speech_threshold: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="a piece whose speech probability stays below is not decoded",
    )
