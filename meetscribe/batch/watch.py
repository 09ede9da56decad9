"""Who is told how a batch goes: the displays of the command line are such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meetscribe.batch.summary import Row
from meetscribe.batch.tasks import Begun, Moved


@dataclass(frozen=True)
class Standing:
    """How far a batch is."""

    total: int
    done: int
    failed: int
    running: int
    speed: float
    left_s: float | None


class Watcher(Protocol):
    """Is told what happens; the displays of the command line are such."""

    def begun(self, event: Begun, *, attempt: int) -> None:
        """Tell that a worker has a recording in hand."""
        ...

    def moved(self, event: Moved) -> None:
        """Tell that a share of a stage is done."""
        ...

    def ended(self, row: Row, *, transcribed: bool) -> None:
        """Tell what came of a recording; ``transcribed`` if it was worked on."""
        ...

    def again(self, name: str, reason: str, *, attempt: int) -> None:
        """Tell that an attempt went wrong and another one follows."""
        ...

    def note(self, line: str) -> None:
        """Tell one line."""
        ...

    def standing(self, now: Standing) -> None:
        """Tell how far the whole is; often."""
        ...
