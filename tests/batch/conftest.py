"""Small folders of recordings, and batches over them with a worker that makes trouble."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meetscribe.batch.plan import Request
from meetscribe.batch.pool import ProcessPool
from meetscribe.batch.run import Batch, Limits
from meetscribe.batch.start import Prepared, prepare
from meetscribe.batch.summary import Row, Summary
from meetscribe.batch.tasks import Begun, Moved
from meetscribe.batch.watch import Standing

FAKE = (sys.executable, "-m", "tests.batch.fake_worker")


@dataclass
class Heard:
    """A watcher that remembers."""

    begins: list[tuple[str, int]] = field(default_factory=list)
    transcribed: list[str] = field(default_factory=list)
    repeats: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)

    def begun(self, event: Begun, *, attempt: int) -> None:
        self.begins.append((event.name, attempt))

    def moved(self, event: Moved) -> None:
        pass

    def ended(self, row: Row, *, transcribed: bool) -> None:
        if transcribed:
            self.transcribed.append(row.recording)

    def again(self, name: str, reason: str, *, attempt: int) -> None:  # noqa: ARG002
        self.repeats.append((name, reason))

    def note(self, line: str) -> None:
        self.notes.append(line)

    def standing(self, now: Standing) -> None:
        self.standings.append(now)


@dataclass
class Ran:
    """What came of a batch."""

    summary: Summary
    heard: Heard
    batch: Batch
    prepared: Prepared

    def row(self, name: str) -> Row:
        return next(row for row in self.summary.rows if row.recording == name)


Run = Callable[..., Ran]


@pytest.fixture
def recordings(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of files that are recordings by their names."""

    def make(*names: str) -> Path:
        folder = tmp_path / "in"
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * (100 - number))
        return folder

    return make


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a batch with the troublesome worker."""

    def runs(
        folder: Path,
        *,
        workers: int = 1,
        limits: Limits | None = None,
        command: tuple[str, ...] = FAKE,
        patience_s: float = 60.0,
        **asked: object,
    ) -> Ran:
        request = Request(
            **{"output": str(tmp_path / "out"), "formats": ("json",), "described": {}, **asked}
        )
        prepared = prepare([str(folder)], request)
        prepared.locks.stale_s = patience_s
        heard = Heard()
        pool = ProcessPool({}, workers=workers, command=command)
        batch = prepared.batch(pool, heard, limits or Limits())
        return Ran(batch.run(prepared.sessions, prepared.plan), heard, batch, prepared)

    return runs
