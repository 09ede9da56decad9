"""What can be set in every engine that begins with speaker activity; light to import."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from meetscribe.activity.settings import DiarizationSettings
from meetscribe.config import Settings
from meetscribe.types import Layout

OWN_DIARIZER = "meetscribe"
SEGMENTATION, VOICEPRINT = "segmentation-3.0", "campplus-zh-en"
"""The models that it is made of."""
_MAX_CHANNELS = 64


class MeetingSettings(Settings):
    """Who speaks when, and what the recording and its words are taken for.

    ``diarizer`` is ``meetscribe`` or the hub name of a pyannote.audio pipeline. ``channels``
    overrides what the channels are taken for: ``auto``, a layout, or a list such as ``0,2-3``.
    """

    diarizer: str = OWN_DIARIZER
    channels: str = "auto"
    language: str = Field("auto", description="ISO 639-1 code, or auto")
    script: Literal["simplified", "traditional", "as-is"] = "simplified"
    speakers: int | None = Field(None, ge=1)
    min_speakers: int | None = Field(None, ge=1)
    max_speakers: int | None = Field(None, ge=1)
    activity: DiarizationSettings = DiarizationSettings()

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

    @property
    def listed_channels(self) -> tuple[int, ...] | None:
        """The channels that were asked for, None where the recording decides."""
        decided = self.channels == "auto" or self.channels in set(Layout)
        return None if decided else parse_channels(self.channels)


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
