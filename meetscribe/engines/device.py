"""What a device is called, whether it is there, and how many cores torch may use."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from meetscribe.errors import ConfigError, ModelError

Item = TypeVar("Item")
Made = TypeVar("Made")


def check_name(device: str) -> None:
    """Refuse what is no device on any machine.

    Raises
    ------
    ConfigError
        With the names there are.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(device)):
        raise ConfigError(
            f"unknown device '{device}'", hint="devices are: auto, cpu, cuda, cuda:N, mps"
        )


def check_present(device: str) -> None:
    """Refuse a device that this machine, or its torch, does not have; may load torch.

    Raises
    ------
    ConfigError
        With what there is instead.
    """
    check_name(device)
    if device in {"auto", "cpu"}:
        return
    import torch

    if device == "mps":
        there = torch.backends.mps.is_available()
    else:
        there = torch.cuda.device_count() > int(device.partition(":")[2] or 0)
    if not there:
        raise ConfigError(
            f"device '{device}': torch {torch.__version__} finds no such device here",
            hint="use --device auto or cpu; `meetscribe doctor` says what this machine has",
        )


def torch_device(device: str) -> str:
    """Give the name that torch knows: ``auto`` is CUDA where there is one; loads torch."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def in_what_fits(
    batch: Sequence[Item],
    make: Callable[[Sequence[Item]], list[Made]],
    refuse: Callable[[Item], ModelError],
) -> list[Made]:
    """Run networks over a batch, without gradients, in halves where memory does not hold it.

    Parameters
    ----------
    refuse : gives the error to raise where a single item is too much

    Raises
    ------
    ModelError
        As ``refuse`` gives it.
    """
    import torch

    try:
        with torch.inference_mode():
            return make(batch)
    except torch.OutOfMemoryError as error:
        if len(batch) == 1:
            raise refuse(batch[0]) from error
    middle = len(batch) // 2
    return in_what_fits(batch[:middle], make, refuse) + in_what_fits(batch[middle:], make, refuse)


@contextlib.contextmanager
def cores(threads: int) -> Iterator[None]:
    """Let torch use so many cores for a while: the diarizer leaves it with one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
