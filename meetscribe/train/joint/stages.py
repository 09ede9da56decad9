"""Stage after stage: each a run of the loop in a folder of its own, begun with the best so far.

    1-projectors/    log.csv scores.csv checkpoints/ settled.json
    2-lora/          the same
    model/           the best of all, for use

A stage that is over is settled: its best weights are chosen once, the mean of its last checkpoints
among them, and written down. So a run that goes on finds what it would have found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import ConfigError, OutputError, WeightsError
from meetscribe.files import write_atomic
from meetscribe.train import checkpoint as checkpoints
from meetscribe.train.averaging import average_of
from meetscribe.train.checkpoint import Checkpoint
from meetscribe.train.joint.settings import StageSettings
from meetscribe.train.joint.task import GroupTask
from meetscribe.types import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

SETTLED = "settled.json"
_AVERAGED = "averaged.safetensors"

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a stage.

    Parameters
    ----------
    trains : the stage
    score : the first of its scores, for its best weights
    step : of these, the last one of a mean
    averaged : checkpoints of which they are the mean, 1 for none
    kept : whether they are used; otherwise what there was before is no worse
    """

    trains: str
    score: float
    step: int
    averaged: int
    kept: bool

    def plain(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def folder_of(output: Path, number: int, stage: StageSettings) -> Path:
    """Give the folder of stage number n, from 1."""
    return output / f"{number}-{stage.trains}"


def settle(
    task: GroupTask,
    stage: StageSettings,
    folder: Path,
    *,
    average: int,
    before: Settled | None,
    progress: Progress,
    note: Note,
) -> Settled:
    """Choose the weights of a stage that is over; scores the mean of its last checkpoints.

    Parameters
    ----------
    average : so many checkpoints
    before : the stage before, whose score is of the same kind; None if there is none
    """
    found = read_settled(folder)
    if found is not None:
        return found
    best = checkpoints.load(_best(folder))
    column = task.score_columns[0]
    score, step, averaged = float(best.about["scores"][column]), int(best.about["step"]), 1
    if average > 1:
        tensors, steps = average_of(folder, average)
        if len(steps) > 1:
            scores = _score_with(task, tensors, progress)
            note(f"mean of steps {', '.join(map(str, steps))}: {column} {scores[column]:.4g}")
            if scores[column] <= score:
                score, step, averaged = scores[column], max(steps), len(steps)
                about = {"step": step, "steps": list(steps), "scores": scores}
                path = folder / checkpoints.FOLDER / _AVERAGED
                checkpoints.save(path, Checkpoint(checkpoints.prefixed("network", tensors), about))
    kept = before is None or score <= before.score
    made = Settled(stage.trains, score, step, averaged, kept)
    try:
        write_atomic({folder / SETTLED: json.dumps(made.plain()) + "\n"})
    except OSError as error:
        raise OutputError(f"{folder / SETTLED}: cannot be written: {error}") from error
    return made


def read_settled(folder: Path) -> Settled | None:
    """Read what came of a stage, None if it is not over.

    Raises
    ------
    WeightsError
        If the file is damaged.
    """
    path = folder / SETTLED
    if not path.is_file():
        return None
    try:
        return Settled(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{path}: damaged ({error})", hint="remove it, and train again"
        ) from error


def take_over(network: nn.Module, folder: Path, settled: Settled) -> None:
    """Give the network the weights that were chosen.

    Raises
    ------
    WeightsError
        If they cannot be read, or are not of this network.
    """
    name = _AVERAGED if settled.averaged > 1 else checkpoints.BEST
    path = folder / checkpoints.FOLDER / name
    found = checkpoints.load(path)
    _put(network, checkpoints.without_prefix("network", found.tensors), where=str(path))


def check_gate(stage: StageSettings, settled: Settled) -> None:
    """Say that a stage did not learn enough for the next one to make sense.

    Raises
    ------
    ConfigError
        If its score is above the gate.
    """
    if stage.gate is not None and settled.score > stage.gate:
        raise ConfigError(
            f"stage '{stage.trains}': best score {settled.score:.4g}, expected at most "
            f"{stage.gate:g} (gate) before the next stage",
            hint="train it longer, or raise its gate, with another folder -o",
        )


def _best(folder: Path) -> Path:
    return folder / checkpoints.FOLDER / checkpoints.BEST


def _score_with(
    task: GroupTask, tensors: Mapping[str, Tensor], progress: Progress
) -> dict[str, float]:
    import torch

    _put(task.network, tensors, where="mean of checkpoints")
    with torch.no_grad():
        return task.score(progress)


def _put(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    import torch

    parameters = dict(network.named_parameters())
    strange = sorted(tensors.keys() - parameters.keys())
    if strange:
        raise WeightsError(f"{where}: {strange[0]} is not what this network has")
    with torch.no_grad():
        for name, one in tensors.items():
            if one.shape != parameters[name].shape:
                raise WeightsError(f"{where}: {name} has another shape")
            parameters[name].copy_(one)
