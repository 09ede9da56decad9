"""Where in the recordings diarization goes wrong: under overlap, and the worst minutes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meetscribe.evaluate.report.sections import Section, Table, clock, percent
from meetscribe.evaluate.scores import ErrorSpan, Scores, SessionScore
from meetscribe.formats.tokens import clean

KINDS = {"miss": "miss", "falarm": "false alarm", "confusion": "confusion"}
"""Kinds of diarization error, as spans name them and as a person reads them."""

TALKING = ("nobody", "1", "2", "3 or more")
"""How many reference speakers talk at once, as errors are grouped."""

_MINUTE_S = 60
_MINUTES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute of a session, on the grid from 0, and its error seconds by kind.

    They may sum to more than 60: two speakers missed at once count twice.
    """

    session_id: str
    start: float
    end: float
    by_kind: Mapping[str, float]

    @property
    def error_s(self) -> float:
        """Error seconds of all kinds."""
        return sum(self.by_kind.values())


def talking_at_once(spans: Iterable[ErrorSpan]) -> dict[str, list[float]]:
    """Sum error seconds: kind -> by number of reference speakers talking, as ``TALKING``."""
    sums = {kind: [0.0] * len(TALKING) for kind in KINDS}
    for span in spans:
        sums[span.kind][min(span.speakers, len(TALKING) - 1)] += span.end - span.start
    return sums


def worst_minutes(scores: Scores, count: int = _MINUTES_SHOWN) -> list[Minute]:
    """Give the minutes with the most error seconds, worst first."""
    minutes = [minute for session in scores.sessions for minute in _minutes_of(session)]
    # rounded, so that a difference in the last bit does not decide the order
    minutes.sort(key=lambda minute: (-round(minute.error_s, 6), minute.session_id, minute.start))
    return minutes[:count]


def overlap_section(scores: Scores) -> Section:
    """Sum errors by how many reference speakers talk at once."""
    sums = talking_at_once(span for session in scores.sessions for span in session.spans)
    everything = sum(map(sum, sums.values()))
    rows = []
    for column, talking in enumerate(TALKING):
        parts = [sums[kind][column] for kind in KINDS]
        share = sum(parts) / everything if everything else None
        rows.append(
            (talking, *(f"{part:.1f}" for part in parts), f"{sum(parts):.1f}", percent(share))
        )
    return Section(
        "By number of people talking at once",
        ("Seconds of diarization error while so many reference speakers talk.",),
        table=Table(
            ("talking", "miss s", "false alarm s", "confusion s", "all s", "% of all errors"),
            tuple(rows),
        ),
        plots=("overlap",),
    )


def minutes_section(scores: Scores, audio: Mapping[str, str]) -> Section:
    """List the worst minutes; ``audio`` (session -> path) adds commands to listen."""
    minutes = worst_minutes(scores)
    heard = any(minute.session_id in audio for minute in minutes)
    header = ("session", "from", "to", "error s", *(f"{name} s" for name in KINDS.values()))
    rows = [
        (
            clean(minute.session_id),
            clock(minute.start),
            clock(minute.end),
            f"{minute.error_s:.1f}",
            *(f"{minute.by_kind[kind]:.1f}" for kind in KINDS),
            *([_listen(minute, audio)] if heard else []),
        )
        for minute in minutes
    ]
    return Section(
        "Worst minutes",
        ("Most seconds of diarization error; two speakers wrong at once count twice.",),
        table=Table(
            (*header, "to listen") if heard else header,
            tuple(rows),
            code_columns=(len(header),) if heard else (),
        ),
    )


def _minutes_of(session: SessionScore) -> list[Minute]:
    sums: dict[int, dict[str, float]] = {}
    for span in session.spans:
        for number in range(int(span.start // _MINUTE_S), int(span.end // _MINUTE_S) + 1):
            start = max(span.start, number * _MINUTE_S)
            inside = min(span.end, (number + 1) * _MINUTE_S) - start
            if inside > 0:
                parts = sums.setdefault(number, dict.fromkeys(KINDS, 0.0))
                parts[span.kind] += inside
    last = max((span.end for span in session.spans), default=0.0)
    return [
        Minute(
            session.session_id, start, min(start + _MINUTE_S, max(last, session.duration)), parts
        )
        for number, parts in sums.items()
        for start in [float(number * _MINUTE_S)]
    ]


def _listen(minute: Minute, audio: Mapping[str, str]) -> str:
    if minute.session_id not in audio:
        return ""
    length = minute.end - minute.start
    file = shlex.quote(audio[minute.session_id])
    return f"ffplay -ss {minute.start:.0f} -t {length:.0f} -autoexit -i {file}"
