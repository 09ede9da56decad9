"""Put a batch together: what there is, what is known of it, what is to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meetscribe.batch import remote
from meetscribe.batch.discover import Problem, discover
from meetscribe.batch.locks import Locks
from meetscribe.batch.plan import Plan, Request, make_plan
from meetscribe.batch.records import STATE_FOLDER, Records
from meetscribe.batch.run import Batch, Limits
from meetscribe.batch.summary import Row, State, Summary
from meetscribe.batch.tasks import Executor, Session
from meetscribe.batch.watch import Watcher
from meetscribe.errors import MeetscribeError, OutputError
from meetscribe.models import cache_dir
from meetscribe.pipeline.outputs import SessionFiles, output_error, read_transcript


@dataclass(frozen=True)
class Prepared:
    """A batch that is ready to run."""

    request: Request
    sessions: tuple[Session, ...]
    problems: tuple[Problem, ...]
    plan: Plan
    records: Records
    locks: Locks

    def with_problems(self, summary: Summary) -> Summary:
        """Add a row for every place that could not be looked into."""
        rows = [
            Row(problem.place, State.FAILED, error=problem.reason, hint="check the rights to it")
            for problem in self.problems
        ]
        return replace(summary, rows=(*summary.rows, *rows))

    def batch(self, executor: Executor, watch: Watcher, limits: Limits) -> Batch:
        """Give the scheduler; its ``run`` takes ``sessions`` and ``plan``."""
        return Batch(self.request, limits, self.records, self.locks, executor, watch)


def prepare(
    inputs: Sequence[str],
    request: Request,
    *,
    group_channels: str | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Prepared:
    """Find the recordings and tell what is done; writes nothing but the folder for records.

    Parameters
    ----------
    inputs, group_channels : as ``discover`` takes them
    progress : told the share of recordings looked at

    Raises
    ------
    AudioError, ConfigError, DependencyError
        If an input does not exist or makes no sense.
    OutputError
        If the output folder cannot be written, or holds results made with other options.
    """
    state = state_folder(request.output)
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(Path(request.output), error) from error
    if not state.is_dir():
        raise OutputError(f"{request.output}: not a folder", hint="choose another -o")
    records = Records(state / "records")
    found = discover(
        inputs,
        group_channels=group_channels,
        names=records.names,
        made_from=lambda name: _made_from(request.output, name),
    )
    plan = make_plan(found.sessions, records, request, progress=progress)
    return Prepared(
        request=request,
        sessions=tuple(found.sessions),
        problems=tuple(found.problems),
        plan=plan,
        records=records,
        locks=Locks(state / "locks"),
    )


def _made_from(output: str, name: str) -> list[str]:
    """Give the names of the files that a transcript says it was made from."""
    if remote.is_url(output):
        return []
    folder, _, session_id = f"{output}/{name}".rpartition("/")
    path = SessionFiles(Path(folder), session_id).transcript
    try:
        if not path.exists():
            return []
        made = read_transcript(path).provenance["input"]["files"]
    except (OSError, MeetscribeError, KeyError, TypeError):
        return []  # whoever writes there says what is wrong
    return list(map(str, made)) if isinstance(made, list | tuple) else []


def state_folder(output: str) -> Path:
    """Give the folder for records and locks: with the results, or in the cache for a URL."""
    if not remote.is_url(output):
        return Path(output) / STATE_FOLDER
    digest = hashlib.sha256(output.rstrip("/").encode()).hexdigest()[:16]
    return cache_dir() / "batch" / digest
