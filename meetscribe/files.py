"""Files that are whole or not there: written under a temporary name, then renamed.

The temporary name says who writes, so that what a killed process left behind can be told from
what another one is writing just now.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

Signature = tuple[int, int, int]
"""Size in bytes, time of the last change in ns, inode."""


def write_atomic(contents: Mapping[Path, str | bytes], *, private: bool = False) -> None:
    """Write files, text as UTF-8, so that nobody ever sees half of one, nor half of them.

    All are written under temporary names first; only when every one is safely on the disk are
    they renamed, in the order given. ``private`` files are readable for this user only.

    Raises
    ------
    OSError
        If one cannot be written; its ``filename`` says which, and nothing is left behind.
    """
    ready: list[tuple[Path, Path]] = []
    try:
        for path, content in contents.items():
            try:
                ready.append((_write_temporary(path, content, private=private), path))
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


def signature(path: Path) -> Signature:
    """Give what changes when a file does, without reading it.

    Raises
    ------
    OSError
        If it is not there.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def remove_abandoned(folder: Path) -> int:
    """Delete the temporary files of processes of this machine that are no more; say how many."""
    removed = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = re.fullmatch(r"\.([0-9a-f]{8})-(\d+)-\w+\.part", path.name)
            if match and match[1] == _machine() and not is_running(int(match[2])):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
    return removed


def is_running(pid: int) -> bool:
    """Tell whether this machine has a process of that number."""
    if os.name == "nt":  # there, signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def process_space() -> str:
    """Tell apart containers of one machine, each of which counts its processes itself."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _machine() -> str:
    name = f"{socket.gethostname()} {process_space()}"
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _write_temporary(path: Path, content: str | bytes, *, private: bool) -> Path:
    prefix = f".{_machine()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            # mkstemp makes private files; give what a plain open() would
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return temporary
