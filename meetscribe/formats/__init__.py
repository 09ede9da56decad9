"""One file a format: ``render(transcript, options)`` gives text, ``parse(text)`` reads it back.

Every format is made from the canonical JSON, so that a transcript is exported without running a
model again. Words are conserved: each word of the transcript is in every export that carries
words, once; the only exception is the subtitle policy ``dominant``. Writing files is not done
here. To add a format, write its module and a line of ``FORMATS``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from meetscribe.errors import FormatError, NameNotFoundError
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import read_text
from meetscribe.types import Transcript

__all__ = ["FORMATS", "Format", "RenderOptions", "names", "parse_file", "render", "suffix"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its file suffix, where its code is (``module:function``), what it is for."""

    suffix: str
    render: str
    parse: str | None
    summary: str


_HERE = "meetscribe.formats"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "json": Format(
            ".json",
            f"{_HERE}.transcript_json:render",
            f"{_HERE}.transcript_json:parse",
            "everything; the one that the others are made from",
        ),
        "txt": Format(".txt", f"{_HERE}.txt:render", None, "for reading"),
        "srt": Format(".srt", f"{_HERE}.srt:render", None, "subtitles for every player"),
        "vtt": Format(".vtt", f"{_HERE}.vtt:render", None, "subtitles for the web, with voices"),
        "rttm": Format(
            ".rttm", f"{_HERE}.rttm:render", f"{_HERE}.rttm:parse", "who speaks when, no words"
        ),
        "ctm": Format(".ctm", f"{_HERE}.ctm:render", f"{_HERE}.ctm:parse", "a line a word"),
        "stm": Format(
            ".stm", f"{_HERE}.stm:render", f"{_HERE}.stm:parse", "a line an utterance, for scoring"
        ),
        "seglst": Format(
            ".seglst.json",
            f"{_HERE}.seglst:render",
            f"{_HERE}.seglst:parse",
            "a list of segments, for scoring (meeteval, CHiME)",
        ),
        "textgrid": Format(
            ".TextGrid",
            f"{_HERE}.textgrid:render",
            f"{_HERE}.textgrid:parse",
            "a tier a speaker, for Praat and ELAN",
        ),
        "csv": Format(".csv", f"{_HERE}.csv_table:render", None, "a table for spreadsheets"),
    }
)


def names() -> tuple[str, ...]:
    """Give the names of all formats."""
    return tuple(FORMATS)


def suffix(format_name: str) -> str:
    """Give the file suffix of a format, with its dot.

    Raises
    ------
    NameNotFoundError
        If there is no such format; the hint names near ones.

    Examples
    --------
    >>> suffix("seglst")
    '.seglst.json'
    """
    return _find(format_name).suffix


def render(transcript: Transcript, format_name: str, options: RenderOptions = DEFAULT) -> str:
    r"""Turn a transcript into the text of a format.

    The text is meant for a file in UTF-8 whose line feeds are written as they are. Only the SRT
    of a transcript without words is empty.

    Raises
    ------
    NameNotFoundError
        If there is no such format; the hint names near ones.
    FormatError
        If a time that the format needs is infinite or not a number.

    Examples
    --------
    >>> render(Transcript("a", ()), "vtt")
    'WEBVTT\n'
    """
    text: str = _entry(_find(format_name).render)(transcript, options)
    return text


def parse_file(path: Path | str) -> Transcript:
    """Read a transcript from a file of any format that can be read, told by its suffix.

    Only the canonical JSON gives everything back. RTTM gives turns and no words, CTM guesses
    where utterances end, TextGrid takes its tiers for speakers.

    Raises
    ------
    FormatError
        If the file cannot be read, its suffix is unknown, or its content does not fit.
    """
    path = Path(path)
    name = _name_of_file(path)
    entry = FORMATS[name].parse if name else None
    if name is None or entry is None:
        readable = ", ".join(known.suffix for known in FORMATS.values() if known.parse)
        raise FormatError(
            f"{path}: no transcript can be read from {f'a {name} file' if name else 'this file'}",
            hint=f"readable are {readable}; best is the .json that transcribe wrote",
        )
    text = read_text(path)
    if name == "json" and text.lstrip().startswith("["):  # SegLST files are often named so
        entry = FORMATS["seglst"].parse or entry
    transcript: Transcript = _entry(entry)(text, path=str(path))
    return transcript


def _name_of_file(path: Path) -> str | None:
    lower = path.name.lower()
    fitting = [name for name, known in FORMATS.items() if lower.endswith(known.suffix.lower())]
    return max(fitting, key=lambda name: len(FORMATS[name].suffix), default=None)


def _find(format_name: str) -> Format:
    if format_name in FORMATS:
        return FORMATS[format_name]
    wanted = format_name.lower().lstrip(".")
    if wanted in FORMATS:
        return FORMATS[wanted]
    near = difflib.get_close_matches(wanted, FORMATS, n=3, cutoff=0.5)
    raise NameNotFoundError(
        f"no format named '{format_name}'",
        hint=f"did you mean: {', '.join(near)}?" if near else f"there are: {', '.join(FORMATS)}",
    )


def _entry(where: str) -> Callable[..., Any]:
    module, function = where.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
