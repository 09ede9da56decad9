"""What can be set in the training of a joint model; light to import."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.train.data_settings import (
    NEVER_TRAINED,
    CorpusSettings,
    Ends,
    RoomSettings,
    SpeechSettings,
)
from meetscribe.train.joint.model_settings import ModelSettings
from meetscribe.train.joint.trainee import StageName
from meetscribe.train.loop import LoopSettings, Precision

_ROUNDING = 1e-9
_ORDER: tuple[StageName, ...] = ("encoder", "projectors", "lora")


class GroupSettings(Settings):
    """How groups are made: people who talk for some seconds, one after the other and at once."""

    voices: tuple[float, ...] = Field((0.3, 0.4, 0.22, 0.08), min_length=1, max_length=8)
    """Weights of 1, 2, 3 … people in a group."""
    length_s: Ends = (2.0, 20.0)
    """Shortest and longest group; in between all lengths are equally frequent."""
    piece_s: Ends = (0.6, 6.0)
    """What one person says in one go."""
    overlapped: float = Field(0.5, ge=0, le=1)
    """Share of the changes of speaker at which the next one begins before the last one ends."""
    overlap: Ends = (0.05, 0.8)
    """How much of the shorter of the two then lies over the longer one."""
    pause_s: Ends = (0.0, 0.5)
    """Silence at all other changes, and where somebody goes on by himself."""
    goes_on: float = Field(0.15, ge=0, le=1)
    """How often whoever spoke last says the next piece, too."""
    margin_s: Ends = (0.05, 0.3)
    """Heard before the first word and after the last one."""
    snr_db: Ends = (10.0, 30.0)
    """Speech against noise."""
    voice_spread_db: float = Field(2.5, ge=0, le=10)
    """Standard deviation of the loudness of voices."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        shortest = self.piece_s[0] + 2 * self.margin_s[1]
        if shortest > self.length_s[0]:
            raise ValueError(
                f"length_s from {self.length_s[0]:g}: expected at least {shortest:g}, for the "
                "shortest piece and its margins"
            )
        if not (self.overlap[0] >= 0 and self.overlap[1] <= 1):
            raise ValueError(f"overlap {self.overlap}: expected shares, 0 to 1")
        if sum(self.voices) <= 0:
            raise ValueError("voices: all weights are 0")
        return self


class StageSettings(Settings):
    """A stage: what trains, how long and how fast. It begins with the best of the one before."""

    trains: StageName
    steps: int = Field(1000, ge=1)
    """Steps of the optimiser."""
    learning_rate: float = Field(1e-3, gt=0)
    """The highest."""
    warmup_steps: int = Field(100, ge=0)
    """Steps in which the rate of learning grows from nothing."""
    gate: float | None = Field(None, gt=0)
    """The next stage begins only if the best score (cpWER; of the encoder its WER) is no higher."""
    groups: GroupSettings | None = None
    """Other groups than those of the whole training, such as simpler ones at first."""


class PaceSettings(Settings):
    """How all stages learn; see ``LoopSettings``."""

    accumulate: int = Field(1, ge=1)
    hold: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    precision: Precision = "auto"
    checkpoint_every: int = Field(100, ge=1)
    score_every: int = Field(500, ge=1)
    seed: int = Field(0, ge=0)


class ValidationSettings(Settings):
    """What is scored, always the same: generated text on speakers and rooms kept out."""

    groups: int = Field(60, ge=1)
    """Simulated groups."""
    constrained: bool = True
    """Only what the format allows is written. Without it an unreadable text counts as nothing."""
    batch_s: float | None = Field(None, gt=0)
    """Seconds of sound that are written about at once; by default as in training."""


class EncoderSettings(Settings):
    """Serialised output training of the semantic encoder by itself."""

    ctc: float = Field(0.3, ge=0, le=1)
    """Weight of CTC; the rest is the cross entropy of a small attention decoder."""
    layers: int = Field(2, ge=1, le=8)
    """Of that decoder, which is thrown away afterwards."""
    width: int = Field(256, ge=8)
    heads: int = Field(4, ge=1)


class JointTraining(Settings):
    """A whole training: ``meetscribe train joint``."""

    speech: SpeechSettings = SpeechSettings()
    rooms: RoomSettings = RoomSettings()
    groups: GroupSettings = GroupSettings()
    corpora: tuple[CorpusSettings, ...] = ()
    """Utterance groups of real meetings beside the simulated ones; scores stay those of simulated
    ones. ``share`` is of all batches."""
    channels: Literal["one", "all"] = "one"
    """``one``: each group is heard by one microphone, drawn for it. ``all``: by all of the array,
    for models that take a signal of the array."""
    batch_s: float = Field(80.0, gt=0)
    """Seconds of sound in a batch, at most; its groups are of similar length."""
    recogniser: str = "whisper-base"
    """Whisper that hears the read speech first, see ``speech.listen``."""
    model: ModelSettings = ModelSettings()
    encoder: EncoderSettings = EncoderSettings()
    stages: tuple[StageSettings, ...] = Field(
        (
            StageSettings(trains="projectors", steps=2000, learning_rate=1e-3),
            StageSettings(trains="lora", steps=2000, learning_rate=2e-4),
        ),
        min_length=1,
        max_length=3,
    )
    """In the order encoder, projectors, lora; any of them may be left out."""
    average: int = Field(3, ge=1)
    """At the end of a stage its last checkpoints, so many, are averaged; the average is kept where
    its score is no worse than the best. 1 leaves this out."""
    validation: ValidationSettings = ValidationSettings()
    loop: PaceSettings = PaceSettings()

    def loop_of(self, stage: StageSettings) -> LoopSettings:
        """Give the loop's settings for a stage."""
        return LoopSettings(
            steps=stage.steps,
            learning_rate=stage.learning_rate,
            warmup_steps=stage.warmup_steps,
            keep=max(2, self.average),
            **self.loop.model_dump(),
        )

    def groups_of(self, stage: StageSettings) -> GroupSettings:
        """Give how the groups of a stage are made."""
        return stage.groups or self.groups

    @property
    def all_groups(self) -> tuple[GroupSettings, ...]:
        """How groups are made in all stages, and for the scores (the first)."""
        return (self.groups, *(one.groups for one in self.stages if one.groups is not None))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.speech.split.lower() in NEVER_TRAINED:
            split = self.speech.split
            raise ValueError(f"speech.split '{split}' is for measuring only, never for training")
        if sum(one.share for one in self.corpora) > 1 + _ROUNDING:
            raise ValueError("corpora: their shares are more than 1 together")
        trained = [stage.trains for stage in self.stages]
        if trained != [name for name in _ORDER if name in trained]:
            raise ValueError(f"stages {', '.join(trained)}: expected {', '.join(_ORDER)}, or some")
        most = max(len(groups.voices) for groups in self.all_groups)
        if most > self.rooms.seats:
            raise ValueError(f"rooms.seats {self.rooms.seats} for {most} voices")
        longest_s = max(groups.length_s[1] for groups in self.all_groups)
        if longest_s > self.batch_s:
            raise ValueError(f"batch_s {self.batch_s:g} for groups of up to {longest_s:g} s")
        if self.model.kind == "whisper" and self.model.whisper.language != self.speech.language:
            raise ValueError(
                f"model.whisper.language '{self.model.whisper.language}', but speech.language "
                f"'{self.speech.language}'"
            )
        if self.encoder.width % self.encoder.heads:
            raise ValueError("encoder.width is no multiple of encoder.heads")
        return self
