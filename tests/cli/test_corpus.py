"""``meetscribe corpus``: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meetscribe.evaluate.corpora import load
from tests.conftest import REPOSITORY, run_meetscribe
from tests.evaluate import builders

# commands run in other folders; a checkout that is not installed is to be found there too
_ENV = {"PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), os.getenv("PYTHONPATH"))))}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        builders.write_audio(tmp_path / "mine" / f"{name}.wav", 3.0)
        (tmp_path / "mine" / f"{name}.rttm").write_text(
            "SPEAKER x 1 0.500 1.000 <NA> <NA> anna <NA> <NA>\n"
        )
    return tmp_path / "mine"


def test_prepare_ami_prints_a_table_and_names_problems(tmp_path: Path) -> None:
    annotations = builders.write_ami_annotations(tmp_path)
    audio = builders.write_ami_audio(tmp_path / "amicorpus")
    (audio / "ES2004a/audio/ES2004a.Array1-03.wav").unlink()
    done = run_meetscribe(
        "corpus",
        "prepare",
        "ami",
        "--audio",
        audio,
        "--annotations",
        annotations,
        cwd=tmp_path,
        env=_ENV,
    )
    assert done.returncode == 5, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["sessions", "hours", "ihm", "ihm-mix", "sdm", "mdm"]
    assert ["full-corpus-asr", "test", "2", "0.00", "2", "2", "2", "2"] in lines
    assert "error: ES2004a: mdm has 7 of 8 channels, Array1-03 missing" in done.stderr
    assert "wrote corpora/ami" in done.stderr.replace("\\", "/")
    corpus = load(tmp_path / "corpora" / "ami")
    assert sorted(path.name for path in (corpus.folder / "seglst").iterdir()) == [
        "EN2002c.seglst.json",
        "ES2003a.seglst.json",
        "ES2004a.seglst.json",
    ]


def test_prepare_ami_without_audio_says_so(tmp_path: Path) -> None:
    annotations = builders.write_ami_annotations(tmp_path)
    done = run_meetscribe(
        "corpus", "prepare", "ami", "--annotations", annotations, "-o", tmp_path / "out"
    )
    assert "no audio was given: references only" in done.stderr
    assert done.stdout.splitlines()[-1] == "no audio, references only"


def test_prepare_alimeeting(tmp_path: Path) -> None:
    root = builders.write_alimeeting(tmp_path / "AliMeeting")
    done = run_meetscribe(
        "corpus", "prepare", "alimeeting", "--root", root, "-o", tmp_path / "out", "-q"
    )
    assert done.returncode == 5  # the miniature has 2 of the 28 listed sessions
    assert done.stdout == ""
    assert "7 of 8 sessions are missing" in done.stderr
    assert load(tmp_path / "out").conditions == ("far-ch1", "far", "near")


def test_prepare_folder_and_show_it(mine: Path, tmp_path: Path) -> None:
    done = run_meetscribe("corpus", "prepare", "folder", mine, cwd=tmp_path, env=_ENV)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["sessions", "hours", "audio"],
        ["all", "2", "0.00", "2"],
    ]
    shown = run_meetscribe("corpus", "show", "mine", "--sessions", cwd=tmp_path, env=_ENV)
    assert shown.returncode == 0, shown.stderr
    assert "reference: as given (rttm); licence: not stated" in shown.stdout
    assert ["b", "0.1", "1", "no", "audio", "-"] in [
        line.split() for line in shown.stdout.splitlines()
    ]


def test_show_has_the_problems(mine: Path, tmp_path: Path) -> None:
    (mine / "b.wav").unlink()
    done = run_meetscribe(
        "corpus", "prepare", "folder", mine, "--name", "x", cwd=tmp_path, env=_ENV
    )
    assert done.returncode == 5
    shown = run_meetscribe("corpus", "show", tmp_path / "corpora" / "x")
    assert shown.returncode == 0
    problems = shown.stdout.partition("problems:\n")[2]
    assert "b.rttm: a reference without its recording; b is left out" in problems


def test_many_problems_are_cut_short_on_the_screen_only(mine: Path, tmp_path: Path) -> None:
    for number in range(25):
        builders.write_audio(mine / f"alone{number:02}.wav", 0.5)
    done = run_meetscribe("corpus", "prepare", "folder", mine, cwd=tmp_path, env=_ENV)
    assert done.returncode == 5
    assert "and 5 more problems" in done.stderr
    assert "meetscribe corpus show" in done.stderr
    assert len(load(tmp_path / "corpora" / "mine").problems) == 25


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("prepare", "folder", "nowhere"), 3, "nowhere: no such folder"),
        (("prepare", "folder", "/"), 2, "is no name for a corpus"),
        (("prepare", "ami", "--annotations", "no.zip"), 3, "no.zip: no such file or folder"),
        (("prepare", "alimeeting", "--root", "nowhere"), 3, "nowhere: no such folder"),
        (("show", "nothing"), 2, "nothing: no prepared corpus"),
        (("prepare", "ami"), 2, "--annotations"),
    ],
)
def test_errors_are_one_line_with_their_code(
    args: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = run_meetscribe("corpus", *args, cwd=tmp_path, env=_ENV)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "corpora").exists()


@pytest.mark.parametrize("command", ["prepare ami", "prepare alimeeting", "prepare folder", "show"])
def test_help_has_an_example(command: str) -> None:
    done = run_meetscribe("corpus", *command.split(), "--help")
    assert done.returncode == 0
    assert f"meetscribe corpus {command}" in " ".join(done.stdout.split())
