"""What a joint checkpoint's config.json states, and the streams that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from meetscribe.config import Settings


@dataclass(frozen=True, slots=True)
class Stream:
    """One way of hearing a clip, from its encoder to its place in the prompt.

    Parameters
    ----------
    name : "semantic" or "voice"
    tag : what encloses it in the prompt
    encoder, projector : names of these parts in the model and its files
    stack : encoder frames that become one
    interval : projected frames between anchors, None for a stream without anchors
    """

    name: str
    tag: str
    encoder: str
    projector: str
    stack: int = 4
    interval: int | None = 8


class JointConfig(Settings):
    """The top-level config.json of the published layout; unknown fields are ignored.

    Parameters
    ----------
    model_type : "tagspeech", or "tagspeech-base" for one without anchors
    audio_encoder_config, voice_encoder_config : of the two encoders; the second is by default
        like the first
    llm_config : as transformers writes it
    semantic_projector_ds_rate, voice_projector_ds_rate : encoder frames that become one
    semantic_anchor_interval, voice_anchor_interval : projected frames between anchors
    insert_anchors_at_ends : anchors also before the first and behind the last frame
    """

    # published files carry fields of other models and of training
    model_config = ConfigDict(extra="ignore")

    model_type: Literal["tagspeech", "tagspeech-base"] = "tagspeech"
    audio_encoder_config: Mapping[str, Any]
    voice_encoder_config: Mapping[str, Any] | None = None
    llm_config: Mapping[str, Any]
    audio_token: str = Field(default="<|AUDIO|>", min_length=1)
    semantic_projector_ds_rate: PositiveInt = 4
    voice_projector_ds_rate: PositiveInt = 4
    semantic_anchor_interval: PositiveInt = 8
    voice_anchor_interval: PositiveInt = 8
    insert_anchors_at_ends: bool = True

    @model_validator(mode="after")
    def _anchors_meet(self) -> Self:
        semantic = self.semantic_projector_ds_rate * self.semantic_anchor_interval
        voice = self.voice_projector_ds_rate * self.voice_anchor_interval
        if self.model_type == "tagspeech" and semantic != voice:
            raise ValueError(
                f"anchors stand every {semantic} encoder frames in one stream and every {voice} "
                "in the other, expected the same"
            )
        if not self.llm_config.get("model_type"):
            raise ValueError("llm_config has no model_type")
        return self

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams, in the order of their places in the prompt."""
        anchored = self.model_type == "tagspeech"
        return (
            Stream(
                name="semantic",
                tag="text",
                encoder="audio_encoder",
                projector="semantic_projector",
                stack=self.semantic_projector_ds_rate,
                interval=self.semantic_anchor_interval if anchored else None,
            ),
            Stream(
                name="voice",
                tag="speaker",
                encoder="voice_encoder",
                projector="voice_projector",
                stack=self.voice_projector_ds_rate,
                interval=self.voice_anchor_interval if anchored else None,
            ),
        )

    def encoder_config(self, stream: Stream) -> Mapping[str, Any]:
        """Give what describes the encoder of a stream."""
        if stream.encoder == "voice_encoder" and self.voice_encoder_config is not None:
            return self.voice_encoder_config
        return self.audio_encoder_config
