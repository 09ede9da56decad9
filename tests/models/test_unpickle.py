"""Checkpoints give tensors and nothing else: no code in them is run."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from meetscribe.errors import WeightsError
from meetscribe.models import fetch
from meetscribe.models.unpickle import load_checkpoint


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, *, zipped: bool) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "evil.bin"
    content = {"state_dict": {"a": torch.ones(2)}, "extra": Malicious(f"echo > '{mark}'")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="refused"):
        load_checkpoint(path)
    assert not mark.exists()


def test_allowed_names_become_stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    class Specifications:
        def __init__(self, classes: list[str]) -> None:
            self.classes = classes

        def __setstate__(self, state: object) -> None:
            ran.append(state)

    Specifications.__module__ = "pyannote.audio.core.task"
    Specifications.__qualname__ = "Specifications"
    module = types.ModuleType("pyannote.audio.core.task")
    module.Specifications = Specifications  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyannote.audio.core.task", module)
    path = tmp_path / "model.bin"
    torch.save({"state_dict": {"a": torch.ones(2)}, "about": Specifications(["x"])}, path)
    loaded = load_checkpoint(path)
    assert loaded["state_dict"]["a"].tolist() == [1.0, 1.0]
    assert loaded["about"].args == ({"classes": ["x"]},)
    assert not ran
    with pytest.raises(WeightsError, match="refused"):
        load_checkpoint(path, allowed=())
    # the names are allowed for the time of the call only
    with pytest.raises(Exception, match="Specifications"):
        torch.load(path, weights_only=True)


def test_plain_dictionary_of_tensors(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "plain.pt")
    assert list(load_checkpoint(tmp_path / "plain.pt")["state_dict"]) == ["a"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 nor a zip"])
def test_garbage_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"garbage\.bin"):
        load_checkpoint(path)


def test_other_content_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": 1}}, tmp_path / "numbers.bin")
    with pytest.raises(WeightsError, match="tensors"):
        load_checkpoint(tmp_path / "numbers.bin")


@pytest.mark.weights
def test_segmentation_loads_without_its_libraries() -> None:
    path = fetch("segmentation-3.0") / "pytorch_model.bin"
    code = (
        "import sys; from pathlib import Path; from meetscribe.models.unpickle import *; "
        "state = load_checkpoint(Path(sys.argv[1]))['state_dict']; "
        "print(len(state), sum(t.numel() for t in state.values())); "
        "print([m for m in ('pyannote', 'lightning', 'pytorch_lightning') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["54 1473515", "[]"]


@pytest.mark.weights
def test_campplus_is_plain_tensors() -> None:
    path = fetch("campplus-zh-en") / "campplus_cn_en_common.pt"
    assert len(load_checkpoint(path, allowed=())["state_dict"]) == 937
