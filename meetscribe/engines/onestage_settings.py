"""What can be set in the one-stage engine; light to import: YAML is checked without torch."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from meetscribe.engines.joint_settings import GroupSettings
from meetscribe.engines.leakage import LeakageSettings
from meetscribe.engines.meeting_settings import MeetingSettings
from meetscribe.engines.settings import CascadeSettings
from meetscribe.recognize.settings import RecognizerSettings

DEFAULT = "default"
"""The adapter that comes with meetscribe."""


class RegionSettings(GroupSettings):
    """How the speech of each speaker is cut into regions, what the recogniser hears at once.

    Longer stretches are cut in the speaker's pauses, else where it is quietest. The default is the
    longest region that the adapter was trained on.
    """

    longest_s: float = Field(8.0, ge=2.0, le=25.0, description="longer regions are cut")
    shortest_s: float = Field(
        1.5, ge=0.3, le=2.0, description="shorter ones are heard with what is around them"
    )
    pause_s: float = Field(
        1.0, ge=0.0, description="a pause of the speaker up to this long does not end a region"
    )
    margin_s: float = Field(0.3, ge=0.0, le=1.0, description="heard before and after a region")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest_s <= self.shortest_s + 2 * self.margin_s:
            raise ValueError(
                f"longest_s {self.longest_s} leaves no room for shortest_s {self.shortest_s} and "
                f"margins of {self.margin_s}"
            )
        return self


class OnestageEngineSettings(MeetingSettings):
    """Speaker activity on an array, then a recogniser that hears one speaker at a time in it.

    ``adapter`` is ``default``, a folder with ``adapter.safetensors`` (or that of the training that
    made it), or such a file. It names the Whisper that it belongs to. ``leakage`` leaves words that
    were written for two speakers at the same time to one of them; its settings about voices play
    no part here.
    """

    adapter: str = DEFAULT
    regions: RegionSettings = RegionSettings()
    batch_size: int = Field(
        0, ge=0, description="speakers and regions heard together; 0: 8 on a CPU, else 32"
    )
    leakage: LeakageSettings | None = LeakageSettings()

    def as_cascade(self, whisper: str) -> CascadeSettings:
        """Give the cascade's settings with these in them, for the stages that both share."""
        shared = {name: getattr(self, name) for name in MeetingSettings.model_fields}
        return CascadeSettings(**shared, recognizer=RecognizerSettings(model=whisper))
