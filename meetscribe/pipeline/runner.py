"""Run a pipeline on one recording: probe, known-already check, engine, files.

This is what ``meetscribe transcribe`` and the Python API share.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from meetscribe import ingest
from meetscribe.config import build, config_hash
from meetscribe.engines import Engine
from meetscribe.engines.mono_signal import plan_signal
from meetscribe.errors import AudioError, FormatError, OutputError
from meetscribe.files import Signature, signature
from meetscribe.formats import RenderOptions
from meetscribe.models import cache_dir
from meetscribe.pipeline.outputs import (
    SessionFiles,
    read_transcript,
    rewrite,
    write_formats,
)
from meetscribe.pipeline.spec import PipelineSpec, in_little_memory, load_spec, make_engine
from meetscribe.pipeline.store import DiskStore
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.naming import Known, hear_speakers, know, named
from meetscribe.speakers.voices import Voice
from meetscribe.types import (
    Layout,
    NoStore,
    Progress,
    Recording,
    Store,
    Transcript,
    no_progress,
)
from meetscribe.version import __version__

_UNKNOWN_NAME = "a name was given for"


@dataclass(frozen=True)
class Outputs:
    """What is written and where.

    ``folder`` None means beside the audio. ``force`` replaces what is there; with ``keep_same`` a
    transcript of the same audio, made with the same options, is kept: only the other files are
    written anew from it.
    """

    folder: Path | None = None
    formats: tuple[str, ...] = ()
    options: RenderOptions = field(default_factory=RenderOptions)
    force: bool = False
    keep_same: bool = False


@dataclass(frozen=True)
class Result:
    """A transcript and where it was written; ``already_done`` if nothing had to be run."""

    transcript: Transcript
    written: tuple[Path, ...]
    already_done: bool = False


class Runner:
    """One pipeline, ready for one recording after the other (models stay loaded)."""

    def __init__(
        self,
        name: str,
        spec: PipelineSpec,
        *,
        device: str = "auto",
        threads: int | None = None,
        offline: bool = False,
        keep_stages: bool = True,
        little_memory: bool = False,
    ) -> None:
        self.name = name
        self.spec = spec
        self.threads = 1 if little_memory else threads or usable_cores()
        self.engine: Engine = self._make_engine(spec, device=device, offline=offline)
        self._asked_for: Engine | None = None
        if little_memory:
            # it stays the same run: what counts is what was asked for
            self._asked_for = self.engine
            self.engine = self._make_engine(in_little_memory(spec), device=device, offline=offline)
        self.store: Store = DiskStore(cache_dir() / "stages") if keep_stages else NoStore()
        self._voice_models = VoiceModels(device=device, offline=offline)
        self._read: dict[tuple[str, ...], tuple[Signature, ...]] = {}

    @classmethod
    def of(
        cls,
        pipeline: str,
        *,
        channels: str | None = None,
        diarizer: str | None = None,
        language: str | None = None,
        script: str | None = None,
        speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        model: str | None = None,
        device: str = "auto",
        threads: int | None = None,
        offline: bool = False,
        no_cache: bool = False,
        little_memory: bool = False,
    ) -> Self:
        """Make a runner from the words of the command line; None leaves the pipeline's own.

        ``little_memory`` works on one piece after the other, with one thread.

        Raises
        ------
        ConfigError
            If there is no such pipeline, or an option makes no sense.
        """
        spec = load_spec(
            pipeline,
            {
                "channels": channels,
                "diarizer": diarizer,
                "language": language,
                "script": script,
                "speakers": speakers,
                "min_speakers": min_speakers,
                "max_speakers": max_speakers,
                "model": model,
            },
        )
        return cls(
            pipeline,
            spec,
            device=device,
            threads=threads,
            offline=offline,
            keep_stages=not no_cache,
            little_memory=little_memory,
        )

    def _make_engine(self, spec: PipelineSpec, *, device: str, offline: bool) -> Engine:
        return make_engine(spec, device=device, threads=self.threads, offline=offline)

    def probe(
        self,
        paths: Sequence[str | Path],
        *,
        as_channels: bool = False,
        session_id: str | None = None,
    ) -> Recording:
        """Describe a recording, content hash included.

        Raises
        ------
        AudioError
            If it cannot be read.
        """
        before = _signatures(paths)
        channels = self.spec.settings.channels
        layout = Layout(channels) if channels in set(Layout) else None
        recording = ingest.probe(
            paths, session_id=session_id, as_channels=as_channels, layout=layout
        )
        recording = replace(recording, content_hash=ingest.content_hash(recording))
        self._read[_paths(recording)] = before
        return recording

    def transcribe(self, recording: Recording, *, progress: Progress = no_progress) -> Transcript:
        """Make the transcript, provenance included; no file is written."""
        began = time.monotonic()
        made = self.engine.transcribe(recording, store=self.store, progress=progress)
        provenance = {
            "meetscribe": __version__,
            "pipeline": self.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "run_hash": self.run_hash(recording),
            "input": _describe(recording),
            **made.provenance,
        }
        timings = {**provenance.get("timings_s", {}), "total": time.monotonic() - began}
        provenance["timings_s"] = {name: round(value, 2) for name, value in timings.items()}
        return replace(made, provenance=provenance)

    def know(
        self,
        *,
        enroll: str | Path | None = None,
        speakers_store: str | Path | None = None,
        remember: bool = False,
        progress: Progress = no_progress,
    ) -> Known | None:
        """Gather the people whom the words of the command line name; None if they name nobody.

        Raises
        ------
        ConfigError, AudioError, ModelError
            As ``speakers.naming.know``.
        """
        if enroll is None and speakers_store is None and not remember:
            return None
        return know(
            enroll=None if enroll is None else Path(enroll),
            speakers_store=None if speakers_store is None else os.fspath(speakers_store),
            remember=remember,
            models=self._voice_models,
            stages=self.store,
            progress=progress,
        )

    def voices(
        self, recording: Recording, transcript: Transcript, *, progress: Progress = no_progress
    ) -> dict[str, Voice]:
        """Give the voices of a transcript's speakers; whoever never speaks alone has none.

        Raises
        ------
        AudioError, ModelError
            If the recording cannot be read, or the model cannot be had.
        """
        if not transcript.turns:
            return {}
        return hear_speakers(
            recording,
            plan_signal(recording, self.spec.settings),
            transcript,
            self._voice_models,
            store=self.store,
            progress=progress,
        )

    def name_speakers(
        self,
        recording: Recording,
        transcript: Transcript,
        known: Known | None,
        *,
        progress: Progress = no_progress,
    ) -> Transcript:
        """Give the transcript with the names of those of its speakers who are known.

        Raises
        ------
        AudioError, ModelError, OutputError
            If the recording cannot be read, the model cannot be had, or nobody be remembered.
        """
        if known is None:
            return transcript
        return named(transcript, known.match(self.voices(recording, transcript, progress=progress)))

    def run(
        self,
        recording: Recording,
        outputs: Outputs,
        *,
        names: Mapping[str, str] | None = None,
        known: Known | None = None,
        progress: Progress = no_progress,
    ) -> Result:
        """Transcribe and write, unless that was done already.

        Speakers are named by ``names``, label -> name, and else by whom of ``known`` they sound
        like.

        Raises
        ------
        OutputError
            If nothing can be written there, or files of another run are in the way.
        MeetscribeError
            Whatever stops the engine; files that were there stay as they were.
        """
        folder = outputs.folder or Path(recording.files[0].path).parent
        files = SessionFiles(folder, recording.session_id)
        done = self._known(recording, files, outputs)
        files.check_writable()
        if done is not None:
            called = with_names(
                self.name_speakers(recording, done, known, progress=progress), names or {}
            )
            return self._complete(done, called, files, outputs)
        transcript = self.transcribe(recording, progress=progress)
        self._check_unchanged(recording)
        transcript = with_names(transcript, names or {})
        # `rename` writes the files again, and they should look as they did
        provenance = {**transcript.provenance, "render_options": _looks(outputs)}
        transcript = replace(transcript, provenance=provenance)
        written = write_formats(transcript, files, outputs.formats, outputs.options)
        # whatever goes wrong with the voices, the transcript is there: the next run names it
        called = with_names(
            self.name_speakers(recording, transcript, known, progress=progress), names or {}
        )
        if called != transcript:
            rewrite(transcript, called, files, outputs.options)
        return Result(called, tuple(written))

    def run_hash(self, recording: Recording) -> str:
        """Give a hash of everything that decides the result: input, settings, models."""
        return config_hash(recording.content_hash, self.describe())

    def describe(self) -> Mapping[str, Any]:
        """Give the settings and models that decide the result, whatever the audio is."""
        return (self._asked_for or self.engine).describe()

    def _check_unchanged(self, recording: Recording) -> None:
        """Refuse what was heard while somebody wrote the file: it belongs to no content."""
        before = self._read.get(_paths(recording))
        if before is not None and _signatures(_paths(recording)) != before:
            raise AudioError(
                f"{recording.files[0].path}: the recording changed while it was read",
                hint="run again when it is complete",
            )

    def _known(
        self, recording: Recording, files: SessionFiles, outputs: Outputs
    ) -> Transcript | None:
        """Give the transcript that is there and need not be made again."""
        if not outputs.force:
            return self._done_already(recording, files, outputs)
        if not outputs.keep_same or not files.transcript.exists():
            return None
        try:
            known = read_transcript(files.transcript)
        except FormatError:
            return None
        same = known.provenance.get("run_hash") == self.run_hash(recording)
        return known if same else None

    def _done_already(
        self, recording: Recording, files: SessionFiles, outputs: Outputs
    ) -> Transcript | None:
        if not files.transcript.exists():
            in_the_way = files.existing(outputs.formats)
            if in_the_way:
                raise OutputError(
                    f"{in_the_way[0]} is there already, and not from this program's transcript",
                    hint="choose another folder with -o, or replace it with --force",
                )
            return None
        try:
            known = read_transcript(files.transcript)
        except FormatError as error:
            raise OutputError(
                f"{files.transcript} is there already and is not a transcript ({error.message})",
                hint="choose another folder with -o, or replace it with --force",
            ) from error
        if known.provenance.get("run_hash") != self.run_hash(recording):
            raise OutputError(
                f"{files.transcript} is there already, made from other audio or with other options",
                hint="choose another folder with -o, or replace it with --force",
            )
        return known

    def _complete(
        self, known: Transcript, renamed: Transcript, files: SessionFiles, outputs: Outputs
    ) -> Result:
        """Write what is missing beside ``known``, and all again if it is called otherwise now."""
        looks = _looks(outputs)
        if outputs.force:
            provenance = {**renamed.provenance, "render_options": looks}
            renamed = replace(renamed, provenance=provenance)
            written = write_formats(renamed, files, outputs.formats, outputs.options)
            return Result(renamed, tuple(written), already_done=True)
        others = [name for name in outputs.formats if name != "json"]
        there = files.existing(others)
        if looks and there and looks != known.provenance.get("render_options", {}):
            raise OutputError(
                f"{there[0]} is there already, written with other subtitle options",
                hint=f"`meetscribe export {files.transcript} --force` with these options and -f "
                "writes it anew, without a model",
            )
        # formats or names that were not asked for the first time need no model
        before = known.provenance.get("render_options", {})
        options = build(RenderOptions, looks or before, where=str(files.transcript))
        missing = [name for name in outputs.formats if not files.path(name).exists()]
        written = []
        if renamed != known:
            written, edited = rewrite(known, renamed, files, options)
            left = tuple(f"{path} was edited and keeps its names" for path in edited)
            renamed = replace(renamed, warnings=(*renamed.warnings, *left))
        written += write_formats(renamed, files, missing, options) if missing else []
        return Result(renamed, tuple(written), already_done=True)


def _looks(outputs: Outputs) -> dict[str, Any]:
    return outputs.options.model_dump(mode="json", exclude_defaults=True)


def with_names(transcript: Transcript, names: Mapping[str, str]) -> Transcript:
    """Give a transcript with names; one for a speaker it does not have becomes a warning.

    Names are given before anyone knows how many speakers there are: one too many must not cost
    the transcript.
    """
    if not names:
        return transcript
    known = {label: name for label, name in names.items() if label in transcript.speakers}
    unknown = [f"{_UNKNOWN_NAME} '{label}', who is not in this recording" for label in names]
    unknown = [line for line, label in zip(unknown, names, strict=True) if label not in known]
    # what was said about names given before is no longer so
    others = [line for line in transcript.warnings if not line.startswith(_UNKNOWN_NAME)]
    warnings = (*others, *unknown)
    return replace(transcript.renamed(known), warnings=warnings)


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _paths(recording: Recording) -> tuple[str, ...]:
    return tuple(file.path for file in recording.files)


def _signatures(paths: Sequence[str | Path]) -> tuple[Signature, ...]:
    """Say what the files are like now; one that is not there is for ``ingest`` to refuse."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            found.append(signature(Path(path)))
    return tuple(found)


def _describe(recording: Recording) -> dict[str, Any]:
    return {
        "files": [Path(file.path).name for file in recording.files],
        "sha256": recording.content_hash,
        "sample_rate_hz": recording.files[0].sample_rate_hz,
        "channels": recording.num_channels,
        "layout": str(recording.layout),
        "layout_reason": recording.layout_reason,
        "duration_s": round(recording.duration, 3),
    }
