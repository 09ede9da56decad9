"""What a training may use of the machine it runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass

from meetscribe.train.processes import launch

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
