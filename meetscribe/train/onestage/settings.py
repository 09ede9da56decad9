"""What can be set in the training of the one-stage recogniser; light to import."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from meetscribe.config import Settings
from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.train.loop import LoopSettings

_NEVER_TRAINED = {"heldout", "held-out", "held_out", "test", "eval"}
_NEVER_TRAINED_REAL = {*_NEVER_TRAINED, "dev", "development", "valid", "validation"}

_ROUNDING = 1e-9

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


class Stage(Settings):
    """A stage of the curriculum."""

    until: float = Field(1.0, gt=0, le=1)
    """It lasts until this share of all steps."""
    voices: tuple[float, ...] = Field((0.15, 0.55, 0.30), min_length=1, max_length=4)
    """Weights of 1, 2, 3 … people who talk in a region."""
    overlap: Ends = (0.2, 1.0)
    """How much of the shorter of two utterances lies over the longer one; below 0 are gaps."""
    snr_db: Ends = (10.0, 30.0)
    """Speech against noise at the first microphone."""
    voice_spread_db: float = Field(2.5, ge=0, le=10)
    """Standard deviation of the loudness of voices."""
    longest_s: float = Field(8.0, ge=1.0, le=28.0)
    """Longest region."""
    piece_s: Ends = (1.0, 7.0)
    """What one person says in one go."""
    silent: float = Field(0.15, ge=0, le=1)
    """Share of regions with one more target, who has a seat and says nothing."""
    words: bool = True
    """Let the recogniser take part. Without it only the correction of the log-mel is learned
    (``mel``), in a small part of the time and from any stretch of speech: a good beginning."""


class SceneSettings(Settings):
    """Examples: what happens around a region."""

    stages: tuple[Stage, ...] = Field(
        (
            Stage(
                until=0.1, voices=(1.0,), overlap=(-0.5, 0.0), snr_db=(20.0, 35.0), silent=0.3,
                longest_s=6.0, piece_s=(1.0, 6.0),
            ),
            Stage(until=0.4, voices=(0.2, 0.8), overlap=(0.0, 0.6), snr_db=(15.0, 30.0)),
            Stage(),
        ),
        min_length=1,
    )  # fmt: skip
    """The curriculum, in order; the last one lasts to the end, and is what is scored."""
    channels: tuple[int, int] = (2, 8)
    """Fewest and most microphones of an example; a topology ``fixed`` always has all of them."""
    solo_s: Ends = (1.5, 4.0)
    """Length of the moment in which somebody is heard alone, elsewhere in the scene."""
    lacking_solo: float = Field(0.05, ge=0, le=1)
    """Share of competitors of whom there is no such moment."""
    lines: tuple[int, int] = (0, 2)
    """Fewest and most utterances of a region beyond one of each voice."""
    batch: int = Field(4, ge=1)
    """Scenes of a batch; each gives an example per voice, and sometimes one of silence."""
    dev_scenes: int = Field(40, ge=1)
    """Scenes that are scored; always the same ones."""

    def stage(self, share: float) -> Stage:
        """Give the stage in which a training is when this share of it is over."""
        return next(one for one in self.stages if share < one.until or one.until >= 1.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        untils = [stage.until for stage in self.stages]
        if untils != sorted(untils) or untils[-1] != 1.0:
            raise ValueError(f"stages end at {untils}: expected them to ascend to 1.0")
        if not 2 <= self.channels[0] <= self.channels[1]:  # noqa: PLR2004 - a pair is two
            raise ValueError(f"channels {self.channels}: expected at least 2, ascending")
        if not 0 <= self.lines[0] <= self.lines[1]:
            raise ValueError(f"lines {self.lines}: expected a range from 0")
        return self


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


class OnestageTraining(Settings):
    """A whole training: ``meetscribe train onestage``."""

    speech: SpeechSettings = SpeechSettings()
    rooms: RoomSettings = RoomSettings()
    scenes: SceneSettings = SceneSettings()
    corpora: tuple[CorpusSettings, ...] = ()
    """Real meetings beside the simulated ones; scores stay those of simulated ones."""
    model: OnestageSettings = OnestageSettings()
    start: str = ""
    """Adapter to begin with, its file or folder; it must have the same ``model``."""
    distil: float = Field(1.0, ge=0)
    """Weight of being near what plain Whisper makes of the target alone, beside writing his words
    (our own addition: it says something about every frame, where words are few)."""
    mel: float = Field(1.0, ge=0)
    """Weight of a corrected log-mel that is near that of the target alone, in bels."""
    silent_weight: float = Field(5.0, gt=0)
    """How many tokens the end of an empty text counts as: there is nothing else to learn from."""
    loop: LoopSettings = LoopSettings()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.speech.split.lower() in _NEVER_TRAINED:
            split = self.speech.split
            raise ValueError(f"speech.split '{split}' is for measuring only, never for training")
        if sum(one.share for one in self.corpora) > 1 + _ROUNDING:
            raise ValueError("corpora: their shares are more than 1 together")
        if not self.scenes.stages[-1].words:
            raise ValueError("scenes.stages: the last one must have words")
        if not all(stage.words for stage in self.scenes.stages) and not (
            self.mel and self.model.correct_mel
        ):
            raise ValueError("stages without words learn from mel and model.correct_mel alone")
        most = max(len(stage.voices) for stage in self.scenes.stages)
        if most >= self.rooms.seats:
            raise ValueError(
                f"rooms.seats {self.rooms.seats} for {most} voices: expected one more, for who is "
                "silent"
            )
        if self.scenes.channels[1] > self.rooms.channels:
            raise ValueError(
                f"scenes.channels up to {self.scenes.channels[1]}, but rooms.channels "
                f"{self.rooms.channels}"
            )
        fixed = self.model.embedding.num_channels
        if fixed is not None and fixed != self.rooms.channels:
            raise ValueError(
                f"model.embedding.num_channels {fixed}, but rooms.channels {self.rooms.channels}"
            )
        return self
