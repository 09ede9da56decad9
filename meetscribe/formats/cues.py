"""Subtitle cues: which words are on the screen together, in which lines, and when.

The words are cut into cues by dynamic programming: as few cues as fit lines, width and duration,
cut where a sentence or clause ends or the speaker pauses. Where people speak at once, the option
``overlap`` decides; for ``stack`` the words of all speakers are cut together, so that a cue
holds what is said at the same time. All times are whole milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meetscribe.formats.layout import STACK_MARK, Piece, Ruler, break_lines, heads_of
from meetscribe.formats.options import RenderOptions
from meetscribe.formats.runs import keep_dominant, runs_of, stacking_order
from meetscribe.formats.timeline import Span, side_by_side
from meetscribe.formats.tokens import shown_name
from meetscribe.types import Transcript

_CUE_COST = 1.0
_STACK_COST = 1.5
_SHORT_COST = 2.0
_UNFILLED_COST = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """What one speaker says in a cue, in lines, each head included."""

    speaker: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen from ``start`` to ``end`` (ms)."""

    start: int
    end: int
    parts: tuple[Part, ...]


def cues_of(
    transcript: Transcript, options: RenderOptions, *, heads: bool, may_overlap: bool = False
) -> list[Cue]:
    """Make the cues of a transcript, by start.

    Parameters
    ----------
    heads : begin the words of a speaker with the name; else the format has its own way
    may_overlap : the format can show cues of several speakers at once, so that ``stack`` need
        not put them into one

    Returns
    -------
    list of Cue
        No cue overlaps another, except with ``may_overlap`` that of another speaker. Words are
        conserved, except by ``dominant``.
    """
    names = [shown_name(transcript, speaker) for speaker in transcript.speakers]
    ruler = Ruler(options)
    head_of = heads_of(names, ruler) if heads else dict.fromkeys(names, "")
    together = options.overlap == "stack" and not may_overlap
    mark = STACK_MARK if together else ""
    cutter = _Cutter(options, ruler, {name: ruler.width(mark + head_of[name]) for name in names})
    runs = runs_of(
        transcript, ruler, {name: ruler.line - cutter.head_width[name] for name in names}
    )
    if options.overlap == "dominant":
        runs = keep_dominant(runs)
    if together:
        groups = cutter.cut(stacking_order(runs))
    else:
        groups = [group for run in runs for group in cutter.cut(run)]
        groups.sort(key=lambda group: group[0].start)
    alone = options.overlap == "stack" and may_overlap
    spans = cutter.spans_by_speaker(groups) if alone else cutter.spans(groups)
    cues = [
        Cue(start, end, _parts(group, ruler, head_of))
        for (start, end), group in zip(spans, groups, strict=True)
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _parts(group: Sequence[Piece], ruler: Ruler, head_of: dict[str, str]) -> tuple[Part, ...]:
    spoken: dict[str, list[Piece]] = {}
    for piece in sorted(group, key=lambda piece: piece.start):
        spoken.setdefault(piece.speaker, [])
    for piece in group:
        spoken[piece.speaker].append(piece)
    mark = STACK_MARK if len(spoken) > 1 else ""
    return tuple(
        Part(speaker, break_lines(pieces, ruler, mark + head_of[speaker]))
        for speaker, pieces in spoken.items()
    )


class _Cutter:
    """Cuts pieces into the groups of which cues are made, and times them."""

    def __init__(self, options: RenderOptions, ruler: Ruler, head_width: dict[str, int]) -> None:
        self.ruler = ruler
        self.head_width = head_width
        self.max_lines = options.max_lines
        self.max_ms = round(options.max_cue_s * 1000)
        self.min_ms = min(round(options.min_cue_s * 1000), self.max_ms)
        self.ms_per_width = 1000 / (options.max_chars_per_s * ruler.space)

    def cut(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """Cut pieces into groups at the least cost."""
        cut_costs = _cut_costs(pieces)
        best = [math.inf] * (len(pieces) + 1)
        best[0] = 0.0
        came_from = [0] * (len(pieces) + 1)
        for first in range(len(pieces)):
            for stop, cost in self._groups_from(pieces, first):
                total = best[first] + cost + cut_costs[stop]
                if total < best[stop]:
                    best[stop] = total
                    came_from[stop] = first
        groups = []
        stop = len(pieces)
        while stop:
            groups.append(list(pieces[came_from[stop] : stop]))
            stop = came_from[stop]
        return groups[::-1]

    def _groups_from(self, pieces: Sequence[Piece], first: int) -> Iterator[tuple[int, float]]:
        """Give the ends of all groups that may start here, with what they cost."""
        screen = _Screen(self)
        for stop in range(first + 1, len(pieces) + 1):
            fits = screen.add(pieces[stop - 1])
            if not fits and stop > first + 1:
                return
            if screen.is_connected():
                yield stop, screen.cost()

    def spans(self, groups: Sequence[Sequence[Piece]]) -> list[Span]:
        """Say when each group is shown, so that no two are shown at once."""
        spans, wanted = [], []
        for group in groups:
            start = min(piece.start for piece in group)
            end = max(piece.end for piece in group)
            spans.append((start, min(end, start + self.max_ms)))
            reading = sum(piece.width for piece in group) * self.ms_per_width
            wanted.append(min(max(self.min_ms, round(reading)), self.max_ms))
        placed = side_by_side(spans, wanted)
        return [(start, min(end, start + self.max_ms)) for start, end in placed]

    def spans_by_speaker(self, groups: Sequence[Sequence[Piece]]) -> list[Span]:
        """Say when each group is shown, so that no two of one speaker are shown at once."""
        placed: list[Span] = [(0, 0)] * len(groups)
        for speaker in {group[0].speaker for group in groups}:
            own = [number for number, group in enumerate(groups) if group[0].speaker == speaker]
            spans = self.spans([groups[number] for number in own])
            for number, span in zip(own, spans, strict=True):
                placed[number] = span
        return placed


def _cut_costs(pieces: Sequence[Piece]) -> list[float]:
    """Say for each place between pieces what a cut there costs, over all runs that it parts."""
    last_of = {piece.run: number for number, piece in enumerate(pieces)}
    parted: dict[int, float] = {}
    costs = [0.0]
    for number, piece in enumerate(pieces):
        if last_of[piece.run] == number:
            parted.pop(piece.run, None)
        else:
            parted[piece.run] = piece.cut_cost
        costs.append(sum(parted.values()))
    return costs


class _Screen:
    """A cue while it is filled, piece by piece."""

    def __init__(self, cutter: _Cutter) -> None:
        self._cutter = cutter
        self._lines: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._runs: dict[int, Span] = {}
        self._start = 0
        self._end = 0
        self._width = 0

    def add(self, piece: Piece) -> bool:
        """Add a piece and tell whether all still fits."""
        self._start = min(self._start, piece.start) if self._runs else piece.start
        self._end = max(self._end, piece.end)
        start, end = self._runs.get(piece.run, (piece.start, piece.end))
        self._runs[piece.run] = (min(start, piece.start), max(end, piece.end))
        self._write(piece)
        self._width += piece.width
        room = max(self._cutter.max_lines, len(self._lines))
        return sum(self._lines.values()) <= room and self._end - self._start <= self._cutter.max_ms

    def _write(self, piece: Piece) -> None:
        ruler = self._cutter.ruler
        if piece.speaker not in self._lines:
            self._lines[piece.speaker] = 1
            self._used[piece.speaker] = self._cutter.head_width[piece.speaker] + piece.width
            return
        used = self._used[piece.speaker] + piece.width + (ruler.space if piece.spaced else 0)
        if used > ruler.line:
            self._lines[piece.speaker] += 1
            used = piece.width
        self._used[piece.speaker] = used

    def is_connected(self) -> bool:
        """Tell whether all runs overlap, one with the next; others do not share a cue."""
        if len(self._runs) == 1:
            return True
        spans = sorted(self._runs.values())
        reached = spans[0][1]
        for start, end in spans[1:]:
            if start >= reached:
                return False
            reached = max(reached, end)
        return True

    def cost(self) -> float:
        """Say how much worse this cue is than none."""
        cutter = self._cutter
        cost = _CUE_COST + _STACK_COST * (len(self._lines) - 1)
        duration = self._end - self._start
        if duration < cutter.min_ms:
            cost += _SHORT_COST * (1 - duration / cutter.min_ms)
        lines = max(cutter.max_lines, len(self._lines))
        filled = min(1.0, self._width / (cutter.ruler.line * lines))
        return cost + _UNFILLED_COST * (1 - filled) ** 2
