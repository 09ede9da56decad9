"""The installed command line from audio to files, with real weights on real and made audio."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLE, run_meetscribe

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give ten seconds of the sample's first channel."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    samples, rate = soundfile.read(SAMPLE, stop=10 * 16_000, dtype="float32")
    soundfile.write(path, samples[:, 0], rate)
    return path


def test_one_bad_file_does_not_cost_the_others(clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    done = run_meetscribe("transcribe", broken, clip, "-o", tmp_path / "out")
    assert done.returncode == 5, done.stderr
    assert "1 of 2 recordings failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "clip.json",
        "clip.txt",
        "clip.srt",
        "clip.rttm",
    }


def test_quiet_says_nothing_and_writes_everything(clip: Path, tmp_path: Path) -> None:
    done = run_meetscribe("transcribe", clip, "-o", tmp_path, "-f", "all", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(tmp_path.iterdir())) == 10


def test_python_gives_what_the_command_line_writes(clip: Path, tmp_path: Path) -> None:
    from meetscribe import transcribe

    done = run_meetscribe("transcribe", clip, "-o", tmp_path, "--quiet")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    made = transcribe(clip)
    assert [part["words"] for part in written["utterances"]] == [u.text for u in made.utterances]
    assert made.utterances


def test_mandarin_is_heard_and_written_in_the_script_asked_for(data: Path, tmp_path: Path) -> None:
    from opencc import OpenCC

    with (data / "speech" / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["language"] == "zh"]
    rows = [row for row in rows if float(row["duration_s"]) > 4][:4]
    audio = [soundfile.read(data / "speech" / row["path"], dtype="float32")[0] for row in rows]
    soundfile.write(tmp_path / "zh.wav", np.concatenate(audio), 16_000)
    texts = {}
    for script in ("simplified", "traditional"):
        out = tmp_path / script
        done = run_meetscribe("transcribe", tmp_path / "zh.wav", "-o", out, "--script", script)
        assert done.returncode == 0, done.stderr
        made = json.loads((out / "zh.json").read_text(encoding="utf-8"))
        assert made["language"] == "zh"
        texts[script] = "".join(part["words"] for part in made["utterances"])
    spoken = "".join(row["text"] for row in rows).replace(" ", "")
    common = set(spoken) & set(texts["simplified"])
    assert len(common) > 0.5 * len(set(spoken)), texts
    assert texts["simplified"] == OpenCC("t2s").convert(texts["simplified"])
    assert OpenCC("t2s").convert(texts["traditional"]) == texts["simplified"]
    assert texts["traditional"] != texts["simplified"]


def test_doctor_says_what_works_here() -> None:
    done = run_meetscribe("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("Python", "model", "hour"):
        assert word.lower() in done.stdout.lower()
