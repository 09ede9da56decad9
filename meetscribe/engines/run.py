"""One recording on its way through an engine: what every stage needs beside what it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.timer import Timer
from meetscribe.types import Activity, Made, Progress, Recording, Store, Utterance

_PARTS = "-parts"


@dataclass(frozen=True, slots=True)
class KeptParts(Generic[Made]):
    """Parts of one long stage of one recording in the store; made by ``Run.parts``.

    What a call gives is always what ``unpack`` makes of the packed part, kept or new, so that a
    run that goes on has the same values to the bit as one that was never stopped.
    """

    store: Store
    stage: str
    inputs: str
    decided: str
    pack: Callable[[Made], Any]
    unpack: Callable[[Any], Made]

    def __call__(self, name: object, make: Callable[[], Made]) -> Made:
        """Give a part by its name, made if it is not kept."""
        key = f"{self.decided}-{config_hash(name)}"
        made = self.store.get_or_make(self.stage, self.inputs, key, lambda: self.pack(make()))
        return self.unpack(made)

    def forget(self) -> None:
        """Delete all parts."""
        self.store.forget(self.stage, self.inputs, f"{self.decided}-")


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

    def keep(
        self,
        stage: str,
        decided_by: tuple[object, ...],
        make: Callable[[], Made],
        *,
        parts: Iterable[KeptParts[Any]] = (),
    ) -> Made:
        """Make a stage's result, or take it from the store if the same things decided it.

        ``parts`` of it that were kept are no longer needed then.
        """
        made: Made = self.store.get_or_make(stage, self.inputs, config_hash(*decided_by), make)
        for kept in parts:
            kept.forget()
        return made

    def parts(
        self,
        stage: str,
        decided_by: tuple[object, ...],
        *,
        pack: Callable[[Made], Any],
        unpack: Callable[[Any], Made],
    ) -> KeptParts[Made]:
        """Keep what a long stage has made so far: a run that was killed goes on after it.

        Parameters
        ----------
        decided_by : what decides all parts; give them to ``keep`` as well, which forgets them
            when the result of the stage is kept
        pack, unpack : a part to JSON and back
        """
        return KeptParts(
            self.store, stage + _PARTS, self.inputs, config_hash(*decided_by), pack, unpack
        )

    def report(self, stage: str) -> Progress:
        """Report the inner steps of a stage under one name."""
        return under_one_name(self.progress, stage)

    def open_channels(self, array: ingest.ChannelPlan) -> ingest.ChannelAudio:
        """Open the channels of an array that can be used together, put in step."""
        return ingest.open_channels(
            self.recording,
            array.channels,
            delays_s=array.delays_s,
            signs=array.signs,
            progress=self.report("read"),
        )


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


def part_of(progress: Progress, before: float, share: float) -> Progress:
    """Report a part of a stage: what it reports counts for ``share``, after ``before``."""
    return lambda stage, done: progress(stage, before + share * done)


def under_one_name(progress: Progress, stage: str) -> Progress:
    """Report whatever happens inside as one stage."""
    return lambda _inner, done: progress(stage, done)
