"""Strict readers of SRT and WebVTT, written after their syntax and not after the renderers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_SRT_TIMES = re.compile(
    r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d),(\d{3})"
)
_VTT_TIMES = re.compile(_SRT_TIMES.pattern.replace(",(", r"\.("))
_ENTITY = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}


@dataclass(frozen=True)
class Cue:
    start: int
    end: int
    lines: tuple[str, ...]
    voice: str = ""


def read_srt(text: str) -> list[Cue]:
    if not text:
        return []
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    cues = []
    for number, block in enumerate(text[:-1].split("\n\n"), 1):
        index, times, *lines = block.split("\n")
        assert index == str(number)
        assert lines
        assert all(line.strip() == line != "" and "-->" not in line for line in lines)
        cues.append(Cue(*_times(_SRT_TIMES, times), tuple(lines)))
    assert all(left.end <= right.start for left, right in pairwise(cues))
    return cues


def read_vtt(text: str) -> list[Cue]:
    header, *blocks = text.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        times, body = block.split("\n", 1)
        assert "-->" not in body
        voice, lines = _cue_text(body)
        cues.append(Cue(*_times(_VTT_TIMES, times), tuple(lines), voice))
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)
    return cues


def _cue_text(body: str) -> tuple[str, list[str]]:
    found = re.fullmatch(
        r"(?:<v ([^\n<>&]*(?:&(?:amp|lt|gt);[^\n<>&]*)*)>(.*)</v>|(.*))", body, re.DOTALL
    )
    assert found
    voice, text = found.group(1) or "", found.group(2) or found.group(3) or ""
    assert "<" not in text
    assert ">" not in text
    lines = text.split("\n")
    assert all(line.strip() for line in lines)
    return _plain(voice), [_plain(line) for line in lines]


def _plain(text: str) -> str:
    assert re.fullmatch(r"[^&]*(?:&(?:amp|lt|gt);[^&]*)*", text)
    return re.sub("&(?:amp|lt|gt);", lambda found: _ENTITY[found.group()], text)


def _times(pattern: re.Pattern[str], line: str) -> tuple[int, int]:
    found = pattern.fullmatch(line)
    assert found, line
    h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, found.groups())
    start, end = ((h1 * 60 + m1) * 60 + s1) * 1000 + ms1, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
    assert start < end
    return start, end
