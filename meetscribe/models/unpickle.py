"""Load published PyTorch checkpoints without running anything that is written in them.

A pickle can name any function of the machine to be called. torch's restricted loader refuses all
names but those of tensors; here a few more names that published checkpoints carry beside their
tensors are answered with stand-ins that do nothing, so that neither pyannote.audio nor lightning
is imported. Whatever else a file names is refused.
"""

from __future__ import annotations

import pickle  # for the name of its error; nothing is loaded with it
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from meetscribe.errors import WeightsError

SEGMENTATION_NAMES = (
    "pyannote.audio.core.task.Specifications",
    "pyannote.audio.core.task.Problem",
    "pyannote.audio.core.task.Resolution",
    "torch.torch_version.TorchVersion",
)
"""What segmentation-3.0 names besides tensors."""


class StandIn:
    """An object of a class that is not imported: keeps what it was given, does nothing."""

    args: tuple[Any, ...]

    def __new__(cls, *args: object) -> Self:
        """Keep the arguments, as pickle gives them here or to ``__init__``."""
        self = super().__new__(cls)
        self.args = args
        return self

    def __init__(self, *args: object) -> None:
        """Take any arguments; ``__new__`` kept them."""

    def __setstate__(self, state: object) -> None:
        self.args = (*self.args, state)


def load_checkpoint(path: Path, *, allowed: Iterable[str] = SEGMENTATION_NAMES) -> dict[str, Any]:
    """Load a checkpoint onto the CPU.

    Parameters
    ----------
    path : file as ``torch.save`` or lightning write it; check its hash first
    allowed : full names that may occur besides tensors; each becomes a ``StandIn``

    Returns
    -------
    The dictionary in the file, with ``state_dict`` (name -> tensor); a file that is a plain
    dictionary of tensors becomes its ``state_dict``.

    Raises
    ------
    WeightsError
        If the file cannot be read, names anything else, or holds no dictionary of tensors.
    """
    import torch

    # a class each: torch compares them by identity
    stand_ins: list[Any] = [
        (type(name.rpartition(".")[2], (StandIn,), {}), name) for name in allowed
    ]
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            # how old the file's format is concerns nobody here
            warnings.simplefilter("ignore", FutureWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused: not a plain checkpoint (it names code, or is damaged)",
            hint="run `meetscribe models verify`; do not use this file",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: not a PyTorch checkpoint: {first}", hint="run `meetscribe models verify`"
        ) from error
    return _as_checkpoint(content, path)


def _as_checkpoint(content: object, path: Path) -> dict[str, Any]:
    import torch

    if isinstance(content, dict):
        state = content.get("state_dict", content)
        if isinstance(state, dict) and state:
            tensors = [isinstance(value, torch.Tensor) for value in state.values()]
            if all(tensors):
                return dict(content) if "state_dict" in content else {"state_dict": dict(content)}
    raise WeightsError(
        f"{path}: expected a dictionary of tensors", hint="run `meetscribe models verify`"
    )
