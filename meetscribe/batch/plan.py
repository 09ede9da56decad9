"""What of a batch is done already, and what is left to do; reads no audio unless asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from meetscribe import ingest
from meetscribe.batch import remote
from meetscribe.batch.discover import source_key
from meetscribe.batch.records import Record, Records, signature_of
from meetscribe.batch.tasks import Outcome, Session, Verdict
from meetscribe.config import config_hash
from meetscribe.errors import AudioError, OutputError
from meetscribe.pipeline.outputs import SessionFiles
from meetscribe.types import AudioFile, Recording
from meetscribe.version import __version__


@dataclass(frozen=True)
class Request:
    """What results are wanted.

    Attributes
    ----------
    output : folder or URL
    looks : render options that are not the defaults
    described : settings and models that decide the result
    force : replace results made from other audio or with other options
    verify : read all audio again, and do not trust size, time and inode
    retry_failed : try recordings again that were found to be no good
    voices : the voices of speakers are wanted, too
    """

    output: str
    formats: tuple[str, ...]
    described: Mapping[str, Any]
    looks: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    verify: bool = False
    retry_failed: bool = False
    voices: bool = False

    def folder_of(self, session: Session) -> str:
        """Where the results of a session go."""
        below, slash, _ = session.name.rpartition("/")
        output = remote.without_slash(self.output)
        return f"{output.removesuffix('/')}/{below}" if slash else output


@dataclass
class Plan:
    """Sessions to be done, and what is known of the others."""

    todo: list[Session] = field(default_factory=list)
    known: dict[str, Record] = field(default_factory=dict)


def make_plan(
    sessions: Iterable[Session],
    records: Records,
    request: Request,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> Plan:
    """Tell what is done from what is not.

    ``progress`` is told the share of sessions looked at.

    Raises
    ------
    OutputError
        If the folder holds results made with other options, and ``force`` is not given.
    """
    plan = Plan()
    others: list[str] = []
    sessions = list(sessions)
    for number, session in enumerate(sessions, 1):
        record = records.get(session.name)
        look = _look(session, record, request)
        if look is _Look.KNOWN and record is not None:
            plan.known[session.name] = record
        else:
            plan.todo.append(session)
        if look is _Look.OTHER_OPTIONS:
            others.append(session.name)
        progress(number / len(sessions))
    if others and not request.force:
        raise OutputError(
            f"{request.output}: {len(others)} of {len(sessions)} recordings are there already, "
            f"made with other options ('{others[0]}')",
            hint="choose another folder with -o, or replace them with --force; what both have in "
            "common is not run again",
        )
    return plan


class _Look(Enum):
    TODO = auto()
    KNOWN = auto()
    OTHER_OPTIONS = auto()


def _look(session: Session, record: Record | None, request: Request) -> _Look:
    """Tell what a record says about what is left to do."""
    if record is None or not _is_of(record, session, verify=request.verify):
        return _Look.TODO
    if record.outcome.verdict is Verdict.BAD:
        again = request.retry_failed or record.version != __version__
        return _Look.TODO if again else _Look.KNOWN
    if record.outcome.verdict is not Verdict.DONE or not _has_transcript(session, request):
        return _Look.TODO
    if not _same_run(record.outcome, request) or record.looks != request.looks:
        return _Look.OTHER_OPTIONS
    unheard = request.voices and record.outcome.voices is None
    return _Look.TODO if unheard or _missing(session, request) else _Look.KNOWN


def is_done(session: Session, record: Record | None, request: Request) -> bool:
    """Tell whether nothing is left to do for a recording, as after another batch had it."""
    looked = _look(session, record, replace(request, verify=False))
    return looked is _Look.KNOWN and record is not None and record.outcome.verdict is Verdict.DONE


def _is_of(record: Record, session: Session, *, verify: bool) -> bool:
    """Tell whether a record is of these very files as they are now."""
    outcome = record.outcome
    same = [*map(source_key, record.sources)] == [*map(source_key, session.sources)]
    if not same or not outcome.signature:
        return False
    now = signature_of(session)
    if now is None or _plain(now) != _plain(outcome.signature):
        return False
    if not verify or not outcome.content_hash:
        return True
    if any(map(remote.is_url, session.sources)):
        return False  # the worker fetches and hashes it
    files = tuple(AudioFile(path, 1, 1, 1) for path in session.sources)
    try:
        return ingest.content_hash(Recording(session.name, files)) == outcome.content_hash
    except AudioError:
        return False


def _plain(signature: tuple[Any, ...]) -> list[list[Any]]:
    return [list(part) for part in signature]


def _same_run(outcome: Outcome, request: Request) -> bool:
    return outcome.run_hash == config_hash(outcome.content_hash, request.described)


def _has_transcript(session: Session, request: Request) -> bool:
    # what is behind a URL is believed to be there: asking costs more than the rest together
    if remote.is_url(request.output):
        place = f"{request.folder_of(session)}/{session.session_id}.json"
        return not request.verify or remote.exists(place)
    return SessionFiles(Path(request.folder_of(session)), session.session_id).transcript.exists()


def _missing(session: Session, request: Request) -> bool:
    if remote.is_url(request.output):
        return False
    files = SessionFiles(Path(request.folder_of(session)), session.session_id)
    return len(files.existing(request.formats)) < len(request.formats)
