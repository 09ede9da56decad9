"""Names for the speakers of a whole batch, when its recordings are finished.

The voices of every recording are in its record, so this runs no model and reads no audio. They are
compared in the order of the recordings' names, whichever was finished first: the same recordings
always get the same names, and one more of them may change the names of all.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from meetscribe import formats
from meetscribe.batch import remote
from meetscribe.batch.locks import Locks
from meetscribe.batch.plan import Request
from meetscribe.batch.records import Record
from meetscribe.batch.start import Prepared
from meetscribe.batch.summary import Summary
from meetscribe.batch.tasks import Session, Verdict
from meetscribe.config import build, config_hash
from meetscribe.errors import FormatError, OutputError
from meetscribe.files import signature
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.outputs import SessionFiles, read_transcript, rewrite
from meetscribe.speakers.matching import Match
from meetscribe.speakers.naming import Known, named
from meetscribe.speakers.voices import Voice

_LOCK = "\0names"
_WAIT_S = 1.0

Say = Callable[[str], None]


def name_speakers(
    prepared: Prepared, summary: Summary, known: Known, *, link: bool, say: Say
) -> tuple[Summary, OutputError | None]:
    """Name the speakers of all finished recordings, in their results and in the summary.

    Parameters
    ----------
    known : people to compare with
    link : give those who are nobody known a name too, the same in all recordings
    say : told what the reader should know

    Returns
    -------
    The summary with the names; and what kept the results of a recording from being written, None
    if nothing did. The other recordings have their names, and another run tries again.

    Raises
    ------
    MeetscribeError
        If people cannot be compared with, or not be remembered.
    """
    with _alone(prepared.locks, say):
        done = _finished(prepared)
        heard = [_voices(record) for _, record in done]
        found = known.link(heard) if link else known.match_all(heard)
        lines = {}
        failed = None
        for (session, record), matches in zip(done, found, strict=True):
            try:
                kept = _give(session, record, matches, prepared.request, say)
            except OutputError as error:
                failed = failed or error
                continue
            if kept != record:
                prepared.records.put(kept)
            lines[session.name] = tuple(one.line(label) for label, one in matches.items())
    rows = (replace(row, names=lines.get(row.recording, ())) for row in summary.rows)
    return replace(summary, rows=tuple(rows)), failed


@contextmanager
def _alone(locks: Locks, say: Say) -> Iterator[None]:
    """Keep other batches on this folder from giving names at the same time."""
    told = False
    while not locks.take(_LOCK):
        if not told:
            say(f"waiting: another batch gives names ({locks.owner(_LOCK)})")
            told = True
        time.sleep(_WAIT_S)
    try:
        yield
    finally:
        locks.release(_LOCK)


def _finished(prepared: Prepared) -> list[tuple[Session, Record]]:
    found = []
    for session in sorted(prepared.sessions, key=lambda session: session.name):
        record = prepared.records.get(session.name)
        if record is not None and record.outcome.verdict is Verdict.DONE:
            found.append((session, record))
    return found


def _voices(record: Record) -> dict[str, Voice]:
    try:
        return {label: Voice.from_json(one) for label, one in (record.outcome.voices or {}).items()}
    except (TypeError, ValueError, KeyError, AttributeError):
        return {}  # somebody else's file: nobody is named by it


def _give(
    session: Session, record: Record, matches: Mapping[str, Match], request: Request, say: Say
) -> Record:
    """Write the names into the results of one recording, unless they are there."""
    folder = request.folder_of(session)
    wanted = config_hash({label: one.to_json() for label, one in matches.items()})
    if remote.is_url(folder):
        if record.named.get("names") == wanted:
            return record
        with tempfile.TemporaryDirectory(prefix="meetscribe-") as here:
            files = SessionFiles(Path(here), session.session_id)
            places = {
                files.path(name): f"{folder}/{files.path(name).name}" for name in formats.names()
            }
            try:
                for path, place in places.items():
                    remote.download_if_there(place, path)
            except OSError as error:
                raise OutputError(
                    f"{folder}: cannot be read: {error}", hint="check the URL and the network"
                ) from error
            written = _rename(files, matches, say)
            for path in written or ():
                remote.upload(path, places[path])
        return record if written is None else replace(record, named={"names": wanted})
    files = SessionFiles(Path(folder), session.session_id)
    if record.named == {"names": wanted, "signature": _signature(files.transcript)}:
        return record
    if _rename(files, matches, say) is None:
        return record
    return replace(record, named={"names": wanted, "signature": _signature(files.transcript)})


def _rename(files: SessionFiles, matches: Mapping[str, Match], say: Say) -> list[Path] | None:
    """Give the files that were written; None where there is no transcript to write them from."""
    try:
        before = read_transcript(files.transcript)
        looks: Any = before.provenance.get("render_options", {})
        options = build(RenderOptions, looks, where=str(files.transcript))
    except FormatError as error:
        say(f"no names for {files.transcript.name}: {error.message}")
        return None
    after = named(before, matches)
    if after == before:
        return []
    written, edited = rewrite(before, after, files, options)
    for path in edited:
        say(f"{path} was edited and keeps its names")
    return written


def _signature(path: Path) -> list[int]:
    try:
        return [*signature(path)]
    except OSError:
        return []
