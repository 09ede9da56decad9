"""Numbered pieces of work made ahead by other processes, and given in order.

What a number stands for is made from the number alone, so that a run that goes on from number n
sees what it would have seen.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from meetscribe.errors import ModelError
from meetscribe.train.allocator import keep_freed_memory

T = TypeVar("T")
Maker = Callable[[int], T]

_AHEAD = 3
"""Pieces per process that wait or are in work."""

_own: dict[str, Maker[Any]] = {}
"""The maker of this process, where it is one of the others."""


def in_order(
    prepare: Callable[[], Maker[T]], numbers: Iterable[int], *, workers: int
) -> Iterator[T]:
    """Make a piece for every number.

    Parameters
    ----------
    prepare : gives what makes a piece; called once in every process, so it must be picklable
    workers : processes beside this one, each on one core; 0 makes all here, when it is asked for

    Raises
    ------
    ModelError
        If a process dies.
    """
    if not workers:
        make = prepare()
        for number in numbers:
            yield make(number)
        return
    # forked copies of a process that already computes with threads may hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare, initargs=(prepare,)
    )
    waiting: deque[Future[T]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(_make, number))
            if len(waiting) >= workers * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ModelError(
            "a process that makes examples died, most likely for want of memory",
            hint="use fewer workers, or smaller batches",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _prepare(prepare: Callable[[], Maker[Any]]) -> None:
    import torch

    # Ctrl-C reaches all processes; only the first one is to act on it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # a process that is killed can end no others, and these would wait for work for ever
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    keep_freed_memory()
    _own["make"] = prepare()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(number: int) -> Any:  # noqa: ANN401 - whatever the maker makes
    return _own["make"](number)
