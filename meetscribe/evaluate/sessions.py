"""What is scored against what: references and hypotheses from files, paired by session.

A session may come in several files of different formats: its words are taken from the richest
one, its turns from RTTM where there is one. Every choice is noted, and nothing is left out in
silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meetscribe.errors import FormatError
from meetscribe.evaluate.session_files import (
    FilePart,
    made_by_meetscribe,
    read_parts,
    search,
)
from meetscribe.formats import uem as uem_format
from meetscribe.formats.reading import read_text
from meetscribe.types import Turn, Utterance

_ROUNDING_S = 0.001
"""Formats have milliseconds: less beyond a UEM is not worth a note."""

Regions = Sequence[tuple[float, float]]

_WORDS_FROM = ("json", "seglst", "stm", "textgrid", "ctm")
_TURNS_FROM = ("rttm", *_WORDS_FROM)
_NAMED = 3
"""So many ids are named in a message."""


@dataclass(frozen=True)
class Session:
    """One side of what is scored: a reference, or what a system made of it.

    Parameters
    ----------
    utterances : sorted by start, or in the order of the file where there are no times
    turns : sorted by start; empty ones and those of one speaker that overlap are kept
    duration : seconds of the recording, None where no file says it
    language : ISO 639-1 code, "" where no file says it
    source : the files, for messages
    has_words : there are words that may be scored (RTTM has none, pseudo-labels are not scored)
    has_times : the words have times, so that a time-constrained metric can be had
    has_turns : who speaks when is known, so that DER can be had
    notes : what was done to odd input, one line each
    """

    session_id: str
    utterances: tuple[Utterance, ...] = ()
    turns: tuple[Turn, ...] = ()
    duration: float | None = None
    language: str = ""
    source: str = ""
    has_words: bool = True
    has_times: bool = True
    has_turns: bool = True
    notes: tuple[str, ...] = ()

    @property
    def end(self) -> float:
        """Seconds to the end of the recording, or to the last end of anything said."""
        ends = [turn.end for turn in self.turns] + [part.end for part in self.utterances]
        return max([*ends, self.duration or 0.0])


@dataclass(frozen=True)
class Pair:
    """A reference and what it is scored against.

    ``hypothesis`` is None where there is none: all is missed and deleted. ``scored`` are the
    regions in seconds to which DER and JER are limited (the words are all scored).
    """

    session_id: str
    reference: Session
    hypothesis: Session | None
    scored: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()


def read(*paths: Path | str, references: bool = False) -> dict[str, Session]:
    """Read the sessions of files, or of all files in a folder and the folders in it.

    Formats are SegLST, STM, CTM, RTTM, TextGrid and the JSON of meetscribe, told by the suffix. In
    a folder other files are left out. A file that does not name its session is of the session
    of its neighbour of the same name, or named after itself (after its folder where it is called
    ``ref``, ``hyp`` and the like).

    Parameters
    ----------
    references : what meetscribe itself made is left out of a session that has something else: a
        transcript beside the recording is no reference

    Returns
    -------
    dict
        Session id -> session, sorted by id.

    Raises
    ------
    FormatError
        With file and line, if a file is damaged, a time is negative, or two files of one format
        have the same session; if there is nothing to read.
    """
    found: dict[str, dict[str, FilePart]] = {}
    parts = [part for path in paths for part in read_parts(Path(path))]
    for part in _foreign(parts) if references else parts:
        kinds = found.setdefault(part.session_id, {})
        other = kinds.setdefault(part.kind, part)
        if other is not part:
            raise FormatError(
                f"{part.path}: session '{part.session_id}' is also in {other.path}",
                hint="keep one of the two, or name the file or folder that is meant",
            )
    return {session: _session(session, found[session]) for session in sorted(found)}


def _foreign(parts: Iterable[FilePart]) -> Iterable[FilePart]:
    """Leave out what meetscribe made, session by session, where there is something else."""
    sessions: dict[str, list[FilePart]] = {}
    for part in parts:
        sessions.setdefault(part.session_id, []).append(part)
    for there in sessions.values():
        own = made_by_meetscribe(there)
        kept = [part for part in there if not any(part is one for one in own)]
        names = ", ".join(sorted({part.path.name for part in own}))
        if own and kept:
            first, *others = kept
            note = f"{names} left out: meetscribe made it, and there is {first.path.name}"
            yield replace(first, notes=(*first.notes, note))
            yield from others
        elif own:
            first, *others = there
            note = f"meetscribe made {names}: no reference unless somebody corrected it"
            yield replace(first, notes=(*first.notes, note))
            yield from others
        else:
            yield from there


def _session(session_id: str, kinds: Mapping[str, FilePart]) -> Session:
    words = _first(kinds, _WORDS_FROM)
    turns = _first({kind: p for kind, p in kinds.items() if p.has_times}, _TURNS_FROM)
    canonical = kinds.get("json")
    used = dict.fromkeys(part.path for part in (words, turns) if part)
    return Session(
        session_id=session_id,
        utterances=words.utterances if words else (),
        turns=turns.turns if turns else (),
        duration=max((p.duration for p in kinds.values() if p.duration), default=None),
        language=canonical.language if canonical else "",
        source=", ".join(map(str, used or [part.path for part in kinds.values()])),
        has_words=words is not None and not words.words_status,
        has_times=words is not None and words.has_times,
        has_turns=turns is not None,
        notes=tuple(_notes(kinds, words, turns)),
    )


def _first(kinds: Mapping[str, FilePart], order: Iterable[str]) -> FilePart | None:
    """Give the first that says something, or else the first that there is."""
    there = [kinds[kind] for kind in order if kind in kinds]
    return next((part for part in there if not part.is_empty), there[0] if there else None)


def _notes(
    kinds: Mapping[str, FilePart], words: FilePart | None, turns: FilePart | None
) -> Iterable[str]:
    if len(kinds) > 1:
        told = [(name, part.kind) for name, part in (("words", words), ("turns", turns)) if part]
        yield ", ".join(f"{name} from {kind}" for name, kind in told)
    if words and words.words_status:
        yield (f"words are not scored: {words.path.name} marks them as '{words.words_status:.60}'")
    if words and not words.has_times:
        yield f"words have no times in {words.path.name}"
    for part in kinds.values():
        yield from part.notes


def pair(
    references: Mapping[str, Session],
    hypotheses: Mapping[str, Session],
    *,
    uem: Mapping[str, Regions] | None = None,
    partial: bool = False,
) -> list[Pair]:
    """Pair the two sides by session id, in the order of the references.

    A reference without hypothesis is paired with None, unless ``partial`` leaves it out;
    hypotheses without reference are always left out (``left_out`` names both). A single session
    on either side is a pair whatever the ids.

    Without a UEM a session is scored from 0 to the end of its recording, or to the last end on
    either side, so that a false alarm after the reference ends counts.

    Raises
    ------
    FormatError
        If the sides have nothing in common, or a session is not in the UEM.
    """
    together: list[tuple[Session, Session | None]]
    if len(references) == len(hypotheses) == 1:
        together = list(zip(references.values(), hypotheses.values(), strict=True))
    else:
        _check_in_common(references, hypotheses)
        together = [
            (reference, hypotheses.get(session))
            for session, reference in references.items()
            if session in hypotheses or not partial
        ]
    scored = _regions_of(together, uem)
    return [
        _pair(reference, hypothesis, regions, given=uem is not None)
        for (reference, hypothesis), regions in zip(together, scored, strict=True)
    ]


def left_out(
    references: Mapping[str, Session], hypotheses: Mapping[str, Session], *, partial: bool = False
) -> tuple[str, ...]:
    """Name the sessions that ``pair`` leaves out, one line for each side that has some."""
    if len(references) == len(hypotheses) == 1:
        return ()
    notes = []
    if only := [session for session in hypotheses if session not in references]:
        notes.append(f"left out, for they have no reference: {_ids(only)}")
    if partial and (only := [session for session in references if session not in hypotheses]):
        notes.append(f"left out (partial), for they have no hypothesis: {_ids(only)}")
    return tuple(notes)


def _check_in_common(references: Mapping[str, Session], hypotheses: Mapping[str, Session]) -> None:
    silent = not any(session.utterances or session.turns for session in hypotheses.values())
    if references and (silent or references.keys() & hypotheses.keys()):
        return
    raise FormatError(
        f"no session is on both sides: references are {_ids(references)}, "
        f"hypotheses are {_ids(hypotheses)}",
        hint="give both the same session ids; files that hold no id are named after the file",
    )


def _ids(sessions: Iterable[str]) -> str:
    ids = list(sessions)
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(f"'{session}'" for session in ids[:_NAMED]) + more if ids else "none"


def _regions_of(
    together: Sequence[tuple[Session, Session | None]], uem: Mapping[str, Regions] | None
) -> list[Regions]:
    if uem is None:
        ends = [max(ref.end, hyp.end if hyp else 0.0) for ref, hyp in together]
        return [((0.0, end),) if end > 0 else () for end in ends]
    # a reference and a hypothesis alone are a pair whatever their names: the UEM may know either
    names = [[side.session_id for side in pair if side] for pair in together]
    known = [next((name for name in ids if name in uem), "") for ids in names]
    if missing := [ids[0] for ids, name in zip(names, known, strict=True) if not name]:
        raise FormatError(
            f"the UEM has no region of {_ids(missing)}; it has {_ids(uem)}",
            hint="add them to the UEM, or leave the UEM away to score whole recordings",
        )
    return [uem[name] for name in known]


def _pair(reference: Session, hypothesis: Session | None, regions: Regions, *, given: bool) -> Pair:
    notes = [f"reference: {note}" for note in reference.notes]
    if hypothesis is None:
        notes.append("no hypothesis: all is scored as missed and deleted")
    else:
        notes += [f"hypothesis: {note}" for note in hypothesis.notes]
        if hypothesis.session_id != reference.session_id:
            notes.append(
                f"reference '{reference.session_id}' is paired with hypothesis "
                f"'{hypothesis.session_id}', for there are no others"
            )
        if not (hypothesis.turns or hypothesis.utterances):
            notes.append("the hypothesis is empty")
        if reference.source and reference.source == hypothesis.source:
            notes.append(f"reference and hypothesis are the same: {reference.source}")
    if not (reference.turns or reference.utterances):
        notes.append("the reference is empty: what the hypothesis has is counted, but has no rate")
    if given:
        for name, side in (("reference", reference), ("hypothesis", hypothesis)):
            if beyond := _beyond(side.turns if side else (), regions):
                notes.append(
                    f"turns of the {name} that reach beyond the UEM, and are cut: {beyond} "
                    "(words are scored wherever they are)"
                )
    else:
        notes.append("no UEM: scored from 0 to the end of the recording, or of the last turn")
    return Pair(reference.session_id, reference, hypothesis, tuple(regions), tuple(notes))


def _beyond(turns: Iterable[Turn], regions: Regions) -> int:
    inside = uem_format.joined(regions)
    return sum(
        not any(
            start - _ROUNDING_S <= turn.start and turn.end <= end + _ROUNDING_S
            for start, end in inside
        )
        for turn in turns
    )


def read_uem(path: Path | str) -> dict[str, list[tuple[float, float]]]:
    """Read the scored regions of every session from a UEM file, or all in a folder.

    Raises
    ------
    FormatError
        With file and line, if one does not fit; if two files have the same session, or there is
        none.
    """
    path = Path(path)
    files = [file for file in search(path) if file.name.lower().endswith(".uem")]
    regions: dict[str, list[tuple[float, float]]] = {}
    source: dict[str, Path] = {}
    for file in files if path.is_dir() else [path]:
        for session, own in uem_format.parse(read_text(file), path=str(file)).items():
            if session in source:
                raise FormatError(
                    f"{file}: session '{session}' is also in {source[session]}",
                    hint="keep one of the two",
                )
            regions[session], source[session] = own, file
    if not regions:
        raise FormatError(f"{path}: no scored region in it, expected lines of a UEM")
    return regions
