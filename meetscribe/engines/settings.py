"""What can be set in each engine; light to import: YAML is checked without loading torch."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from meetscribe.activity.crosstalk import CrosstalkSettings
from meetscribe.activity.settings import DiarizationSettings
from meetscribe.config import Settings
from meetscribe.engines.leakage import LeakageSettings
from meetscribe.recognize.settings import RecognizerSettings
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.underneath import UnderneathSettings
from meetscribe.types import Layout

OWN_DIARIZER = "meetscribe"
_MAX_CHANNELS = 64


class SecondVoiceSettings(Settings):
    """When two people speak at once, how words are found that the first hearing left out.

    Where a speaker's turn overlaps another's and hardly any words there are his, his turn is heard
    again on its own. The defaults were chosen on simulated meetings and the sample.
    """

    per_minute: float = Field(
        6.0, ge=0, description="stretches heard again per minute of speech; 0: none"
    )
    shortest_s: float = Field(0.5, gt=0, description="shorter overlaps are left alone")
    words_per_s: float = Field(
        1.0, ge=0, description="with more words than this of his own, a speaker is not heard again"
    )
    context_s: float = Field(
        4.0, ge=0, le=5, description="what is heard of the turn on both sides of the overlap"
    )
    agreement: float = Field(
        0.5, ge=0, le=1, description="share of words in which both ways of hearing must agree"
    )
    confidence: float = Field(0.4, ge=0, le=1, description="least mean confidence of new words")
    confidence_alone: float = Field(
        0.6, ge=0, le=1, description="the same in a language that can be heard in one way only"
    )


class CascadeSettings(Settings):
    """Activity, then recognition, then attribution.

    ``diarizer`` is ``meetscribe`` or the hub name of a pyannote.audio pipeline. ``channels``
    overrides what the channels are taken for: ``auto``, a layout, or a list such as ``0,2-3``.
    ``separation`` says how speakers are told apart with all channels of an array, ``crosstalk`` how
    where each has a microphone of his own; without it one signal is recognised for all.
    ``second_voice`` looks for words under somebody else's there.
    """

    diarizer: str = OWN_DIARIZER
    channels: str = "auto"
    language: str = Field("auto", description="ISO 639-1 code, or auto")
    script: Literal["simplified", "traditional", "as-is"] = "simplified"
    speakers: int | None = Field(None, ge=1)
    min_speakers: int | None = Field(None, ge=1)
    max_speakers: int | None = Field(None, ge=1)
    activity: DiarizationSettings = DiarizationSettings()
    separation: SeparationSettings | None = None
    crosstalk: CrosstalkSettings | None = None
    underneath: UnderneathSettings | None = UnderneathSettings()
    leakage: LeakageSettings | None = LeakageSettings()
    recognizer: RecognizerSettings = RecognizerSettings()
    second_voice: SecondVoiceSettings = SecondVoiceSettings()

    @field_validator("language")
    @classmethod
    def _language_is_a_code(cls, language: str) -> str:
        if re.fullmatch(r"auto|[a-z]{2,3}", language.lower()) is None:
            raise ValueError(f"'{language}', expected auto or a code such as en or zh")
        return language.lower()

    @field_validator("channels")
    @classmethod
    def _channels_make_sense(cls, channels: str) -> str:
        if channels != "auto" and channels not in set(Layout):
            parse_channels(channels)
        return channels

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        low = self.min_speakers or 1
        if self.max_speakers is not None and self.max_speakers < low:
            raise ValueError(f"max_speakers {self.max_speakers} is below min_speakers {low}")
        if self.speakers is not None and (self.min_speakers or self.max_speakers):
            raise ValueError("speakers is exact: give either it or min_speakers / max_speakers")
        return self


def parse_channels(text: str) -> tuple[int, ...]:
    """Read a list of channels, counted from 0.

    Raises
    ------
    ValueError
        If it is not such a list.

    Examples
    --------
    >>> parse_channels("0,2-4")
    (0, 2, 3, 4)
    """
    channels: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ValueError(f"'{text}', expected auto, array, per-speaker, mix or a list: 0,2-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < _MAX_CHANNELS:
            raise ValueError(f"'{text}', expected rising numbers below {_MAX_CHANNELS}")
        channels += range(first, last + 1)
    return tuple(dict.fromkeys(channels))
