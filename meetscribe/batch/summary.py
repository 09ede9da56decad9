"""What came of a batch: a row for every recording, as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from meetscribe.batch import remote
from meetscribe.batch.records import Record
from meetscribe.batch.tasks import Session, Verdict
from meetscribe.files import write_atomic
from meetscribe.pipeline.outputs import output_error
from meetscribe.version import __version__

FILES = ("summary.csv", "summary.json", "summary.md")


class State(StrEnum):
    """What a recording is in the end."""

    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    """Not done: the batch was stopped before."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one recording.

    Attributes
    ----------
    speed : seconds of recording per second of work, 0 if unknown
    attempts : that this run made; 0 where it was done or known before
    names : who the speakers are, with scores, where they were compared with others
    """

    recording: str
    state: State
    duration_s: float = 0.0
    seconds: float = 0.0
    speed: float = 0.0
    channels: int = 0
    speakers: int = 0
    words: int = 0
    language: str = ""
    attempts: int = 0
    error: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows, in the order of their names, and what the whole took."""

    rows: tuple[Row, ...]
    wall_s: float = 0.0

    def count(self, state: State) -> int:
        """Count the recordings of a state."""
        return sum(row.state is state for row in self.rows)


def row_of(session: Session, record: Record | None, *, attempts: int) -> Row:
    """Make the row of a recording from what is known of it; None is one that was not reached."""
    if record is None:
        return Row(session.name, State.LEFT, sources=session.sources, attempts=attempts)
    outcome = record.outcome
    done = outcome.verdict is Verdict.DONE
    return Row(
        recording=session.name,
        state=State.DONE if done else State.FAILED,
        duration_s=outcome.duration,
        seconds=outcome.seconds,
        speed=round(outcome.duration / outcome.seconds, 2) if done and outcome.seconds else 0.0,
        channels=outcome.channels,
        speakers=outcome.speakers,
        words=outcome.words,
        language=outcome.language,
        attempts=attempts,
        error=outcome.error,
        hint=outcome.hint,
        warnings=outcome.warnings,
        sources=session.sources,
    )


def write(summary: Summary, output: str) -> list[str]:
    """Write summary.csv, summary.json and summary.md; gives their places.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    texts = dict(zip(FILES, (to_csv(summary), to_json(summary), to_markdown(summary)), strict=True))
    if remote.is_url(output):
        return [_put(text, f"{output.rstrip('/')}/{name}") for name, text in texts.items()]
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic({folder / name: text for name, text in texts.items()})
    except OSError as error:
        raise output_error(Path(error.filename or folder), error) from error
    return [str(folder / name) for name in FILES]


def to_csv(summary: Summary) -> str:
    """Give a table with a header; several sources or warnings stand in one cell."""
    text = io.StringIO()
    names = list(Row.__dataclass_fields__)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    for row in summary.rows:
        plain: dict[str, Any] = {name: getattr(row, name) for name in names}
        plain["warnings"] = "; ".join(row.warnings)
        plain["sources"] = "; ".join(row.sources)
        plain["names"] = "; ".join(row.names)
        table.writerow([_cell(plain[name]) for name in names])
    return text.getvalue()


def to_json(summary: Summary) -> str:
    """Give counts and rows."""
    made = {
        "meetscribe": __version__,
        **{str(state): summary.count(state) for state in State},
        "duration_s": round(sum(row.duration_s for row in summary.rows), 3),
        "wall_s": round(summary.wall_s, 1),
        "recordings": [asdict(row) for row in summary.rows],
    }
    # names of foreign file systems may hold what is no Unicode
    return json.dumps(made, ensure_ascii=False, indent=1).encode("utf-8", "replace").decode() + "\n"


def to_markdown(summary: Summary) -> str:
    """Give a page for people: what failed first, then everything."""
    hours = sum(row.duration_s for row in summary.rows) / 3600
    counts = ", ".join(f"{summary.count(state)} {state}" for state in State)
    lines = ["# Batch", "", f"{len(summary.rows)} recordings, {hours:.1f} h: {counts}."]
    failed = [row for row in summary.rows if row.state is State.FAILED]
    if failed:
        lines += ["", "## Failed", "", "| recording | why | next step |", "|---|---|---|"]
        lines += [
            f"| {_md(row.recording)} | {_md(row.error)} | {_md(row.hint)} |" for row in failed
        ]
    lines += ["", "## All", ""]
    lines += ["| recording | state | length | speed | speakers | words | warnings |"]
    lines += ["|---|---|---:|---:|---:|---:|---|"]
    for row in summary.rows:
        speed = f"{row.speed:.1f} ×" if row.speed else ""
        lines.append(
            f"| {_md(row.recording)} | {row.state} | {clock(row.duration_s)} | {speed} "
            f"| {row.speakers} | {row.words} | {_md('; '.join(row.warnings))} |"
        )
    named = [row for row in summary.rows if row.names]
    if named:
        lines += ["", "## Speakers", "", "| recording | who they are |", "|---|---|"]
        lines += [f"| {_md(row.recording)} | {_md('; '.join(row.names))} |" for row in named]
    return "\n".join(lines).encode("utf-8", "replace").decode() + "\n"


def clock(seconds: float) -> str:
    """Give a time as a person reads it.

    >>> clock(65), clock(3 * 3600 + 62)
    ('1:05', '3:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).encode("utf-8", "replace").decode()
    # a spreadsheet would take these for formulas
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _md(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _put(text: str, url: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="meetscribe-") as folder:
        path = Path(folder) / "summary"
        path.write_text(text, encoding="utf-8", newline="")
        remote.upload(path, url)
    return url
