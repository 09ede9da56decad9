"""A whole training of a joint model: speech, rooms, model, stage after stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from meetscribe.engines.device import check_present, torch_device
from meetscribe.train.joint.parts import gather, make_trainee
from meetscribe.train.joint.settings import JointTraining
from meetscribe.train.joint.training import Training
from meetscribe.train.loop import Result
from meetscribe.train.machine import Machine, together_on
from meetscribe.train.material import Note
from meetscribe.train.processes import ALONE, Processes
from meetscribe.types import Progress, no_progress


def run(
    settings: JointTraining,
    output: Path,
    *,
    work: Path | None = None,
    machine: Machine | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
) -> Result:
    """Train, or go on with the run that ``output`` holds.

    Processes that ``torchrun`` or ``accelerate launch`` started train together; all call this.

    Parameters
    ----------
    output : folder of the run: a folder a stage, and the best as ``model``
    work : folder for speech and rooms, which several runs may share; None: in ``output``
    stop : asked after every step; True saves and ends the run
    progress : called with ``"speech"``, ``"rooms"``, ``"train"``, ``"score"``
    note : told what a person should know

    Returns
    -------
    Of the last stage; its best is that of the model.

    Raises
    ------
    ConfigError
        If a stage did not reach its gate, or the folder holds a run of other settings.
    MeetscribeError
        As ``make_material``, ``load_groups``, the model's own making, ``together`` and ``train``.
    """
    with together_on(machine, progress, note) as (own, about):
        processes, note = about["processes"], about["note"]
        with processes.first_alone():
            # what the first one makes, the others find
            training = prepare(settings, output, work=work, machine=own, **about)
        result = training.go(stop=stop)
        counted = processes.total([training.fitting.halved, training.fitting.refused])
    if any(counted):
        note(
            f"{counted[0]:.0f} groups that the model cannot take were split in a pause, "
            f"{counted[1]:.0f} without a pause left out"
        )
    return result


def prepare(
    settings: JointTraining,
    output: Path,
    *,
    work: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
    processes: Processes = ALONE,
) -> Training:
    """Make everything that a run needs; parameters as of ``run``."""
    import torch

    machine = machine or Machine()
    check_present(machine.device)
    device = torch_device(machine.device)
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    workers = machine.workers_for(device)
    data = gather(settings, work or output / "work", workers=workers, progress=progress, note=note)
    trainee = make_trainee(settings, device)
    return Training(
        settings,
        output,
        data,
        trainee,
        device=device,
        workers=workers,
        minutes=machine.minutes,
        progress=progress,
        note=note,
        processes=processes,
    )
