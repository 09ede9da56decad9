"""What a batch knows of every recording: a small file each, below the output folder.

A record says what a recording was (content hash, remembered by size, time and inode) and what
came of it (run hash: content, settings and models), so that a second run need not read the audio.
It saves work and decides nothing else: where one is missing or damaged, the transcript itself says
what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from meetscribe.batch import remote
from meetscribe.batch.tasks import Outcome, Session
from meetscribe.files import remove_abandoned, signature, write_atomic
from meetscribe.version import __version__

log = logging.getLogger(__name__)

STATE_FOLDER = ".meetscribe"


@dataclass(frozen=True, slots=True)
class Record:
    """What came of a recording the last time, and how it was asked for.

    ``named`` says which names its results have got, as ``names`` keeps it.
    """

    name: str
    sources: tuple[str, ...]
    outcome: Outcome
    looks: Mapping[str, Any]
    attempts: int = 1
    version: str = __version__
    named: Mapping[str, Any] = field(default_factory=dict)


class Records:
    """The records of one output folder, all read at the start.

    Parameters
    ----------
    folder : for the records; several batches may use it at once
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Record] = {}
        for path in folder.glob("??/*.json"):
            record = _read(path)
            if record is not None:
                self._known[record.name] = record

    @property
    def names(self) -> dict[tuple[str, ...], str]:
        """Names of recordings by their sources."""
        return {record.sources: name for name, record in self._known.items()}

    def get(self, name: str) -> Record | None:
        """Give what is known of a recording."""
        return self._known.get(name)

    def fresh(self, name: str) -> Record | None:
        """Look again at what is known: another batch may have written meanwhile."""
        record = _read(self._path(name))
        if record is not None:
            self._known[name] = record
        return record

    def put(self, record: Record) -> None:
        """Keep what came of a recording.

        A record that cannot be kept costs time in the next run and nothing else.
        """
        self._known[record.name] = record
        made = {**asdict(record), "outcome": record.outcome.to_json()}
        path = self._path(record.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # how somebody sounds is nobody else's business
            write_atomic({path: json.dumps(made)}, private=bool(record.outcome.voices))
        except OSError as error:
            log.warning("%s: what is known of it was not kept: %s", record.name, error)

    def sweep(self) -> None:
        """Delete what killed processes left half-written."""
        for folder in self.folder.glob("??"):
            remove_abandoned(folder)

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / digest[:2] / f"{digest[:32]}.json"


def signature_of(session: Session) -> tuple[Any, ...] | None:
    """Say what the files are like now, as a record has it; None if one is not there."""
    try:
        return tuple(
            remote.signature(source) if remote.is_url(source) else [*signature(Path(source))]
            for source in session.sources
        )
    except (OSError, ValueError):
        return None


def is_absent(session: Session) -> bool:
    """Tell whether a file of this machine is not there, as behind a link to nothing."""
    return any(not remote.is_url(one) and not Path(one).exists() for one in session.sources)


def _read(path: Path) -> Record | None:
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            **{
                **made,
                "sources": tuple(made["sources"]),
                "outcome": Outcome.from_json(made["outcome"]),
            }
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s: damaged, what it said is found out again (%s)", path, error)
        return None
