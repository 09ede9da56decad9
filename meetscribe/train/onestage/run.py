"""A whole training of the one-stage recogniser: speech, rooms, network, loop, adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.device import check_present, torch_device
from meetscribe.errors import ConfigError, OutputError
from meetscribe.models import resolve_whisper
from meetscribe.train.loop import Result, train
from meetscribe.train.onestage.bank import RoomBank, make_banks
from meetscribe.train.onestage.card import Trained, export
from meetscribe.train.onestage.corpora import MeetingSet, load_meetings
from meetscribe.train.onestage.examples import ExampleMaker
from meetscribe.train.onestage.library import (
    Library,
    dev_speakers,
    make_library,
    whisper_words,
)
from meetscribe.train.onestage.meetings import MeetingScenes, MixedScenes, Scenes
from meetscribe.train.onestage.scenes import SceneMaker
from meetscribe.train.onestage.score import summary
from meetscribe.train.onestage.settings import OnestageTraining
from meetscribe.train.onestage.task import OnestageTask
from meetscribe.train.processes import ALONE, Processes, launch, own_device, together
from meetscribe.types import SAMPLE_RATE_HZ, Progress, no_progress

if TYPE_CHECKING:
    from meetscribe.onestage.adapter import SpatialWhisper
    from meetscribe.train.onestage.library import Hear

ADAPTER = "adapter"
_TRAIN_STREAM, _DEV_STREAM = 11, 12
_MOST_WORKERS = 15

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the run may use. ``workers`` make examples beside the training; None: chosen."""

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Data:
    """What is trained and scored on."""

    training: Library
    dev: Library
    rooms: RoomBank
    dev_rooms: RoomBank
    notes: tuple[str, ...]
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
    machine = machine or Machine()
    check_present(machine.device)
    machine = replace(machine, device=own_device(machine.device))
    with together(machine.device) as processes:
        if not processes.first:
            progress, note = no_progress, _silent
        about: dict[str, Any] = {"progress": progress, "note": note, "processes": processes}
        with processes.first_alone():
            # what the first one makes, the others find
            task, identity = prepare(settings, output, work=work, machine=machine, **about)
        result = train(
            task,
            settings.loop,
            output,
            identity=identity,
            device=task.device,
            minutes=machine.minutes,
            stop=stop,
            **about,
        )
        refused = int(processes.total([task.refused])[0])
    if refused:
        note(f"{refused} examples left out: their text is too long to be written")
    return result


def _silent(_line: str) -> None:
    """Say nothing: the first process says it."""


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
    workers = _workers(machine, device)
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
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{work}: cannot be made: {error.strerror or error}") from error
    base = settings.model.target.base
    heard_by = base if settings.speech.listen else ""
    hear: Hear | None = _Listener(base) if settings.speech.listen else None
    library, more = make_library(
        settings.speech, work, hear=hear, recogniser=heard_by, progress=progress
    )
    notes += more
    worded = library.with_pieces(max(stage.piece_s[1] for stage in settings.scenes.stages))
    if len(worded.utterances) < len(library.utterances):
        left_out = len(library.utterances) - len(worded.utterances)
        notes.append(f"{left_out} utterances without words: no piece of them is short enough")
    for line in notes:
        note(line)
    held_out = dev_speakers(worded.names, settings.speech.dev_speakers)
    rooms, dev_rooms = make_banks(settings.rooms, work, workers=workers, progress=progress)
    training, dev = library.without(held_out), library.only(held_out)
    return Data(training, dev, rooms, dev_rooms, tuple(notes), meetings)


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


class _Listener:
    """The cascade's recogniser, loaded when the first utterance is to be heard."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._hear: Hear | None = None

    def __call__(self, samples_n: Any, language: str) -> Any:  # noqa: ANN401 - as ``Hear``
        if self._hear is None:
            from meetscribe.recognize.settings import RecognizerSettings
            from meetscribe.recognize.whisper import Recognizer

            # the prompt asks for spontaneous speech, which read speech is not
            settings = RecognizerSettings(prompt="", batch_size=1)
            folder = resolve_whisper(self._base)
            self._hear = whisper_words(Recognizer(settings, model_dir=folder))
        return self._hear(samples_n, language)


def _makers(
    settings: OnestageTraining, data: Data, num_mel_bins: int, processes: int
) -> tuple[ExampleMaker, ExampleMaker]:
    all_channels = settings.model.embedding.num_channels is not None
    scenes, seed = settings.scenes, settings.loop.seed
    num_batches = settings.loop.steps * settings.loop.accumulate * processes
    simulated = SceneMaker(scenes, data.training, data.rooms, seed, _TRAIN_STREAM, all_channels)
    training: Scenes = simulated
    if data.meetings:
        real = [
            MeetingScenes(scenes, one, seed, _TRAIN_STREAM, all_channels) for one in data.meetings
        ]
        training = MixedScenes(simulated, tuple(real))
    # always the same ones, whatever the seed of the training
    dev = SceneMaker(scenes, data.dev, data.dev_rooms, 0, _DEV_STREAM, all_channels)
    model = settings.model
    alone = settings.distil > 0 or (settings.mel > 0 and model.correct_mel)
    return (
        ExampleMaker(training, model, scenes.batch, num_batches, num_mel_bins, alone=alone),
        ExampleMaker(dev, model, scenes.batch, None, num_mel_bins, alone=False),
    )


def _workers(machine: Machine, device: str) -> int:
    if machine.workers is not None:
        return machine.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    spare = max(0, (cores or 1) // launch().local_count - 1)
    # beside a GPU all cores make examples; a CPU makes them far faster than it learns from them
    return min(spare, _MOST_WORKERS) if device != "cpu" else min(spare, 1)


def _trained(
    settings: OnestageTraining, data: Data, baseline: Mapping[str, float] | None, processes: int
) -> Trained:
    minutes: dict[str, float] = {}
    for one in data.training.utterances:
        corpus = one.path.replace("\\", "/").partition("/")[0]
        minutes[corpus] = minutes.get(corpus, 0.0) + one.num_samples / SAMPLE_RATE_HZ / 60
    return Trained(
        settings,
        speech=minutes,
        speakers=len(data.training.names),
        held_out=tuple(data.dev.names),
        left_out=data.notes,
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
    told["utterances"] = [data.training.path.name, len(data.training.utterances)]
    return told
