"""The files that hold references and hypotheses: finding them, and reading each for itself.

Sessions and speakers are named as in the formats with columns (no spaces), so that the RTTM and
the JSON of one transcript agree. What several files say of one session is put together in
``meetscribe.evaluate.sessions``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meetscribe import formats
from meetscribe.errors import FormatError
from meetscribe.formats import ctm, rttm, seglst, stm, textgrid, transcript_json
from meetscribe.formats.json_reading import load_json
from meetscribe.formats.reading import read_text, session_of
from meetscribe.formats.tokens import clean, column, speaker_columns
from meetscribe.types import Transcript, Turn, Utterance

log = logging.getLogger(__name__)

_KINDS = ("json", "seglst", "stm", "ctm", "rttm", "textgrid")
_SEVERAL = {
    "seglst": seglst.parse_sessions,
    "stm": stm.parse_sessions,
    "ctm": ctm.parse_sessions,
    "rttm": rttm.parse_sessions,
}
_ROLES = {"ref", "hyp", "reference", "hypothesis", "transcript"}
"""File names that say what a file is for, not which session it is of."""

_HEAD_CHARS = 1000
_TIMES = ("start_time", "end_time")

_LONGEST_S = 1e6
"""No meeting lasts eleven days: such times are of a clock, or milliseconds."""

_ROUNDING_S = 0.002
"""Formats with columns have milliseconds."""


@dataclass(frozen=True)
class FilePart:
    """What one file says of one session.

    Parameters
    ----------
    kind : format, by its name in ``meetscribe.formats``
    session_id : "" while the file does not say it
    duration : seconds of the recording, None where the format does not say it
    words_status : what SegLST's ``words_status`` says of the words, "" if they are as good as any
    has_times : False for SegLST without times; then there are no turns, and all times are 0
    by_meetscribe : a transcript whose provenance says that meetscribe made it
    """

    kind: str
    path: Path
    session_id: str
    utterances: tuple[Utterance, ...] = ()
    turns: tuple[Turn, ...] = ()
    duration: float | None = None
    language: str = ""
    words_status: str = ""
    has_times: bool = True
    by_meetscribe: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nobody speaks."""
        return not (self.utterances or self.turns)


def search(path: Path) -> list[Path]:
    """Give a file itself, or all files in a folder and the folders in it, hidden ones left out.

    Links are followed, circles are not; a link to nothing is given too, so that reading names it.

    Raises
    ------
    FormatError
        If there is no such file or folder.
    """
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder", hint="check the path")
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(place)
        # the walk goes on below what is left in the list
        folders[:] = [name for name in folders if not name.startswith(".") and real not in seen]
        if real not in seen:
            found += [Path(place, name) for name in names if not name.startswith(".")]
        seen.add(real)
    return sorted(file for file in found if file.is_file() or file.is_symlink())


def read_parts(path: Path) -> list[FilePart]:
    """Read every session of every file; all have a session id.

    In a folder, files of other kinds are left out; JSON that is no transcript is noted at the
    session of the same file name, if there is one.

    Raises
    ------
    FormatError
        With file and line, if a file is damaged; if there is nothing to read.
    """
    parts: list[FilePart] = []
    others: list[Path] = []
    for file in search(path):
        kind = _kind(file)
        if kind is None and path.is_dir():
            continue
        if kind is None:
            formats.parse_file(file)  # says what can be read
        text = read_text(file)
        if path.is_dir() and file.suffix.lower() == ".json" and not _is_transcript(file, text):
            log.info("%s: left out, not a transcript", file)
            others.append(file)
            continue
        if kind == "json" and text.lstrip().startswith("["):
            kind = "seglst"
        parts += _read(file, kind or "", text)
    if not parts:
        suffixes = ", ".join(formats.suffix(kind) for kind in _KINDS)
        raise FormatError(
            f"{path}: no transcript and no turns in this folder",
            hint=f"readable are {suffixes}",
        )
    return list(_with_notes(_named(parts), others))


def made_by_meetscribe(parts: Iterable[FilePart]) -> list[FilePart]:
    """Give those parts of one session that meetscribe made: transcripts, and what repeats them.

    They lie beside the recording after `meetscribe transcribe`, and are no references.
    """
    parts = list(parts)
    own = [part for part in parts if part.by_meetscribe]
    return [part for part in parts if any(part is one or _repeats(part, one) for one in own)]


def _repeats(part: FilePart, transcript: FilePart) -> bool:
    if part.kind != "rttm":
        return _said(part) == _said(transcript)
    return len(part.turns) == len(transcript.turns) and all(
        ours.speaker == theirs.speaker
        and abs(ours.start - theirs.start) <= _ROUNDING_S
        and abs(ours.end - theirs.end) <= _ROUNDING_S
        for ours, theirs in zip(part.turns, transcript.turns, strict=True)
    )


def _said(part: FilePart) -> dict[str, list[str]]:
    words: dict[str, list[str]] = {}
    for utterance in part.utterances:
        words.setdefault(utterance.speaker, []).extend(utterance.text.split())
    return {speaker: own for speaker, own in words.items() if own}


def _kind(file: Path) -> str | None:
    name = file.name.lower()
    fitting = [kind for kind in _KINDS if name.endswith(formats.suffix(kind).lower())]
    return max(fitting, key=lambda kind: len(formats.suffix(kind)), default=None)


def _is_transcript(file: Path, text: str) -> bool:
    """Tell from the beginning, so that a damaged transcript is refused and not taken for other."""
    head = text[:_HEAD_CHARS]
    return (
        file.name.lower().endswith(formats.suffix("seglst"))
        or f'"{transcript_json.SCHEMA.partition("/")[0]}' in head
        or (head.lstrip("\ufeff \t\r\n").startswith("[") and '"session_id"' in head)
    )


def _read(file: Path, kind: str, text: str) -> Iterator[FilePart]:
    status: Mapping[str, str] = {}
    timeless: set[str] = set()
    if kind == "seglst":
        text, status, timeless = _odd_segments(text, str(file))
    if kind == "json":
        transcripts = [transcript_json.parse(text, path=str(file))]
    elif kind == "textgrid":
        transcripts = [replace(textgrid.parse(text, path=str(file)), session_id="")]
    else:
        transcripts = _SEVERAL[kind](text, path=str(file)) or [Transcript("", ())]
    for transcript in transcripts:
        session = transcript.session_id
        part = _part(file, kind, transcript, has_times=session not in timeless)
        yield replace(part, words_status=status.get(session, ""))


def _part(file: Path, kind: str, transcript: Transcript, *, has_times: bool) -> FilePart:
    columns = speaker_columns(transcript)
    named = [replace(part, speaker=columns[part.speaker]) for part in transcript.utterances]
    turns = [replace(turn, speaker=columns[turn.speaker]) for turn in transcript.turns]
    if not has_times:
        turns = []
    elif kind == "ctm":  # its utterances are guessed; pauses between words are not bridged
        turns = [Turn(w.start, w.end, part.speaker) for part in named for w in part.words]
    elif not turns:
        turns = [Turn(part.start, part.end, part.speaker) for part in named]
    last = max([*(part.end for part in named), *(turn.end for turn in turns)], default=0.0)
    if last > _LONGEST_S:
        raise FormatError(
            f"{file}: session '{transcript.session_id}' ends at {last:g} s, expected less than "
            f"{_LONGEST_S:g} s",
            hint="times are seconds from the beginning of the recording",
        )
    labels = [part.speaker for part in transcript.utterances or transcript.turns]
    unknown = sum(clean(label) in {"", "<NA>"} for label in labels)
    notes = [f"{unknown} segments of {file.name} name no speaker; they are taken for one speaker"]
    return FilePart(
        kind=kind,
        path=file,
        session_id=column(transcript.session_id) if transcript.session_id else "",
        utterances=tuple(named),
        turns=tuple(sorted(turns)),
        duration=(transcript.duration or None) if kind in {"json", "textgrid"} else None,
        language=transcript.language,
        has_times=has_times,
        by_meetscribe=kind == "json" and bool(transcript.provenance),
        notes=tuple(notes if unknown else ()),
    )


def _odd_segments(text: str, path: str) -> tuple[str, Mapping[str, str], set[str]]:
    """Find what SegLST may say beyond the format.

    Returns
    -------
    text : the same, with times 0 in sessions where no segment has a time
    status : session -> what its segments' ``words_status`` says, if that is not "manual"
    timeless : those sessions
    """
    content = load_json(text, path)
    items = content if isinstance(content, list) else []
    segments: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        if isinstance(item, dict) and "session_id" in item:
            segments.setdefault(str(item["session_id"]), []).append(item)
    status = {
        session: str(item["words_status"])
        for session, own in segments.items()
        for item in own
        if item.get("words_status", "manual") not in {"", "manual", None}
    }
    timeless = {
        session
        for session, own in segments.items()
        if all(item.get(key) is None for item in own for key in _TIMES)
    }
    for session in timeless:
        for item in segments[session]:
            item.update(dict.fromkeys(_TIMES, 0))
    return (json.dumps(content) if timeless else text), status, timeless


def _named(parts: Iterable[FilePart]) -> list[FilePart]:
    """Name the sessions of files that do not say it."""
    parts = list(parts)
    neighbours: dict[tuple[Path, str], set[str]] = {}
    for part in parts:
        if part.session_id:
            neighbours.setdefault(_place(part.path), set()).add(part.session_id)
    return [
        part if part.session_id else replace(part, session_id=_name(part.path, neighbours))
        for part in parts
    ]


def _name(path: Path, neighbours: Mapping[tuple[Path, str], set[str]]) -> str:
    said = neighbours.get(_place(path), set())
    if len(said) == 1:
        return next(iter(said))
    own = session_of(str(path))
    return column(path.resolve().parent.name if own.lower() in _ROLES else own)


def _place(path: Path) -> tuple[Path, str]:
    return path.parent, session_of(str(path))


def _with_notes(parts: Iterable[FilePart], others: Iterable[Path]) -> Iterator[FilePart]:
    """Say once a session which files beside its own were left out."""
    beside: dict[tuple[Path, str], list[str]] = {}
    for file in others:
        beside.setdefault(_place(file), []).append(f"{file.name} left out: not a transcript")
    told: set[tuple[Path, str, str]] = set()
    for part in parts:
        key = (*_place(part.path), part.session_id)
        notes = () if key in told else tuple(beside.get(_place(part.path), ()))
        told.add(key)
        yield replace(part, notes=(*part.notes, *notes))
