"""What stages cost, for the provenance of a transcript."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timer:
    """What each stage costs: seconds, CPU seconds, and the process's peak memory at its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure what happens inside a ``with``."""
        began, cpu_began = time.monotonic(), time.process_time()
        yield
        self.seconds[stage] = time.monotonic() - began
        self.cpu_seconds[stage] = round(time.process_time() - cpu_began, 2)
        peak = _peak_memory_mb()
        if peak is not None:
            self.peak_mb[stage] = peak


def _peak_memory_mb() -> float | None:
    """Give the most memory this process has had, None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)
