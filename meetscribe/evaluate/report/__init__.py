"""Reports of scores: results.json, results.csv, report.md, report.html and the terminal's table.

Under every table stands the protocol: a number without it says nothing. pandas lives here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from meetscribe.errors import OutputError
from meetscribe.evaluate.report import sections
from meetscribe.evaluate.report.contents import gap_of, session_table, units_with_gap
from meetscribe.evaluate.report.contents import sections as contents
from meetscribe.evaluate.report.html import page
from meetscribe.evaluate.report.plots import draw
from meetscribe.evaluate.report.results import from_json, to_json
from meetscribe.evaluate.scores import Scores, SessionScore, Total
from meetscribe.files import write_atomic
from meetscribe.formats.csv_table import cell

__all__ = ["from_json", "table", "to_csv", "to_html", "to_json", "to_markdown", "write"]

FILES = ("results.json", "results.csv", "report.md", "report.html")

_COLUMNS = (
    "row", "session_id", "failed", "sessions", "reference_speakers", "hypothesis_speakers",
    "duration_s", "der", "total_s", "miss_s", "falarm_s", "confusion_s", "jer", "jer_error_sum",
    "jer_speakers",
)  # fmt: skip
_COUNTS = ("errors", "length", "substitutions", "deletions", "insertions", "exact")


def table(scores: Scores) -> list[list[str]]:
    """Give the table for a terminal: header, a row a session, the total.

    Speakers are found/true. Parts of DER are percent of reference speaker time, or seconds where
    a session has no reference speech.
    """
    made = session_table(scores)
    return [list(made.header), *(list(row) for row in made.rows)]


def to_csv(scores: Scores) -> str:
    """Write a row a session and one for the total, for spreadsheets and scripts.

    Columns, always all of them and in this order: ``row`` (session or total), ``session_id``,
    ``failed``, ``sessions``, ``reference_speakers``, ``hypothesis_speakers``, ``duration_s``,
    ``der``, ``total_s``, ``miss_s``, ``falarm_s``, ``confusion_s``, ``jer``, ``jer_error_sum``,
    ``jer_speakers``; for every word metric M that a session has ``M``, ``M_errors``,
    ``M_length``, ``M_substitutions``, ``M_deletions``, ``M_insertions``, ``M_exact``; for units
    with an attribution gap ``gap_WER`` (CER, MER); ``condition_KEY`` for every condition; and
    ``protocol``. Rates are fractions, cells without a number are empty.
    """
    import pandas as pd

    rows = [
        _row(Total.of([session]), [session])
        | {
            "row": "session",
            "session_id": cell(session.session_id),
            "failed": cell(session.failed),
            "reference_speakers": session.reference_speakers,
            "hypothesis_speakers": session.hypothesis_speakers,
            "duration_s": session.duration,
            **_conditions(session),
        }
        for session in scores.sessions
    ]
    total = _row(scores.total, scores.sessions) | {
        "row": "total",
        "session_id": "total",
        "failed": str(scores.total.failed),
        "duration_s": sum(session.duration for session in scores.sessions),
    }
    # objects, so that whole numbers stay whole where some cells are empty
    frame = pd.DataFrame([*rows, total], columns=_columns(scores), dtype=object)
    frame["protocol"] = cell(scores.protocol_line)
    text: str = frame.to_csv(index=False, lineterminator="\n")
    # without a byte order mark Excel shows Chinese as rubbish
    return "\ufeff" + text


def to_markdown(scores: Scores, *, audio: Mapping[str, str] | None = None) -> str:
    """Write the report as Markdown; ``audio`` (session -> path) adds commands to listen."""
    made = contents(scores, audio=audio)
    return sections.markdown(f"Scores of {scores.name}", made, [scores.protocol_line])


def to_html(scores: Scores, *, audio: Mapping[str, str] | None = None) -> str:
    """Write the report as one HTML file with plots: no script, nothing loaded from elsewhere."""
    made = contents(scores, audio=audio)
    return page(f"Scores of {scores.name}", made, [scores.protocol_line], draw(scores))


def write(scores: Scores, folder: Path, *, audio: Mapping[str, str] | None = None) -> list[Path]:
    """Write results.json, results.csv, report.md and report.html; all of them or none.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    makers = (
        to_json(scores),
        to_csv(scores),
        to_markdown(scores, audio=audio),
        to_html(scores, audio=audio),
    )
    texts = {folder / name: text for name, text in zip(FILES, makers, strict=True)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(texts)
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}", hint="check space and rights"
        ) from error
    return list(texts)


def _columns(scores: Scores) -> list[str]:
    total = scores.total
    keys = {key: None for session in scores.sessions for key in session.conditions}
    return [
        *_COLUMNS,
        *(name for metric in total.words for name in (metric, *_names(metric))),
        *(f"gap_{unit}" for unit in units_with_gap(total.words)),
        *(f"condition_{key}" for key in keys),
        "protocol",
    ]


def _names(metric: str) -> list[str]:
    return [f"{metric}_{count}" for count in _COUNTS]


def _row(total: Total, sessions: Sequence[SessionScore]) -> dict[str, Any]:
    row: dict[str, Any] = {"sessions": total.sessions}
    if total.diarization is not None:
        row |= {"der": total.diarization.der, **asdict(total.diarization)}
    if total.jaccard is not None:
        jaccard = total.jaccard
        row |= {
            "jer": jaccard.jer,
            "jer_error_sum": jaccard.error_sum,
            "jer_speakers": jaccard.speakers,
        }
    for metric, errors in total.words.items():
        row[metric] = errors.rate
        row |= {
            name: getattr(errors, count)
            for name, count in zip(_names(metric), _COUNTS, strict=True)
        }
    for unit in units_with_gap(total.words):
        row[f"gap_{unit}"] = gap_of(sessions, unit).point
    return row


def _conditions(session: SessionScore) -> dict[str, str]:
    return {f"condition_{key}": cell(value) for key, value in session.conditions.items()}
