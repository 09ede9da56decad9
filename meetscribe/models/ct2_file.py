"""Read CTranslate2's ``model.bin``: a list of named arrays, and names that stand for others.

All numbers are little-endian. A text is its length with the closing zero (uint16), its bytes, and
the zero. The file is::

    version uint32 | name of the layout, text | its revision uint32
    count uint32, and for each variable: name, text | rank uint8 | rank sizes uint32
        | type uint8 | bytes uint32 | the values
    count uint32, and for each alias: its name, text | the variable it stands for, text

Notes
-----
The layout is that of CTranslate2's own writer (OpenNMT/CTranslate2, MIT,
``python/ctranslate2/specs/model_spec.py``), version 6 of the format.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from meetscribe.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_VERSION = 6
_TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_MOST_DIMENSIONS = 4
_HINT = "run `meetscribe models verify`, then pull again"


@dataclass(frozen=True, slots=True)
class Ct2File:
    """What a ``model.bin`` holds.

    ``layout`` and ``revision`` say what the names mean, such as ``WhisperSpec`` 3. ``variables``
    are as stored, aliases included; quantised ones have a neighbour ``<name>_scale``.
    """

    layout: str
    revision: int
    variables: dict[str, Tensor]

    def real(self, name: str) -> Tensor:
        """Give a variable as float32, with its scale undone if it is stored in few bits.

        Raises
        ------
        KeyError
            If there is no such variable.
        """
        stored = self.variables[name]
        value = stored.float()
        if stored.is_floating_point():
            return value
        scale = self.variables[f"{name}_scale"].float()
        # int16 has one scale for all, int8 one for every row
        return value / scale.reshape(-1, *(1 for _ in value.shape[1:]))


def read_ct2(path: Path) -> Ct2File:
    """Read the file whole.

    Raises
    ------
    WeightsError
        If it cannot be read, ends early, or is not of the version that is known here.
    """
    try:
        with path.open("rb") as file:
            return _read(_Reader(file, path.stat().st_size, path))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}", hint=_HINT) from error


def _read(reader: _Reader) -> Ct2File:
    version = reader.number("I")
    if version != _VERSION:
        raise WeightsError(
            f"{reader.path}: version {version} of CTranslate2's format, expected {_VERSION}",
            hint="convert the model again with ct2-transformers-converter",
        )
    layout, revision = reader.text(), reader.number("I")
    variables = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        variables[name] = reader.tensor(name)
    for _ in range(reader.number("I")):
        alias, name = reader.text(), reader.text()
        if name not in variables:
            raise reader.damaged(f"{alias} stands for {name}, which is not there")
        variables[alias] = variables[name]
    return Ct2File(layout, revision, variables)


@dataclass(frozen=True, slots=True)
class _Reader:
    file: BinaryIO
    size: int
    path: Path

    def damaged(self, why: str) -> WeightsError:
        return WeightsError(f"{self.path}: not a whole CTranslate2 model: {why}", hint=_HINT)

    def block(self, count: int) -> bytearray:
        """Read exactly so many bytes; a damaged number must not claim all memory."""
        if count > self.size - self.file.tell():
            raise self.damaged("it ends early")
        made = bytearray(count)
        if self.file.readinto(made) != count:  # type: ignore[attr-defined]
            raise self.damaged("it ends early")
        return made

    def number(self, kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", self.block(struct.calcsize(f"<{kind}")))
        return int(value)

    def text(self) -> str:
        raw = self.block(self.number("H"))
        try:
            return raw.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged("a name is no text") from error

    def tensor(self, name: str) -> Tensor:
        import torch

        rank = self.number("B")
        shape = [self.number("I") for _ in range(rank)]
        kind, size = self.number("B"), self.number("I")
        if rank > _MOST_DIMENSIONS or kind >= len(_TYPES):
            raise self.damaged(f"{name} has {rank} dimensions and type {kind}")
        dtype: torch.dtype = getattr(torch, _TYPES[kind])
        if math.prod(shape) * dtype.itemsize != size:
            raise self.damaged(f"{name} has {size} bytes for shape {tuple(shape)}")
        if size == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self.block(size), dtype=dtype).reshape(shape)
