"""Lines of subtitles: how wide text is on the screen, and where lines are best broken."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from meetscribe.formats.options import RenderOptions
from meetscribe.formats.tokens import unlike

STACK_MARK = "- "
"""Before each speaker of a cue that shows several."""

INSIDE_WORD = 10.0
"""Cost of a cut inside a word that is too long for a line."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is never cut any more: a token that fits on a line, or a part of one that does not.

    ``start`` and ``end`` are ms that never fall within a run; ``width`` is a ``Ruler``'s;
    ``cut_cost`` is how bad a cut after it is, 0 at the end of its run.
    """

    text: str
    start: int
    end: int
    speaker: str
    run: int
    spaced: bool
    width: int
    cut_cost: float = 0.0


class Ruler:
    """Measures text in a unit in which narrow and full-width letters are whole numbers.

    A line holds ``max_line_chars`` narrow letters or ``max_wide_chars`` full-width ones; so a
    line is their product wide, and each letter as wide as a line holds of the other kind.
    """

    def __init__(self, options: RenderOptions) -> None:
        self.line = options.max_line_chars * options.max_wide_chars
        self.space = options.max_wide_chars
        self._units = (0, options.max_wide_chars, options.max_line_chars)

    def width(self, text: str) -> int:
        """Measure a text."""
        if text.isascii():
            return len(text) * self.space
        return sum(self._units[_columns(char)] for char in text)

    def cut(self, text: str, room: int) -> str:
        """Give the longest start of a text that fits, at least one letter."""
        used = 0
        for index, char in enumerate(text):
            used += self._units[_columns(char)]
            if used > room and index:
                return text[:index]
        return text


@lru_cache(maxsize=8192)
def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def heads_of(names: Iterable[str], ruler: Ruler) -> dict[str, str]:
    """Give what stands before the words of each speaker, at most half a line wide.

    >>> heads_of(["Anna"], Ruler(RenderOptions()))
    {'Anna': 'Anna: '}
    """
    room = ruler.line // 2 - ruler.width(f"{STACK_MARK}: ")
    short = {}
    for name in dict.fromkeys(names):
        if ruler.width(name) <= room:
            short[name] = name
        else:
            short[name] = ruler.cut(name, room - ruler.width("…")).rstrip() + "…"
    return {name: f"{text}: " for name, text in unlike(short, short).items()}


def break_lines(pieces: Sequence[Piece], ruler: Ruler, head: str = "") -> tuple[str, ...]:
    """Break the words of a speaker into as few lines as hold them, even ones, at good places.

    The first line starts with ``head``. A piece that is wider than a line has one of its own.
    """
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)]
    for stop in range(1, len(pieces) + 1):
        ways = []
        width = 0
        for first in range(stop - 1, -1, -1):
            piece = pieces[first]
            width += piece.width
            room = ruler.line - (0 if first else ruler.width(head))
            if width > room and first < stop - 1:
                break
            slack = (1 - width / ruler.line) ** 2
            count, cost, _ = best[first]
            cost += slack + min(pieces[stop - 1].cut_cost, 3.0) / 6
            ways.append((count + 1, cost, first))
            width += ruler.space if piece.spaced else 0
        best.append(min(ways))
    lines: list[str] = []
    stop = len(pieces)
    while stop:
        first = best[stop][2]
        lines.insert(0, _join(pieces[first:stop]))
        stop = first
    lines[0] = head + lines[0]
    return tuple(lines)


def _join(pieces: Sequence[Piece]) -> str:
    return "".join(
        f" {piece.text}" if piece.spaced and number else piece.text
        for number, piece in enumerate(pieces)
    )
