"""What a training needs before it can go: speech and rooms, real meetings, the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meetscribe.train.joint.real import RealGroups, load_groups
from meetscribe.train.joint.settings import JointTraining
from meetscribe.train.joint.trainee import Trainee
from meetscribe.train.material import Material, Note, make_material
from meetscribe.types import Progress, no_progress


@dataclass(frozen=True)
class Data:
    """What is trained and scored on: simulated groups, and those of real meetings."""

    material: Material
    real: tuple[RealGroups, ...] = ()


def gather(
    settings: JointTraining,
    work: Path,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
) -> Data:
    """Cut the speech and compute the rooms, or open what an earlier run made.

    Real meetings are looked at first: what is amiss there is said before the long work.
    """
    real: list[RealGroups] = []
    notes: list[str] = []
    for wanted in settings.corpora:
        found, left_out = load_groups(
            wanted,
            language=settings.speech.language,
            longest_s=settings.groups.length_s[1],
            channels=settings.channels,
        )
        real.append(found)
        notes += left_out
    material = make_material(
        settings.speech,
        settings.rooms,
        work,
        recogniser=settings.recogniser,
        longest_piece_s=max(groups.piece_s[1] for groups in settings.all_groups),
        notes=notes,
        workers=workers,
        progress=progress,
        note=note,
    )
    return Data(material, tuple(real))


def make_trainee(settings: JointTraining, device: str) -> Trainee:
    """Make the model that the settings name, on a device.

    Raises
    ------
    ModelError
        If a part of it cannot be had.
    """
    import torch

    model = settings.model
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.loop.seed)
        if model.kind == "llm":
            from meetscribe.train.joint.llm_trainee import LlmTrainee

            return LlmTrainee.make(model, device=device, seed=settings.loop.seed)
        from meetscribe.train.joint.whisper_trainee import WhisperJointTrainee

        if model.start:
            return WhisperJointTrainee.load(Path(model.start).expanduser(), device=device)
        return WhisperJointTrainee.make(model.whisper, device=device)
