"""``meetscribe batch`` and ``meetscribe cache`` where no model is needed."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from meetscribe.batch.summary import Row, State, Summary, to_csv, to_json, to_markdown
from meetscribe.batch.tasks import Begun, Moved
from meetscribe.batch.watch import Standing
from meetscribe.cli.batch_view import BatchView, view
from meetscribe.pipeline.store import DiskStore
from tests.conftest import run_meetscribe


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Give a folder in which nothing is a recording."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.wav").write_text("no sound")
    (tmp_path / "in" / "sub" / "b.mp3").touch()
    return tmp_path / "in"


def test_dry_run_says_what_would_be_done(broken: Path, tmp_path: Path) -> None:
    done = run_meetscribe("batch", broken, "-o", tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"to do  a  <- {broken / 'a.wav'}",
        f"to do  sub/b  <- {broken / 'sub' / 'b.mp3'}",
        "2 of 2 to do",
    ]
    assert not (tmp_path / "out" / "summary.json").exists()


def test_every_bad_file_has_its_reason(broken: Path, tmp_path: Path) -> None:
    done = run_meetscribe("batch", broken, "-o", tmp_path / "out", "--workers", "1")
    assert done.returncode == 5
    assert done.stdout.splitlines() == [f"0 done, 2 failed; see {tmp_path / 'out' / 'summary.md'}"]
    assert "2 recordings, 2 to do with 1 worker" in done.stderr
    assert "error: a: " in done.stderr
    assert "Traceback" not in done.stderr
    made = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert [row["state"] for row in made["recordings"]] == ["failed", "failed"]
    assert all(row["error"] and row["hint"] for row in made["recordings"])
    known = run_meetscribe("batch", broken, "-o", tmp_path / "out", "--dry-run")
    assert known.stdout.splitlines()[-1] == "0 of 2 to do"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nowhere", "-o", "out"], 3, "no such file or folder"),
        (["in", "-o", "in/a.wav"], 6, "cannot be written"),
        (["in", "-o", "out", "--memory", "much"], 2, "expected a size such as 500MB"),
        (["in", "-o", "out", "--pipeline", "nothing"], 2, "nothing"),
        (["in", "-o", "out", "--group-channels", "("], 2, "not a regular expression"),
        (["in"], 2, "Missing option '-o'"),
    ],
)
def test_mistakes_are_said_in_a_line(broken: Path, args: list[str], code: int, said: str) -> None:
    done = run_meetscribe("batch", *args, cwd=broken.parent)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_cache_info_and_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETSCRIBE_CACHE", str(tmp_path))
    store = DiskStore(tmp_path / "stages")
    for inputs in ("aa11", "bb22"):
        store.get_or_make("activity", inputs, "01", lambda: ["x" * 1000])
    store.get_or_make("words", "aa11", "01", lambda: [1])
    (tmp_path / "models").mkdir()
    shown = run_meetscribe("cache", "info").stdout.splitlines()
    assert [line.split()[:2] for line in shown[1:4]] == [
        ["activity", "2"],
        ["words", "1"],
        ["all", "3"],
    ]
    assert "at most 500.0 MB" in shown[-1]
    assert (
        run_meetscribe("cache", "clear", "--unused-days", "1").stdout == "deleted 0 results, 0 B\n"
    )
    assert run_meetscribe("cache", "clear").stdout == "deleted 3 results, 2.1 kB\n"
    assert json.loads(run_meetscribe("cache", "info", "--json").stdout)["entries"] == 0
    assert (tmp_path / "models").is_dir()
    monkeypatch.setenv("MEETSCRIBE_CACHE_LIMIT", "lots")
    done = run_meetscribe("cache", "info")
    assert (done.returncode, "MEETSCRIBE_CACHE_LIMIT" in done.stderr) == (2, True)


ROWS = (
    Row("a", State.DONE, 3600.0, 600.0, 6.0, 1, 2, 900, "en", 1, warnings=("one", "two")),
    Row("=b|c", State.FAILED, error="a.wav: no\naudio", hint="record it", sources=("x", "y")),
    Row("d\udce9", State.LEFT),
)


def test_summary_is_written_three_ways() -> None:
    summary = Summary(ROWS, 12.34)
    table = to_csv(summary).splitlines()
    assert table[0].startswith("recording,state,duration_s")
    assert table[2].startswith("'=b|c,failed,")
    assert len(table) == 4
    made = json.loads(to_json(summary))
    assert (made["done"], made["failed"], made["left"], made["wall_s"]) == (1, 1, 1, 12.3)
    page = to_markdown(summary)
    assert "3 recordings, 1.0 h: 1 done, 1 failed, 1 left." in page
    assert "| =b\\|c | a.wav: no audio | record it |" in page
    assert "| a | done | 1:00:00 | 6.0 × | 2 | 900 | one; two |" in page


def everything(shown: BatchView) -> None:
    with shown:
        shown.start(3, 2, 2)
        shown.begun(Begun("a", "worker 1", 60.0, 1), attempt=1)
        shown.moved(Moved("a", "recognize", 0.5))
        shown.standing(Standing(3, 1, 1, 1, 5.0, 62.0))
        shown.again("a", "crashed", attempt=2)
        shown.note("waiting")
        for row in ROWS[:2]:
            shown.ended(row, transcribed=row.state is State.DONE)
        shown.error("a place", "a step")


@pytest.mark.parametrize("kind", ["plain", "rich", "json", "quiet"])
def test_views_say_what_matters(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    everything(view("auto" if kind == "quiet" else kind, quiet=kind == "quiet"))
    said = stream.getvalue()
    assert "a.wav: no" in said
    assert "a step" in said
    if kind == "json":
        kinds = [json.loads(line)["event"] for line in said.splitlines()]
        expected = ["batch", "begin", "progress", "standing", "again", "note", "end", "end"]
        assert kinds == [*expected, "error"]
    elif kind == "quiet":
        assert "worker" not in said
    else:
        assert "3 recordings, 1 known already, 2 to do with 2 workers" in said
        assert "a: 1:00:00, 2 speakers, 900 words, 6.0 times real time, 2 notes" in said
        assert "a: crashed; attempt 2 follows" in said


def test_a_reader_that_went_away_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        everything(view("plain", quiet=False))
