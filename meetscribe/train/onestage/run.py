"""A whole training of the one-stage recogniser: speech, rooms, network, loop, adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.device import check_present, torch_device
from meetscribe.errors import ConfigError
from meetscribe.models import resolve_whisper
from meetscribe.train.loop import Result, train
from meetscribe.train.machine import Machine, together_on
from meetscribe.train.material import Material, Note, make_material, speech_minutes
from meetscribe.train.onestage.card import Trained, export
from meetscribe.train.onestage.corpora import MeetingSet, load_meetings
from meetscribe.train.onestage.examples import ExampleMaker
from meetscribe.train.onestage.meetings import MeetingScenes, MixedScenes, Scenes
from meetscribe.train.onestage.scenes import SceneMaker
from meetscribe.train.onestage.score import summary
from meetscribe.train.onestage.settings import OnestageTraining
from meetscribe.train.onestage.task import OnestageTask
from meetscribe.train.processes import ALONE, Processes
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from meetscribe.onestage.adapter import SpatialWhisper

ADAPTER = "adapter"
_TRAIN_STREAM, _DEV_STREAM = 11, 12


@dataclass(frozen=True)
class Data:
    """What is trained and scored on: simulated, and regions of real meetings."""

    material: Material
    meetings: tuple[MeetingSet, ...] = ()


def run(
    settings: OnestageTraining,
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
    output : folder of the run: log.csv, scores.csv, checkpoints, and the best as ``adapter``
    work : folder for speech and rooms, which several runs may share; None: in ``output``
    stop : asked after every step; True saves and ends the run
    progress : called with ``"speech"``, ``"rooms"``, ``"train"``, ``"score"``
    note : told what a person should know

    Raises
    ------
    MeetscribeError
        As ``make_library``, ``make_banks``, ``load_meetings``, ``TargetWhisper.load``,
        ``together`` and ``train`` do.
    """
    with together_on(machine, progress, note) as (own, about):
        processes, note = about["processes"], about["note"]
        with processes.first_alone():
            # what the first one makes, the others find
            task, identity = prepare(settings, output, work=work, machine=own, **about)
        result = train(
            task,
            settings.loop,
            output,
            identity=identity,
            device=task.device,
            minutes=own.minutes,
            stop=stop,
            **about,
        )
        refused = int(processes.total([task.refused])[0])
    if refused:
        note(f"{refused} examples left out: their text is too long to be written")
    return result


def prepare(
    settings: OnestageTraining,
    output: Path,
    *,
    work: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
    processes: Processes = ALONE,
) -> tuple[OnestageTask, dict[str, Any]]:
    """Make everything that a run needs; gives the task, and what says whether a run is the same."""
    import torch

    from meetscribe.onestage.adapter import SpatialWhisper

    machine = machine or Machine()
    check_present(machine.device)
    device = torch_device(machine.device)
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    workers = machine.workers_for(device)
    data = gather(settings, work or output / "work", workers=workers, progress=progress, note=note)
    folder = whisper_folder(settings.model.target.base)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.loop.seed)
        network, vocabulary = SpatialWhisper.load(settings.model, folder)
    steps_before = _begin_with(network, settings) if settings.start else 0
    network = network.to(device)
    bins = network.target.whisper.shape.num_mel_bins
    training, dev = _makers(settings, data, bins, processes.count)
    baseline: dict[str, float] = {}

    def write(step: int, scores: Mapping[str, float]) -> None:
        if not baseline:
            # once, when there is something to compare with
            baseline.update(summary(task.scored(progress, plain=True)))
        trained = replace(
            _trained(settings, data, baseline, processes.count), steps_before=steps_before
        )
        export(network, trained, output / ADAPTER, step=step, scores=scores)

    task = OnestageTask(
        network,
        vocabulary,
        training=training,
        dev=dev,
        dev_batches=-(-settings.scenes.dev_scenes // settings.scenes.batch),
        language=settings.speech.language,
        device=device,
        workers=workers,
        distil=settings.distil,
        mel=settings.mel if settings.model.correct_mel else 0.0,
        silent_weight=settings.silent_weight,
        exporting=write,
    )
    return task, _identity(settings, data, processes.count)


def _begin_with(network: SpatialWhisper, settings: OnestageTraining) -> int:
    """Take over an adapter; gives the steps it was trained for."""
    from meetscribe.onestage.adapter import apply_adapter, load_adapter

    path = Path(settings.start).expanduser()
    found, tensors, about = load_adapter(path)
    if found != settings.model:
        raise ConfigError(
            f"start: {path} was trained with other settings of model",
            hint="give the same model settings as in its training, or begin without it",
        )
    apply_adapter(network, tensors, where=str(path))
    return int(about.get("step", 0))


def whisper_folder(base: str) -> Path:
    """Give the folder of a Whisper model in either layout.

    Raises
    ------
    NameNotFoundError, WeightsError
        As ``resolve_whisper`` does.
    """
    given = Path(base).expanduser()
    if (given / "model.safetensors").is_file():
        return given
    return resolve_whisper(base)


def gather(
    settings: OnestageTraining,
    work: Path,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
) -> Data:
    """Cut the speech and compute the rooms, or open what an earlier run made.

    Real meetings are looked at first: what is amiss there is said before the long work.
    """
    meetings, notes = _meetings(settings)
    material = make_material(
        settings.speech,
        settings.rooms,
        work,
        recogniser=settings.model.target.base,
        longest_piece_s=max(stage.piece_s[1] for stage in settings.scenes.stages),
        notes=notes,
        workers=workers,
        progress=progress,
        note=note,
    )
    return Data(material, meetings)


def _meetings(settings: OnestageTraining) -> tuple[tuple[MeetingSet, ...], list[str]]:
    sets: list[MeetingSet] = []
    notes: list[str] = []
    for wanted in settings.corpora:
        found, left_out = load_meetings(
            wanted,
            settings.scenes,
            language=settings.speech.language,
            num_channels=settings.model.embedding.num_channels,
        )
        sets.append(found)
        notes += left_out
    return tuple(sets), notes


def _makers(
    settings: OnestageTraining, data: Data, num_mel_bins: int, processes: int
) -> tuple[ExampleMaker, ExampleMaker]:
    all_channels = settings.model.embedding.num_channels is not None
    scenes, seed, material = settings.scenes, settings.loop.seed, data.material
    num_batches = settings.loop.steps * settings.loop.accumulate * processes
    simulated = SceneMaker(
        scenes, material.training, material.rooms, seed, _TRAIN_STREAM, all_channels
    )
    training: Scenes = simulated
    if data.meetings:
        real = [
            MeetingScenes(scenes, one, seed, _TRAIN_STREAM, all_channels) for one in data.meetings
        ]
        training = MixedScenes(simulated, tuple(real))
    # always the same ones, whatever the seed of the training
    dev = SceneMaker(scenes, material.dev, material.dev_rooms, 0, _DEV_STREAM, all_channels)
    model = settings.model
    alone = settings.distil > 0 or (settings.mel > 0 and model.correct_mel)
    return (
        ExampleMaker(training, model, scenes.batch, num_batches, num_mel_bins, alone=alone),
        ExampleMaker(dev, model, scenes.batch, None, num_mel_bins, alone=False),
    )


def _trained(
    settings: OnestageTraining, data: Data, baseline: Mapping[str, float] | None, processes: int
) -> Trained:
    material = data.material
    return Trained(
        settings,
        speech=speech_minutes(material.training),
        speakers=len(material.training.names),
        held_out=tuple(material.dev.names),
        left_out=material.notes,
        baseline=baseline,
        meetings=data.meetings,
        batches=settings.loop.accumulate * processes,
    )


def _identity(settings: OnestageTraining, data: Data, processes: int) -> dict[str, Any]:
    """Say what must be the same for a run to go on; how often it is saved and scored may change.

    So may the number of processes, where that of the batches of a step stays.
    """
    told = settings.model_dump(mode="json")
    for name in ("checkpoint_every", "keep", "score_every"):
        del told["loop"][name]
    # where the table lies does not matter, what is in it does
    del told["speech"]["table"]
    told["loop"]["accumulate"] *= processes
    del told["corpora"]
    if data.meetings:
        told["meetings"] = [[one.name, one.share, one.content_hash()] for one in data.meetings]
    told["utterances"] = [data.material.training.path.name, len(data.material.training.utterances)]
    return told
