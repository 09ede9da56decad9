"""Run many recordings: who is next, what is tried again, when it is enough.

The scheduler speaks to an ``Executor``, which runs tasks somewhere; to locks, by which batches on
one folder share the work; and to the records, which say what is done. A recording ends in exactly
one way: done, failed with its reason, or left because the batch was stopped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from meetscribe.batch import remote
from meetscribe.batch.eta import Estimate
from meetscribe.batch.locks import Locks
from meetscribe.batch.plan import Plan, Request, is_done
from meetscribe.batch.records import Record, Records, is_absent
from meetscribe.batch.summary import Row, State, Summary, row_of
from meetscribe.batch.tasks import (
    Begun,
    Ended,
    Event,
    Executor,
    Lost,
    Moved,
    Outcome,
    Session,
    Task,
    Verdict,
)
from meetscribe.batch.watch import Standing, Watcher
from meetscribe.errors import MeetscribeError, ModelError, OutputError
from meetscribe.files import remove_abandoned, write_atomic

_POLL_S = 0.5
_LOOK_AGAIN_S = 2.0
_SLOW_SOURCE_BYTES_PER_S = 1e6
_NEEDED_BYTES = 1_000_000
_SPARED = 20
"""So often a recording may lose its machine before that counts as an attempt."""


@dataclass(frozen=True)
class Limits:
    """When an attempt is given up, and how many there are.

    Attributes
    ----------
    timeout_factor : an attempt may take so many times the length of the recording
    timeout_floor_s : and at least so long
    retries : attempts after the first one
    pause_s : before the second attempt where a disk or a network failed; longer before others
    """

    timeout_factor: float = 30.0
    timeout_floor_s: float = 600.0
    retries: int = 2
    pause_s: float = 5.0

    def time_for(self, session: Session, duration: float | None) -> float:
        """Give the seconds an attempt may take; the length is not known before it is opened."""
        if duration is not None:
            return self.timeout_floor_s + self.timeout_factor * duration
        return self.timeout_floor_s + session.num_bytes / _SLOW_SOURCE_BYTES_PER_S


@dataclass
class _Attempt:
    """A recording on its way; ``number`` counts from 1, ``spared`` machines that went with it.

    ``absent`` is a link to nothing, or what was gone when the batch began: no pause brings it.
    """

    session: Session
    number: int = 1
    spared: int = 0
    absent: bool = False
    little_memory: bool = False
    began: float = 0.0
    allowed_s: float = 0.0
    ready_at: float = 0.0
    share: float = 0.0
    hanging: bool = False


@dataclass
class Batch:
    """One batch, from its plan to its summary.

    Attributes
    ----------
    stopped : why it ended before its end, None if it did not
    """

    request: Request
    limits: Limits
    records: Records
    locks: Locks
    executor: Executor
    watch: Watcher
    stopped: MeetscribeError | None = None
    _waiting: deque[_Attempt] = field(default_factory=deque)
    _elsewhere: list[_Attempt] = field(default_factory=list)
    _running: dict[str, _Attempt] = field(default_factory=dict)
    _judged: dict[str, Record | None] = field(default_factory=dict)
    _rows: dict[str, Row] = field(default_factory=dict)
    _looked: float = 0.0
    _told: float = 0.0
    _estimate: Estimate = field(default_factory=lambda: Estimate(()))

    def run(self, sessions: Iterable[Session], plan: Plan) -> Summary:
        """Do what the plan leaves to do; ``KeyboardInterrupt`` goes through, records are kept."""
        began = time.monotonic()
        sessions = list(sessions)
        self._rows = {
            session.name: row_of(session, plan.known.get(session.name), attempts=0)
            for session in sessions
        }
        # long ones first: so that not one worker has the longest left when the others are done
        order = sorted(plan.todo, key=lambda session: -session.num_bytes)
        self._waiting.extend(_Attempt(session, absent=is_absent(session)) for session in order)
        self._estimate = Estimate(plan.todo)
        self._judged = {session.name: self.records.get(session.name) for session in plan.todo}
        try:
            while self._waiting or self._elsewhere or self._running:
                self._step()
        finally:
            self.executor.close()
            self.locks.release_all()
            self._sweep(sessions)
        return Summary(tuple(self._rows.values()), time.monotonic() - began)

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is known of every recording so far."""
        return tuple(self._rows.values())

    def _step(self) -> None:
        self._look_elsewhere()
        self._fill()
        self._tell()
        for event in self._events():
            self._handle(event)
        self._end_hanging()
        self.locks.beat()
        if self.stopped is not None:
            self._waiting.clear()
            self._elsewhere.clear()

    def _events(self) -> list[Event]:
        try:
            return self.executor.poll(_POLL_S)
        except MeetscribeError as error:
            # nothing will run here any more
            self.stopped = error
            self._running.clear()
            return []

    def _fill(self) -> None:
        while len(self._running) < self.executor.slots and self.stopped is None:
            now = time.monotonic()
            attempt = next((one for one in self._waiting if one.ready_at <= now), None)
            if attempt is None:
                return
            alone = attempt.little_memory or any(
                one.little_memory for one in self._running.values()
            )
            if alone and self._running and self.executor.one_machine:
                return  # what ran out of memory has the machine for itself
            self._waiting.remove(attempt)
            self._begin(attempt)

    def _begin(self, attempt: _Attempt) -> None:
        session, name = attempt.session, attempt.session.name
        try:
            mine = self.locks.take(name)
        except OSError as error:
            place = error.filename or self.request.output
            self.stopped = OutputError(
                f"{place}: cannot be written: {error.strerror or error}; the batch was stopped",
                hint="free some space, or choose another folder with -o",
            )
            return
        if not mine:
            if attempt not in self._elsewhere:
                self._elsewhere.append(attempt)
            return
        record = self.records.fresh(name)
        # the plan has judged the record it saw, and may have read the audio for that
        if record != self._judged.get(name) and is_done(session, record, self.request):
            self.locks.release(name)
            self._settle(attempt, record, transcribed=False)
            return
        attempt.began = time.monotonic()
        attempt.allowed_s = self.limits.time_for(session, None)
        attempt.share, attempt.hanging = 0.0, False
        self._running[name] = attempt
        try:
            self.executor.submit(self._task(attempt))
        except OSError as error:
            reason = f"no worker can be started: {error.strerror or error}"
            failed = Outcome(Verdict.TROUBLE, reason, "fewer workers: --workers 1")
            self._ended(attempt, failed, lost=False)

    def _task(self, attempt: _Attempt) -> Task:
        return Task(
            name=attempt.session.name,
            session_id=attempt.session.session_id,
            sources=attempt.session.sources,
            folder=self.request.folder_of(attempt.session),
            formats=self.request.formats,
            looks=self.request.looks,
            force=self.request.force,
            little_memory=attempt.little_memory,
            voices=self.request.voices,
        )

    def _handle(self, event: Event) -> None:
        attempt = self._running.get(event.name)
        if attempt is None:
            return
        if isinstance(event, Begun):
            attempt.allowed_s = self.limits.time_for(attempt.session, event.duration)
            self._estimate.opened(attempt.session, event.duration)
            self.watch.begun(event, attempt=attempt.number)
        elif isinstance(event, Moved):
            attempt.share = event.done
            if event.stage == "models":
                attempt.began = time.monotonic()  # a slow download is not a hang
            self.watch.moved(event)
        elif isinstance(event, Ended):
            self._ended(attempt, event.outcome, lost=False)
        else:
            self._ended(attempt, _lost(event), lost=True, blameless=event.blameless)

    def _ended(
        self, attempt: _Attempt, outcome: Outcome, *, lost: bool, blameless: bool = False
    ) -> None:
        name = attempt.session.name
        del self._running[name]
        outcome = self._seen_from_here(outcome)
        spared = blameless and attempt.spared < _SPARED
        missed = attempt.absent and not outcome.signature and not lost
        again = (
            outcome.verdict is Verdict.TROUBLE
            and not missed
            and (spared or attempt.number <= self.limits.retries)
        )
        if again and self.stopped is None:
            self.locks.release(name)
            other = replace(attempt, spared=attempt.spared + 1)
            following = other if spared else self._next_attempt(attempt, outcome, lost=lost)
            self.watch.again(name, outcome.error, attempt=following.number)
            self._waiting.append(following)
            return
        if outcome.verdict is Verdict.TROUBLE and attempt.number > 1:
            error = f"{outcome.error} ({attempt.number} attempts)"
            outcome = replace(outcome, error=error)
        outcome = self._with_voices(name, outcome)
        record = Record(
            name, attempt.session.sources, outcome, dict(self.request.looks), attempt.number
        )
        self.records.put(record)
        self.locks.release(name)
        transcribed = outcome.verdict is Verdict.DONE and not outcome.already_done
        self._settle(attempt, record, transcribed=transcribed)

    def _with_voices(self, name: str, outcome: Outcome) -> Outcome:
        """Keep the voices of the same speakers, where nobody asked for them this time."""
        before = self.records.get(name)
        if outcome.voices is not None or before is None or not outcome.run_hash:
            return outcome
        same = before.outcome.run_hash == outcome.run_hash
        return replace(outcome, voices=before.outcome.voices) if same else outcome

    def _next_attempt(self, attempt: _Attempt, outcome: Outcome, *, lost: bool) -> _Attempt:
        # the system rarely says why it ended a process: the last attempt takes little memory
        last = attempt.number == self.limits.retries
        little = outcome.memory or attempt.little_memory or (lost and last)
        # a network share or a disk may need a moment
        wait = 0.0 if lost or outcome.memory else self.limits.pause_s * attempt.number
        return _Attempt(
            attempt.session,
            attempt.number + 1,
            attempt.spared,
            attempt.absent,
            little,
            ready_at=time.monotonic() + wait,
        )

    def _seen_from_here(self, outcome: Outcome) -> Outcome:
        """Stop the batch where nothing else can go better."""
        if outcome.verdict is Verdict.HOPELESS and self.stopped is None:
            self.stopped = ModelError(outcome.error, hint=outcome.hint)
        if outcome.writing and self.stopped is None and not self._can_write():
            self.stopped = OutputError(
                f"{outcome.error}; the batch was stopped, what is finished is kept",
                hint=outcome.hint,
            )
        return outcome

    def _can_write(self) -> bool:
        """Tell a place for this recording that is full from one for all."""
        if remote.is_url(self.request.output):
            return True
        probe = Path(self.request.output) / ".meetscribe" / "space"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            write_atomic({probe: " " * _NEEDED_BYTES})
            probe.unlink()
        except OSError:
            return False
        return True

    def _settle(self, attempt: _Attempt, record: Record | None, *, transcribed: bool) -> None:
        row = row_of(attempt.session, record, attempts=attempt.number if attempt.began else 0)
        self._rows[row.recording] = row
        self._estimate.ended(attempt.session, worked=transcribed)
        self.watch.ended(row, transcribed=transcribed)

    def _end_hanging(self) -> None:
        now = time.monotonic()
        for name, attempt in self._running.items():
            if now - attempt.began > attempt.allowed_s and not attempt.hanging:
                attempt.hanging = True
                self.executor.cancel(name, f"no end after {attempt.allowed_s:.0f} s")

    def _look_elsewhere(self) -> None:
        """See what became of recordings that another batch has."""
        idle = not self._waiting and len(self._running) < self.executor.slots
        if not self._elsewhere or not idle or time.monotonic() - self._looked < _LOOK_AGAIN_S:
            return
        first_time = not self._looked
        self._looked = time.monotonic()
        if first_time:
            one = self._elsewhere[0].session.name
            self.watch.note(
                f"waiting for {len(self._elsewhere)} recordings that another batch has: "
                f"'{one}' ({self.locks.owner(one)})"
            )
        others, self._elsewhere = self._elsewhere, []
        for attempt in others:
            if len(self._running) < self.executor.slots:
                self._begin(attempt)
            else:
                self._elsewhere.append(attempt)

    def _tell(self) -> None:
        if time.monotonic() - self._told < _POLL_S and self._running:
            return
        self._told = time.monotonic()
        shares = {name: attempt.share for name, attempt in self._running.items()}
        states = [row.state for row in self._rows.values()]
        self.watch.standing(
            Standing(
                total=len(states),
                done=states.count(State.DONE),
                failed=states.count(State.FAILED),
                running=len(self._running),
                speed=self._estimate.speed,
                left_s=self._estimate.left_s(shares),
            )
        )

    def _sweep(self, sessions: list[Session]) -> None:
        """Delete what killed processes left, of this batch and of earlier ones."""
        self.records.sweep()
        if not remote.is_url(self.request.output):
            for folder in {self.request.folder_of(session) for session in sessions}:
                remove_abandoned(Path(folder))


def _lost(event: Lost) -> Outcome:
    hint = "run the batch again; `meetscribe transcribe` on this recording alone may say more"
    return Outcome(Verdict.TROUBLE, event.reason, hint, memory=event.memory)
