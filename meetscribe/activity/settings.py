"""Options of the diarizer; `benchmarks/select_diarizer.py` prints what other values give."""

from __future__ import annotations

from pydantic import Field

from meetscribe.config import Settings


class DiarizationSettings(Settings):
    """How speech is found, and how voices are told apart."""

    step_s: float = Field(1.0, gt=0.0, le=5.0)
    """Seconds between the starts of consecutive 10 s windows; smaller is slower and smoother."""
    batch_size: int = Field(8, ge=1)
    """Windows that go through the network together."""
    link_agreement: float = Field(0.2, gt=0.0, le=1.0)
    """Overlap over union of two windows' activities that makes one track of them."""
    unit_s: float = Field(1.5, gt=0.2, le=10.0)
    """Length of the pieces of speech that get a voiceprint each."""
    unit_hop_s: float = Field(0.5, gt=0.05)
    """Seconds between the starts of such pieces within one stretch of speech."""
    shortest_unit_s: float = Field(0.3, gt=0.1)
    """Shorter pieces follow the track they belong to."""
    same_voice: float = Field(0.275, ge=-1.0, le=1.0)
    """Mean cosine of voiceprints above which two groups are the same person."""
    place_weight: float = Field(0.6, ge=0.0, lt=1.0)
    """By how much two places lower the cosine of voices, where an array hears them; 0 leaves places
    out."""
    same_voice_and_place: float = Field(0.22, ge=-1.0, le=1.0)
    """As ``same_voice``, for the cosine that places have lowered or raised."""
    same_voice_moved: float = Field(0.275, ge=-1.0, le=1.0)
    """As ``same_voice``, where one has gone silent at one place before the other speaks at another:
    one person who moved."""
    switch_cost: float = Field(0.3, ge=0.0)
    """Cosine that a change of speaker inside one stretch of speech must gain."""
    shortest_speaker_s: float = Field(0.5, ge=0.0)
    """A voice heard for less than this is given to the most similar speaker."""
    shortest_speaker_share: float = Field(0.01, ge=0.0, lt=1.0)
    """The same as a share of all speech; in long recordings it is the stricter one, up to 10 s."""
    threshold: float = Field(0.45, gt=0.0, lt=1.0)
    """Probability above which a speaker counts as active."""
    shortest_turn_s: float = Field(0.0, ge=0.0)
    """Shorter turns are dropped."""
    shortest_pause_s: float = Field(0.0, ge=0.0)
    """Shorter pauses inside a turn are bridged."""
