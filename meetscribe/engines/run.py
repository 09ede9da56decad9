"""One recording on its way through an engine: what every stage needs beside what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from meetscribe.config import config_hash
from meetscribe.engines.timer import Timer
from meetscribe.types import Activity, Progress, Recording, Store, Utterance

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Run:
    """Where stages keep what they make, and whom they tell how far they are.

    Attributes
    ----------
    inputs : hash of the audio that the stages hear
    """

    recording: Recording
    inputs: str
    store: Store
    progress: Progress
    timer: Timer

    def keep(self, stage: str, decided_by: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """Make a stage's result, or take it from the store if the same things decided it."""
        made: Made = self.store.get_or_make(stage, self.inputs, config_hash(*decided_by), make)
        return made

    def report(self, stage: str) -> Progress:
        """Report the inner steps of a stage under one name."""
        return under_one_name(self.progress, stage)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a way through the cascade found out.

    Attributes
    ----------
    how : one line for the reader: which channels were used for what
    notes : what else a reader of the transcript should know
    """

    utterances: tuple[Utterance, ...]
    activity: Activity
    language: str
    duration: float
    how: str
    notes: tuple[str, ...] = ()


def under_one_name(progress: Progress, stage: str) -> Progress:
    """Report whatever happens inside as one stage."""
    return lambda _inner, done: progress(stage, done)
