"""What all parsers share: reading a file, naming the place of a mistake, checking numbers."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from meetscribe.errors import FormatError
from meetscribe.types import Transcript


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 with its byte order mark (which Praat writes).

    Raises
    ------
    FormatError
        If it is not there, cannot be read, or is not text.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file", hint="check the path") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: byte {error.start} is not {error.encoding}, expected a UTF-8 text file"
        ) from error


def place(path: str, line: int | None = None) -> str:
    """Name where something is, for the start of an error message."""
    if line is None:
        return path or "text"
    return f"{path}:{line}" if path else f"line {line}"


def numbered_lines(text: str, comment: str = ";") -> Iterator[tuple[int, str]]:
    """Give the lines that say something with their numbers from 1, comments left out."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith(comment):
            yield number, stripped


def seconds(field: str, where: str, what: str) -> float:
    """Read a time in seconds.

    Raises
    ------
    FormatError
        If it is not a finite number of at least 0.
    """
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise FormatError(f"{where}: {what} is '{field}', expected seconds, 0 or more")
    return value


def session_of(path: str) -> str:
    """Guess a session from the name of its file, for files that do not say it."""
    return PurePath(path).name.partition(".")[0]


def only(transcripts: Sequence[Transcript], path: str) -> Transcript:
    """Give the one transcript of a file, or an empty one of a file that has none.

    Raises
    ------
    FormatError
        If the file holds several sessions.
    """
    if len(transcripts) > 1:
        found = ", ".join(transcript.session_id for transcript in transcripts[:3])
        raise FormatError(
            f"{place(path)}: {len(transcripts)} sessions ({found} ...), expected one",
            hint="split the file by session",
        )
    return transcripts[0] if transcripts else Transcript(session_of(path), ())
