"""Praat TextGrid (long text format): a tier a speaker, of intervals that touch each other.

Read after Praat's own rule, by which only free-standing numbers, strings in quotes and flags
count, so that the short format is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meetscribe.errors import FormatError
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import place, seconds, session_of
from meetscribe.formats.timeline import Span, plain_seconds, side_by_side, span_ms, to_ms
from meetscribe.formats.tokens import shown_name, text_of
from meetscribe.types import Transcript, Utterance

_TOKEN = re.compile(r'"(?:[^"]|"")*"|![^\n]*|[^\s"]+')
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?$")
_INTERVALS, _POINTS = "IntervalTier", "TextTier"


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write a tier for each speaker who has words, from 0 to the end of the recording.

    Utterances of one speaker that overlap each other follow each other without losing words. A
    transcript without words has one empty tier, for Praat knows no TextGrid without tiers.
    """
    tiers = _tiers(transcript) or {"speech": []}
    ends = [end for tier in tiers.values() for _, end, _ in tier]
    duration = max([to_ms(transcript.duration), 1, *ends])
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {plain_seconds(duration)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        lines += _tier(number, name, list(_filled(intervals, duration)), duration)
    return "\n".join(lines) + "\n"


_Interval = tuple[int, int, str]


def _tiers(transcript: Transcript) -> dict[str, list[_Interval]]:
    spans: dict[str, list[Span]] = {}
    texts: dict[str, list[str]] = {}
    for utterance in transcript.utterances:
        if text := text_of(utterance):
            name = shown_name(transcript, utterance.speaker)
            spans.setdefault(name, []).append(span_ms(utterance.start, utterance.end))
            texts.setdefault(name, []).append(text)
    return {
        name: [
            (start, end, text)
            for (start, end), text in zip(
                side_by_side(own, [len(text) for text in texts[name]]), texts[name], strict=True
            )
        ]
        for name, own in spans.items()
    }


def _filled(intervals: Sequence[_Interval], duration: int) -> Iterator[_Interval]:
    """Put empty intervals where nothing is said."""
    reached = 0
    for start, end, text in intervals:
        if start > reached:
            yield reached, start, ""
        yield start, end, text
        reached = end
    if reached < duration:
        yield reached, duration, ""


def _tier(number: int, name: str, intervals: Sequence[_Interval], duration: int) -> list[str]:
    lines = [
        f"    item [{number}]:",
        f'        class = "{_INTERVALS}"',
        f"        name = {_quoted(name)}",
        "        xmin = 0",
        f"        xmax = {plain_seconds(duration)}",
        f"        intervals: size = {len(intervals)}",
    ]
    for index, (start, end, text) in enumerate(intervals, 1):
        lines += [
            f"        intervals [{index}]:",
            f"            xmin = {plain_seconds(start)}",
            f"            xmax = {plain_seconds(end)}",
            f"            text = {_quoted(text)}",
        ]
    return lines


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    line: int
    is_text: bool


class _Values:
    """The free-standing values of a file, taken one after the other."""

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._values = list(_values(text))
        self._next = 0

    def take(self, what: str, *, is_text: bool) -> _Value:
        if self._next == len(self._values):
            raise FormatError(f"{place(self._path)}: ends too early, expected {what}")
        value = self._values[self._next]
        if value.is_text != is_text:
            raise FormatError(f"{self.where(value)}: found {value.text!r:.40}, expected {what}")
        self._next += 1
        return value

    def text(self, what: str) -> str:
        return self.take(what, is_text=True).text

    def time(self, what: str) -> float:
        value = self.take(what, is_text=False)
        return seconds(value.text, self.where(value), what)

    def count(self, what: str) -> int:
        value = self.take(what, is_text=False)
        if not value.text.isdigit():
            raise FormatError(f"{self.where(value)}: found {value.text:.40}, expected {what}")
        return int(value.text)

    def where(self, value: _Value) -> str:
        return place(self._path, value.line)


def _values(text: str) -> Iterator[_Value]:
    line, reached = 1, 0
    for found in _TOKEN.finditer(text.removeprefix("\ufeff")):
        token = found.group()
        line += text.count("\n", reached, found.start())
        reached = found.start()
        if token.startswith('"'):
            yield _Value(token[1:-1].replace('""', '"'), line, is_text=True)
        elif _NUMBER.match(token) or token in {"<exists>", "<absent>"}:
            yield _Value(token, line, is_text=False)


def parse(text: str, *, path: str = "") -> Transcript:
    """Read interval tiers, each a speaker; point tiers and empty intervals are left out.

    The session is named after the file.

    Raises
    ------
    FormatError
        With path and line, if it is not a TextGrid or ends too early.
    """
    values = _Values(text, path)
    file_type, kind = values.text("a file type"), values.text("a class")
    if not file_type.startswith("ooTextFile") or kind != "TextGrid":
        raise FormatError(f"{place(path)}: not a Praat TextGrid in text format")
    values.time("the start")
    duration = values.time("the end")
    tiers = values.take("'<exists>'", is_text=False).text == "<exists>"
    utterances: list[Utterance] = []
    for _ in range(values.count("the number of tiers") if tiers else 0):
        utterances += _read_tier(values)
    return Transcript(session_of(path), tuple(utterances), duration=duration)


def _read_tier(values: _Values) -> Iterator[Utterance]:
    kind = values.take("a kind of tier", is_text=True)
    if kind.text not in {_INTERVALS, _POINTS}:
        raise FormatError(f"{values.where(kind)}: tier of kind '{kind.text}', expected intervals")
    name = values.text("the name of a tier")
    values.time("the start of a tier")
    values.time("the end of a tier")
    for _ in range(values.count("the size of a tier")):
        start = values.time("a time")
        end = values.time("an end") if kind.text == _INTERVALS else start
        text = values.take("a text", is_text=True)
        if end < start:
            raise FormatError(f"{values.where(text)}: ends at {end} s, before its start {start} s")
        if kind.text == _INTERVALS and text.text.strip():
            yield Utterance(name, start, end, text.text.strip())
