"""``meetscribe speakers``, and what ``--enroll`` says to mistakes: without a model."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe.speakers.store import SpeakerStore
from tests.conftest import SAMPLE, run_meetscribe
from tests.speakers.builders import person

# no keyring of the machine that tests run on
NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeakerStore:
    """Give a store with three people, where the command line looks for it."""
    for name, value in NO_KEYRING.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "kept" / "speakers.sqlite"
    monkeypatch.setenv("MEETSCRIBE_SPEAKERS", str(path))
    made = SpeakerStore(path)
    made.add([person("Anna", 0, changes=2), person("Voice 1", 1), person("Voice 2", 2)])
    return made


def test_who_is_kept_and_how(store: SpeakerStore) -> None:
    done = run_meetscribe("speakers", "list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "name     recordings  speech",
        "Anna              2    40 s",
        "Voice 1           1    20 s",
        "Voice 2           1    20 s",
    ]
    assert "not encrypted" in done.stderr
    assert str(store.path) in done.stderr


def test_named_merged_forgotten(store: SpeakerStore) -> None:
    assert run_meetscribe("speakers", "name", "Voice 1", "Ben").returncode == 0
    assert run_meetscribe("speakers", "merge", "Ben", "Voice 2").returncode == 0
    assert [(one.name, len(one.voices)) for one in store.people()] == [("Anna", 2), ("Ben", 2)]
    assert run_meetscribe("speakers", "forget", "Anna").returncode == 0
    assert [one.name for one in store.people()] == ["Ben"]
    assert run_meetscribe("speakers", "forget", "--all").returncode == 0
    assert not store.path.exists()
    assert run_meetscribe("speakers", "list").stdout == "nobody is kept\n"
    assert not store.path.exists()


def test_exported_with_everything(store: SpeakerStore, tmp_path: Path) -> None:
    done = run_meetscribe("speakers", "export", "-o", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert made == store.export()
    assert json.loads(run_meetscribe("speakers", "export").stdout) == made
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "all.json").stat().st_mode) == 0o600


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["name", "Bob", "Ben"], 2, "no 'Bob'"),
        (["name", "Voice 1", "Anna"], 2, "speakers merge"),
        (["merge", "Anna", "Bob"], 2, "no 'Bob'"),
        (["forget", "Bob"], 2, "there are: Anna, Voice 1, Voice 2"),
        (["forget"], 2, "expected names, or --all"),
        (["forget", "Anna", "--all"], 2, "expected names, or --all"),
        (["add", " ", "a.wav"], 2, "expected a name"),
        (["add", "Bob", "nowhere.wav"], 3, "no such file"),
        (["list", "--store", "/dev/null/speakers.sqlite"], 0, "/dev/null"),
        (["export", "-o", "/dev/null/all.json"], 6, "cannot be written"),
    ],
)
def test_mistakes_are_said_in_a_line(args: list[str], code: int, said: str) -> None:
    done = run_meetscribe("speakers", *args)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["transcribe", "batch"])
def test_wrong_people_are_said_before_anything_runs(command: str, tmp_path: Path) -> None:
    def run(*args: str | Path) -> tuple[int, str]:
        done = run_meetscribe(command, SAMPLE, "-o", tmp_path / "out", "--offline", *args)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    (tmp_path / "team").mkdir()
    code, said = run("--enroll", tmp_path / "team")
    assert (code, "no recordings of anybody" in said) == (2, True), said
    soundfile.write(tmp_path / "team" / "Anna.wav", np.zeros(16_000), 16_000)
    code, said = run("--enroll", tmp_path / "team")
    assert (code, "1.0 s of Anna, expected at least 3 s" in said) == (3, True), said
    code, said = run("--speakers-store", tmp_path / "none.sqlite")
    assert (code, "no such store" in said) == (2, True), said
    (tmp_path / "text.sqlite").write_text("no database" * 99)
    code, said = run("--speakers-store", tmp_path / "text.sqlite")
    assert (code, "not a store of speakers" in said) == (3, True), said
    assert not list((tmp_path / "out").glob("*.json"))
