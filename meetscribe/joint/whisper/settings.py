"""What can be set in the small joint model; light to import, and kept beside its weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.joint.serialise import Order
from meetscribe.joint.spatial_settings import SpatialStreamSettings
from meetscribe.onestage.settings import LoraSettings

MODEL_TYPE = "whisper-joint"
VOICE_MODEL = "campplus-zh-en"
"""Makes the voice frames."""

Layout = Literal["added", "concatenated", "none"]
Anchors = Literal["none", "voice", "both"]
Part = Literal["encoder", "decoder"]
SpeakerPlace = Literal["first", "after-start", "last"]


class LowRankSettings(LoraSettings):
    """Low-rank changes to attention (queries and values) and to the networks of single frames."""

    rank: int = Field(default=32, ge=0)
    alpha: float = Field(default=32.0, gt=0, description="the change is scaled by alpha / rank")
    places: tuple[Literal["encoder", "decoder", "cross"], ...] = ("encoder", "decoder", "cross")
    feed_forward: tuple[Part, ...] = Field(
        default=("decoder",), description="layers whose feed-forward network is changed as well"
    )


class WhisperJointSettings(Settings):
    """Everything that says what the network is, and how its answers are written."""

    base: str = Field(default="whisper-base", description="catalogue name, size, hub id or folder")
    language: str = Field(default="en", description="of the start prompt, ISO 639-1")
    trailing_s: float = Field(
        default=1.0,
        ge=0,
        le=5,
        description="silence added after a clip, as far as Whisper's 30 s leave room for it",
    )
    layout: Layout = Field(
        default="added",
        description="where the voice frames go: added to the encodings of their time, behind "
        "them in the decoder's memory, or nowhere (one stream)",
    )
    anchors: Anchors = Field(
        default="voice",
        description="frames that are told their time, by the embedding of Whisper's own token "
        "of that time; voice without a voice stream are none",
    )
    stack: int = Field(
        default=4, ge=1, le=16, description="frames of 20 ms of voices or places that become one"
    )
    spatial: SpatialStreamSettings | None = Field(
        default=None,
        description="for arrays, a stream that says whose place the sound fits, added to the "
        "encodings of its time; None: the model hears one signal",
    )
    speakers: int = Field(default=4, ge=1, le=16, description="most speakers of a clip")
    order: Order = Field(default=Order.START, description="of the utterances in an answer")
    speaker_token: SpeakerPlace = Field(
        default="after-start", description="where an utterance says who speaks"
    )
    lora: LowRankSettings = LowRankSettings()
