"""Where finished stages are kept, so that a run that was stopped goes on where it was.

One JSON file a stage, named by the content of the recording and the settings of the stage, so a
change of either is another file; it carries the version of meetscribe that made it, and no other
uses it. The folder has a size limit; what was not used for longest goes first. Several processes
may use one folder: an entry is whole or not there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meetscribe.errors import ConfigError
from meetscribe.files import remove_abandoned, write_atomic
from meetscribe.version import __version__

log = logging.getLogger(__name__)

LIMIT_BYTES = 500_000_000
LIMIT_VARIABLE = "MEETSCRIBE_CACHE_LIMIT"

_LOOK_AGAIN = 0.02
"""Share of the limit that may be written before the folder is measured again."""


@dataclass(frozen=True)
class Kept:
    """What a folder of stages holds.

    ``stages`` has the number of entries and their bytes by stage; ``recordings`` counts the
    recordings that they belong to.
    """

    stages: dict[str, tuple[int, int]]
    recordings: int
    limit_bytes: int

    @property
    def num_entries(self) -> int:
        """Entries of all stages."""
        return sum(number for number, _ in self.stages.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all stages."""
        return sum(size for _, size in self.stages.values())


class DiskStore:
    """Keeps JSON values of stages below a folder.

    A value that cannot be kept (disk full, no rights) or read (damaged) costs time, never the
    run: it is made again.

    Parameters
    ----------
    folder : made when the first value is kept
    limit_bytes : None takes ``MEETSCRIBE_CACHE_LIMIT``, or 500 MB
    """

    def __init__(self, folder: Path, *, limit_bytes: int | None = None) -> None:
        self.folder = folder
        self.limit_bytes = _limit_asked_for() if limit_bytes is None else limit_bytes
        self._until_next_look = 0

    def get_or_make(
        self, stage: str, inputs_hash: str, config_hash: str, make: Callable[[], Any]
    ) -> Any:  # noqa: ANN401 - JSON of any shape
        """Give the value kept for these inputs and settings, or make and keep it."""
        path = self.folder / inputs_hash[:2] / f"{inputs_hash[:32]}.{stage}.{config_hash}.json"
        try:
            version, value = _read(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("stage '%s' is made again: its kept result is damaged (%s)", stage, error)
        else:
            # another version may work otherwise, and write another shape
            if version == __version__:
                log.info("stage '%s' is known already", stage)
                with contextlib.suppress(OSError):
                    os.utime(path)
                return value
        began = time.monotonic()
        value = make()
        log.info("stage '%s' took %.1f s", stage, time.monotonic() - began)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"meetscribe": __version__, "value": value}, ensure_ascii=False)
            # what was said, and how somebody sounds, is for this user only
            write_atomic({path: text}, private=True)
            self._prune(len(text))
        except OSError as error:
            log.warning("the result of stage '%s' was not kept: %s", stage, error)
        return value

    def forget(self, stage: str, inputs_hash: str, prefix: str) -> None:
        """Delete what is kept of a stage where the name of its settings begins like this."""
        folder = self.folder / inputs_hash[:2]
        for path in folder.glob(f"{inputs_hash[:32]}.{stage}.{prefix}*.json"):
            with contextlib.suppress(OSError):
                path.unlink()

    def info(self) -> Kept:
        """Say what is kept."""
        stages: dict[str, tuple[int, int]] = {}
        recordings = set()
        for _, size, path in self._entries():
            recording, stage = path.name.split(".")[:2]
            number, total = stages.get(stage, (0, 0))
            stages[stage] = number + 1, total + size
            recordings.add(recording)
        return Kept(dict(sorted(stages.items())), len(recordings), self.limit_bytes)

    def clear(self, *, unused_days: float = 0.0) -> tuple[int, int]:
        """Delete what was not used for so long; give the number of entries and their bytes.

        A run that goes on meanwhile makes again what it misses.
        """
        before = time.time() - 86_400 * unused_days
        number = total = 0
        for used, size, path in self._entries():
            if unused_days and used > before:
                continue
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                number, total = number + 1, total + size
        for folder in self._folders():
            remove_abandoned(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()
        return number, total

    def _folders(self) -> list[Path]:
        try:
            return [folder for folder in self.folder.iterdir() if folder.is_dir()]
        except OSError:
            return []

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Give time of the last use, size and path of all that is kept."""
        for folder in self._folders():
            for path in folder.glob("*.*.json"):
                # another process may have deleted it since it was listed
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    yield stat.st_mtime, stat.st_size, path

    def _prune(self, written: int) -> None:
        self._until_next_look -= written
        if self._until_next_look > 0:
            return
        self._until_next_look = int(_LOOK_AGAIN * self.limit_bytes)
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        for folder in self._folders():
            remove_abandoned(folder)


def parse_size(text: str) -> int:
    """Read a size such as ``500MB``, ``2 GB`` or ``1000`` (bytes).

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> parse_size("1.5 GB"), parse_size("800k")
    (1500000000, 800000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if match is None:
        raise ValueError(f"'{text}', expected a size such as 500MB or 2GB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))


def _limit_asked_for() -> int:
    asked = os.environ.get(LIMIT_VARIABLE, "")
    try:
        return parse_size(asked) if asked.strip() else LIMIT_BYTES
    except ValueError as error:
        raise ConfigError(
            f"{LIMIT_VARIABLE}: {error}", hint="unset it for the default of 500 MB"
        ) from error


def _read(path: Path) -> tuple[str, Any]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or set(kept) != {"meetscribe", "value"}:
        raise ValueError("it is not what was written")
    return str(kept["meetscribe"]), kept["value"]
