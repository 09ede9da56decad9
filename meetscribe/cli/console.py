"""How progress is shown: a live display on a terminal, plain lines in a log, JSON on request.

All of it goes to standard error; standard output carries results only. ``rich`` lives here alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

STAGES = {
    "models": "fetching models",
    "read": "reading audio",
    "activity": "who speaks when",
    "underneath": "who speaks underneath",
    "separate": "separating speakers",
    "recognize": "what was said",
    "overlap": "what was said underneath",
    "enrol": "hearing people",
    "voices": "whose voices these are",
    "score": "scoring",
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

    def finish(self) -> None:
        """End a recording: what is printed from now on comes below its progress."""
        ...

    def note(self, line: str) -> None:
        """Show one line that matters without progress as well."""
        ...

    def error(self, message: str, hint: str) -> None:
        """Say that a recording failed while others go on."""
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
        # Python has no standard error where the caller closed it
        self.stream: TextIO | None = stream or sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def finish(self) -> None:
        """End a recording."""

    def error(self, message: str, hint: str) -> None:
        """Print the error and the hint."""
        for line in error_lines(message, hint):
            self._line(line)

    def close(self) -> None:
        """Leave the terminal as it was."""

    def _line(self, text: str) -> None:
        if self.stream is None:
            return
        # a reader of the progress that went away does not cost the run
        with contextlib.suppress(OSError):
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
        self._began: dict[str, tuple[float, float]] = {}
        self._shown: dict[str, float] = {}

    def start(self, title: str) -> None:
        """Begin a recording."""
        self._began, self._shown = {}, {}
        self._line(title)

    def progress(self, stage: str, done: float) -> None:
        """Print when a stage ends and at every quarter of one that takes long."""
        now = time.monotonic()
        # one that goes on from where it was stopped does not begin at 0
        began, done_before = self._began.setdefault(stage, (now, done))
        shown = self._shown.setdefault(stage, done if done < 1.0 else 0.0)
        if shown >= 1.0:
            return
        if done >= 1.0:
            self._shown[stage] = 1.0
            self._line(f"  {STAGES.get(stage, stage)}: done in {now - began:.1f} s")
        elif done - shown >= _PLAIN_STEP and now - began > _PLAIN_AFTER_S:
            self._shown[stage] = done
            left = (now - began) * (1 - done) / (done - done_before)
            self._line(f"  {STAGES.get(stage, stage)}: {done:.0%}, about {_clock(left)} left")

    def note(self, line: str) -> None:
        """Print the line."""
        self._line(f"  {line}")


class JsonEvents(_Base):
    """One JSON object a line: ``{"event": "progress", "stage": …, "done": …, "time": …}``.

    Events are start, progress, note, error and log.
    """

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

    def error(self, message: str, hint: str) -> None:
        """Emit an error."""
        self._line(error_event(message, hint))

    def _event(self, event: str, **fields: object) -> None:
        self._line(event_line(event, fields))


class Live(_Base):
    """A bar per stage with the time left, drawn by rich."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        from rich.console import Console

        self._console = Console(file=self.stream, highlight=False)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def start(self, title: str) -> None:
        """Begin a recording with fresh bars."""
        self.finish()
        self._console.print(title, markup=False)

    def progress(self, stage: str, done: float) -> None:
        """Move the bar of a stage."""
        if self._bars is None:
            self._bars = _bars(self._console)
            self._bars.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=1.0)
        self._bars.update(self._tasks[stage], completed=min(done, 1.0))

    def finish(self) -> None:
        """Leave the bars as they are; while they are live nothing else may be printed."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}

    def note(self, line: str) -> None:
        """Print a line above the bars, or below those of a recording that is done."""
        self._console.print(f"  {line}", markup=False, soft_wrap=True)

    def error(self, message: str, hint: str) -> None:
        """Print the error and the hint below the bars."""
        self.finish()
        for line in error_lines(message, hint):
            self._console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing."""
        self.finish()


def _bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("  {task.description:<18}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Lay rows of text out in columns, those of ``right`` flush right.

    >>> aligned([["clip", "DER"], ["a", "7.1"]], right={1})
    ['clip  DER', 'a     7.1']
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            cells.append(gap + cell if place in right else cell + gap)
        lines.append("  ".join(cells).rstrip())
    return lines


def error_lines(message: str, hint: str) -> list[str]:
    """Give an error and the next step as a person reads them, a line each."""
    lines = [f"error: {_one_line(message)}"]
    return [*lines, f"hint: {_one_line(hint)}"] if hint else lines


def error_event(message: str, hint: str) -> str:
    """Give an error as the JSON event that programs read."""
    return event_line("error", {"text": _one_line(message), "hint": _one_line(hint)})


class JsonLog(logging.Formatter):
    """Makes an event of what is logged, so that every line of the JSON progress is JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
        fields = {"level": record.levelname, "logger": record.name, "text": record.getMessage()}
        return event_line("log", fields)


def event_line(event: str, fields: Mapping[str, object]) -> str:
    """Give one event as a line of JSON."""
    return json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def reporter(kind: str, *, quiet: bool) -> Reporter:
    """Choose how to show progress: ``auto``, ``rich``, ``plain`` or ``json``."""
    if quiet:
        return Quiet()
    kinds: dict[str, Callable[[], Reporter]] = {"rich": Live, "plain": Plain, "json": JsonEvents}
    return kinds[chosen(kind)]()


def chosen(kind: str) -> str:
    """Say what ``auto`` is here: ``rich`` on a terminal, else ``plain``."""
    if kind != "auto":
        return kind
    return "rich" if sys.stderr is not None and sys.stderr.isatty() else "plain"


def _clock(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
