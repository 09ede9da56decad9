"""How progress is shown: a live display on a terminal, plain lines in a log, JSON on request.

All of it goes to standard error; standard output carries results only. ``rich`` lives here alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

STAGES = {
    "models": "fetching models",
    "read": "reading audio",
    "activity": "who speaks when",
    "language": "language",
    "recognize": "what was said",
}
"""Stage names as engines report them, and what a person reads."""

_PLAIN_STEP = 0.25
_PLAIN_AFTER_S = 10.0
_EVENT_STEP = 0.01


class Reporter(Protocol):
    """Shows progress of one recording after the other; a context manager."""

    def start(self, title: str) -> None:
        """Begin a recording."""
        ...

    def progress(self, stage: str, done: float) -> None:
        """Say that a share (0 to 1) of a stage is done."""
        ...

    def note(self, line: str) -> None:
        """Show one line that matters without progress as well."""
        ...

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        ...


class _Base:
    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class Quiet(_Base):
    """Shows nothing but notes that a person must see."""

    def start(self, title: str) -> None:
        """Begin a recording."""

    def progress(self, stage: str, done: float) -> None:
        """Ignore."""

    def note(self, line: str) -> None:
        """Ignore: warnings are in the transcript."""


class Plain(_Base):
    """One line when a stage starts and ends, and every quarter of the long ones."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._began: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    def start(self, title: str) -> None:
        """Begin a recording."""
        self._began, self._shown = {}, {}
        self._line(title)

    def progress(self, stage: str, done: float) -> None:
        """Print when a stage ends and at every quarter of one that takes long."""
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        shown = self._shown.setdefault(stage, 0.0)
        if shown >= 1.0:
            return
        if done >= 1.0:
            self._shown[stage] = 1.0
            self._line(f"  {STAGES.get(stage, stage)}: done in {now - began:.1f} s")
        elif done - shown >= _PLAIN_STEP and now - began > _PLAIN_AFTER_S:
            self._shown[stage] = done
            left = (now - began) * (1 - done) / done
            self._line(f"  {STAGES.get(stage, stage)}: {done:.0%}, about {_clock(left)} left")

    def note(self, line: str) -> None:
        """Print the line."""
        self._line(f"  {line}")


class JsonEvents(_Base):
    """One JSON object a line: ``{"event": "progress", "stage": …, "done": …, "time": …}``."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._shown: dict[str, float] = {}

    def start(self, title: str) -> None:
        """Begin a recording."""
        self._shown = {}
        self._event("start", recording=title)

    def progress(self, stage: str, done: float) -> None:
        """Emit at most one event for each hundredth of a stage."""
        last = self._shown.get(stage, -1.0)
        if done - last >= _EVENT_STEP or (done >= 1.0 > last):
            self._shown[stage] = done
            self._event("progress", stage=stage, done=round(min(done, 1.0), 4))

    def note(self, line: str) -> None:
        """Emit a note."""
        self._event("note", text=line)

    def _event(self, event: str, **fields: object) -> None:
        fields = {"event": event, "time": round(time.time(), 3), **fields}
        self._line(json.dumps(fields, ensure_ascii=False))


class Live(_Base):
    """A bar per stage with the time left, drawn by rich."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskID,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = Console(file=self.stream, highlight=False)
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("  {task.description:<18}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bars.start()

    def start(self, title: str) -> None:
        """Begin a recording with fresh bars."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks = {}
        self._console.print(title, markup=False)

    def progress(self, stage: str, done: float) -> None:
        """Move the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=1.0)
        self._bars.update(self._tasks[stage], completed=min(done, 1.0))

    def note(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(f"  {line}", markup=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing."""
        self._bars.stop()


def reporter(kind: str, *, quiet: bool) -> Reporter:
    """Choose how to show progress: ``auto``, ``rich``, ``plain`` or ``json``."""
    if quiet:
        return Quiet()
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    kinds: dict[str, Callable[[], Reporter]] = {"rich": Live, "plain": Plain, "json": JsonEvents}
    return kinds[kind]()


def _clock(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
