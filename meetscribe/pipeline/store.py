"""Where finished stages are kept, so that a run that was stopped goes on where it was.

One JSON file a stage, named by the content of the recording and the settings of the stage, so a
change of either is another file; it carries the version of meetscribe that made it, and no other
uses it. The folder has a size limit; the oldest entries go first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meetscribe.files import write_atomic
from meetscribe.version import __version__

log = logging.getLogger(__name__)

LIMIT_BYTES = 500_000_000


class DiskStore:
    """Keeps JSON values of stages below a folder.

    A value that cannot be kept (disk full, no rights) or read (damaged) costs time, never the
    run: it is made again.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

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
            kept = {"meetscribe": __version__, "value": value}
            write_atomic({path: json.dumps(kept, ensure_ascii=False)})
            self._prune()
        except OSError as error:
            log.warning("the result of stage '%s' was not kept: %s", stage, error)
        return value

    def _prune(self) -> None:
        entries = [(entry.stat(), entry) for entry in self.folder.glob("*/*.json")]
        total = sum(stat.st_size for stat, _ in entries)
        for stat, entry in sorted(entries, key=lambda pair: pair[0].st_mtime):
            if total <= self.limit_bytes:
                break
            entry.unlink(missing_ok=True)
            total -= stat.st_size


def _read(path: Path) -> tuple[str, Any]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or set(kept) != {"meetscribe", "value"}:
        raise ValueError("it is not what was written")
    return str(kept["meetscribe"]), kept["value"]
