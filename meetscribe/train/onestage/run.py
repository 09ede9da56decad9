"""A whole training of the one-stage recogniser: speech, rooms, network, loop, adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.device import check_present, torch_device
from meetscribe.errors import OutputError
from meetscribe.models import resolve_whisper
from meetscribe.train.loop import Result, train
from meetscribe.train.onestage.bank import RoomBank, make_banks
from meetscribe.train.onestage.card import Trained, export
from meetscribe.train.onestage.examples import ExampleMaker
from meetscribe.train.onestage.library import (
    Library,
    dev_speakers,
    make_library,
    whisper_words,
)
from meetscribe.train.onestage.scenes import SceneMaker
from meetscribe.train.onestage.score import summary
from meetscribe.train.onestage.settings import OnestageTraining
from meetscribe.train.onestage.task import OnestageTask
from meetscribe.types import SAMPLE_RATE_HZ, Progress, no_progress

if TYPE_CHECKING:
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
        As ``make_library``, ``make_banks``, ``TargetWhisper.load`` and ``train`` do.
    """
    machine = machine or Machine()
    task, identity = prepare(
        settings, output, work=work, machine=machine, progress=progress, note=note
    )
    result = train(
        task,
        settings.loop,
        output,
        identity=identity,
        device=task.device,
        minutes=machine.minutes,
        stop=stop,
        progress=progress,
        note=note,
    )
    if task.refused:
        note(f"{task.refused} examples left out: their text is too long to be written")
    return result


def prepare(
    settings: OnestageTraining,
    output: Path,
    *,
    work: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
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
    network = network.to(device)
    training, dev = _makers(settings, data, network.target.whisper.shape.num_mel_bins)
    baseline: dict[str, float] = {}

    def write(step: int, scores: Mapping[str, float]) -> None:
        if not baseline:
            # once, when there is something to compare with
            baseline.update(summary(task.scored(progress, plain=True)))
        trained = _trained(settings, data, baseline)
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
    return task, _identity(settings, data)


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
    """Cut the speech and compute the rooms, or open what an earlier run made."""
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{work}: cannot be made: {error.strerror or error}") from error
    base = settings.model.target.base
    heard_by = base if settings.speech.listen else ""
    hear: Hear | None = _Listener(base) if settings.speech.listen else None
    library, notes = make_library(
        settings.speech, work, hear=hear, recogniser=heard_by, progress=progress
    )
    longest = max(stage.piece_s[1] for stage in settings.scenes.stages)
    usable = [
        one for one in library.utterances if any(a.end - a.start <= longest for a in one.atoms)
    ]
    if len(usable) < len(library.utterances):
        left_out = len(library.utterances) - len(usable)
        notes.append(f"{left_out} utterances left out: no piece of them is short enough")
    library = Library(library.path, tuple(usable))
    for line in notes:
        note(line)
    held_out = dev_speakers(library.names, settings.speech.dev_speakers)
    rooms, dev_rooms = make_banks(settings.rooms, work, workers=workers, progress=progress)
    return Data(library.without(held_out), library.only(held_out), rooms, dev_rooms, tuple(notes))


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
    settings: OnestageTraining, data: Data, num_mel_bins: int
) -> tuple[ExampleMaker, ExampleMaker]:
    all_channels = settings.model.embedding.num_channels is not None
    scenes, seed = settings.scenes, settings.loop.seed
    num_batches = settings.loop.steps * settings.loop.accumulate
    training = SceneMaker(scenes, data.training, data.rooms, seed, _TRAIN_STREAM, all_channels)
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
    spare = max(0, (cores or 1) - 1)
    # beside a GPU all cores make examples; a CPU makes them far faster than it learns from them
    return min(spare, _MOST_WORKERS) if device != "cpu" else min(spare, 1)


def _trained(
    settings: OnestageTraining, data: Data, baseline: Mapping[str, float] | None
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
    )


def _identity(settings: OnestageTraining, data: Data) -> dict[str, Any]:
    """Say what must be the same for a run to go on; how often it is saved and scored may change."""
    told = settings.model_dump(mode="json")
    for name in ("checkpoint_every", "keep", "score_every"):
        del told["loop"][name]
    # where the table lies does not matter, what is in it does
    del told["speech"]["table"]
    told["utterances"] = [data.training.path.name, len(data.training.utterances)]
    return told
