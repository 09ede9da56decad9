"""What kind of meetings to make: one group of options for the command line, YAML and Python.

A pair is a range: every meeting has its own value of it, drawn evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from meetscribe.config import Settings

MAX_OVERLAP = 0.7
"""Two voices at a time, and now and then three, give no more than this."""
ARRAY_CHANNELS = 8
_FLAC_CHANNELS = 8
_CLOSE = ("headsets", "lapels")

Pair = tuple[float, float]


def _between(low: float, high: float) -> Callable[[Pair], Pair]:
    def check(pair: Pair) -> Pair:
        first, last = pair
        if not low <= first <= last <= high:
            raise ValueError(f"{first:g} to {last:g}: expected a range within {low:g} to {high:g}")
        return pair

    return check


class SimulationSettings(Settings):
    """Options of ``simulate``. Ranges are pairs (lowest, highest); shares are fractions.

    Parameters
    ----------
    meetings, minutes : how many, and how long each is at most: it ends after the last utterance
        that fits
    speakers : range of the number of people
    split, language : use only rows of the table with this value in the column of that name
    repeat : let a speaker say an utterance again in a meeting when all of his are used up
    utterance_s : seconds; utterances of other lengths are not used
    overlap : share of the speech time during which two or more speak; 10 % and 90 % of the AMI
        meetings are the default
    backchannel_s : longest utterance that is said under somebody else's
    channels, array : number of microphones, and how they stand: around or on the table, or one at
        the mouth of every speaker (headsets) or at his chest (lapels); of these, those beyond the
        number of speakers lie on the table. None is 8, or one per speaker
    radius_m, spacing_m, spread_m : of a circle, between neighbours on a line, and how far from
        the middle of the table the microphones of an ad hoc array lie at most
    length_m, width_m, height_m : of the room
    distance_m : horizontal, from the middle of the array to a speaker
    rt60_s : reverberation time; the absorption of the walls is adjusted until it is measured
    snr_db : speech against diffuse noise, at channel 0 while somebody speaks; at everybody's
        own microphone if he has one
    point_noises, point_snr_db : number of noise sources with a place, and how loud each is
    voice_spread_db, microphone_spread_db : standard deviation of levels over the speakers, and
        of gains over the channels; three of them are the most
    images : write what the microphones hear of every speaker alone as well
    audio_format : of all audio files, 16 bit at 16 kHz
    seed : everything that is drawn follows from it and the number of the meeting
    """

    meetings: int = Field(default=1, ge=1, le=9999)
    minutes: float = Field(default=3.0, ge=0.25, le=1440)
    speakers: tuple[int, int] = (3, 4)
    split: str | None = None
    language: str | None = None
    repeat: bool = False
    utterance_s: Annotated[Pair, AfterValidator(_between(0.1, 60))] = (0.3, 30.0)
    overlap: Annotated[Pair, AfterValidator(_between(0, MAX_OVERLAP))] = (0.05, 0.25)
    backchannel_s: float = Field(default=2.0, ge=0, le=5)
    channels: int | None = Field(default=None, ge=1, le=64)
    array: Literal["circular", "linear", "ad-hoc", "headsets", "lapels"] = "circular"
    radius_m: Annotated[Pair, AfterValidator(_between(0.005, 1))] = (0.05, 0.10)
    spacing_m: Annotated[Pair, AfterValidator(_between(0.005, 1))] = (0.03, 0.06)
    spread_m: Annotated[Pair, AfterValidator(_between(0.1, 3))] = (0.6, 1.2)
    length_m: Annotated[Pair, AfterValidator(_between(2, 30))] = (5.0, 8.0)
    width_m: Annotated[Pair, AfterValidator(_between(2, 30))] = (4.0, 6.0)
    height_m: Annotated[Pair, AfterValidator(_between(2, 10))] = (2.5, 3.2)
    distance_m: Annotated[Pair, AfterValidator(_between(0.2, 12))] = (0.8, 1.8)
    rt60_s: Annotated[Pair, AfterValidator(_between(0.1, 1.2))] = (0.3, 0.7)
    snr_db: Annotated[Pair, AfterValidator(_between(-20, 80))] = (15.0, 30.0)
    point_noises: tuple[int, int] = (0, 0)
    point_snr_db: Annotated[Pair, AfterValidator(_between(-20, 80))] = (15.0, 25.0)
    voice_spread_db: float = Field(default=2.5, ge=0, le=10)
    microphone_spread_db: float = Field(default=0.7, ge=0, le=10)
    images: bool = False
    audio_format: Literal["flac", "wav"] = "flac"
    seed: int = Field(default=0, ge=0)

    def num_channels(self, num_speakers: int) -> int:
        """Give the number of microphones in a meeting of so many speakers."""
        if self.channels is not None:
            return self.channels
        return num_speakers if self.close else ARRAY_CHANNELS

    @property
    def close(self) -> bool:
        """Whether everybody has a microphone of his own."""
        return self.array in _CLOSE

    @model_validator(mode="after")
    def _channels_make_sense(self) -> Self:
        most = self.speakers[1]
        if self.close and self.channels is not None and self.channels < most:
            raise ValueError(
                f"{self.channels} channels for up to {most} speakers with {self.array}: "
                "expected one for each at least"
            )
        if self.audio_format == "flac" and self.num_channels(most) > _FLAC_CHANNELS:
            raise ValueError(
                f"{self.num_channels(most)} channels as flac, which holds {_FLAC_CHANNELS} at "
                "most: expected audio_format wav"
            )
        return self

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        counts = (("speakers", self.speakers, 1, 20), ("point_noises", self.point_noises, 0, 8))
        for name, (first, last), low, high in counts:
            if not low <= first <= last <= high:
                raise ValueError(
                    f"{name} {first} to {last}: expected a range within {low} to {high}"
                )
        if self.speakers[0] == 1 and self.overlap[0] > 0:
            raise ValueError(
                f"overlap {self.overlap[0]:.0%} with one speaker: nobody overlaps himself; "
                "expected an overlap from 0, or at least 2 speakers"
            )
        return self
