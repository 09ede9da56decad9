"""Independent pieces of work on all cores, each piece on one.

Bins and turns are independent of each other, so that each core can have its own: much better than
many cores on one small product, above all on a machine that has something else to do too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_GPU_FACTOR = 32.0


def run_all(
    calls: Sequence[Callable[[], T]],
    *,
    device: torch.device,
    threads: int | None = None,
    finished: Callable[[int], None] = lambda _index: None,
) -> list[T]:
    """Make all calls, without gradients, and give what they return, in order.

    Parameters
    ----------
    calls : may run at the same time, so none may depend on another
    device : where they work; on anything but a CPU they run one after the other
    threads : cores to use, None as many as torch has
    finished : called from this thread with the index of each call that is done
    """
    import torch

    if device.type != "cpu" or len(calls) <= 1:
        made = []
        with torch.no_grad():
            for index, call in enumerate(calls):
                made.append(call())
                finished(index)
        return made
    # gradients and inference mode are a matter of each thread
    inference = torch.is_inference_mode_enabled()

    def in_thread(call: Callable[[], T]) -> T:
        with torch.inference_mode(inference), torch.no_grad():
            return call()

    here = torch.get_num_threads()
    with ThreadPoolExecutor(
        threads or here, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = {pool.submit(in_thread, call): index for index, call in enumerate(calls)}
        try:
            for future in as_completed(futures):
                future.result()
                finished(futures[future])
        finally:
            # after an error or Ctrl-C, do not wait for all the rest
            pool.shutdown(wait=True, cancel_futures=True)
            # the number of this thread is its own, that of threads to come is the last one set
            torch.set_num_threads(here)
    return [future.result() for future in futures]


def over_bins(
    work: Callable[[slice], None],
    num_bins: int,
    *,
    bytes_per_bin: int,
    work_mb: float,
    device: torch.device,
    threads: int | None,
    progress: Callable[[float], None],
) -> None:
    """Call ``work`` once for every few bins; each call writes to its own.

    Parameters
    ----------
    bytes_per_bin, work_mb : memory that one bin needs, and that a call may need on a CPU; on a
        GPU it may be 32 times as much
    progress : called with the share of the bins that are done
    """
    allowance = work_mb * 1e6 * (1.0 if device.type == "cpu" else _GPU_FACTOR)
    step = max(1, int(allowance / bytes_per_bin))
    pieces = [slice(first, min(first + step, num_bins)) for first in range(0, num_bins, step)]
    done = 0

    def finished(index: int) -> None:
        nonlocal done
        done += pieces[index].stop - pieces[index].start
        progress(done / num_bins)

    calls = [lambda piece=piece: work(piece) for piece in pieces]
    run_all(calls, device=device, threads=threads, finished=finished)
