"""Which joint model is trained; light to import."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.joint.config import JointConfig, LlmLora
from meetscribe.joint.serialise import Order
from meetscribe.joint.whisper.settings import WhisperJointSettings


class LlmJointSettings(Settings):
    """Encoders and projectors before a frozen language model."""

    config: JointConfig | None = None
    """What to make of the catalogue's encoders and language model, as a config.json says it; not
    needed with ``start``."""
    lora: LlmLora | None = None
    """Low-rank changes to give to a model of ``start`` that has none; elsewhere ``config`` has
    them."""
    order: Order = Order.START
    """Of the lines of an answer."""
    positions: int = Field(2048, ge=64)
    """Of prompt and answer together, at most: what needs more is split or refused."""
    tokens_per_s: float = Field(32.0, gt=0)
    """Of a group: so many tokens may be written in validation, and 100 more."""


class ModelSettings(Settings):
    """The model, and what it begins with."""

    kind: Literal["whisper", "llm"] = "whisper"
    """``whisper``: Whisper's own decoder is the language model. ``llm``: any language model."""
    start: str = ""
    """Folder of a joint model to begin with; else projectors are random, low-rank changes none."""
    whisper: WhisperJointSettings = WhisperJointSettings()
    llm: LlmJointSettings = LlmJointSettings()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "llm" and not self.start and self.llm.config is None:
            raise ValueError(
                "kind llm: expected the folder of a joint model in start, or llm.config"
            )
        return self
