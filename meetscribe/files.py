"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_atomic(texts: Mapping[Path, str]) -> None:
    """Write text files so that nobody ever sees half of one, nor half of them.

    All are written under temporary names first; only when every one is safely on the disk are
    they renamed, in the order given.

    Raises
    ------
    OSError
        If one cannot be written; its ``filename`` says which, and nothing is left behind.
    """
    ready: list[tuple[Path, Path]] = []
    try:
        for path, text in texts.items():
            try:
                ready.append((_write_temporary(path, text), path))
            except OSError as error:
                error.filename = str(path)
                raise
        for temporary, path in ready:
            temporary.replace(path)
    except BaseException:
        for temporary, _ in ready:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise


def _write_temporary(path: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; give what a plain open() would
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return temporary
