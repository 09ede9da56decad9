"""Anyone's own recordings with references: what has the same name belongs together.

``meeting1.wav`` with ``meeting1.rttm``, ``.seglst.json``, ``.stm``, ``.TextGrid``, ``.ctm`` or
``.json``, in one folder or in several; or a folder a session with ``audio.*`` and ``ref.*``. A
``.uem`` of that name says which parts are scored. What meetscribe made of the recording lies
beside it, or in results among the recordings, and is no reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meetscribe.errors import AudioError, ConfigError, FormatError
from meetscribe.evaluate.corpora.manifest import FILE_NAME, SCHEMA, Corpus
from meetscribe.evaluate.corpora.references import (
    Findings,
    Prepared,
    check_recording,
    files_below,
    prepared,
    publish,
)
from meetscribe.evaluate.session_files import made_by_meetscribe, read_parts
from meetscribe.formats import FORMATS, parse_file, uem
from meetscribe.formats.json_reading import load_json
from meetscribe.formats.reading import read_text
from meetscribe.formats.tokens import column
from meetscribe.ingest import AUDIO_SUFFIXES
from meetscribe.types import Progress, Transcript, Turn, no_progress

_WORDS_FROM = ("seglst", "json", "stm", "textgrid", "ctm")
_TURNS_FROM = ("rttm", "json")
_UEM = "uem"
_SUFFIXES = {_UEM: ".uem"} | {
    name: known.suffix.lower() for name, known in FORMATS.items() if known.parse
}
_AUDIO = "audio"
_REFERENCE_STEMS = ("ref", "reference")
_PAST_END_S = 0.5


@dataclass
class _Found:
    """The files of a session: its recordings, and its references by format."""

    audio: list[Path] = field(default_factory=list)
    references: dict[str, list[Path]] = field(default_factory=dict)


def prepare_folder(
    folder: Path,
    output: Path,
    *,
    name: str = "",
    language: str = "",
    progress: Progress = no_progress,
) -> Corpus:
    """Make a corpus of a folder of recordings and references.

    Parameters
    ----------
    folder : searched with all folders in it
    output : folder of the corpus; what an earlier run wrote there is refreshed
    name : of the corpus, "" takes the folder's
    language : ISO 639-1 code of all sessions; "" takes what the references say
    progress : told of the stage ``sessions``

    Returns
    -------
    Corpus
        One condition, ``audio``, with the channels as they are. A session whose reference has no
        words (RTTM alone), or only pseudo-labels, has no SegLST.

    Raises
    ------
    AudioError, FormatError
        If there is nothing in the folder, or no session has both audio and a reference.
    ConfigError
        If the output would lie among the originals.
    OutputError
        If the output cannot be written or belongs to something else.
    """
    if output.resolve() == folder.resolve():
        raise ConfigError(
            f"{output}: the corpus would lie among the originals", hint="choose another -o"
        )
    findings = Findings()
    found = _find(folder, output)
    sessions: list[Prepared] = []
    kinds: set[str] = set()
    for number, (session, files) in enumerate(sorted(found.items())):
        progress("sessions", number / len(found))
        try:
            one, kind = _session(session, files, language, findings)
        except (AudioError, FormatError) as error:
            findings.problems.append(f"{error.message}; {session} is left out")
            continue
        sessions.append(one)
        kinds.add(kind)
    progress("sessions", 1.0)
    if not sessions:
        reason = findings.problems[0] if findings.problems else "no recordings in it"
        raise AudioError(
            f"{folder}: no session with a recording and a reference; {reason}",
            hint="give them the same name: meeting1.wav and meeting1.rttm, meeting1.stm ...",
        )
    corpus = Corpus(
        name=name or folder.resolve().name,
        folder=output,
        reference=f"as given ({', '.join(sorted(kinds))})",
        licence="",
        default_partition="",
        sessions=tuple(one.session for one in sessions),
        problems=tuple(findings.problems),
        notes=tuple(findings.notes),
    )
    publish(corpus, sessions)
    return corpus


def _find(folder: Path, output: Path) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    paths = list(files_below(folder))
    made = {path.parent.resolve() for path in paths if path.name == FILE_NAME and _is_ours(path)}
    made.add(output.resolve())
    for path in paths:
        if not made.isdisjoint(path.resolve().parents):
            continue
        stem, kind = _kind(path)
        own = stem.lower() in ((_AUDIO,) if kind == _AUDIO else _REFERENCE_STEMS)
        session = column(path.absolute().parent.name if own else stem)
        if kind == _AUDIO:
            found.setdefault(session, _Found()).audio.append(path)
        elif kind:
            found.setdefault(session, _Found()).references.setdefault(kind, []).append(path)
    # a JSON or UEM file by itself may be anything
    return {
        session: files
        for session, files in found.items()
        if files.audio or files.references.keys() - {"json", _UEM}
    }


def _is_ours(manifest: Path) -> bool:
    """Tell that this is the manifest of a prepared corpus, whose references are copies."""
    try:
        return SCHEMA.partition("/")[0] in read_text(manifest)
    except FormatError:
        return False


def _kind(path: Path) -> tuple[str, str]:
    """Give the name of a file without its ending, and what it is, "" for what is not ours."""
    lower = path.name.lower()
    fitting = [name for name, ending in _SUFFIXES.items() if lower.endswith(ending)]
    if fitting:
        kind = max(fitting, key=lambda name: len(_SUFFIXES[name]))
        return path.name[: -len(_SUFFIXES[kind])], kind
    return path.stem, _AUDIO if path.suffix.lower() in AUDIO_SUFFIXES else ""


def _session(name: str, files: _Found, language: str, findings: Findings) -> tuple[Prepared, str]:
    references = {
        kind: _one(paths) for kind, paths in _foreign(name, files.references, findings).items()
    }
    if not files.audio:
        raise AudioError(f"{next(iter(references.values()))}: a reference without its recording")
    audio = _one(files.audio)
    if not references.keys() - {_UEM}:
        raise FormatError(f"{audio}: a recording without its reference")
    file = check_recording(audio)
    reference, has_words, kind = _reference(name, references, findings)
    last = max((turn.end for turn in reference.turns), default=0.0)
    if last > file.duration + _PAST_END_S:
        findings.problems.append(
            f"{audio}: ends at {file.duration:.1f} s, its reference at {last:.1f} s"
        )
    if not reference.turns:
        findings.notes.append(f"{name}: the reference is empty")
    made = prepared(
        replace(reference, duration=file.duration, language=language or reference.language),
        audio={_AUDIO: [audio]},
        channels={_AUDIO: "mono" if file.num_channels == 1 else "auto"},
        splits={},
        has_words=has_words,
        scored=_scored(references),
    )
    return made, kind


def _foreign(
    name: str, references: Mapping[str, list[Path]], findings: Findings
) -> Mapping[str, list[Path]]:
    """Leave out what meetscribe made, if there is anything else."""
    if "json" not in references:
        return references
    there = [path for kind, paths in references.items() if kind != _UEM for path in paths]
    parts = [replace(part, session_id=name) for path in there for part in read_parts(path)]
    made = {part.path for part in made_by_meetscribe(parts)}
    if not made:
        return references
    names = ", ".join(sorted({path.name for path in made}))
    if made.issuperset(there):
        findings.notes.append(
            f"{name}: meetscribe made {names}: no reference unless somebody corrected it"
        )
        return references
    findings.notes.append(f"{name}: {names} left out: meetscribe made it, and there is another")
    kept = {
        kind: [path for path in paths if path not in made] for kind, paths in references.items()
    }
    return {kind: paths for kind, paths in kept.items() if paths}


def _one(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise FormatError(f"{paths[0]}: {paths[1]} is of the same session, expected one of the two")
    return paths[0]


def _reference(
    name: str, paths: Mapping[str, Path], findings: Findings
) -> tuple[Transcript, bool, str]:
    """Read words from the format that says most about them, and turns from RTTM if there is one.

    Returns
    -------
    the transcript, whether its words may be scored, and the formats it is from
    """
    words = next((kind for kind in _WORDS_FROM if kind in paths), None)
    source = parse_file(paths[words]) if words else Transcript(name, ())
    turns: tuple[Turn, ...] = source.turns
    turns_from = words
    if _TURNS_FROM[0] in paths:
        turns, turns_from = parse_file(paths["rttm"]).turns, "rttm"
    if not turns:
        turns = tuple(Turn(one.start, one.end, one.speaker) for one in source.utterances)
    # a SegLST file may be called .json
    status = _words_status(paths[words]) if words in {"seglst", "json"} else ""
    if status:
        findings.notes.append(f"{name}: the words are not scored, they are marked '{status:.60}'")
    has_words = bool(words) and not status
    kinds = dict.fromkeys(kind for kind in (turns_from, words if has_words else None) if kind)
    reference = replace(
        source,
        session_id=name,
        turns=turns,
        utterances=source.utterances if has_words else (),
    )
    return reference, has_words, " + ".join(kinds)


def _words_status(path: Path) -> str:
    """Give the mark of words that nobody transcribed by hand, "" where there is none."""
    content: Any = load_json(read_text(path), str(path))
    if not isinstance(content, list):
        return ""
    marks = (item.get("words_status", "") for item in content if isinstance(item, dict))
    return next((str(mark) for mark in marks if mark not in {"", "manual", None}), "")


def _scored(references: Mapping[str, Path]) -> list[tuple[float, float]]:
    if _UEM not in references:
        return []
    path = references[_UEM]
    regions = list(uem.parse(read_text(path), path=str(path)).values())
    if len(regions) != 1:
        raise FormatError(f"{path}: {len(regions)} sessions, expected one")
    return regions[0]
