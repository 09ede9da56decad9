"""The cache folder: where it is, how a file gets into it whole, how its bytes are checked."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from meetscribe.errors import OutputError

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
_PART_SUFFIX = ".part"
_STALE_S = 3600.0
_HINT = "free some space, or name another folder with MEETSCRIBE_CACHE"


def cache_dir() -> Path:
    """Give the cache folder: ``MEETSCRIBE_CACHE``, else the platform's own place for caches."""
    given = os.environ.get("MEETSCRIBE_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "meetscribe"
    if os.name == "nt":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local or Path.home() / "AppData" / "Local") / "meetscribe" / "cache"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification says that a relative path is to be ignored
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "meetscribe"


def model_dir(name: str) -> Path:
    """Give the folder of a model in the cache; it need not exist."""
    return cache_dir() / "models" / name


def sha256_of(path: Path) -> str:
    """Hash a file; a file that did not change since is hashed once per process.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ino)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[io.BufferedRandom]:
    """Write a file that appears under its name only when the block ends well.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=_PART_SUFFIX)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror or error}", hint=_HINT) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            _settle(file, temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    try:
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{path}: {error.strerror or error}", hint=_HINT) from error


def write(file: BinaryIO, block: bytes) -> None:
    """Write a block, so that trouble with the disk is not taken for trouble with a source.

    Raises
    ------
    OutputError
        If the disk is full or fails.
    """
    try:
        file.write(block)
    except OSError as error:
        raise OutputError(f"{cache_dir()}: {error.strerror or error}", hint=_HINT) from error


def _settle(file: BinaryIO, temporary: Path, path: Path) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
        if os.name != "nt":
            # mkstemp makes private files, but a cache may be shared by several users
            temporary.chmod(0o644)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}", hint=_HINT) from error


def _remove_stale(folder: Path) -> None:
    """Remove what a killed process left, but not what another one is writing now."""
    for part in folder.glob(f".*{_PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Wait until no other process fetches this model, then keep others waiting.

    The system drops the lock when a process dies. Where locks are not supported (some network
    file systems), two processes may fetch the same file; each still puts a whole one in place.

    Raises
    ------
    OutputError
        If the cache cannot be written.
    """
    path = model_dir(name).parent / f".{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror or error}", hint=_HINT) from error
    with file:
        waiting = False
        while not _try_lock(file):
            if not waiting:
                log.info("%s: another process is fetching it; waiting", name)
            waiting = True
            time.sleep(0.1)
        yield


def _try_lock(file: BinaryIO) -> bool:
    """Take the lock of an open file without waiting; closing the file gives it back."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        log.debug("%s: no locks on this file system", file.name)
    return True
