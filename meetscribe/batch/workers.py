"""How many workers a machine takes: by its cores, and by its memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from meetscribe.pipeline.runner import usable_cores

_A_WORKER = 2_000_000_000
"""Bytes that a worker with the default models may need: 1.5 GB for one signal, 2.5 for an array."""


def choose_workers(
    asked: int | None,
    threads: int | None,
    *,
    memory: int | None = None,
    memory_a_worker: int = _A_WORKER,
) -> tuple[int, int]:
    """Give the number of workers, and the threads of each.

    Parameters
    ----------
    asked : workers; None takes as many as memory and cores allow
    threads : of each worker; None shares the cores out
    memory : bytes that all workers may take together; None is what is free now

    Examples
    --------
    >>> choose_workers(2, 3)
    (2, 3)
    >>> choose_workers(None, 1, memory=1_000_000_000)
    (1, 1)
    """
    cores = usable_cores()
    if asked is None:
        by_cores = max(1, cores // (threads or 1))
        free = free_memory() if memory is None else memory
        by_memory = by_cores if free is None else max(1, free // memory_a_worker)
        asked = min(by_cores, by_memory)
    elif memory is not None:
        asked = max(1, min(asked, memory // memory_a_worker))
    return asked, threads or max(1, cores // asked)


def free_memory() -> int | None:
    """Give the bytes that programs can still have, by the system and by the container's limit."""
    free: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        free.append(max(0, limit - used))
    if not free:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return min(free, default=None)
