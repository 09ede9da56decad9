"""Recordings and results behind URLs (``s3://…``, ``gs://…``), by fsspec where it is installed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from meetscribe.errors import AudioError, DependencyError, OutputError


def is_url(text: str) -> bool:
    """Tell a URL from a path.

    >>> is_url("s3://archive/2026"), is_url("C:/archive")
    (True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def without_slash(place: str) -> str:
    """Give the one spelling of a folder.

    >>> without_slash("s3://texts/2026/"), without_slash("out/"), without_slash("/")
    ('s3://texts/2026', 'out', '/')
    """
    bare = place.rstrip("/")
    return place if not bare or bare.endswith(":") else bare


def find(url: str, suffixes: Collection[str]) -> Iterator[tuple[str, str, int]]:
    """Give URL, path below the given one, and size in bytes of every recording.

    Raises
    ------
    AudioError
        If there is nothing, or it cannot be listed.
    DependencyError
        If the library for such URLs is missing.
    """
    files, root = _open(url)
    try:
        if files.isfile(root):
            yield files.unstrip_protocol(root), PurePosixPath(root).name, files.size(root) or 0
            return
        found = files.find(root, detail=True)
    except (OSError, ValueError) as error:
        raise AudioError(f"{url}: {error}", hint="check the URL and the rights to it") from error
    if not found:
        raise AudioError(f"{url}: nothing there", hint="check the URL and the rights to it")
    for path, about in sorted(found.items()):
        below = PurePosixPath(path).relative_to(root)
        hidden = any(part.startswith(".") for part in below.parts)
        if below.suffix.lower() in suffixes and not hidden:
            yield files.unstrip_protocol(path), str(below), int(about.get("size") or 0)


def signature(url: str) -> list[Any]:
    """Give what changes when a file does: size, and time or tag of its last change.

    Raises
    ------
    OSError
        If it is not there.
    """
    files, path = _open(url)
    about = files.info(path)
    marks = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
    return [int(about.get("size") or 0), *(str(about[mark]) for mark in marks if mark in about)]


def download(url: str, path: Path) -> None:
    """Fetch one file.

    Raises
    ------
    OSError
        If it cannot be read or written.
    """
    files, source = _open(url)
    files.get_file(source, str(path))


def download_if_there(url: str, path: Path) -> None:
    """Fetch one file; nothing happens where there is none."""
    files, source = _open(url)
    if files.exists(source):
        files.get_file(source, str(path))


def upload(path: Path, url: str) -> None:
    """Put one file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    files, target = _open(url)
    try:
        files.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        # object stores show an object when it is whole; elsewhere a rename does that
        part = f"{target}.part"
        if isinstance(files.protocol, str | tuple) and "file" in files.protocol:
            files.put_file(str(path), part)
            files.mv(part, target)
        else:
            files.put_file(str(path), target)
    except OSError as error:
        raise OutputError(
            f"{url}: cannot be written: {error}", hint="check the URL and the rights to it"
        ) from error


def exists(url: str) -> bool:
    """Tell whether a file is there.

    Raises
    ------
    OSError
        If that cannot be known.
    """
    files, path = _open(url)
    return bool(files.exists(path))


def _open(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DependencyError(
            f"{url}: {error}",
            hint=f"install fsspec and its library for {scheme}, such as s3fs for s3",
        ) from error
    except ValueError as error:
        raise AudioError(
            f"{url}: {error}", hint=f"is '{scheme}' spelt right? fsspec does not know it"
        ) from error
    return files, str(path).rstrip("/")
