"""Find the recordings that a batch is asked for: folders, files, patterns, manifests, URLs.

Every recording gets a name for its results. A name is never that of another recording, not even
where a file system does not tell ``Monday`` from ``monday``, and a recording keeps the name it
got first.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from meetscribe.batch import manifest, remote
from meetscribe.batch.tasks import Session
from meetscribe.errors import AudioError, ConfigError
from meetscribe.ingest import AUDIO_SUFFIXES

_RESERVED = {"summary"}
"""The results of the whole batch."""


class Candidate(NamedTuple):
    """A file that may be a recording, or the channel of one.

    ``below`` is its path below the folder that was given, with ``/``; ``session`` and ``group``
    are given where a manifest says which one it belongs to.
    """

    source: str
    below: str
    num_bytes: int
    session: str = ""
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """A place that could not be looked into, and why."""

    place: str
    reason: str


@dataclass
class Found:
    """Recordings in the order of their names, and places that could not be looked into."""

    sessions: list[Session] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def discover(
    inputs: Sequence[str],
    *,
    group_channels: str | None = None,
    names: Mapping[tuple[str, ...], str] | None = None,
    made_from: Callable[[str], Collection[str]] = lambda _: (),
) -> Found:
    """Find all recordings.

    Parameters
    ----------
    inputs : folders (searched with all below), files, patterns such as ``2026/**/*.wav``,
        manifests (``.csv``, ``.jsonl``), and URLs of folders or files that fsspec can read
    group_channels : regular expression; files of one folder whose names are the same but for what
        it matches are the channels of one session, in the order of what it matches
    names : names that recordings (by their sources) got before
    made_from : gives the names of the files that the results of a name were made from, none where
        that is not known; asked where several want a name that none is known to have

    Raises
    ------
    ConfigError
        If an input makes no sense, the expression is none, or nothing is found at all.
    AudioError
        If an input does not exist.
    DependencyError
        If a URL needs a library that is missing.
    """
    pattern = _compiled(group_channels)
    found = Found()
    candidates: list[Candidate] = []
    for given in inputs:
        several = len(inputs) > 1
        candidates += _candidates(given, found.problems, with_root=several)
    grouped = _grouped(_without_doubles(candidates), pattern)
    found.sessions = _named(grouped, names or {}, made_from)
    if not found.sessions and not found.problems:
        raise AudioError(
            f"{', '.join(inputs)}: no recordings found",
            hint=f"a recording's name ends in one of {', '.join(sorted(AUDIO_SUFFIXES)[:8])} …",
        )
    return found


def source_key(source: str) -> str:
    """Give the one spelling of a path or URL, on whatever way it was reached.

    Links to folders are followed, wherever they lead now; one to a file is kept, as it may be
    called otherwise.
    """
    if remote.is_url(source):
        return source
    folder, name = os.path.split(_absolute(source))
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118


def _candidates(given: str, problems: list[Problem], *, with_root: bool) -> Iterator[Candidate]:
    if remote.is_url(given):
        for url, below, size in remote.find(given, AUDIO_SUFFIXES):
            root = PurePosixPath(given.rstrip("/")).name
            yield Candidate(url, f"{root}/{below}" if with_root else below, size)
        return
    path = Path(given)
    if path.is_dir():
        root = path.resolve().name
        for file, size in _walk(path, problems):
            below = file.relative_to(path).as_posix()
            yield Candidate(str(file), f"{root}/{below}" if with_root and root else below, size)
    elif path.suffix.lower() in manifest.SUFFIXES and path.is_file():
        for entry in manifest.read(path):
            size = 0 if remote.is_url(entry.path) else _size(Path(entry.path))
            name = PurePosixPath(entry.path).name if remote.is_url(entry.path) else entry.below
            yield Candidate(entry.path, name, size, entry.session, entry.group)
    elif path.exists() or path.is_symlink():
        yield Candidate(str(path), path.name, _size(path))
    elif glob.has_magic(given):
        yield from _matching(given, problems)
    else:
        raise AudioError(f"{given}: no such file or folder", hint="check the path and the spelling")


def _matching(pattern: str, problems: list[Problem]) -> Iterator[Candidate]:
    """Give the files that match, and those of folders that match."""
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - may be absolute
    if not matches:
        raise AudioError(f"{pattern}: nothing matches", hint="check the pattern and its folder")
    magic = next(i for i, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    root = Path(*Path(pattern).parts[:magic])
    for match in map(Path, matches):
        if match.is_dir():
            # at its end `**` matches folders and what is in them
            inside = [] if _matches_all_below(pattern) else _walk(match, problems)
        else:
            inside = [(match, _size(match))] if _is_audio(match.name) else []
        for file, size in inside:
            yield Candidate(str(file), file.relative_to(root).as_posix(), size)


def _matches_all_below(pattern: str) -> bool:
    parts = Path(pattern).parts
    all_below = parts[-1] == "**" or parts[-2:] == ("**", "*")
    # with a slash at its end it matches folders alone
    return all_below and not pattern.endswith(("/", os.sep))


def _walk(folder: Path, problems: list[Problem]) -> Iterator[tuple[Path, int]]:
    """Give the recordings below a folder with their sizes; links are followed, once."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            stat = here.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                continue  # a link back to where we are or were
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(here) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(str(here), error.strerror or str(error)))
            continue
        folders = []
        for entry in inside:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    folders.append((entry.is_symlink(), Path(entry.path)))
                elif _is_audio(entry.name) and (entry.is_file() or entry.is_symlink()):
                    yield Path(entry.path), _size(Path(entry.path))
            except OSError as error:
                problems.append(Problem(entry.path, error.strerror or str(error)))
        # real folders before links: what both lead to is called by its own name
        waiting += [path for _, path in sorted(folders, reverse=True)]


def _is_audio(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the worker says what is wrong with it


def _without_doubles(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Leave out what is reached on a second way, as by a link; the file's own name goes first."""
    first: dict[str, Candidate] = {}
    for one in candidates:
        url = remote.is_url(one.source)
        real = one.source if url else os.path.realpath(one.source)
        own_name = not url and real == _absolute(one.source)
        if real not in first or (own_name and real != _absolute(first[real].source)):
            first[real] = one
    return list(first.values())


def _absolute(source: str) -> str:
    return source if remote.is_url(source) else os.path.abspath(source)  # noqa: PTH100 - keeps links


def _compiled(expression: str | None) -> re.Pattern[str] | None:
    if expression is None:
        return None
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(
            f"--group-channels {expression}: not a regular expression: {error}",
            hint=r"for meeting_ch1.wav, meeting_ch2.wav … it is '_ch\d+'",
        ) from error
    if pattern.search("") is not None:
        raise ConfigError(
            f"--group-channels {expression}: matches nothing at all, so every name",
            hint=r"give what differs between channels, such as '_ch\d+'",
        )
    return pattern


def _grouped(
    candidates: Iterable[Candidate], pattern: re.Pattern[str] | None
) -> list[tuple[str, list[Candidate]]]:
    """Give every session's wanted name and its files, in the order of names."""
    groups: dict[tuple[str, str], list[tuple[list[tuple[int, str]], Candidate]]] = {}
    alone: list[tuple[str, list[Candidate]]] = []
    for number, one in enumerate(candidates):
        # undecodable bytes of a foreign file system cannot be written into a transcript
        below = os.fsencode(one.below).decode("utf-8", "replace").replace("\\", "_")
        place = PurePosixPath(below)
        match = pattern.search(place.stem) if pattern else None
        if one.group:
            groups.setdefault((one.group, one.session), []).append(([(number, "")], one))
        elif match:
            stem = (place.stem[: match.start()] + place.stem[match.end() :]).strip(" -_.")
            name = (place.parent / (stem or place.stem[: match.start()] or "session")).as_posix()
            # folders that were given on their own may be called the same
            folder = os.path.dirname(one.source)  # noqa: PTH120 - may be a URL
            groups.setdefault((folder, name), []).append((_natural(match[0]), one))
        else:
            alone.append((place.with_suffix("").as_posix(), [one]))
    sets = [(name, [one for _, one in sorted(group)]) for (_, name), group in groups.items()]
    return sorted(sets + alone, key=lambda pair: (pair[0], pair[1][0].source))


def _natural(text: str) -> list[tuple[int, str]]:
    """Order 2 before 10.

    >>> sorted(["ch10", "ch2", "ch1"], key=_natural)
    ['ch1', 'ch2', 'ch10']
    """
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", text)]


def _named(
    grouped: Sequence[tuple[str, list[Candidate]]],
    before: Mapping[tuple[str, ...], str],
    made_from: Callable[[str], Collection[str]],
) -> list[Session]:
    """Give every session a name of its own: first those that had one, then the others in order."""
    sessions: dict[str, Session] = {}
    late = []
    known = {tuple(map(source_key, sources)): name for sources, name in before.items()}
    rivals = Counter(wanted.casefold() for wanted, _ in grouped)
    for wanted, files in grouped:
        sources = tuple(_absolute(one.source) for one in files)
        size = sum(one.num_bytes for one in files)
        name = known.get(tuple(map(source_key, sources)))
        if name is not None and name.casefold() not in sessions:
            sessions[name.casefold()] = Session(sources, name, size)
        else:
            late.append((wanted, files[0], Session(sources, wanted, size)))
    owners = {name.casefold(): sources for sources, name in before.items()}

    def is_free(name: str, sources: Iterable[str], *, contested: bool) -> bool:
        key = name.casefold()
        if key in sessions or key in _RESERVED:
            return False
        if key in owners:
            # a recording that was moved is found again by its content
            return not _is_there(owners[key][0])
        made = made_from(name) if contested else ()
        return not made or sorted(made) == sorted(map(_file_name, sources))

    for wanted, first, session in late:
        contested = rivals[wanted.casefold()] > 1
        wishes = _names(wanted, first)
        name = next(one for one in wishes if is_free(one, session.sources, contested=contested))
        sessions[name.casefold()] = Session(session.sources, name, session.num_bytes)
    return sorted(sessions.values(), key=lambda session: session.name)


def _file_name(source: str) -> str:
    return source.rstrip("/").rpartition("/")[2] if remote.is_url(source) else Path(source).name


def _is_there(source: str) -> bool:
    return remote.is_url(source) or os.path.lexists(source)


def _names(wanted: str, first: Candidate) -> Iterator[str]:
    yield wanted
    yield wanted + Path(first.source).suffix
    number = 2
    while True:
        yield f"{wanted}-{number}"
        number += 1
