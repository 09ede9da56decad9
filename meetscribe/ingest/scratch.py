"""Decoded samples on disk: written once from start to end, read in any order by several threads."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meetscribe.errors import AudioError, OutputError
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ScratchFile:
    """A temporary file that has no name where the system allows it; closing deletes it.

    Parameters
    ----------
    folder : where it lies; None takes the system's folder for temporary files (``TMPDIR``)
    mb_per_hour : what an hour of recording takes, for the message when the disk is full

    Raises
    ------
    OutputError
        If it cannot be made.
    """

    def __init__(self, folder: Path | None, *, mb_per_hour: int) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._mb_per_hour = mb_per_hour
        self._lock = threading.Lock()
        try:
            # unbuffered: a full disk is seen here and not when the file is closed
            self._file = tempfile.TemporaryFile(  # noqa: SIM115
                prefix="meetscribe-", dir=self._folder, buffering=0
            )
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def append(self, values: NDArray[Any]) -> None:
        """Write the bytes of a contiguous array at the end.

        Raises
        ------
        OutputError
            If it cannot be written, for instance because the disk is full.
        """
        data = values.data.cast("B")
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._cannot_write(error) from error

    def read_into(self, values: NDArray[Any], offset: int) -> None:
        """Fill a contiguous array with the bytes from ``offset`` on.

        Raises
        ------
        AudioError
            If the file ends before the array is full.
        """
        data = values.data.cast("B")
        with self._lock:
            # read, not mapped: mapped pages would count as memory of this process
            self._file.seek(offset)
            while data:
                part = self._file.read(len(data))
                if not part:
                    raise AudioError("the scratch file ended early", hint="free space, run again")
                data[: len(part)] = part
                data = data[len(part) :]

    def _cannot_write(self, error: OSError) -> OutputError:
        full = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        if error.errno in full:
            return OutputError(
                f"{self._folder}: disk full while decoding, about {self._mb_per_hour} MB needed "
                "per hour of recording",
                hint="free some space, or name another folder in the environment variable TMPDIR",
            )
        return OutputError(
            f"{os.fspath(self._folder)}: no scratch file can be written there: "
            f"{error.strerror or error}",
            hint="name another folder in the environment variable TMPDIR",
        )


class OnDisk:
    """A signal at 16 kHz in a scratch file; a context manager that deletes it."""

    def __init__(self, file: ScratchFile, num_samples: int) -> None:
        self._file = file
        self.num_samples = num_samples

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / SAMPLE_RATE_HZ

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the scratch file."""
        self._file.close()

    def read_into(self, values: NDArray[Any], offset: int) -> None:
        """Fill a contiguous array with the bytes from ``offset`` on; see ``ScratchFile``."""
        self._file.read_into(values, offset)


def samples_between(start: float, end: float) -> tuple[int, int]:
    """Give the samples [first, last) between two times in seconds, both rounded to a sample.

    Raises
    ------
    ValueError
        If ``end`` is before ``start``.
    """
    first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
    if last < first:
        raise ValueError(f"read {start} to {end}: expected start <= end")
    return first, last
