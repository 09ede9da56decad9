"""What a training may use of the machine it runs on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from meetscribe.engines.device import check_present
from meetscribe.train.allocator import keep_freed_memory
from meetscribe.train.processes import launch, own_device, together
from meetscribe.types import Progress, no_progress

_MOST_WORKERS = 15


@dataclass(frozen=True, slots=True)
class Machine:
    """What the run may use. ``workers`` make examples beside the training; None: chosen."""

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    minutes: float | None = None

    def workers_for(self, device: str) -> int:
        """Give how many processes make examples beside a training on a device."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        spare = max(0, (cores or 1) // launch().local_count - 1)
        # beside a GPU all cores make examples; a CPU makes them far faster than it learns from them
        return min(spare, _MOST_WORKERS) if device != "cpu" else min(spare, 1)


@contextmanager
def together_on(
    machine: Machine | None, progress: Progress, note: Callable[[str], None]
) -> Iterator[tuple[Machine, dict[str, Any]]]:
    """Meet the other processes of this launch; gives the machine with the device of this one.

    And what everything in the training is told: ``progress`` and ``note``, which only the first
    process has, and ``processes``.

    Raises
    ------
    ConfigError
        If the device is not there, or as ``own_device`` and ``together`` do.
    """
    keep_freed_memory()
    machine = machine or Machine()
    check_present(machine.device)
    machine = replace(machine, device=own_device(machine.device))
    with together(machine.device) as processes:
        if not processes.first:
            progress, note = no_progress, _silent
        yield machine, {"progress": progress, "note": note, "processes": processes}


def _silent(_line: str) -> None:
    """Say nothing: the first process says it."""
