"""How the C library keeps memory that was freed.

A step of a training frees gigabytes, and the next one asks for as much again. The allocator of
glibc hands large pieces back to the system each time, and every page that comes again is zeroed,
which took up to a third of the CPU time of a training on a CPU.
"""

from __future__ import annotations

import ctypes
import logging
import sys

log = logging.getLogger(__name__)

# mallopt(3), malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_TOP_PAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for when it needs some again.

    Returns
    -------
    bool
        False where the C library is another one than glibc; nothing is changed then.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {
        _M_MMAP_THRESHOLD: _LARGEST,
        _M_TRIM_THRESHOLD: _LARGEST,
        _M_TOP_PAD: _TOP_PAD,
    }
    kept = all(mallopt(option, value) == 1 for option, value in wanted.items())
    log.debug("freed memory is %s", "kept" if kept else "not kept")
    return kept
