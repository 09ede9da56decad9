"""Several processes that train one network together: what they add up, agree on, and wait for.

``torchrun`` and ``accelerate launch`` start the same command several times, and tell each in its
environment which of how many it is. Batches are dealt out by their number, gradients are added
up; all processes then make the same step. The first one alone writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from meetscribe.engines.device import torch_device
from meetscribe.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn

_PATIENCE = timedelta(hours=12)
"""The first process may cut speech or score for long; one that died is noticed at once."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Which of how many processes this is: of all, and of those on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def launch() -> Launch:
    """Read what a launcher wrote into the environment; without one this process is alone.

    Raises
    ------
    ConfigError
        If it makes no sense.
    """
    if "MASTER_ADDR" not in os.environ or "RANK" not in os.environ:
        # a queue of jobs may set WORLD_SIZE by itself
        return Launch()
    given = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")}
    given["LOCAL_RANK"] = os.environ.get("LOCAL_RANK", given["RANK"])
    given["LOCAL_WORLD_SIZE"] = os.environ.get("LOCAL_WORLD_SIZE", given["WORLD_SIZE"])
    wrong = [name for name, value in given.items() if not value.isdigit()]
    if wrong:
        raise ConfigError(
            f"environment: {wrong[0]} '{given[wrong[0]]}', expected a number",
            hint="start the processes with accelerate launch, or torchrun",
        )
    found = Launch(*(int(value) for value in given.values()))
    if found.rank >= found.count or found.local_rank >= found.local_count:
        raise ConfigError(
            f"environment: process {found.rank} of {found.count}, {found.local_rank} of "
            f"{found.local_count} on this machine; expected less than there are"
        )
    return found if found.count > 1 else Launch()


def own_device(device: str) -> str:
    """Give the device of this process: of several on CUDA, each has a GPU of its own; loads torch.

    Raises
    ------
    ConfigError
        If there are too few GPUs, or one is named for all.
    """
    who, device = launch(), torch_device(device)
    if who.count == 1 or device == "cpu":
        return device
    import torch

    if device != "cuda":
        raise ConfigError(
            f"device '{device}' for {who.count} processes",
            hint="use --device cuda, which gives each a GPU of its own, or cpu",
        )
    there = torch.cuda.device_count()
    if who.local_count > there:
        raise ConfigError(
            f"{who.local_count} processes on {there} GPUs, expected one for each",
            hint="start fewer processes, or use --device cpu",
        )
    return f"cuda:{who.local_rank}"


class Processes:
    """All processes of a training; of one process, nothing here does anything.

    Everything but ``rank``, ``count`` and ``first`` must be called by all of them alike.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: str = "cpu") -> None:
        self.rank, self.count, self._device = rank, count, device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Add up numbers over the processes.

        Raises
        ------
        ModelError
            Here and below: if another process ended.
        """
        if self.count == 1:
            return list(values)
        import torch

        made = torch.tensor(values, dtype=torch.float64, device=self._device)
        self._add_up(made)
        found: list[float] = made.tolist()
        return found

    def any(self, *, here: bool) -> bool:
        """Tell whether it is so in some process."""
        return here if self.count == 1 else self.total([float(here)])[0] > 0

    def wait(self) -> None:
        """Go on when all have come so far."""
        self.total([0.0])

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process go through before the others, who find what it made."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def agree(self, value: float, what: str) -> None:
        """Check that a number is the same everywhere.

        Raises
        ------
        ModelError
            If it is not.
        """
        told = self.total([value if self.rank == at else 0.0 for at in range(self.count)])
        if len(set(told)) > 1:
            raise ModelError(
                f"{what} is {', '.join(f'{one:g}' for one in told)} in the {self.count} processes, "
                "expected the same",
                hint="they must see the same folder; give one that all can read with -o",
            )

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up gradients; one that no process has stays away."""
        if self.count == 1:
            return
        import torch

        every = list(parameters)
        there = self.total([float(one.grad is not None) for one in every])
        wanted = [one for one, found in zip(every, there, strict=True) if found]
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in wanted]
        if not grads:
            return
        flat = torch.cat([grad.flatten() for grad in grads])
        self._add_up(flat)
        first = 0
        for one in wanted:
            one.grad = flat[first : first + one.numel()].view_as(one)
            first += one.numel()

    def _add_up(self, tensor: Any) -> None:  # noqa: ANN401 - torch's, not imported here
        from torch import distributed

        try:
            distributed.all_reduce(tensor)
        except RuntimeError as error:
            raise ModelError(
                f"process {self.rank} of {self.count}: lost the others",
                hint="see what ended the first of them; the same command goes on",
            ) from error


ALONE = Processes()


@contextlib.contextmanager
def together(device: str) -> Iterator[Processes]:
    """Meet the other processes of this launch, if there are any.

    Parameters
    ----------
    device : of this process, see ``own_device``

    Raises
    ------
    ConfigError
        If they cannot be reached.
    """
    who = launch()
    if who.count == 1:
        yield ALONE
        return
    import torch

    # its functions take the group of the moment in which it is imported as their default: imported
    # later (the optimiser does), they keep a group that is destroyed, and its threads, until exit
    import torch.distributed.nn.functional
    from torch import distributed

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    try:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"process {who.rank} of {who.count}: cannot reach the others ({error})",
            hint="start the processes with accelerate launch, or torchrun",
        ) from error
    yield Processes(who.rank, who.count, device)
    # not after an error: that might wait for those who wait for this one
    distributed.destroy_process_group()
