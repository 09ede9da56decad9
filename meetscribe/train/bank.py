"""Rooms for training, computed once and kept: a file a room.

A room depends on its number and the settings alone, so that a bank can be made in
several goes, by several processes, and be made larger later.

Axes: C channel, K seat, N sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetscribe.config import config_hash
from meetscribe.errors import ConfigError, WeightsError
from meetscribe.train import checkpoint
from meetscribe.train.checkpoint import Checkpoint
from meetscribe.train.data_settings import RoomSettings
from meetscribe.train.prefetch import in_order
from meetscribe.train.rooms import draw_scene, simulate_room
from meetscribe.train.settings import SimulationSettings
from meetscribe.types import Progress, no_progress

Samples = NDArray[np.float32]

_SCHEMA = 1
_TRAIN, _DEV = "train", "dev"
_CACHED = 64


@dataclass(frozen=True, slots=True)
class Room:
    """How a room sounds: ``responses_kcn`` from every seat to every microphone."""

    responses_kcn: Samples
    microphones_c3: NDArray[np.float64]
    array: str
    rt60_s: float


@dataclass(frozen=True)
class RoomBank:
    """Rooms of one purpose, ``train`` or ``dev``."""

    folder: Path
    purpose: str
    count: int

    def room(self, number: int) -> Room:
        """Give a room."""
        return _read(self.folder / f"{self.purpose}{number:04d}.safetensors")


@lru_cache(maxsize=_CACHED)
def _read(path: Path) -> Room:
    found = checkpoint.load(path)
    tensors = found.tensors
    return Room(
        tensors["responses"].numpy(),
        tensors["microphones"].numpy(),
        found.about["array"],
        found.about["rt60_s"],
    )


def make_banks(
    settings: RoomSettings,
    folder: Path,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
) -> tuple[RoomBank, RoomBank]:
    """Compute the rooms that are not there yet.

    Parameters
    ----------
    folder : each settings have a folder of their own inside
    workers : processes that compute
    progress : called with ``"rooms"``

    Returns
    -------
    The rooms to train in, and those to score in.

    Raises
    ------
    ConfigError
        If the ranges of the settings do not go together.
    OutputError
        If the folder cannot be written.
    """
    kind = config_hash(_SCHEMA, settings.model_dump(mode="json", exclude={"count", "dev"}))
    folder = folder / f"rooms-{kind}"
    banks = (RoomBank(folder, _TRAIN, settings.count), RoomBank(folder, _DEV, settings.dev))
    missing = [
        (bank.purpose, number)
        for bank in banks
        for number in range(bank.count)
        if not _is_there(folder / f"{bank.purpose}{number:04d}.safetensors")
    ]
    made = in_order(
        partial(_maker, settings, folder, tuple(missing)),
        range(len(missing)),
        workers=workers,
    )
    for number, _ in enumerate(made):
        progress("rooms", (number + 1) / len(missing))
    return banks


def _is_there(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        checkpoint.load(path)
    except WeightsError:
        return False
    return True


def _maker(
    settings: RoomSettings, folder: Path, missing: tuple[tuple[str, int], ...]
) -> Callable[[int], None]:
    def make(index: int) -> None:
        purpose, number = missing[index]
        room = make_room(settings, purpose, number)
        path = folder / f"{purpose}{number:04d}.safetensors"
        checkpoint.save(path, _checkpoint(room))

    return make


def make_room(settings: RoomSettings, purpose: str, number: int) -> Room:
    """Compute a room; what it is follows from all that is given.

    Raises
    ------
    ConfigError
        If the ranges of the settings do not go together.
    """
    rng = np.random.default_rng([settings.seed, (_TRAIN, _DEV).index(purpose), number])
    array = settings.arrays[number % len(settings.arrays)]
    rt60_s = float(rng.uniform(*settings.rt60_s))
    seats = settings.seats
    try:
        simulated = SimulationSettings(
            array=array,
            channels=settings.channels,
            speakers=(seats, seats),
            rt60_s=(rt60_s, rt60_s),
            radius_m=(0.03, 0.12),
            spacing_m=(0.02, 0.08),
            distance_m=(0.6, 2.2),
            audio_format="wav",
        )
    except ValueError as error:
        raise ConfigError(f"rooms: {error}") from error
    scene = draw_scene(simulated, seats, rng, rt60_s=rt60_s)
    acoustics = simulate_room(scene)
    longest = max(one.shape[1] for one in acoustics.speakers)
    padded = [np.pad(one, ((0, 0), (0, longest - one.shape[1]))) for one in acoustics.speakers]
    return Room(np.stack(padded), scene.microphones_c3, array, acoustics.rt60_s)


def _checkpoint(room: Room) -> Checkpoint:
    import torch

    tensors = {
        "responses": torch.from_numpy(room.responses_kcn),
        "microphones": torch.from_numpy(np.ascontiguousarray(room.microphones_c3)),
    }
    about = {"array": room.array, "rt60_s": room.rt60_s}
    json.dumps(about)  # numbers of Python, not of numpy
    return Checkpoint(tensors, about)
