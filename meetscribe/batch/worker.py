"""A worker process: tasks come as lines of JSON, events go back the same way.

It ends when its standard input does, so a parent that is killed leaves no orphan; what libraries
print goes to standard error. Started by ``pool``, which gives it a label as its argument.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from meetscribe.batch.tasks import Ended, Event, Task
from meetscribe.batch.wire import event_line
from meetscribe.batch.work import Worker

_SIGKILL = 9
_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "500"


def main() -> None:
    """Work until there is no more."""
    label = sys.argv[1]
    lines, wire = _streams()
    _end_with_parent()
    words = json.loads(lines.get())
    worker = Worker(words, label=label)
    _send(wire, json.dumps({"event": "ready"}))
    while True:
        task = Task.from_json(json.loads(lines.get()))
        outcome = worker.run(task, lambda event: _tell(wire, event))
        _tell(wire, Ended(task.name, outcome))


def _streams() -> tuple[queue.Queue[str], TextIO]:
    """Give the lines that come in, and a private way out that no library can print on."""
    wire = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    return lines, wire


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    # the parent is gone or wants no more; nobody could use what is still being made
    os._exit(0)


def _end_with_parent() -> None:
    """Be ended by the system with the parent, and before it where memory runs out (Linux)."""
    # the parent decides what Ctrl-C means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _tell(wire: TextIO, event: Event) -> None:
    _send(wire, event_line(event))


def _send(wire: TextIO, line: str) -> None:
    try:
        wire.write(line + "\n")
        wire.flush()
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    main()
