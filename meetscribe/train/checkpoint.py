"""Checkpoints: all that a run needs to go on exactly, in a file that is whole or not there.

    checkpoints/step000500.safetensors      the last ones
    checkpoints/best.safetensors            the best by the score

Tensors and JSON only: reading one runs no code. Random numbers are no part of it: what is drawn
follows from the number of the example.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import OutputError, WeightsError
from meetscribe.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "checkpoints"
BEST = "best.safetensors"
_KEY = "meetscribe"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``tensors`` by name, and ``about``: plain values, among them ``step`` and ``identity``."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under a temporary name, then rename it.

    Raises
    ------
    OutputError
        If it cannot be written; nothing is left behind.
    """
    from safetensors.torch import save as to_bytes

    tensors = {name: one.detach().cpu().contiguous() for name, one in checkpoint.tensors.items()}
    data = to_bytes(tensors, {_KEY: json.dumps(checkpoint.about)})
    write_whole(path, data)


def write_whole(path: Path, data: bytes) -> None:
    """Write bytes so that nobody ever sees half of them.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic({path: data})
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="free some space, or give another folder with -o",
        ) from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    WeightsError
        If it cannot be read, or is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            # a mapping that names its tensors, but is no mapping
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a checkpoint, or damaged ({error})", hint="remove it and start again"
        ) from error
    return Checkpoint(tensors, about)


def path_of(folder: Path, step: int) -> Path:
    """Give where the checkpoint of a step lies in the folder of a run."""
    return folder / FOLDER / f"step{step:06d}.safetensors"


def saved(folder: Path) -> list[Path]:
    """Give the checkpoints of a run, the latest first."""
    return sorted((folder / FOLDER).glob("step*.safetensors"), reverse=True)


def latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Give the latest checkpoint that can be read, and what to say about those that cannot."""
    notes: list[str] = []
    for path in saved(folder):
        try:
            return load(path), notes
        except WeightsError as error:
            notes.append(f"{error.message}; the one before it is used")
    return None, notes


def remove_old(folder: Path, keep: int, every: int = 1) -> None:
    """Leave the latest checkpoint, the last ``keep`` of those due, and the best.

    Parameters
    ----------
    every : steps after which one is due; those that a stop made between are needed no more when
        there is a later one, so that the same ones are left whether a run was stopped or not
    """
    latest_first = saved(folder)
    due = [path for path in latest_first if _step_of(path) % every == 0 or path == latest_first[0]]
    for path in set(latest_first) - set(due[:keep]):
        with contextlib.suppress(OSError):
            path.unlink()


def _step_of(path: Path) -> int:
    digits = path.stem.removeprefix("step")
    return int(digits) if digits.isdigit() else 0


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before all names."""
    return {f"{prefix}.{name}": one for name, one in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give those with a prefix, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: one for name, one in tensors.items() if name.startswith(start)}
