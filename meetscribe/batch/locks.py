"""One recording, one owner: two batches on one folder share the work instead of doing it twice.

A lock is a file that exactly one process can make. It says who made it and carries a count that
goes up while the owner lives. An owner on this machine is dead when its process is; one on another
machine is taken for dead when the count stood still for a minute by the watcher's own clock, so
that clocks that differ, or go wrong, do no harm. A lock saves work; results would be whole without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meetscribe.files import is_running, process_space

BEAT_S = 10.0
"""Seconds between two signs of life."""
STALE_S = 60.0
"""Seconds without one after which an owner elsewhere is taken for dead."""


@dataclass
class Locks:
    """The locks of one output folder, as one process sees them."""

    folder: Path
    stale_s: float = STALE_S
    _held: dict[str, Path] = field(default_factory=dict)
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _count: int = 0
    _beaten: float = field(default_factory=time.monotonic)

    def take(self, name: str) -> bool:
        """Become the owner of a recording; False if somebody else is.

        Raises
        ------
        OSError
            If no lock can be written.
        """
        path = self._path(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                if not self._is_stale(path):
                    return False
                self._clear(path)
            else:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(self._text())
                self._held[name] = path
                self._seen.pop(str(path), None)
                return True
        return False

    def release(self, name: str) -> None:
        """Let others have it."""
        path = self._held.pop(name, None)
        # after a long sleep of this machine it may be another one's
        if path is not None and _same_owner(_parsed(_text_of(path) or ""), _parsed(self._text())):
            with contextlib.suppress(OSError):
                path.unlink()

    def release_all(self) -> None:
        """Let go of everything."""
        for name in list(self._held):
            self.release(name)

    def beat(self) -> None:
        """Give a sign of life, at most every ten seconds."""
        now = time.monotonic()
        if now - self._beaten < BEAT_S:
            return
        self._beaten = now
        self._count += 1
        for path in self._held.values():
            with contextlib.suppress(OSError):
                path.write_text(self._text(), encoding="utf-8")

    def owner(self, name: str) -> str:
        """Say who has it, for the reader."""
        about = _parsed(_text_of(self._path(name)) or "")
        return f"process {about.get('pid', '?')} on {about.get('host', 'another machine')}"

    def _is_stale(self, path: Path) -> bool:
        text = _text_of(path)
        if text is None:
            return False  # gone just now: the next try gets it
        about = _parsed(text)
        if about.get("host") == socket.gethostname() and about.get("boot") == _boot():
            pid = about.get("pid")
            alive = isinstance(pid, int) and is_running(pid) and _began(pid) == about.get("began")
            return not alive
        # a lock that was made just now is empty for a moment
        before = self._seen.get(str(path))
        if before is None or before[0] != text:
            self._seen[str(path)] = text, time.monotonic()
            return False
        return time.monotonic() - before[1] > self.stale_s

    def _clear(self, path: Path) -> None:
        """Take a dead owner's lock away, and never one that somebody has made since."""
        with contextlib.suppress(OSError), _one_at_a_time(self.folder / ".following"):
            if self._is_stale(path):
                path.unlink()

    def _text(self) -> str:
        return json.dumps(
            {
                "host": socket.gethostname(),
                "boot": _boot(),
                "pid": os.getpid(),
                "began": _began(os.getpid()),
                "count": self._count,
            }
        )

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{digest[:32]}.lock"


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Keep others out who follow a dead owner; the system lets go of it when a process ends."""
    with path.open("ab") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return ""


def _parsed(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _same_owner(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "count": 0} == {**other, "count": 0}


def _boot() -> str:
    """Tell what counts its processes on its own: each run of the system, and each container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return f"{boot} {process_space()}"


def _began(pid: int) -> str:
    """Tell a process from a later one of the same number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # the name may hold anything, brackets too
    return text.rpartition(")")[2].split()[19]
