"""What a worker makes of recordings that are no good, and of places that fail around it."""

from __future__ import annotations

import errno
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe.batch.pool import ProcessPool
from meetscribe.batch.tasks import Begun, Ended, Event, Lost, Moved, Outcome, Task, Verdict
from meetscribe.batch.wire import event_line, parse_event
from meetscribe.batch.work import Worker
from meetscribe.errors import AudioError
from tests.batch.conftest import FAKE


def task(tmp_path: Path, *sources: Path, **changed: object) -> Task:
    made = Task(
        name="a",
        session_id="a",
        sources=tuple(map(str, sources)),
        folder=str(tmp_path / "out"),
        formats=("json", "txt"),
    )
    return replace(made, **changed)


def work(asked: Task, **words: object) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    worker = Worker({"pipeline": "mono", "threads": 1, **words}, label="worker 1")
    return worker.run(asked, events.append), events


def silence(path: Path, seconds: float = 0.5) -> Path:
    soundfile.write(path, np.zeros(int(seconds * 16_000)), 16_000)
    return path


@pytest.mark.weights
def test_recording_of_silence_is_done_and_then_done_already(tmp_path: Path) -> None:
    asked = task(tmp_path, silence(tmp_path / "a.wav"))
    outcome, events = work(asked)
    assert (outcome.verdict, outcome.error) == (Verdict.DONE, "")
    assert outcome.duration == 0.5
    assert len(outcome.content_hash) == 64
    assert [Path(path).name for path in outcome.written] == ["a.json", "a.txt"]
    assert isinstance(events[0], Begun)
    assert any(isinstance(event, Moved) for event in events)
    again, _ = work(replace(asked, formats=("json", "txt", "srt")))
    assert again.already_done
    assert [Path(path).name for path in again.written] == ["a.srt"]
    assert again.run_hash == outcome.run_hash


@pytest.mark.weights
def test_little_memory_gives_the_same_run(tmp_path: Path) -> None:
    asked = task(tmp_path, silence(tmp_path / "a.wav"))
    one, _ = work(asked)
    two, _ = work(replace(asked, folder=str(tmp_path / "other"), little_memory=True))
    assert one.run_hash == two.run_hash != ""


@pytest.mark.weights
def test_forced_with_other_looks_runs_no_model(tmp_path: Path) -> None:
    asked = task(tmp_path, silence(tmp_path / "a.wav"))
    work(asked)
    made = json.loads((tmp_path / "out" / "a.json").read_text())
    forced, _ = work(replace(asked, looks={"max_lines": 1}, force=True))
    assert forced.already_done
    now = json.loads((tmp_path / "out" / "a.json").read_text())
    assert now["provenance"]["render_options"] == {"max_lines": 1}
    assert now["provenance"]["created"] == made["provenance"]["created"]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"hello " * 99, "text, expected a sound")]
)
def test_what_is_no_recording_is_bad(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    outcome, _ = work(task(tmp_path, tmp_path / "a.wav"))
    assert outcome.verdict is Verdict.BAD
    assert reason in outcome.error
    assert outcome.hint
    assert outcome.signature


def test_share_that_vanished_is_worth_another_attempt(tmp_path: Path) -> None:
    outcome, _ = work(task(tmp_path, tmp_path / "gone" / "a.wav"))
    assert outcome.verdict is Verdict.TROUBLE
    assert "no such file" in outcome.error


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_share_that_fails_while_it_is_read_is_worth_another_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # the module: `meetscribe.ingest` gives the function of the same name
    probe = importlib.import_module("meetscribe.ingest.probe")

    def fails(_path: Path) -> str:
        cause = OSError(code, os.strerror(code))
        raise AudioError(f"a.wav: {cause.strerror}") from cause

    monkeypatch.setattr(probe, "_file_hash", fails)
    outcome, _ = work(task(tmp_path, silence(tmp_path / "a.wav")))
    assert (outcome.verdict, outcome.writing) == (Verdict.TROUBLE, False)


def test_file_in_the_way_and_option_that_does_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("mine")
    outcome, _ = work(task(tmp_path, silence(tmp_path / "a.wav")))
    assert outcome.verdict is Verdict.REFUSED
    assert "is there already" in outcome.error
    assert (tmp_path / "out" / "a.txt").read_text() == "mine"


def test_missing_weights_are_hopeless(tmp_path: Path) -> None:
    outcome, _ = work(task(tmp_path, silence(tmp_path / "a.wav")), offline=True)
    assert outcome.verdict is Verdict.HOPELESS


@pytest.mark.weights
def test_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    asked = task(tmp_path, silence(tmp_path / "a.wav"))
    work(replace(asked, folder=str(tmp_path / "first")))  # the stages are kept from now on
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        outcome, _ = work(asked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (outcome.verdict, outcome.writing) == (Verdict.TROUBLE, True), outcome
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert work(asked)[0].verdict is Verdict.DONE


@pytest.mark.weights
def test_urls_for_recordings_and_results(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    silence(tmp_path / "a.wav")
    asked = task(tmp_path, sources=(f"file://{tmp_path}/a.wav",), folder=f"file://{tmp_path}/out")
    first, _ = work(asked)
    assert first.verdict is Verdict.DONE, first.error
    assert first.written == tuple(f"file://{tmp_path}/out/a.{end}" for end in ("json", "txt"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.txt"]
    assert json.loads((tmp_path / "out" / "a.json").read_text())["provenance"]["input"][
        "files"
    ] == ["a.wav"]
    assert work(asked)[0].already_done


def test_events_survive_the_pipe() -> None:
    outcome = Outcome(Verdict.DONE, warnings=("weiß\udce9",), signature=([1, 2, 3],), duration=0.1)
    for event in (Begun("a", "w", 1.5, 2), Moved("b/ü", "read", 0.5), Ended("c", outcome)):
        line = event_line(event)
        assert line.isascii()
        assert parse_event(line) == event
    assert parse_event(event_line(Lost("a", "gone"))) == Lost("a", "gone")
    assert parse_event('{"event": "ready"}') is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom meetscribe.batch.pool import ProcessPool\n"
        "from meetscribe.batch.tasks import Task\n"
        "pool = ProcessPool({}, workers=2)\n"
        "for name in 'ab':\n"
        "    pool.submit(Task(name, name, (sys.argv[1],), sys.argv[2], ('json',)))\n"
        "print(*(worker.process.pid for worker in pool._processes), flush=True)\ntime.sleep(60)\n"
    )
    # a pipe without a writer: reading it never ends
    os.mkfifo(tmp_path / "a.wav")
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.wav"), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ends = time.monotonic() + 60
    while any(map(_lives, workers)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(map(_lives, workers))
    assert len(workers) == 2


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_closing_ends_all_workers(tmp_path: Path, recordings: Callable[..., Path]) -> None:
    folder = recordings("hang.wav", "ok.wav")
    pool = ProcessPool({}, workers=2, command=FAKE)
    for name in ("hang", "ok"):
        pool.submit(task(tmp_path, folder / f"{name}.wav", name=name, session_id=name))
    ends = time.monotonic() + 60
    seen: list[Event] = []
    while not any(isinstance(event, Ended) for event in seen) and time.monotonic() < ends:
        seen += pool.poll(0.5)
    pids = [worker.process.pid for worker in pool._processes]
    pool.close()
    assert len(pids) == 2
    assert not any(map(_lives, pids))
