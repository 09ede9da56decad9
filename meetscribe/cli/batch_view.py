"""How a batch is shown: a live table on a terminal, plain lines in a log, JSON on request."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Self

from meetscribe.batch.summary import Row, State, clock
from meetscribe.batch.tasks import Begun, Moved
from meetscribe.batch.watch import Standing
from meetscribe.cli.console import STAGES, chosen, error_event, error_lines, event_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

_EVERY_S = 30.0
_FEW_S = 3.0


class BatchView:
    """Shows errors only; the base of the others. A context manager, and a ``Watcher``."""

    silent = True

    def __init__(self) -> None:
        # Python has no standard error where the caller closed it
        self.stream = sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def looking(self, done: float) -> None:
        """Tell the share of recordings looked at before anything runs."""

    def start(self, total: int, todo: int, workers: int) -> None:
        """Tell what there is."""

    def begun(self, event: Begun, *, attempt: int) -> None:
        """Tell that a worker has a recording in hand."""

    def moved(self, event: Moved) -> None:
        """Tell that a share of a stage is done."""

    def ended(self, row: Row, *, transcribed: bool) -> None:  # noqa: ARG002 - others say it
        """Tell what came of a recording."""
        if row.error:
            self.error(f"{row.recording}: {row.error}", row.hint)

    def again(self, name: str, reason: str, *, attempt: int) -> None:
        """Tell that another attempt follows."""

    def note(self, line: str) -> None:
        """Tell one line."""

    def standing(self, now: Standing) -> None:
        """Tell how far the whole is."""

    def error(self, message: str, hint: str) -> None:
        """Tell what went wrong."""
        for line in error_lines(message, hint):
            self.line(line)

    def close(self) -> None:
        """Stop showing."""

    def line(self, text: str) -> None:
        """Print one line; a reader that went away does not cost the batch."""
        if self.stream is not None:
            with contextlib.suppress(OSError):
                self.stream.write(sayable(text) + "\n")
                self.stream.flush()


class PlainView(BatchView):
    """A line when a recording ends, and how far the whole is every half minute."""

    silent = False

    def __init__(self) -> None:
        super().__init__()
        self._told = time.monotonic()

    def start(self, total: int, todo: int, workers: int) -> None:
        """Print how much there is."""
        self.line(opening(total, todo, workers))

    def ended(self, row: Row, *, transcribed: bool) -> None:
        """Print what came of it."""
        if row.state is State.DONE:
            self.line(ending(row, transcribed=transcribed))
        super().ended(row, transcribed=transcribed)

    def again(self, name: str, reason: str, *, attempt: int) -> None:
        """Print why."""
        self.line(f"{name}: {reason}; attempt {attempt} follows")

    def note(self, line: str) -> None:
        """Print it."""
        self.line(line)

    def standing(self, now: Standing) -> None:
        """Print it every half minute."""
        if time.monotonic() - self._told >= _EVERY_S:
            self._told = time.monotonic()
            self.line(f"  {how_far(now)}")


class JsonView(BatchView):
    """One JSON object a line.

    Events are ``batch``, ``begin``, ``progress``, ``end``, ``again``, ``standing``, ``note`` and
    ``error``; ``end`` has the row of the summary.
    """

    silent = False

    def __init__(self) -> None:
        super().__init__()
        self._told = 0.0

    def start(self, total: int, todo: int, workers: int) -> None:
        """Emit what there is."""
        self._event("batch", total=total, todo=todo, workers=workers)

    def begun(self, event: Begun, *, attempt: int) -> None:
        """Emit who has what."""
        self._event(
            "begin",
            recording=event.name,
            worker=event.worker,
            duration_s=event.duration,
            channels=event.channels,
            attempt=attempt,
        )

    def moved(self, event: Moved) -> None:
        """Emit a step of a stage."""
        self._event("progress", recording=event.name, stage=event.stage, done=round(event.done, 4))

    def ended(self, row: Row, *, transcribed: bool) -> None:
        """Emit the row."""
        self._event("end", transcribed=transcribed, **asdict(row))

    def again(self, name: str, reason: str, *, attempt: int) -> None:
        """Emit why."""
        self._event("again", recording=name, reason=reason, attempt=attempt)

    def note(self, line: str) -> None:
        """Emit it."""
        self._event("note", text=line)

    def standing(self, now: Standing) -> None:
        """Emit it every few seconds."""
        if time.monotonic() - self._told >= _FEW_S:
            self._told = time.monotonic()
            self._event("standing", **asdict(now))

    def error(self, message: str, hint: str) -> None:
        """Emit it."""
        self.line(error_event(message, hint))

    def _event(self, event: str, **fields: object) -> None:
        self.line(event_line(event, fields))


class TableView(PlainView):
    """What every worker has in hand, and below it how far the whole is; ends scroll above."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._console: Console = Console(file=self.stream, highlight=False)
        self._live: Live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._hands: dict[str, tuple[Begun, str, float]] = {}
        self._now: Standing | None = None

    def start(self, total: int, todo: int, workers: int) -> None:
        """Begin the table."""
        super().start(total, todo, workers)
        if todo:
            self._live.start()

    def begun(self, event: Begun, *, attempt: int) -> None:  # noqa: ARG002 - the watcher's signature
        """Give it a line."""
        self._hands[event.name] = event, "read", 0.0
        self._draw()

    def moved(self, event: Moved) -> None:
        """Move its line."""
        if event.name in self._hands:
            self._hands[event.name] = self._hands[event.name][0], event.stage, event.done
            self._draw()

    def ended(self, row: Row, *, transcribed: bool) -> None:
        """Take its line away."""
        self._hands.pop(row.recording, None)
        super().ended(row, transcribed=transcribed)
        self._draw()

    def again(self, name: str, reason: str, *, attempt: int) -> None:
        """Take its line away until then."""
        self._hands.pop(name, None)
        super().again(name, reason, attempt=attempt)

    def standing(self, now: Standing) -> None:
        """Draw it."""
        self._now = now
        self._draw()

    def line(self, text: str) -> None:
        """Print above the table."""
        self._console.print(sayable(text), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(self._table())

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for event, stage, done in self._hands.values():
            table.add_row(
                Text(event.worker),
                Text(sayable(event.name), overflow="ellipsis", no_wrap=True),
                Text(clock(event.duration)),
                Text(STAGES.get(stage, stage)),
                ProgressBar(total=1.0, completed=done, width=20),
            )
        whole = Table.grid()
        whole.add_row(table)
        if self._now is not None:
            whole.add_row(Text(how_far(self._now)))
        return whole


def view(kind: str, *, quiet: bool) -> BatchView:
    """Choose how to show a batch: ``auto``, ``rich``, ``plain`` or ``json``."""
    if quiet:
        return BatchView()
    return {"rich": TableView, "plain": PlainView, "json": JsonView}[chosen(kind)]()


def sayable(text: str) -> str:
    """Give what a stream takes: names of foreign file systems may be no Unicode."""
    return text.encode("utf-8", "replace").decode()


def opening(total: int, todo: int, workers: int) -> str:
    """Say what there is.

    >>> opening(5, 2, 1)
    '5 recordings, 3 known already, 2 to do with 1 worker'
    """
    known = f", {total - todo} known already" if total > todo else ""
    work = f", {todo} to do with {workers} worker{'s' if workers > 1 else ''}" if todo else ""
    return f"{total} recording{'' if total == 1 else 's'}{known}{work}"


def ending(row: Row, *, transcribed: bool) -> str:
    """Say what came of a recording that is done."""
    if not transcribed:
        return f"{row.recording}: done already"
    people = f"{row.speakers} speaker{'' if row.speakers == 1 else 's'}"
    warned = f", {len(row.warnings)} notes" if row.warnings else ""
    fast = f"{row.speed:.1f} times real time" if row.speed else "done"
    return f"{row.recording}: {clock(row.duration_s)}, {people}, {row.words} words, {fast}{warned}"


def how_far(now: Standing) -> str:
    """Say how far the whole is."""
    failed = f", {now.failed} failed" if now.failed else ""
    speed = f", {now.speed:.1f} times real time" if now.speed else ""
    left = f", about {clock(now.left_s)} left" if now.left_s is not None else ""
    return f"{now.done} of {now.total} done{failed}{speed}{left}"
