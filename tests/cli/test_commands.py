"""The command line as a person meets it: help, export, rename, pipelines."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from meetscribe import api, formats
from meetscribe.cli import _COMMANDS, cli
from meetscribe.cli.transcribe import transcribe
from meetscribe.errors import ConfigError
from meetscribe.types import Transcript, Turn, Utterance, Word
from tests.conftest import REPOSITORY, run_meetscribe


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """Write a small transcript of two speakers who overlap."""
    words = (Word("good", 0.0, 0.4, 0.9), Word("morning", 0.4, 1.0, 0.8))
    made = Transcript(
        session_id="standup",
        utterances=(
            Utterance.from_words("Speaker 1", words),
            Utterance("Speaker 2", 0.8, 1.5, "hi there"),
        ),
        turns=(Turn(0.0, 1.0, "Speaker 1"), Turn(0.8, 1.5, "Speaker 2")),
        language="en",
        duration=2.0,
    )
    path = tmp_path / "standup.json"
    path.write_text(formats.render(made, "json"), encoding="utf-8")
    return path


def test_help_loads_no_command() -> None:
    code = (
        "import sys\nfrom meetscribe.cli import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'numpy', 'pydantic', 'rich', 'yaml')]\nprint('loaded', heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded []" in done.stdout
    assert all(name in done.stdout for name in _COMMANDS)


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    if name not in {"pipelines", "models", "corpus"}:  # groups: their commands have them
        assert f"meetscribe {name}" in shown.output


def leaves(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return [command]
    return [leaf for part in command.commands.values() for leaf in leaves(part)]


def flags(command: click.Command) -> set[str]:
    return {
        flag
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
        if flag.startswith("--")
    }


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_option_is_documented(name: str) -> None:
    page = (REPOSITORY / "docs" / "options.md").read_text(encoding="utf-8")
    command = getattr(importlib.import_module(f"meetscribe.cli.{name}"), name)
    for leaf in leaves(command):
        assert not [flag for flag in flags(leaf) if not re.search(rf"{flag}\b", page)], leaf.name


def test_options_equal_the_api() -> None:
    options = flags(transcribe)
    files_and_looks = {
        *("output", "format", "force", "overlap", "max_line_chars", "max_lines", "max_cue_s"),
        *("max_wide_chars", "no_speaker_labels", "quiet"),
    }
    words = {flag[2:].replace("-", "_") for flag in options} - files_and_looks
    assert words == set(inspect.signature(api.transcribe).parameters) - {"audio"}


def test_unknown_command_names_the_near_one() -> None:
    done = run_meetscribe("trnscribe")
    assert done.returncode == 2
    assert "transcribe" in done.stderr


def test_export_prints_one_format(transcript: Path) -> None:
    done = run_meetscribe("export", transcript, "-f", "rttm", "-o", "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split()[:5] == ["SPEAKER", "standup", "1", "0.000", "1.000"]


def test_export_writes_beside_and_keeps_what_is_there(transcript: Path) -> None:
    assert run_meetscribe("export", transcript, "-f", "srt,csv").returncode == 0
    assert transcript.with_suffix(".srt").exists()
    assert transcript.with_suffix(".csv").exists()
    again = run_meetscribe("export", transcript, "-f", "srt")
    assert again.returncode == 6
    assert "--force" in again.stderr
    assert run_meetscribe("export", transcript, "-f", "srt", "--force").returncode == 0


@pytest.mark.parametrize("text", ["", "{", '{"schema": "other/1"}', "no transcript"])
def test_export_of_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    done = run_meetscribe("export", path, "-f", "srt")
    assert done.returncode == 3, done.stderr
    assert "x.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_rename_changes_every_file_but_edited_ones(transcript: Path) -> None:
    run_meetscribe("export", transcript, "-f", "srt,txt,rttm")
    edited = transcript.with_suffix(".txt")
    edited.write_text("my own notes")
    done = run_meetscribe("rename", transcript, "Speaker 1=Anna", "Speaker 2=Ben")
    assert done.returncode == 0, done.stderr
    assert edited.read_text() == "my own notes"
    assert "left alone" in done.stderr
    assert "Anna" in transcript.with_suffix(".srt").read_text()
    assert "Anna" in transcript.with_suffix(".rttm").read_text()
    # once named, a speaker can be called by that name
    assert run_meetscribe("rename", transcript, "Anna=Anna Lee").returncode == 0
    names = {row["label"]: row["name"] for row in json.loads(transcript.read_text())["speakers"]}
    assert names == {"Speaker 1": "Anna Lee", "Speaker 2": "Ben"}


def test_rename_of_nobody(transcript: Path) -> None:
    before = transcript.read_text()
    done = run_meetscribe("rename", transcript, "Speaker 7=Eve")
    assert done.returncode == 2
    assert "Speaker 1" in done.stderr
    assert transcript.read_text() == before


def test_rename_without_names_lists(transcript: Path) -> None:
    done = run_meetscribe("rename", transcript)
    assert done.stdout.splitlines() == ["Speaker 1: Speaker 1", "Speaker 2: Speaker 2"]


def test_shown_pipeline_is_a_pipeline(tmp_path: Path) -> None:
    shown = run_meetscribe("pipelines", "show", "mono")
    assert shown.returncode == 0, shown.stderr
    path = tmp_path / "mine.yaml"
    path.write_text(shown.stdout)
    again = run_meetscribe("pipelines", "show", path)
    assert again.stdout == shown.stdout


def test_rename_takes_labels_before_names_and_no_name_of_two(transcript: Path) -> None:
    assert run_meetscribe("rename", transcript, "Speaker 1=Speaker 2").returncode == 0
    assert run_meetscribe("rename", transcript, "Speaker 2=Ben").returncode == 0
    shown = run_meetscribe("rename", transcript).stdout
    assert shown == "Speaker 1: Speaker 2\nSpeaker 2: Ben\n"
    assert run_meetscribe("rename", transcript, "Speaker 1=Ben").returncode == 0
    done = run_meetscribe("rename", transcript, "Ben=Anna")
    assert done.returncode == 2
    assert "Speaker 1 or Speaker 2" in done.stderr


@pytest.mark.parametrize("audio", [3, None, b"a.wav", [4]])
def test_api_refuses_what_is_no_path(audio: object) -> None:
    with pytest.raises(ConfigError, match="audio"):
        api.transcribe(audio)
    with pytest.raises(ConfigError, match="threads"):
        api.transcribe("a.wav", threads=0)
