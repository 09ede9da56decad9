"""What passes between the scheduler and whoever runs recordings: tasks there, events back.

All of it is plain data that survives a pipe. The scheduler (``run``) knows nothing of processes,
an executor (``pool``: processes of this machine) nothing of locks, retries and records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Session:
    """One recording: its files, and what its results are called.

    Attributes
    ----------
    sources : paths or URLs; several are the channels of one session, in this order
    name : of the results below the output folder, without ending: ``week 1/monday``
    num_bytes : of all files, 0 if unknown
    """

    sources: tuple[str, ...]
    name: str
    num_bytes: int = 0

    @property
    def session_id(self) -> str:
        """What the transcript calls it."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at one recording.

    Attributes
    ----------
    folder : for the results, path or URL
    looks : render options that are not the defaults
    force : replace results made from other audio or with other options
    little_memory : after an attempt that ran out of it
    voices : say how its speakers sound
    """

    name: str
    session_id: str
    sources: tuple[str, ...]
    folder: str
    formats: tuple[str, ...]
    looks: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    little_memory: bool = False
    voices: bool = False

    def to_json(self) -> dict[str, Any]:
        """Give plain lists and mappings."""
        return asdict(self)

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Task:
        """Give back what ``to_json`` was given."""
        lists = {name: tuple(made[name]) for name in ("sources", "formats")}
        return cls(**{**made, **lists})


class Verdict(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    BAD = "bad"
    """The recording cannot be transcribed, now and as long as it stays as it is."""
    REFUSED = "refused"
    """Files are in the way, or an option does not fit this recording."""
    TROUBLE = "trouble"
    """Something around it went wrong (crash, hang, memory, disk): worth another attempt."""
    HOPELESS = "hopeless"
    """No other recording can fare better: a model or library is missing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; what is unknown has its empty value.

    Attributes
    ----------
    signature : of every file, before it was read: plain lists, equal as long as it is unchanged
    seconds : that the attempt took
    memory : whether it ran out of memory
    writing : whether results could not be written
    voices : of the speakers, by label, as ``speakers.Voice`` writes them; None if nobody asked
    """

    verdict: Verdict
    error: str = ""
    hint: str = ""
    memory: bool = False
    writing: bool = False
    already_done: bool = False
    seconds: float = 0.0
    duration: float = 0.0
    channels: int = 0
    speakers: int = 0
    words: int = 0
    language: str = ""
    warnings: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    signature: tuple[Any, ...] = ()
    content_hash: str = ""
    run_hash: str = ""
    voices: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Give plain lists and mappings."""
        return asdict(self)

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Outcome:
        """Give back what ``to_json`` was given.

        Raises
        ------
        TypeError, ValueError, KeyError
            If it is something else.
        """
        lists = {name: tuple(made.get(name, ())) for name in ("warnings", "written", "signature")}
        return cls(**{**made, **lists, "verdict": Verdict(made["verdict"])})


@dataclass(frozen=True, slots=True)
class Begun:
    """A worker has the recording and knows what it is; ``worker`` names it for the reader."""

    name: str
    worker: str
    duration: float
    channels: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A share (0 to 1) of a stage is done."""

    name: str
    stage: str
    done: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker has come to an end with it."""

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Lost:
    """Whoever had it is gone.

    Attributes
    ----------
    reason : one line, such as ``killed by SIGKILL``
    memory : whether the system is known to have ended it for want of memory
    blameless : whether its machine went, whatever it did
    """

    name: str
    reason: str
    memory: bool = False
    blameless: bool = False


Event: TypeAlias = Begun | Moved | Ended | Lost


class Executor(Protocol):
    """Runs tasks somewhere, each where it can harm no other."""

    @property
    def slots(self) -> int:
        """How many tasks may run at once; may change."""
        ...

    @property
    def one_machine(self) -> bool:
        """Whether tasks share one machine's memory: what ran out of it has to be alone."""
        ...

    def submit(self, task: Task) -> None:
        """Begin a task; only called while fewer than ``slots`` run."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """Give what happened, in order; wait so long for something to happen."""
        ...

    def cancel(self, name: str, reason: str) -> None:
        """End a task that takes too long by force; a ``Lost`` with this reason follows."""
        ...

    def close(self) -> None:
        """End whatever still runs, and leave nothing behind."""
        ...
