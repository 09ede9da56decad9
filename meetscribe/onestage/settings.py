"""What can be set in the target-speaker recogniser; light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings

LoraPlace = Literal["encoder", "decoder", "cross"]


class ConditioningSettings(Settings):
    """Where the embedding of the target enters the encoder."""

    width: int = Field(default=256, ge=1, description="features of the embedding")
    layers: tuple[int, ...] = Field(
        default=(0, 2, 4),
        min_length=1,
        description="encoder layers whose input it changes; 0 is right after the convolutions",
    )


class LoraSettings(Settings):
    """Low-rank changes to the attention's queries and values; rank 0 means none."""

    rank: int = Field(default=16, ge=0)
    alpha: float = Field(default=16.0, gt=0, description="the change is scaled by alpha / rank")
    places: tuple[LoraPlace, ...] = Field(
        default=("encoder",),
        description="encoder: its attention; decoder: to its own text; cross: to the encoder",
    )


class DecodingSettings(Settings):
    """How items are decoded."""

    batch_size: int = Field(default=8, ge=1, description="items decoded together")
    timestamps: bool = Field(default=False, description="let the model write when things are said")


class TargetWhisperSettings(Settings):
    """What is added to a Whisper, so that it hears one speaker; kept beside trained weights."""

    base: str = Field(default="whisper-base", description="catalogue name, size, hub id or folder")
    trailing_s: float = Field(
        default=1.0,
        ge=0,
        le=5,
        description="silence added after each item; without it plain Whisper misses the end",
    )
    conditioning: ConditioningSettings = ConditioningSettings()
    lora: LoraSettings = LoraSettings()
