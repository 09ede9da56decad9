"""A miniature AMI and a miniature AliMeeting: prepare, transcribe, score; stopped and gone on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLE, run_meetscribe
from tests.evaluate import builders

pytestmark = pytest.mark.weights
SECONDS = 14.0
RATE_HZ = 16_000


def reference_words() -> dict[str, list[builders.Words]]:
    """Give the sample's first seconds as AMI writes them, word times by equal shares."""
    agents: dict[str, list[builders.Words]] = {"A": [], "B": [], "C": [], "D": []}
    people = dict(zip(("S1", "S2", "S3", "S4"), agents, strict=True))
    for part in json.loads(SAMPLE.with_name("meeting.seglst.json").read_text(encoding="utf-8")):
        words, start = part["words"].split(), part["start_time"]
        if part["end_time"] > SECONDS:
            continue
        step = (part["end_time"] - start) / len(words)
        times = [round(start + step * number, 2) for number in range(len(words) + 1)]
        said = [word.strip(".,?!'").replace("'", "&#39;") for word in words]
        agents[people[part["speaker"]]].append(
            list(zip(said, times[:-1], times[1:], strict=True))  # type: ignore[arg-type]
        )
    return agents


def run(*args: str | Path, cwd: Path, code: Sequence[int] = (0,)) -> str:
    done = run_meetscribe(*args, cwd=cwd)
    assert done.returncode in code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, _ = soundfile.read(SAMPLE, stop=int(SECONDS * RATE_HZ), dtype="float32")
    return np.asarray(samples[:, 0])


@pytest.fixture(scope="module")
def ami(speech: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare two test meetings of one recording, from the official layout."""
    root = tmp_path_factory.mktemp("ami")
    meetings = dict.fromkeys(("ES2004a", "IS1009a"), reference_words())
    annotations = builders.write_ami_annotations(root / "annotations", meetings)
    archive = builders.zipped(annotations, root / "ami_public_manual_1.6.2.zip")
    audio = builders.write_ami_audio(root / "amicorpus", tuple(meetings), speech=speech)
    args = ("--audio", audio, "--annotations", archive)
    # the rest of the corpus is missing, and that is said
    run("corpus", "prepare", "ami", *args, cwd=root, code=(0, 5))
    return root


def evaluate(root: Path, condition: str, out: str, *more: str, code: Sequence[int] = (0,)) -> str:
    chosen = ("--corpus", "ami", "--condition", condition, "--split", "test")
    return run("evaluate", *chosen, "-o", out, *more, cwd=root, code=code)


def test_ami_is_prepared_transcribed_and_scored(ami: Path) -> None:
    evaluate(ami, "sdm", "sdm", "--pipeline", "mono")
    found = results(ami / "sdm")
    assert [part["session_id"] for part in found["sessions"]] == ["ES2004a", "IS1009a"]
    assert found["total"]["words"]["cpWER"]["rate"] < 0.5
    assert found["total"]["diarization"]["rate"] < 0.8
    assert found["protocol"]["reference"] == "only_words-1.6.2"
    assert found["protocol"]["channels"] == "sdm"
    assert (found["protocol"]["pipeline"], found["protocol"]["model"]) == ("mono", "whisper-base")
    rows = list(csv.DictReader(io.StringIO((ami / "sdm" / "results.csv").read_text("utf-8-sig"))))
    assert [row["session_id"] for row in rows] == ["ES2004a", "IS1009a", "total"]
    for name in ("report.md", "report.html"):
        assert "only_words-1.6.2" in (ami / "sdm" / name).read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_where_it_was(ami: Path) -> None:
    evaluate(ami, "ihm-mix", "again", "--session", "ES2004a")
    kept = ami / "again" / "transcripts" / "ES2004a.json"
    before = kept.stat().st_mtime_ns
    said = evaluate(ami, "ihm-mix", "again")
    assert "ES2004a: transcribed already" in said
    assert kept.stat().st_mtime_ns == before
    assert results(ami / "again")["protocol"]["sessions"] == "2/2"
    # other options would make other transcripts: they are not mixed
    said = evaluate(ami, "ihm-mix", "again", "--speakers", "2", code=(6,))
    assert "--force" in said


def test_a_broken_recording_is_scored_as_lost_and_the_others_go_on(ami: Path) -> None:
    track = next((ami / "amicorpus" / "IS1009a").rglob("*.Array1-01.wav"))
    whole = track.read_bytes()
    track.write_bytes(b"no audio at all")
    try:
        said = evaluate(ami, "sdm", "broken", code=(5,))
    finally:
        track.write_bytes(whole)
    assert "IS1009a" in said
    found = results(ami / "broken")
    assert found["total"]["failed"] == 1
    lost = next(part for part in found["sessions"] if part["session_id"] == "IS1009a")
    assert lost["words"]["cpWER"]["deletions"] == lost["words"]["cpWER"]["length"] > 0
    assert found["protocol"]["failed"] == "1/2 (as deletions)"


def test_a_missing_model_ends_the_run_and_keeps_the_results_before(ami: Path) -> None:
    kept = ami / "modelless" / "results.json"
    kept.parent.mkdir()
    kept.write_text("earlier")
    said = evaluate(ami, "sdm", "modelless", "--model", "nobody/nothing", "--offline", code=(4,))
    assert said.count("error: ") == 1
    assert kept.read_text() == "earlier"


def test_where_every_recording_fails_nothing_is_scored(ami: Path) -> None:
    moved = ami / "amicorpus"
    moved.rename(ami / "elsewhere")
    try:
        said = evaluate(ami, "sdm", "moved", code=(3,))
    finally:
        (ami / "elsewhere").rename(moved)
    assert "none of 2 sessions" in said
    assert not (ami / "moved" / "results.json").exists()


def test_a_reference_of_another_session_is_refused(ami: Path) -> None:
    manifest = ami / "corpora" / "ami" / "corpus.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("rttm/IS1009a.rttm", "rttm/ES2004a.rttm"), encoding="utf-8")
    try:
        said = evaluate(ami, "sdm", "odd", "--pipeline", "mono", code=(3,))
    finally:
        manifest.write_text(text, encoding="utf-8")
    assert "reference of 'IS1009a'" in said


def test_two_runs_are_compared(ami: Path) -> None:
    evaluate(ami, "sdm", "sdm", "--pipeline", "mono")
    evaluate(ami, "mdm", "mdm")
    done = run_meetscribe("compare", "sdm", "mdm", cwd=ami)
    assert done.returncode == 0, done.stderr
    assert "cpWER" in done.stdout
    assert "channels" in done.stdout


def test_alimeeting_is_prepared_transcribed_and_scored(speech: np.ndarray, tmp_path: Path) -> None:
    root = builders.write_alimeeting(tmp_path / "ali", speech=speech)
    run("corpus", "prepare", "alimeeting", "--root", root, cwd=tmp_path, code=(0, 5))
    for condition in ("far", "far-ch1", "near"):
        chosen = ("--corpus", "alimeeting", "--condition", condition, "--split", "eval")
        run("evaluate", *chosen, "-o", condition, cwd=tmp_path)
        found = results(tmp_path / condition)
        assert found["total"]["words"]["cpCER"]["length"] == 11
        assert found["total"]["diarization"]["total_s"] == pytest.approx(4.25)
        assert "by char" in found["protocol"]["normaliser"]


def test_a_session_in_which_nobody_speaks_keeps_its_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("week.1", "week.2"):
        builders.write_audio(mine / f"{name}.wav", 1.0)
        (mine / f"{name}.rttm").write_text("")
    run("evaluate", "--corpus", mine, "-o", "out", cwd=tmp_path)
    found = results(tmp_path / "out")
    assert [part["session_id"] for part in found["sessions"]] == ["week.1", "week.2"]
    assert found["total"]["failed"] == 0
