"""Run a pipeline over a corpus and score what comes out; what is done already is not done again.

The transcripts lie under ``transcripts/`` of the results folder, each written as soon as it is
made, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from meetscribe.errors import (
    AudioError,
    ConfigError,
    DependencyError,
    FormatError,
    MeetscribeError,
    OutputError,
    WeightsError,
)
from meetscribe.evaluate import report, sessions
from meetscribe.evaluate.corpora.manifest import Corpus, CorpusSession
from meetscribe.evaluate.score import score
from meetscribe.evaluate.scores import Scores
from meetscribe.evaluate.sessions import Pair, Session
from meetscribe.evaluate.settings import EvaluateSettings
from meetscribe.files import write_atomic
from meetscribe.pipeline.runner import Outputs, Runner

_FORMATS = ("json", "rttm")
_OF_ALL = (OutputError, WeightsError, DependencyError)
"""Another run's folder, a full disk, a model or library that is missing: so for every session."""


class Watcher(Protocol):
    """Is told what happens; the reporters of the command line are such."""

    def start(self, title: str) -> None:
        """Begin a recording."""
        ...

    def progress(self, stage: str, done: float) -> None:
        """Say that a share (0 to 1) of a stage is done."""
        ...

    def finish(self) -> None:
        """End a recording."""
        ...

    def note(self, line: str) -> None:
        """Tell one line."""
        ...

    def error(self, message: str, hint: str) -> None:
        """Tell that a recording failed while others go on."""
        ...


@dataclass(frozen=True)
class Selection:
    """Which part of a corpus; None takes the corpus's only or default one."""

    condition: str | None = None
    split: str | None = None
    partition: str | None = None
    sessions: tuple[str, ...] = ()

    def of(self, corpus: Corpus) -> tuple[CorpusSession, ...]:
        """Give the sessions of a corpus.

        Raises
        ------
        ConfigError
            If the corpus has no such part; the hint says what there is.
        """
        found = corpus.select(condition=self.condition, split=self.split, partition=self.partition)
        if not self.sessions:
            return found
        known = {session.session_id for session in found}
        if unknown := [name for name in self.sessions if name not in known]:
            raise ConfigError(
                f"corpus {corpus.name}: no session '{unknown[0]}' in this selection",
                hint=f"`meetscribe corpus show {corpus.folder}` lists them",
            )
        return tuple(session for session in found if session.session_id in self.sessions)


def run_and_score(
    corpus: Corpus,
    selection: Selection,
    make_runner: Callable[[str], Runner],
    settings: EvaluateSettings,
    *,
    folder: Path,
    name: str,
    force: bool,
    watch: Watcher,
) -> Scores:
    """Transcribe what is not transcribed yet, score, and write transcripts and results.

    A session that fails is named and scored as lost (all deletions); the others go on.

    Parameters
    ----------
    make_runner : gives the runner for a value of ``--channels``, which the corpus states
    folder : gets ``transcripts/`` and the results
    force : transcribe again what is there already

    Raises
    ------
    ConfigError
        If the corpus has no such part.
    OutputError
        If the folder holds a run with other options, or cannot be written.
    WeightsError, DependencyError
        If a model or library is missing.
    AudioError
        If every session fails: a table of 100 % would say nothing, and replace one that does.
    """
    chosen = selection.of(corpus)
    condition = selection.condition or corpus.only_condition(chosen)
    transcripts = folder / "transcripts"
    _make_folder(transcripts)
    outputs = Outputs(folder=transcripts, formats=_FORMATS, force=force)
    runners: dict[str, Runner] = {}
    failed: dict[str, str] = {}
    for number, session in enumerate(chosen, 1):
        channels = session.channels.get(condition, "auto")
        if channels not in runners:
            runners[channels] = make_runner(channels)
        watch.start(f"{session.session_id} ({number} of {len(chosen)})")
        try:
            files = [corpus.path(part) for part in session.audio.get(condition, ())]
            _transcribe(runners[channels], files, session.session_id, outputs, watch)
        except _OF_ALL:
            raise
        except MeetscribeError as error:
            failed[session.session_id] = error.message
            watch.error(f"{session.session_id}: {error.message}", error.hint)
        watch.finish()
    if len(failed) == len(chosen):
        raise AudioError(
            f"none of {len(chosen)} sessions of {corpus.name} was transcribed: nothing to score",
            hint=f"see the errors above; {folder} was left as it was",
        )
    pairs = _pairs(corpus, chosen, transcripts, failed, partial=settings.partial)
    scores = score(
        pairs,
        settings,
        name=name,
        protocol=_protocol(corpus, selection, condition, chosen, runners.values()),
        failed=failed,
        progress=watch.progress,
    )
    watch.finish()
    audio = {
        session.session_id: str(corpus.path(session.audio[condition][0]))
        for session in chosen
        if session.audio.get(condition)
    }
    for path in report.write(scores, folder, audio=audio):
        watch.note(f"wrote {path}")
    return scores


def _transcribe(
    runner: Runner, files: Sequence[Path], session_id: str, outputs: Outputs, watch: Watcher
) -> None:
    if not files:
        raise AudioError("no audio in this condition", hint="prepare the corpus with its audio")
    recording = runner.probe(files, as_channels=len(files) > 1, session_id=session_id)
    result = runner.run(recording, outputs, progress=watch.progress)
    if result.already_done:
        watch.note(f"{session_id}: transcribed already")


def _pairs(
    corpus: Corpus,
    chosen: Iterable[CorpusSession],
    transcripts: Path,
    failed: Mapping[str, str],
    *,
    partial: bool,
) -> list[Pair]:
    references: dict[str, sessions.Session] = {}
    hypotheses: dict[str, sessions.Session] = {}
    uem: dict[str, list[tuple[float, float]]] = {}
    for session in chosen:
        name = session.session_id
        parts = [corpus.path(part) for part in (session.rttm, session.seglst) if part]
        references[name] = _reference(corpus, name, sessions.read(*parts))
        if session.uem:
            uem |= sessions.read_uem(corpus.path(session.uem))
        if name not in failed:
            hypotheses |= sessions.read(transcripts / f"{name}.json")
    return sessions.pair(references, hypotheses, uem=uem, partial=partial)


def _reference(corpus: Corpus, name: str, found: Mapping[str, Session]) -> Session:
    """Give the one session that was read; a file in which nobody speaks cannot say of which it is.

    Raises
    ------
    FormatError
        If the manifest names files of another session, or none.
    """
    named = {
        session_id if one.turns or one.utterances else name: one
        for session_id, one in found.items()
    }
    if list(named) != [name]:
        raise FormatError(
            f"corpus {corpus.name}: the reference of '{name}' is of "
            f"{', '.join(map(repr, named)) or 'nothing'}",
            hint="prepare the corpus again",
        )
    return replace(named[name], session_id=name)


def _protocol(
    corpus: Corpus,
    selection: Selection,
    condition: str,
    chosen: tuple[CorpusSession, ...],
    runners: Iterable[Runner],
) -> dict[str, str]:
    """Say what was run, as metrics.md of every serious table does."""
    partition = selection.partition or corpus.default_partition
    whole = len(corpus.select(condition=None, split=selection.split, partition=partition))
    runner = next(iter(runners))
    settings = runner.spec.settings
    return {
        "corpus": " ".join(filter(None, (corpus.name, partition, selection.split))),
        "sessions": f"{len(chosen)}/{whole}",
        "pipeline": runner.name,
        "model": runner.spec.model,
        "channels": condition,
        "scoring unit": "whole session",
        "segmentation": "automatic",
        "speaker count": _speaker_count(
            settings.speakers, settings.min_speakers, settings.max_speakers
        ),
        "reference": corpus.reference,
        "scored": "UEM of the corpus",
    }


def _speaker_count(exact: int | None, low: int | None, high: int | None) -> str:
    if exact is not None:
        return f"given ({exact})"
    if low is None and high is None:
        return "automatic"
    return f"bounded ({low or 1} to {'any' if high is None else high})"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic({folder / ".writable": ""})
        (folder / ".writable").unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}", hint="choose another -o"
        ) from error
