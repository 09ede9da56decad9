"""What can be set in the training of the one-stage recogniser; light to import."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.train.data_settings import (
    NEVER_TRAINED,
    CorpusSettings,
    Ends,
    RoomSettings,
    SpeechSettings,
)
from meetscribe.train.loop import LoopSettings

_ROUNDING = 1e-9


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
        if self.speech.split.lower() in NEVER_TRAINED:
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
