"""What a device is called, whether it is there, and how many cores torch may use."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from meetscribe.errors import ConfigError


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
