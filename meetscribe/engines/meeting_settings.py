"""What can be set in every engine that begins with speaker activity; light to import."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from meetscribe.activity.settings import DiarizationSettings
from meetscribe.config import Settings
from meetscribe.engines.settings import OWN_DIARIZER, CascadeSettings, parse_channels
from meetscribe.types import Layout


class MeetingSettings(Settings):
    """Who speaks when, and what the recording and its words are taken for.

    The names mean what they mean in ``CascadeSettings``, so that options of the command line do.
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

    def as_cascade(self) -> CascadeSettings:
        """Give the cascade's settings with these in them, for the stages that both share."""
        return CascadeSettings(
            **{name: getattr(self, name) for name in MeetingSettings.model_fields}
        )
