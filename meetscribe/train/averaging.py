"""The mean of a run's last checkpoints: often a little better than any one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meetscribe.errors import WeightsError
from meetscribe.train import checkpoint as checkpoints

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def average_of(folder: Path, most: int) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Average the network of the last checkpoints of a run.

    Parameters
    ----------
    folder : of the run
    most : so many of them, or as many as there are; those that cannot be read are left out

    Returns
    -------
    dict of Tensor
        By name, empty if there is no checkpoint; each in the number format of the last one.
    tuple of int
        The steps of which it is the mean, the latest first.
    """
    sums: dict[str, Tensor] = {}
    formats: dict[str, torch.dtype] = {}
    steps: list[int] = []
    for path in checkpoints.saved(folder):
        if len(steps) == most:
            break
        try:
            found = checkpoints.load(path)
        except WeightsError:
            continue
        steps.append(int(found.about["step"]))
        for name, one in checkpoints.without_prefix("network", found.tensors).items():
            formats.setdefault(name, one.dtype)
            # in the order of the steps, so that the sum is the same every time
            sums[name] = sums[name] + one.double() if name in sums else one.double()
    return {n: (one / len(steps)).to(formats[n]) for n, one in sums.items()}, tuple(steps)
