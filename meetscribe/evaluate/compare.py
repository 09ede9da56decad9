"""Two runs side by side: every metric both have, over the sessions both have.

Differences are B − A: below 0, B makes fewer errors. Their intervals come from the paired
bootstrap, the same draw of sessions for both. What makes the numbers incomparable, such as
another collar or reference, is said first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meetscribe.errors import FormatError
from meetscribe.evaluate.bootstrap import Difference, paired
from meetscribe.evaluate.report.contents import error_s, units_with_gap
from meetscribe.evaluate.report.results import from_json
from meetscribe.evaluate.report.sections import counted
from meetscribe.evaluate.scores import DiarizationErrors, Scores, SessionScore
from meetscribe.formats.reading import read_text
from meetscribe.formats.tokens import clean

_REASONS = {
    "corpus": "other recordings",
    "split": "other recordings",
    "scoring unit": "clips and whole meetings do not compare",
    "segmentation": "given segments do not compare with found ones",
    "speaker count": "a given number of speakers does not compare with a found one",
    "reference": "another reference alone moves DER by points",
    "scored": "other stretches of the recordings are scored",
    "collar": "time near reference boundaries counts in one of them only",
    "overlap": "overlapped speech counts in one of them only",
    "tcp": "words may be off by more seconds in one of them",
    "normaliser": "word error rates of differently normalised texts do not compare",
    "aggregation": "a mean of rates is not the rate of the sums",
}
_ON_PURPOSE = ("channels", "condition", "pipeline", "model", "engine", "language", "device")
_OUTCOMES = ("sessions", "failed")
"""Entries that say what came of the run, not how it was scored."""

_COUNT = re.compile(r" \(\d+ sessions?\)")
_NAMED = 3
_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Side:
    """Errors and reference of one run, in the unit of the metric (tokens, seconds, speakers)."""

    errors: float
    length: float
    exact: bool = True

    @property
    def rate(self) -> float | None:
        """Errors as a fraction of the reference; None where that is empty."""
        return self.errors / self.length if self.length else None


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """A metric over the ``sessions`` in which both runs have it."""

    metric: str
    a: Side
    b: Side
    difference: Difference
    sessions: int


@dataclass(frozen=True, slots=True)
class SessionComparison:
    """A metric of one session."""

    session_id: str
    metric: str
    a: Side
    b: Side

    @property
    def change(self) -> float:
        """Errors more (or, below 0, fewer) in B: what the session adds to the difference."""
        return self.b.errors - self.a.errors


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side; warnings say why numbers may not compare, remarks are harmless."""

    a: Scores
    b: Scores
    common: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    metrics: tuple[MetricComparison, ...]
    sessions: tuple[SessionComparison, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]


def load(path: Path) -> Scores:
    """Read results.json, or the one in a folder.

    Raises
    ------
    FormatError
        If it is not there or is something else.
    """
    file = path / "results.json" if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise FormatError(
            f"{path}: a folder without results.json",
            hint="`meetscribe evaluate ... -o DIR` writes one",
        )
    return from_json(read_text(file), path=str(file))


def compare(a: Scores, b: Scores) -> Comparison:
    """Compare run B with run A over the sessions both have.

    Raises
    ------
    FormatError
        If they have no session in common.
    """
    ours, theirs = _by_id(a), _by_id(b)
    common = tuple(name for name in ours if name in theirs)
    if not common:
        raise FormatError(
            f"'{a.name}' and '{b.name}' have no session in common",
            hint=f"A has {_names(ours)}; B has {_names(theirs)}",
        )
    metrics, rows = [], []
    for metric in _metrics(a, b):
        found = [
            SessionComparison(name, metric, *sides)
            for name in common
            for sides in [_sides(ours[name], theirs[name], metric)]
            if sides is not None
        ]
        if found:
            metrics.append(_metric(metric, found))
            rows += found
    return Comparison(
        a=a,
        b=b,
        common=common,
        only_a=tuple(name for name in ours if name not in theirs),
        only_b=tuple(name for name in theirs if name not in ours),
        metrics=tuple(metrics),
        sessions=tuple(rows),
        warnings=(*_protocol_warnings(a, b), *_reference_warnings(rows)),
        remarks=_remarks(a, b, common, metrics),
    )


def _by_id(scores: Scores) -> dict[str, SessionScore]:
    return {session.session_id: session for session in scores.sessions}


def _names(sessions: Mapping[str, object]) -> str:
    names = list(map(clean, sessions))
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "") if names else "none"


def _part(read: Callable[[DiarizationErrors], float]) -> Callable[[SessionScore], Side | None]:
    def side(session: SessionScore) -> Side | None:
        errors = session.diarization
        return None if errors is None else Side(read(errors), errors.total_s)

    return side


def _jaccard(session: SessionScore) -> Side | None:
    errors = session.jaccard
    return None if errors is None else Side(errors.error_sum, errors.speakers)


def _speaker_count(session: SessionScore) -> Side | None:
    if session.diarization is None:
        return None
    counts = session.speaker_counts
    return Side(counts.sessions - counts.exact, counts.sessions)


_OF_TURNS: Mapping[str, Callable[[SessionScore], Side | None]] = {
    "DER": _part(error_s),
    "miss": _part(lambda errors: errors.miss_s),
    "false alarm": _part(lambda errors: errors.falarm_s),
    "confusion": _part(lambda errors: errors.confusion_s),
    "JER": _jaccard,
    "speaker count wrong": _speaker_count,
}
GAP = "attribution gap "


def _metrics(a: Scores, b: Scores) -> list[str]:
    """Name what both may have, the attribution gaps last."""
    ours, theirs = a.total.words, b.total.words
    words = {metric: ours[metric] for metric in ours if metric in theirs}
    return [*_OF_TURNS, *words, *(f"{GAP}{unit}" for unit in units_with_gap(words))]


def _sides(a: SessionScore, b: SessionScore, metric: str) -> tuple[Side, Side] | None:
    first, second = _side_of(a, metric), _side_of(b, metric)
    return None if first is None or second is None else (first, second)


def _side_of(session: SessionScore, metric: str) -> Side | None:
    if metric in _OF_TURNS:
        return _OF_TURNS[metric](session)
    if metric.startswith(GAP):
        unit = metric.removeprefix(GAP)
        cp, orc = session.words.get(f"cp{unit}"), session.words.get(f"ORC-{unit}")
        if cp is None or orc is None:
            return None
        return Side(cp.errors - orc.errors, cp.length, orc.exact)
    errors = session.words.get(metric)
    return None if errors is None else Side(errors.errors, errors.length, errors.exact)


def _metric(metric: str, rows: list[SessionComparison]) -> MetricComparison:
    difference = paired(
        [(row.b.errors, row.b.length) for row in rows],
        [(row.a.errors, row.a.length) for row in rows],
    )
    a, b = _sum(row.a for row in rows), _sum(row.b for row in rows)
    return MetricComparison(metric, a, b, difference, len(rows))


def _sum(sides: Iterable[Side]) -> Side:
    sides = list(sides)
    return Side(
        sum(side.errors for side in sides),
        sum(side.length for side in sides),
        all(side.exact for side in sides),
    )


def _protocol_warnings(a: Scores, b: Scores) -> list[str]:
    return [
        f"{key} differs: {_values(a, b, key)}" + (f" ({_REASONS[key]})" if key in _REASONS else "")
        for key in _differing(a, b)
        if key not in _ON_PURPOSE
    ]


def _differing(a: Scores, b: Scores) -> list[str]:
    keys = dict.fromkeys((*a.protocol, *b.protocol))
    return [
        key
        for key in keys
        if key not in _OUTCOMES and _way(a.protocol.get(key)) != _way(b.protocol.get(key))
    ]


def _way(said: str | None) -> str | None:
    """Leave out to how many sessions it was applied."""
    return said and _COUNT.sub("", said)


def _values(a: Scores, b: Scores, key: str) -> str:
    first, second = (side.protocol.get(key, "does not say") for side in (a, b))
    return f"A {clean(first)}, B {clean(second)}"


def _reference_warnings(rows: Iterable[SessionComparison]) -> list[str]:
    """Find sessions whose reference is not equally long in both, whatever the protocols say."""
    unequal: dict[str, list[SessionComparison]] = {}
    for row in rows:
        # the parts of DER, and what is made of other metrics, would only say the same again
        derived = row.metric in _OF_TURNS and row.metric != "DER"
        if not derived and not row.metric.startswith(GAP) and _unequal(row):
            unequal.setdefault(row.metric, []).append(row)
    alike: dict[str, list[str]] = {}
    for metric, found in unequal.items():
        first = found[0]
        line = (
            f"the reference is not the same in {counted(len(found), 'session')}, such as "
            f"{clean(first.session_id)}: {first.a.length:g} in A, {first.b.length:g} in B "
            f"({'seconds' if metric == 'DER' else 'tokens'})"
        )
        alike.setdefault(line, []).append(metric)
    return [f"{', '.join(metrics)}: {line}" for line, metrics in alike.items()]


def _unequal(row: SessionComparison) -> bool:
    return abs(row.a.length - row.b.length) > _SAME * max(1.0, row.a.length)


def _remarks(
    a: Scores, b: Scores, common: tuple[str, ...], metrics: Iterable[MetricComparison]
) -> tuple[str, ...]:
    lines = [
        f"{key} differs: {_values(a, b, key)} (on purpose, if that is what is compared)"
        for key in _differing(a, b)
        if key in _ON_PURPOSE
    ]
    lines += [
        f"{each.metric}: a bound on at least one side, so that the difference is not exact"
        for each in metrics
        if not (each.a.exact and each.b.exact)
    ]
    for side, scores in (("A", a), ("B", b)):
        failed = [each for each in scores.sessions if each.failed and each.session_id in common]
        if failed:
            names = ", ".join(clean(each.session_id) for each in failed)
            lines.append(f"failed in {side}, counted as lost: {names}")
        others = (b if side == "A" else a).total.words
        alone = [metric for metric in scores.total.words if metric not in others]
        if alone:
            lines.append(f"only in {side}: {', '.join(alone)}")
    return tuple(lines)
