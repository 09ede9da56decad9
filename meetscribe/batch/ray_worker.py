"""What lives in an actor of Ray: a worker that is told its tasks and gives their events."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from meetscribe.batch.tasks import Ended, Task
from meetscribe.batch.wire import event_line
from meetscribe.batch.work import Worker
from meetscribe.version import __version__


class RayWorker:
    """A ``Worker`` that can be called from another machine.

    Parameters
    ----------
    words : what ``Runner.of`` takes
    label : names this worker for the reader; ``{host}`` becomes its machine
    environment : what ``meetscribe`` is told by variables where the batch was started
    folder : where it was started, which relative paths are taken from
    """

    def __init__(
        self, words: Mapping[str, Any], label: str, environment: Mapping[str, str], folder: str
    ) -> None:
        os.environ.update(environment)
        # a node without this folder can still do what is named by URLs
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._worker = Worker(words, label=label.format(host=socket.gethostname()))

    def about(self) -> dict[str, Any]:
        """Say where it runs and what it is."""
        context = importlib.import_module("ray").get_runtime_context()
        return {
            "node": context.get_node_id(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
        }

    def run(self, task: Mapping[str, Any]) -> Iterator[str]:
        """Do a task; give its events as lines, the last one its end."""
        asked = Task.from_json(task)
        lines: queue.Queue[str | None] = queue.Queue()

        def work() -> None:
            try:
                outcome = self._worker.run(asked, lambda event: lines.put(event_line(event)))
                lines.put(event_line(Ended(asked.name, outcome)))
            finally:
                lines.put(None)

        threading.Thread(target=work, daemon=True).start()
        while (line := lines.get()) is not None:
            yield line
