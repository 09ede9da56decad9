"""Signals, fake networks and real models for the diarizer's tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

RATE = 16_000


@dataclass
class Samples:
    """Samples in memory as an audio reader; remembers the longest piece that was asked for."""

    samples_n: np.ndarray
    longest_s: float = 0.0

    @property
    def duration(self) -> float:
        return len(self.samples_n) / RATE

    def read(self, start: float, end: float) -> np.ndarray:
        self.longest_s = max(self.longest_s, end - start)
        first, last = round(start * RATE), round(end * RATE)
        piece = self.samples_n[first:last].astype(np.float32)
        return np.pad(piece, (0, last - first - len(piece)))


def data_dir() -> Path:
    root = Path(__file__).parents[2]
    given = os.environ.get("MEETSCRIBE_TEST_DATA")
    return Path(given) if given else root.parent / "shared" / "data"


@pytest.fixture
def samples() -> Callable[[np.ndarray], Samples]:
    return Samples


@pytest.fixture(scope="session")
def meetings() -> Path:
    folder = data_dir() / "meetings"
    if not folder.is_dir():
        pytest.skip("no meeting clips: set MEETSCRIBE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def campplus_goldens() -> Path:
    folder = data_dir().parent / "goldens" / "campplus"
    if not folder.is_dir():
        pytest.skip("no CAM++ goldens: set MEETSCRIBE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def segmentation_dir(weights_cache: Path) -> Path:
    return weights_cache / "models" / "segmentation-3.0"


@pytest.fixture(scope="session")
def voiceprint_dir(weights_cache: Path) -> Path:
    return weights_cache / "models" / "campplus-zh-en"
