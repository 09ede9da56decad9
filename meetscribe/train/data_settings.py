"""What training data is made of: read speech, rooms, real meetings; light to import."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from meetscribe.config import Settings

NEVER_TRAINED = {"heldout", "held-out", "held_out", "test", "eval"}
"""Splits that are for measuring, of speech; of real meetings these and more."""
_NEVER_TRAINED_REAL = {*NEVER_TRAINED, "dev", "development", "valid", "validation"}

Range = tuple[float, float]
ArrayKind = Literal["circular", "linear", "ad-hoc"]


def _ascending(pair: Range) -> Range:
    if not pair[0] <= pair[1]:
        raise ValueError(f"{pair[0]:g} to {pair[1]:g}: expected a range")
    return pair


Ends = Annotated[Range, AfterValidator(_ascending)]


class SpeechSettings(Settings):
    """Which read speech, and how it is cut.

    Utterances are cut at pauses only, and only where the recogniser's word times agree with the
    pause, so that the words of a piece are known.
    """

    table: str = "speech/transcripts.tsv"
    """Table of utterances, see ``meetscribe simulate``."""
    split: str = "train"
    """Rows of the table that may be used; a training refuses ``heldout`` and ``test``."""
    language: str = "en"
    """ISO 639-1 code of the rows that are used."""
    listen: bool = True
    """Let the recogniser hear the utterances first: for its spelling, and to cut them at pauses.
    Without it they are used whole, in lower case."""
    dev_speakers: int = Field(16, ge=1)
    """Speakers of the split who are kept out of training, to score on: those who come first when
    names are sorted by a hash, so that they stay the same when rows are added."""
    pause_s: float = Field(0.06, ge=0.04)
    """The shortest pause at which an utterance is cut."""
    least_matched: float = Field(0.7, ge=0, le=1)
    """Share of an utterance's words that the recogniser must have heard, or it is left out."""


class RoomSettings(Settings):
    """Rooms, computed once and kept."""

    count: int = Field(200, ge=1)
    """For training."""
    dev: int = Field(24, ge=1)
    """To score in; none of them is trained in."""
    arrays: tuple[ArrayKind, ...] = Field(("circular", "linear", "ad-hoc"), min_length=1)
    """Kinds of array, in turn."""
    channels: int = Field(8, ge=2, le=64)
    """Microphones of every room; an example may use fewer."""
    seats: int = Field(4, ge=2, le=12)
    """Places of speakers in every room."""
    rt60_s: Ends = (0.2, 0.7)
    """Reverberation times."""
    seed: int = Field(0, ge=0)
    """Of the rooms alone: trainings of several seeds share them."""


class CorpusSettings(Settings):
    """Real meetings to learn from, made ready by ``meetscribe corpus prepare``."""

    path: str
    """Folder of the prepared corpus, or its name."""
    share: float = Field(0.3, gt=0, le=1)
    """Share of all regions that are of this corpus; what is left is simulated."""
    condition: str | None = None
    """Whose audio is used, such as ``mdm`` of AMI and ``far`` of AliMeeting: all microphones of an
    array. May be left out where there is only one."""
    split: str | None = "train"
    """Those that are for measuring are refused; ``null`` for a corpus that is not divided."""
    partition: str | None = None
    """Of several ways in which it is divided; ``null``: the corpus's own default."""

    @model_validator(mode="after")
    def _may_be_trained_on(self) -> Self:
        if (self.split or "").lower() in _NEVER_TRAINED_REAL:
            raise ValueError(f"split '{self.split}' is for measuring only, never for training")
        return self
