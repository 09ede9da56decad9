"""The published layout's golden data, and models made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors import safe_open

from meetscribe.joint.checkpoint import load
from meetscribe.joint.model import JointModel
from tests.conftest import DATA
from tests.joint import small_catalogue

CASES = {"batch": ("ami_3.2s", "ali_5.1s"), "ami": ("ami_3.2s",), "ali": ("ali_5.1s",)}


@dataclass(frozen=True)
class Goldens:
    """What an independent implementation must reproduce."""

    folder: Path

    @property
    def tiny(self) -> Path:
        return self.folder / "tiny"

    @cached_property
    def texts(self) -> dict[str, Any]:
        return json.loads((self.folder / "io.json").read_text(encoding="utf-8"))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        with safe_open(self.folder / f"{name}.safetensors", "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def clips(self, case: str) -> list[torch.Tensor]:
        paths = [self.folder / "wav" / f"{name}.wav" for name in CASES[case]]
        return [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep small tensors on one core: threads that wait for each other take far longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def goldens() -> Goldens:
    folder = DATA.parent / "goldens" / "tagspeech"
    if not folder.is_dir():
        pytest.skip("no golden data here")
    return Goldens(folder)


@pytest.fixture(scope="session")
def io(goldens: Goldens) -> dict[str, torch.Tensor]:
    return goldens.tensors("io")


@pytest.fixture(scope="session")
def model(goldens: Goldens) -> JointModel:
    """Give the tiny model with everything in float32."""
    return load(goldens.tiny)


@pytest.fixture(scope="session")
def _small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("catalogue")
    small_catalogue.write(root)
    return root


@pytest.fixture
def catalogue(_small_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put small models into the catalogue and the cache; give the folder they are in."""
    monkeypatch.setenv("MEETSCRIBE_PATH", str(_small_models))
    monkeypatch.setenv("MEETSCRIBE_CACHE", str(_small_models / "cache"))
    monkeypatch.setenv("MEETSCRIBE_OFFLINE", "1")
    return _small_models
