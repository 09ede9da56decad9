"""AliMeeting: the official archives, unpacked, become sessions with references.

References are the TextGrids: every interval with text is a turn and an utterance, whole and as it
is (intervals that touch stay apart). That of the table array has a tier for each speaker; where
it is missing, the speakers' own are taken. Yu et al. 2022, arXiv:2110.07393.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from meetscribe.errors import AudioError, FormatError
from meetscribe.evaluate.corpora.lists import CorpusLists, missing_audio, named, read_lists
from meetscribe.evaluate.corpora.manifest import Corpus
from meetscribe.evaluate.corpora.references import (
    Findings,
    Prepared,
    check_recording,
    files_below,
    prepared,
    publish,
)
from meetscribe.formats import parse_file
from meetscribe.types import Progress, Transcript, Turn, Utterance, no_progress

_NAME = "alimeeting"
_LICENCE = "CC BY-SA 4.0"
_PLACE = re.compile(r"(Train|Eval|Test)_Ali_(far|near)", re.IGNORECASE)
_MEETING = re.compile(r"(R\d+_M\d+)(?:_.*)?")
_SPEAKER = re.compile(r"SPK\d+")
_ARRAY_SIZE = 8
_PAST_END_S = 0.5


@dataclass
class _Found:
    """The files of a meeting, each kind by its stem."""

    split: str
    far: dict[str, Path] = field(default_factory=dict)
    near: dict[str, Path] = field(default_factory=dict)
    far_grids: dict[str, Path] = field(default_factory=dict)
    near_grids: dict[str, Path] = field(default_factory=dict)


def prepare_alimeeting(root: Path, output: Path, *, progress: Progress = no_progress) -> Corpus:
    """Make recordings and references of AliMeeting.

    Parameters
    ----------
    root : folder with ``Eval_Ali_far``, ``Test_Ali_near`` and so on at any depth, as the official
        archives unpack
    output : folder of the corpus; what an earlier run wrote there is refreshed
    progress : told of the stage ``sessions``

    Returns
    -------
    Corpus
        Conditions far (8 channels), far-ch1 (the first of them) and near (a headset a speaker).

    Raises
    ------
    AudioError, FormatError
        If the folder has nothing of AliMeeting, or no session of it can be read.
    OutputError
        If the folder cannot be written or belongs to something else.
    """
    lists = read_lists(_NAME)
    findings = Findings()
    found = _find(root, findings)
    known = {_meeting(name): name for name in lists.places()}
    sessions: list[Prepared] = []
    for number, (meeting, files) in enumerate(sorted(found.items())):
        progress("sessions", number / len(found))
        name = next(iter(files.far), known.get(meeting, meeting))
        try:
            sessions.append(_session(name, files, lists, findings))
        except FormatError as error:
            findings.problems.append(f"{error.message}; {name} is left out")
    progress("sessions", 1.0)
    if not sessions:
        raise FormatError(f"{root}: no session can be read; {findings.problems[0]}")
    findings.problems += _missing(sessions, found.values(), lists)
    corpus = Corpus(
        name=_NAME,
        folder=output,
        reference="TextGrid",
        licence=_LICENCE,
        default_partition=lists.default_partition,
        sessions=tuple(one.session for one in sessions),
        problems=tuple(findings.problems),
        notes=tuple(findings.notes),
    )
    publish(corpus, sessions)
    return corpus


def _meeting(name: str) -> str:
    match = _MEETING.fullmatch(name)
    return match[1] if match else name


def _find(root: Path, findings: Findings) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for path in files_below(root):
        places = [match for part in path.absolute().parts if (match := _PLACE.fullmatch(part))]
        kind = {".wav": "", ".flac": "", ".textgrid": "_grids"}.get(path.suffix.lower())
        if not places or kind is None:
            continue
        split, distance = places[-1][1].lower(), places[-1][2].lower()
        if not _MEETING.fullmatch(path.stem):
            findings.problems.append(f"{path}: not named as a file of AliMeeting, left out")
            continue
        files = found.setdefault(_meeting(path.stem), _Found(split))
        first = getattr(files, distance + kind).setdefault(path.stem, path)
        if first != path:
            findings.problems.append(f"{path}: there is also {first}, which is taken")
    if not found:
        raise AudioError(
            f"{root}: nothing of AliMeeting, expected folders such as Eval_Ali/Eval_Ali_far",
            hint="--root is the folder in which the official archives were unpacked",
        )
    return found


def _session(name: str, files: _Found, lists: CorpusLists, findings: Findings) -> Prepared:
    reference = _reference(name, files, findings)
    audio, channels, length = _audio(name, files, reference.speakers, findings)
    last = max((turn.end for turn in reference.turns), default=0.0)
    if length is None:
        findings.notes.append(f"{name}: no audio, the UEM is the length of the TextGrid")
        length = max(reference.duration, last)
    elif last > length + _PAST_END_S:
        findings.problems.append(
            f"{name}: the audio ends at {length:.1f} s, the last words at {last:.1f} s"
        )
    return prepared(
        replace(reference, duration=length),
        audio=audio,
        channels=channels,
        splits={lists.default_partition: files.split},
    )


def _reference(name: str, files: _Found, findings: Findings) -> Transcript:
    """Read the TextGrid of the array, or those of all speakers.

    Raises
    ------
    FormatError
        If neither is there and whole.
    """
    for path in files.far_grids.values():
        try:
            grid = parse_file(path)
        except FormatError as error:
            findings.problems.append(error.message)
        else:
            return _transcript(name, grid.utterances, grid.duration)
    lacking = sorted(files.near.keys() - files.near_grids.keys())
    if lacking or not files.near_grids:
        wanted = f"{lacking[0]}.TextGrid" if lacking else f"{_meeting(name)}.TextGrid"
        raise FormatError(f"{name}: no whole reference, {wanted} is missing")
    grids = {stem: parse_file(path) for stem, path in sorted(files.near_grids.items())}
    findings.notes.append(f"{name}: the reference is the speakers' own TextGrids")
    utterances = [
        replace(utterance, speaker=_speaker(stem))
        for stem, grid in grids.items()
        for utterance in grid.utterances
    ]
    return _transcript(name, utterances, max(grid.duration for grid in grids.values()))


def _transcript(name: str, said: Iterable[Utterance], duration: float) -> Transcript:
    utterances = tuple(replace(one, speaker=_speaker(one.speaker)) for one in said)
    turns = tuple(Turn(one.start, one.end, one.speaker) for one in utterances)
    return Transcript(name, utterances, turns=turns, language="zh", duration=duration)


def _speaker(label: str) -> str:
    """Give the speaker of a tier (``N_SPK8013``) or a file (``R8001_M8004_N_SPK8013``)."""
    match = _SPEAKER.search(label)
    return match[0] if match else label


def _audio(
    name: str, files: _Found, speakers: Sequence[str], findings: Findings
) -> tuple[dict[str, list[Path]], dict[str, str], float | None]:
    """Give files and channels of every condition, and the length in seconds if there is audio."""
    audio: dict[str, list[Path]] = {}
    channels: dict[str, str] = {}
    lengths: list[float] = []
    for path in list(files.far.values())[:1]:
        try:
            file = check_recording(path)
        except AudioError as error:
            findings.problems.append(error.message)
            continue
        lengths.append(file.duration)
        # channels are counted from 0 wherever meetscribe is given numbers
        audio["far-ch1"], channels["far-ch1"] = [path], "0" if file.num_channels > 1 else "mono"
        if file.num_channels > 1:
            audio["far"], channels["far"] = [path], "array"
        if file.num_channels != _ARRAY_SIZE:
            findings.problems.append(
                f"{path}: {file.num_channels} channels, expected {_ARRAY_SIZE}"
            )
    near = _near(name, files.near, speakers, findings, lengths)
    if near:
        audio["near"], channels["near"] = near, "per-speaker" if len(near) > 1 else "mono"
    return audio, channels, lengths[0] if lengths else None


def _near(
    name: str,
    files: Mapping[str, Path],
    speakers: Sequence[str],
    findings: Findings,
    lengths: list[float],
) -> list[Path]:
    """Give the headsets; none if one is missing, for its speaker would be scored as lost."""
    good: list[Path] = []
    for stem in sorted(files):
        try:
            lengths.append(check_recording(files[stem]).duration)
        except AudioError as error:
            findings.problems.append(error.message)
        else:
            good.append(files[stem])
    heard = {_speaker(path.stem) for path in good}
    lacking = sorted(set(speakers) - heard)
    if files and lacking:
        findings.problems.append(
            f"{name}: headset of {named(lacking)} missing or damaged, near is left out"
        )
    return [] if lacking else good


def _missing(
    sessions: Sequence[Prepared], found: Iterable[_Found], lists: CorpusLists
) -> list[str]:
    there = [one.session for one in sessions]
    names = {session.session_id for session in there}
    splits = {files.split for files in found}
    lines = []
    for split, wanted in lists.splits_of(lists.default_partition).items():
        missing = [name for name in wanted if name not in names]
        if split in splits and missing:
            lines.append(
                f"{split}: {len(missing)} of {len(wanted)} sessions are missing: {named(missing)}"
            )
    return [*lines, *missing_audio(there, lists)]
