"""What can be set in the cascade; light to import: YAML is checked without loading torch."""

from __future__ import annotations

from pydantic import Field

from meetscribe.activity.crosstalk import CrosstalkSettings
from meetscribe.config import Settings
from meetscribe.engines.leakage import LeakageSettings
from meetscribe.engines.meeting_settings import MeetingSettings
from meetscribe.recognize.settings import RecognizerSettings
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.underneath import UnderneathSettings


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


class CascadeSettings(MeetingSettings):
    """Activity, then recognition, then attribution.

    ``separation`` says how speakers are told apart with all channels of an array, ``crosstalk`` how
    where each has a microphone of his own; without it one signal is recognised for all.
    ``second_voice`` looks for words under somebody else's there.
    """

    separation: SeparationSettings | None = None
    crosstalk: CrosstalkSettings | None = None
    underneath: UnderneathSettings | None = UnderneathSettings()
    leakage: LeakageSettings | None = LeakageSettings()
    recognizer: RecognizerSettings = RecognizerSettings()
    second_voice: SecondVoiceSettings = SecondVoiceSettings()
