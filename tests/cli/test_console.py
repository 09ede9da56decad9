"""Progress: clean on a terminal, JSON where JSON is promised, never in the way of a result."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from meetscribe.cli.console import JsonEvents, Live, Plain
from tests.conftest import run_meetscribe


def test_bars_are_still_when_the_result_is_printed() -> None:
    live = Live(io.StringIO())
    live._console = Console(file=live.stream, force_terminal=True, width=80)
    with live:
        for session in ("first", "second"):
            before = sys.stdout
            live.start(session)
            live.progress("read", 0.5)
            live.progress("read", 1.0)
            live.finish()
            end = live.stream.tell()
            assert sys.stdout is before
            live.note("done")
        written = live.stream.getvalue()[end:]
    assert written.strip() == "done"


def test_json_progress_is_json_to_the_last_line() -> None:
    stream = io.StringIO()
    with JsonEvents(stream) as shown:
        shown.start("standup")
        shown.progress("read", 1.0)
        shown.error("a.wav: no\nsuch file", "check it")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["start", "progress", "error"]
    done = run_meetscribe("transcribe", "missing.wav", "--progress", "json")
    assert done.returncode == 3
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert event["event"] == "error"
    assert "missing.wav" in event["text"]
    assert event["hint"]


def test_time_left_of_what_goes_on_is_that_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("meetscribe.cli.console.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Plain(stream) as shown:
        shown.start("training")
        shown.progress("train", 0.5)
        now[0] = 60.0
        shown.progress("train", 0.75)
        now[0] = 120.0
        shown.progress("train", 1.0)
        shown.progress("read", 1.0)
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()[1:]] == [
        "75%, about 60 s left",
        "done in 120.0 s",
        "done in 0.0 s",
    ]


def test_no_reader_of_progress_costs_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    shown = Plain(Gone())
    shown.start("standup")
    shown.progress("read", 1.0)
    shown.stream = None
    shown.start("standup")


def test_reader_of_the_result_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "meetscribe", "models", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", [[], ["-o", "out"]])
def test_recordings_with_one_name_for_their_results_are_refused(
    folder: list[str],
) -> None:
    names = ["mon/a.wav", "tue/a.mp3"] if folder else ["a.wav", "a.mp3"]
    done = run_meetscribe("transcribe", *names, *folder, "--force")
    assert done.returncode == 2
    assert "a.json" in done.stderr
    assert "hint:" in done.stderr
