"""A comparison of two runs for people (sections, Markdown) and for programs (JSON)."""

from __future__ import annotations

import json
from dataclasses import asdict

from meetscribe.evaluate.compare import GAP, Comparison, SessionComparison, Side
from meetscribe.evaluate.report import sections
from meetscribe.evaluate.report.sections import (
    NONE,
    Section,
    Table,
    between,
    counted,
    ends_of,
    percent,
    signed_percent,
)
from meetscribe.evaluate.scores import Scores
from meetscribe.formats.tokens import clean

SCHEMA = "meetscribe.comparison/1"

_SHOWN = 5


def to_sections(comparison: Comparison) -> list[Section]:
    """Say it: warnings first, then metrics, then the sessions that moved most."""
    made = []
    if comparison.warnings:
        made.append(
            Section(
                "WARNING: these numbers may not be compared",
                items=comparison.warnings,
            )
        )
    made += [_metrics_section(comparison), *_moved(comparison)]
    items = [*comparison.remarks]
    for side, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            shown = ", ".join(map(clean, names))
            items.append(f"{counted(len(names), 'session')} only in {side}, left out: {shown}")
    return [*made, Section("Notes", items=tuple(items))] if items else made


def protocol_lines(comparison: Comparison) -> list[str]:
    """Say how either run was scored."""
    return [f"{side}: {scores.protocol_line}" for side, scores in _both(comparison)]


def to_markdown(comparison: Comparison) -> str:
    """Write the comparison as Markdown."""
    title = f"{comparison.a.name} and {comparison.b.name}"
    return sections.markdown(title, to_sections(comparison), protocol_lines(comparison))


def to_json(comparison: Comparison) -> str:
    """Write the comparison, all sessions and metrics, as JSON; rates are fractions."""
    item = {
        "schema": SCHEMA,
        **{
            side.lower(): {"name": scores.name, "protocol": dict(scores.protocol)}
            for side, scores in _both(comparison)
        },
        "warnings": comparison.warnings,
        "remarks": comparison.remarks,
        "common": comparison.common,
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "metrics": [
            {
                "metric": each.metric,
                "sessions": each.sessions,
                "a": _side(each.a),
                "b": _side(each.b),
                "difference": asdict(each.difference),
            }
            for each in comparison.metrics
        ],
        "sessions": [
            {
                "session_id": each.session_id,
                "metric": each.metric,
                "a": _side(each.a),
                "b": _side(each.b),
            }
            for each in comparison.sessions
        ],
    }
    # escaped, so that a name that UTF-8 cannot hold can be printed
    return json.dumps(item, indent=1) + "\n"


def _both(comparison: Comparison) -> tuple[tuple[str, Scores], tuple[str, Scores]]:
    return ("A", comparison.a), ("B", comparison.b)


def _rate(metric: str, side: Side) -> str:
    text = percent(side.rate)
    if side.exact or side.rate is None:
        return text
    return f"≥ {text} (greedy)" if metric.startswith(GAP) else f"≤ {text} (greedy)"


def _metrics_section(comparison: Comparison) -> Section:
    rows = [
        (
            each.metric,
            _rate(each.metric, each.a),
            _rate(each.metric, each.b),
            signed_percent(each.difference.point),
            between(ends_of(each.difference)),
            percent(each.difference.below),
            str(each.sessions),
        )
        for each in comparison.metrics
    ]
    header = ("metric", "A %", "B %", "B − A", "95 % interval", "B better, % of draws", "sessions")
    names = (
        f"A is {clean(comparison.a.name)}, B is {clean(comparison.b.name)}; "
        f"{counted(len(comparison.common), 'session')} in common."
    )
    how = (
        "Every metric counts errors: where B − A is below 0, B is better. Intervals are by "
        "paired bootstrap over sessions; with fewer than about ten they are too narrow."
    )
    return Section(
        "Metrics",
        (names, how),
        table=Table(header, tuple(rows)) if rows else None,
    )


def _moved(comparison: Comparison) -> list[Section]:
    metrics = [
        each.metric
        for each in comparison.metrics
        if each.metric == "DER" or each.metric.startswith("cp")
    ]
    made = []
    for metric in metrics:
        rows = [row for row in comparison.sessions if row.metric == metric]
        gains = sorted((row for row in rows if row.change < 0), key=lambda row: row.change)
        losses = sorted((row for row in rows if row.change > 0), key=lambda row: -row.change)
        shown = [*gains[:_SHOWN], *reversed(losses[:_SHOWN])]
        if shown:
            made.append(_moved_section(metric, shown, len(gains), len(losses), len(rows)))
    return made


def _moved_section(
    metric: str, shown: list[SessionComparison], gains: int, losses: int, count: int
) -> Section:
    unit = " s" if metric == "DER" else ""
    rows = []
    for row in shown:
        a, b = row.a.rate, row.b.rate
        rows.append(
            (
                clean(row.session_id),
                percent(a),
                percent(b),
                NONE if a is None or b is None else signed_percent(b - a),
                f"{row.a.errors:.{bool(unit):d}f}{unit}",
                f"{row.b.errors:.{bool(unit):d}f}{unit}",
            )
        )
    line = (
        f"B is better in {gains}, worse in {losses} of {counted(count, 'session')}; by number "
        "of errors, biggest gains first, biggest losses last."
    )
    return Section(
        f"Sessions that moved most: {metric}",
        (line,),
        table=Table(("session", "A %", "B %", "B − A", "errors A", "errors B"), tuple(rows)),
    )


def _side(side: Side) -> dict[str, object]:
    return {"rate": side.rate, **asdict(side)}
