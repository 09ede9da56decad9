"""What a run writes down: a row per step in CSV, and TensorBoard's files where it is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meetscribe.errors import OutputError
from meetscribe.files import write_atomic


class Table:
    """A CSV file that grows by a row at a time.

    A run that goes on from step n takes the rows of later steps out first: they come again. The
    first column is the step; numbers are written so that they read back exactly.

    Parameters
    ----------
    columns : names; ``step`` comes before them
    since : rows of this step and later ones are taken out

    Raises
    ------
    OutputError
        If the file cannot be written, or has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, since: int) -> None:
        self._path, self._columns = path, ("step", *columns)
        rows = [list(self._columns)]
        rows += [row for row in self._kept() if int(row[0]) < since]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic({path: text.getvalue()})
        except OSError as error:
            raise self._cannot(error) from error

    def _kept(self) -> list[list[str]]:
        if not self._path.is_file():
            return []
        try:
            rows = list(csv.reader(io.StringIO(self._path.read_text(encoding="utf-8"))))
        except (OSError, UnicodeDecodeError) as error:
            raise self._cannot(error) from error
        if rows and rows[0] != list(self._columns):
            raise OutputError(
                f"{self._path}: columns {', '.join(rows[0])}; expected {', '.join(self._columns)}",
                hint="it is of another version: give another folder with -o",
            )
        # a row that a kill cut short is none
        whole = len(self._columns)
        return [row for row in rows[1:] if len(row) == whole and row[0].isdigit()]

    def add(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Write a row; columns that ``values`` lacks stay empty.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        cells = [values.get(name) for name in self._columns[1:]]
        row = [str(step), *("" if cell is None else repr(cell) for cell in cells)]
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: Exception) -> OutputError:
        return OutputError(f"{self._path}: cannot be written: {error}", hint="check the folder")


class Board:
    """TensorBoard's files; nothing happens where TensorBoard is not installed."""

    def __init__(self, folder: Path, *, since: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder), purge_step=since)

    def add(self, step: int, values: Mapping[str, float | int | None], *, group: str) -> None:
        """Write the values that are there."""
        if self._writer is None:
            return
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write out what waits."""
        if self._writer is not None:
            self._writer.close()
