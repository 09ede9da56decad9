"""Do one task: probe, transcribe, write. Every executor runs this, wherever its workers are."""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from meetscribe.batch import remote
from meetscribe.batch.records import signature_of
from meetscribe.batch.tasks import Begun, Event, Moved, Outcome, Session, Task, Verdict
from meetscribe.config import build
from meetscribe.errors import (
    AudioError,
    ConfigError,
    DependencyError,
    MeetscribeError,
    OutputError,
    WeightsError,
)
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.outputs import SessionFiles
from meetscribe.pipeline.runner import Outputs, Result, Runner
from meetscribe.types import Recording, Transcript

_STEP = 0.01
_NO_MEMORY = ("out of memory", "cannot allocate memory", "bad alloc", "bad_alloc")

Emit = Callable[[Event], None]


class Worker:
    """Runs tasks one after the other; models stay loaded between them.

    Parameters
    ----------
    words : what ``Runner.of`` takes
    label : names this worker for the reader
    """

    def __init__(self, words: Mapping[str, Any], *, label: str) -> None:
        self._words = words
        self._label = label
        self._runner: Runner | None = None
        self._little_memory = False

    def run(self, task: Task, emit: Emit) -> Outcome:
        """Do a task; whatever goes wrong is in the outcome."""
        session = Session(task.sources, task.name)
        signature = signature_of(session) or ()
        try:
            outcome = self._run(task, emit)
        except MeetscribeError as error:
            outcome = _outcome_of(error)
        except MemoryError:
            outcome = _no_memory()
        except OSError as error:
            hint = "check the disk, the network and the rights"
            outcome = Outcome(Verdict.TROUBLE, f"{task.name}: {error}", hint)
        except Exception as error:  # noqa: BLE001 - one recording's bug is not the others'
            outcome = _bug(error)
        if outcome.verdict is Verdict.BAD and (not signature or signature_of(session) != signature):
            # it is not there, though it was found, or not what it was: that may pass
            outcome = replace(outcome, verdict=Verdict.TROUBLE)
        return replace(outcome, signature=signature)

    def _run(self, task: Task, emit: Emit) -> Outcome:
        began = time.monotonic()
        runner = self._ready(task)
        outputs = Outputs(
            folder=Path(task.folder),
            formats=task.formats,
            options=build(RenderOptions, task.looks, where="options"),
            force=task.force,
            keep_same=True,
        )
        there_before = False
        with ExitStack() as stack:
            paths = [Path(source) for source in task.sources]
            if any(map(remote.is_url, task.sources)):
                here = stack.enter_context(tempfile.TemporaryDirectory(prefix="meetscribe-"))
                paths = _fetched(task, Path(here))
            if remote.is_url(task.folder):
                there = stack.enter_context(tempfile.TemporaryDirectory(prefix="meetscribe-"))
                outputs = replace(outputs, folder=Path(there))
                there_before = _fetch_results(task, Path(there))
            recording = runner.probe(paths, as_channels=len(paths) > 1, session_id=task.session_id)
            emit(Begun(task.name, self._label, recording.duration, recording.num_channels))
            progress = _throttled(task.name, emit)
            result = runner.run(recording, outputs, progress=progress)
            voices = None
            if task.voices:
                heard = runner.voices(recording, result.transcript, progress=progress)
                voices = {label: voice.to_json() for label, voice in heard.items()}
            if remote.is_url(task.folder):
                _put_results(task, result, replaced=there_before)
        outcome = _done(task, recording, result, seconds=time.monotonic() - began)
        return replace(outcome, voices=voices)

    def _ready(self, task: Task) -> Runner:
        if self._runner is None or self._little_memory != task.little_memory:
            self._runner = None  # its models go before others come
            self._runner = Runner.of(**self._words, little_memory=task.little_memory)
            self._little_memory = task.little_memory
        return self._runner


def _throttled(name: str, emit: Emit) -> Callable[[str, float], None]:
    shown: dict[str, float] = {}

    def progress(stage: str, done: float) -> None:
        last = shown.get(stage, -1.0)
        if done - last >= _STEP or done >= 1.0 > last:
            shown[stage] = done
            emit(Moved(name, stage, min(done, 1.0)))

    return progress


def _done(task: Task, recording: Recording, result: Result, *, seconds: float) -> Outcome:
    made: Transcript = result.transcript
    return Outcome(
        Verdict.DONE,
        already_done=result.already_done,
        seconds=round(seconds, 3),
        duration=round(made.duration or recording.duration, 3),
        channels=recording.num_channels,
        speakers=len(made.speakers),
        words=sum(len(part.words) or len(part.text.split()) for part in made.utterances),
        language=made.language,
        warnings=made.warnings,
        written=tuple(f"{task.folder.rstrip('/')}/{path.name}" for path in result.written),
        content_hash=recording.content_hash,
        run_hash=str(made.provenance.get("run_hash", "")),
    )


def _outcome_of(error: MeetscribeError) -> Outcome:
    cause = error.__cause__
    verdict = Verdict.BAD
    writing = False
    if isinstance(cause, MemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY):
        return _no_memory()
    if isinstance(error, OutputError):
        writing = isinstance(cause, OSError)
        verdict = Verdict.TROUBLE if writing else Verdict.REFUSED
    elif isinstance(error, WeightsError | DependencyError):
        verdict = Verdict.HOPELESS
    elif isinstance(error, ConfigError) or isinstance(cause, PermissionError):
        verdict = Verdict.REFUSED
    elif not isinstance(error, AudioError) or _is_of_the_system(cause):
        verdict = Verdict.TROUBLE
    return Outcome(verdict, error.message, error.hint, writing=writing)


def _is_of_the_system(cause: BaseException | None) -> bool:
    """Tell a share that vanished or a device that fails from a file that is no good."""
    if not isinstance(cause, OSError) or cause.errno is None:
        return False
    # libraries that decode say EINVAL, and their own numbers, of damaged files
    names = ("ENOENT", "EIO", "ESTALE", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT")
    return errno.errorcode.get(cause.errno) in names


def _no_memory() -> Outcome:
    return Outcome(
        Verdict.TROUBLE,
        "ran out of memory",
        "fewer workers, a smaller --model, or a machine with more memory",
        memory=True,
    )


def _bug(error: Exception) -> Outcome:
    if any(sign in str(error).lower() for sign in _NO_MEMORY):
        return _no_memory()
    return Outcome(
        Verdict.TROUBLE,
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug; run `meetscribe --debug transcribe` on it and report what it prints",
    )


def _fetched(task: Task, folder: Path) -> list[Path]:
    paths = []
    for number, source in enumerate(task.sources):
        if not remote.is_url(source):
            paths.append(Path(source))
            continue
        place = folder / str(number)
        place.mkdir()
        paths.append(place / source.rstrip("/").rpartition("/")[2])
        try:
            remote.download(source, paths[-1])
        except FileNotFoundError as error:
            raise AudioError(f"{source}: no such file", hint="check the URL") from error
    return paths


def _fetch_results(task: Task, folder: Path) -> bool:
    """Have what is there, so that the runner sees what is done; say if there is a transcript."""
    files = SessionFiles(folder, task.session_id)
    for path in map(files.path, task.formats):
        remote.download_if_there(f"{task.folder.rstrip('/')}/{path.name}", path)
    return files.transcript.exists()


def _put_results(task: Task, result: Result, *, replaced: bool) -> None:
    # the transcript last where it is replaced, first where it is new: as `write_formats` does
    for path in sorted(result.written, key=lambda path: (path.suffix == ".json") is replaced):
        remote.upload(path, f"{task.folder.rstrip('/')}/{path.name}")
