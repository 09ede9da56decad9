"""Lists of recordings: CSV with a header, or JSONL with an object a line."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from meetscribe.batch import remote
from meetscribe.errors import ConfigError

SUFFIXES = frozenset({".csv", ".jsonl"})

_PATH_KEYS = ("path", "audio", "audio_filepath")
_HINT = "a column `path`, and `session` where several files are the channels of one session"


class Entry(NamedTuple):
    """One file.

    ``below`` is what it is called, ``session`` the name of its session. Files with the same
    ``group`` are the channels of one session; "" where it is one of its own.
    """

    path: str
    below: str
    session: str
    group: str


def read(path: Path) -> list[Entry]:
    """Read a manifest; paths are relative to its folder.

    A line has ``path`` (or ``audio``, ``audio_filepath``), in JSONL it may be a list: channels of
    one session. Lines with the same ``session`` are the channels of that session, in their order.
    What else a line says is left aside.

    Raises
    ------
    ConfigError
        With the line that cannot be understood.
    """
    lines = _jsonl(path) if path.suffix.lower() == ".jsonl" else _csv(path)
    entries: list[Entry] = []
    try:
        for number, line in lines:
            entries += _entries(line, f"{path}:{number}", path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: {error}", hint="save it as UTF-8 text") from error
    if not entries:
        raise ConfigError(f"{path}: no recordings in it", hint=_HINT)
    return entries


def _entries(line: Mapping[str, object], where: str, listing: Path) -> Iterator[Entry]:
    folder = listing.parent
    value = next((line[key] for key in _PATH_KEYS if line.get(key)), None)
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(one, str) and one for one in several):
        raise ConfigError(f"{where}: no path of a recording", hint=_HINT)
    given = (line.get(key) for key in ("session", "session_id"))
    session = next((one for one in given if one is not None and one != ""), "")
    if (
        isinstance(session, bool)
        or not isinstance(session, str | int)
        or ".." in PurePath(str(session)).parts
    ):
        raise ConfigError(f"{where}: session {session!r}, expected a name")
    name = str(session).strip().strip("/\\")
    group = name and f"{listing}\0{name}"
    if len(several) > 1 and not name:
        # a line of its own is a session of its own, whatever others are called
        name, group = PurePath(str(several[0])).stem, where
    for one in map(str, several):
        if remote.is_url(one):
            yield Entry(one, one, name, group)
        else:
            full = os.path.abspath(folder / one)  # noqa: PTH100 - keeps links
            # a list may name files from anywhere: only what lies below it keeps its folders
            inside = PurePath(full).is_relative_to(os.path.abspath(folder))  # noqa: PTH100
            below = os.path.relpath(full, folder) if inside else PurePath(full).name
            yield Entry(full, PurePath(below).as_posix(), name, group)


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        # spreadsheets of half the world write semicolons
        delimiter = max(",;\t", key=head.count)
        file.seek(0)
        rows = csv.DictReader(file, delimiter=delimiter)
        known = [name.strip().lower() for name in rows.fieldnames or []]
        if not set(_PATH_KEYS) & set(known):
            raise ConfigError(f"{path}:1: found {head.strip()[:80]!r}, expected {_HINT}")
        rows.fieldnames = known
        for row in rows:
            plain = {key: value.strip() for key, value in row.items() if isinstance(value, str)}
            if any(plain.values()):
                yield rows.line_num, plain


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError as error:
                raise ConfigError(f"{path}:{number}: not JSON: {error}", hint=_HINT) from error
            if not isinstance(line, dict):
                raise ConfigError(f"{path}:{number}: expected an object, one a line", hint=_HINT)
            yield number, line
