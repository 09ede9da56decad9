"""Workers as processes of this machine: each has one recording at a time, and its models loaded.

A worker that crashes, hangs or runs out of memory takes its recording with it and nothing else;
another process takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from meetscribe.batch.tasks import Event, Lost, Task
from meetscribe.batch.wire import parse_event
from meetscribe.errors import ModelError
from meetscribe.files import remove_abandoned

_START = """
import sys
if (root := sys.argv.pop(1)) not in sys.path:
    sys.path.insert(0, root)
from meetscribe.batch.worker import main
main()
"""
# -P: a calendar.py beside the recordings is no part of the program, which is where this one is
_COMMAND = (sys.executable, "-P", "-c", _START, str(Path(__file__).parents[2]))
_STILLBORN = 3
"""So many workers that end before they were ready, one after the other: none will start."""
_END_S = 10.0


@dataclass(eq=False)
class _Process:
    """One worker, and what it has in hand."""

    label: str
    process: subprocess.Popen[str]
    said: IO[bytes]
    killed_before: int
    ready: bool = False
    task: Task | None = None
    reason: str = ""

    def send(self, text: str) -> None:
        """Write one line to it; one that has died is noticed by the end of what it says."""
        stdin = self.process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                stdin.write(text + "\n")
                stdin.flush()

    def dismiss(self) -> None:
        """Let it end: it does when its input does."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def last_words(self) -> str:
        """Give the last line that it wrote to standard error."""
        self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 4096))
        lines = self.said.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class ProcessPool:
    """Runs tasks in processes of this machine.

    Parameters
    ----------
    words : what ``Runner.of`` takes, for every worker
    workers : how many at most
    command : what is started; it gets a label as its last argument
    """

    def __init__(
        self, words: Mapping[str, Any], *, workers: int, command: Sequence[str] = _COMMAND
    ) -> None:
        self._words = json.dumps(dict(words))
        self._workers = workers
        self._command = list(command)
        self._processes: list[_Process] = []
        self._lines: queue.Queue[tuple[_Process, str | None]] = queue.Queue()
        self._made = 0
        self._stillborn = 0

    @property
    def slots(self) -> int:
        """How many tasks may run at once."""
        return self._workers

    @property
    def one_machine(self) -> bool:
        """Whether tasks share one machine's memory: they do."""
        return True

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker, or a new one.

        Raises
        ------
        OSError
            If no process can be started.
        """
        idle = [one for one in self._processes if one.task is None and not one.reason]
        if task.little_memory:
            # others hold their models as long as they live
            for one in idle:
                one.reason = "not needed"
                one.dismiss()
            idle = []
        worker = idle[0] if idle else self._start()
        worker.task = task
        worker.send(json.dumps(task.to_json()))

    def poll(self, timeout_s: float) -> list[Event]:
        """Give what happened, in order; wait so long for something to happen.

        Raises
        ------
        ModelError
            If workers end before they are ready, one after the other.
        """
        events: list[Event] = []
        try:
            waiting = [self._lines.get(timeout=timeout_s)]
        except queue.Empty:
            return events
        while not self._lines.empty():
            waiting.append(self._lines.get())
        for worker, line in waiting:
            event = self._buried(worker) if line is None else self._heard(worker, line)
            if event is not None:
                events.append(event)
        return events

    def cancel(self, name: str, reason: str) -> None:
        """Kill the worker that has the task; its ``Lost`` comes with a later ``poll``."""
        for worker in self._processes:
            if worker.task is not None and worker.task.name == name and not worker.reason:
                worker.reason = reason
                worker.process.kill()

    def close(self) -> None:
        """End all workers; those that have a task are killed."""
        for worker in self._processes:
            if worker.task is not None:
                worker.process.kill()
            else:
                worker.dismiss()
        for worker in self._processes:
            try:
                worker.process.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._clean(worker)
        self._processes = []

    def _start(self) -> _Process:
        self._made += 1
        label = f"worker {self._made}"
        said = tempfile.TemporaryFile(prefix="meetscribe-")  # noqa: SIM115 - closed with the worker
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, label],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                encoding="utf-8",
            )
        except OSError:
            said.close()
            raise
        worker = _Process(label, process, said, memory_kills())
        self._processes.append(worker)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        worker.send(self._words)
        return worker

    def _listen(self, worker: _Process) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in worker.process.stdout or ():
                self._lines.put((worker, line))
        self._lines.put((worker, None))

    def _heard(self, worker: _Process, line: str) -> Event | None:
        worker.ready, self._stillborn = True, 0
        try:
            event = parse_event(line)
        except (TypeError, ValueError, KeyError):
            return None  # cut off in the middle of being killed
        if event is not None and hasattr(event, "outcome"):
            worker.task = None
        return event

    def _buried(self, worker: _Process) -> Event | None:
        """Find out why a worker has ended, and give back what it had."""
        if worker not in self._processes:
            return None
        self._processes.remove(worker)
        status = worker.process.wait()
        reason = worker.reason or _reason(status, worker.last_words())
        memory = not worker.reason and status != 0 and memory_kills() > worker.killed_before
        self._clean(worker)
        if not worker.ready and not worker.reason:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise ModelError(
                    f"workers do not start: {reason}",
                    hint="`meetscribe doctor` says what is missing on this machine",
                )
        return Lost(worker.task.name, reason, memory) if worker.task is not None else None

    @staticmethod
    def _clean(worker: _Process) -> None:
        for stream in (worker.process.stdin, worker.process.stdout, worker.said):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if worker.task is not None and "://" not in worker.task.folder:
            remove_abandoned(Path(worker.task.folder))


def _reason(status: int, last_words: str) -> str:
    if status >= 0:
        ended = f"the worker ended with exit code {status}"
        return f"{ended}: {last_words}" if last_words else ended
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    why = " (out of memory, or somebody did)" if name == "SIGKILL" else ""
    return f"the worker was ended by {name}{why}"


def memory_kills() -> int:
    """Count the processes that the system has ended for want of memory, where it says so."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
