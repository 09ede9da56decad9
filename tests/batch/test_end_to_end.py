"""A batch that is killed and started again ends with what an undisturbed run gives."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLE, run_meetscribe

pytestmark = pytest.mark.weights

MEASURED = ("created", "timings_s", "cpu_s", "peak_memory_mb")
ONE_THREAD = ("--threads", "1", "--language", "en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with speech, silence, a session of two files, and files that are no good."""
    path = tmp_path_factory.mktemp("recordings")
    (path / "sub").mkdir()
    samples, rate = soundfile.read(SAMPLE, stop=4 * 16_000, dtype="float32")
    soundfile.write(path / "speech.wav", samples[:, 0], rate)
    soundfile.write(path / "sub" / "more.flac", samples[rate:, 0], rate)
    for number in range(4):
        soundfile.write(path / f"quiet{number}.wav", np.zeros(8000 + number), 16_000)
        soundfile.write(path / f"set_ch{number}.wav", np.zeros(4000), 16_000)
    (path / "text.wav").write_text("not a recording")
    (path / "empty.mp3").touch()
    return path


def events(stderr: str, kind: str) -> list[dict[str, Any]]:
    made = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [event for event in made if event["event"] == kind]


def results(folder: Path, name: str) -> tuple[Any, ...]:
    made = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    for measured in MEASURED:
        made["provenance"].pop(measured, None)
    others = [(folder / f"{name}{end}").read_bytes() for end in (".txt", ".srt", ".rttm")]
    return json.dumps(made), *others


def killed_after_the_first(args: list[str]) -> set[str]:
    """Kill a batch in the middle; give what was finished."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "meetscribe", *args], stderr=subprocess.PIPE, text=True
    )
    assert parent.stderr is not None
    finished = set()
    for line in parent.stderr:
        event = json.loads(line)
        if event["event"] == "end" and event["transcribed"]:
            finished.add(event["recording"])
        if finished and event["event"] == "begin":
            break
    parent.kill()
    parent.wait()
    parent.stderr.close()
    time.sleep(0.5)
    return finished


def test_killed_and_started_again(folder: Path, tmp_path: Path) -> None:
    good = ["speech", "sub/more", *(f"quiet{number}" for number in range(4))]
    reference, out = tmp_path / "reference", tmp_path / "out"
    files = [next(folder.glob(f"{name}.*")) for name in good]
    # stages of its own: what the batch makes must be its own work
    own = {"MEETSCRIBE_CACHE": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    models = Path(os.environ["MEETSCRIBE_CACHE"]) / "models"
    (tmp_path / "cache" / "models").symlink_to(models)
    done = run_meetscribe("transcribe", *files, "-o", reference, *ONE_THREAD, "-q", env=own)
    assert done.returncode == 0, done.stderr

    args = ["batch", str(folder), "-o", str(out), "--group-channels", r"_ch\d", *ONE_THREAD]
    args += ["--workers", "1", "--progress", "json"]
    finished = killed_after_the_first(args)
    assert finished

    done = run_meetscribe(*args)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    again = {end["recording"] for end in events(done.stderr, "end") if end["transcribed"]}
    assert not finished & again
    assert finished | again == {*good, "set"}
    for name in good:
        found = results(out, name)
        assert found == results(reference, Path(name).name)
    assert not list(out.rglob("*.part"))
    with (out / "summary.csv").open(encoding="utf-8") as file:
        rows = {row["recording"]: row for row in csv.DictReader(file)}
    assert {name for name, row in rows.items() if row["state"] == "failed"} == {"text", "empty"}
    assert "expected a sound recording" in rows["text"]["error"]
    assert rows["set"]["channels"] == "4"
    assert float(rows["speech"]["speed"]) > 0
    assert "| text |" in (out / "summary.md").read_text(encoding="utf-8")

    done = run_meetscribe(*args)
    assert done.returncode == 5
    assert not events(done.stderr, "begin")
    assert events(done.stderr, "batch")[0]["todo"] == 0
    before = {path: path.stat().st_ino for path in out.glob("*.json")}
    done = run_meetscribe(*args, "-f", "vtt")
    assert not [end for end in events(done.stderr, "end") if end["transcribed"]]
    assert len(list(out.rglob("*.vtt"))) == len(good) + 1
    assert all(
        path.stat().st_ino == inode for path, inode in before.items() if "summary" not in path.name
    )


def test_other_content_of_the_same_size_and_time_is_found_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "in" / "quiet.wav"
    path.parent.mkdir()
    soundfile.write(path, np.zeros(8000), 16_000)
    args = ("batch", path.parent, "-o", tmp_path / "out", *ONE_THREAD, "--workers", "1")
    # where a batch is started lie other people's files, too; the installed command skips them
    (tmp_path / "calendar.py").write_text("raise SystemExit('not the library')")
    installed = [sys.executable, "-P", "-m", "meetscribe"]
    done = subprocess.run(
        [*installed, *args], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\1" * 100)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run_meetscribe(*args).returncode == 0
    done = run_meetscribe(*args, "--verify")
    assert done.returncode == 5
    assert "made from other audio" in done.stderr
    done = run_meetscribe(*args, "--verify", "--force", "--progress", "json")
    assert done.returncode == 0
    assert [end["recording"] for end in events(done.stderr, "end") if end["transcribed"]]


def test_another_recogniser_keeps_the_activity(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "speech.wav").symlink_to(folder / "speech.wav")
    other = tmp_path / "other.yaml"
    other.write_text("schema: 1\nengine: cascade\ncascade:\n  recognizer: {beam_size: 1}\n")
    args = ["batch", tmp_path / "in", "-o", tmp_path / "out", *ONE_THREAD, "-q", "--workers", "1"]
    assert run_meetscribe(*args, "--pipeline", "mono").returncode == 0
    refused = run_meetscribe(*args, "--pipeline", other)
    assert refused.returncode == 6
    assert "made with other options" in refused.stderr
    assert run_meetscribe(*args, "--pipeline", other, "--force").returncode == 0
    kept = json.loads(run_meetscribe("cache", "info", "--json").stdout)["stages"]
    assert kept["activity"]["entries"] == 1
    assert kept["words"]["entries"] == 2
    made = json.loads((tmp_path / "out" / "speech.json").read_text())
    assert made["provenance"]["settings"]["recognizer"]["beam_size"] == 1


def test_asked_to_end_it_ends_and_says_what_is_left(folder: Path, tmp_path: Path) -> None:
    args = ["batch", str(folder), "-o", str(tmp_path / "out"), *ONE_THREAD, "--progress", "json"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "meetscribe", *args, "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stderr is not None
    for line in parent.stderr:
        if json.loads(line)["event"] == "begin":
            break
    parent.send_signal(signal.SIGTERM)
    last = parent.stderr.read().splitlines()[-1]
    parent.stderr.close()
    assert parent.wait(timeout=120) == 130
    assert "interrupted" in json.loads(last)["text"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["left"] > 0
    assert not list((tmp_path / "out" / ".meetscribe" / "locks").glob("*.lock"))
