"""A recording that was killed in the middle goes on there, and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from meetscribe.activity import segmentation, voiceprint
from meetscribe.activity.units import Unit
from meetscribe.engines import stages
from meetscribe.engines.run import KeptParts
from meetscribe.engines.stream_words import Judge
from meetscribe.pipeline.store import DiskStore
from meetscribe.types import NoStore, Parts, Utterance, all_at_once
from tests.conftest import SAMPLE

MEASURED = ("created", "timings_s", "cpu_s", "peak_memory_mb")
SETTINGS = """schema: 1
engine: cascade
cascade:
  language: en
  recognizer: {longest_piece_s: 7, bridge_s: 0.5, beam_size: 1, batch_size: 1}
"""


def run(
    cache: Path, pipeline: Path, audio: Path, folder: Path, end: str = "never"
) -> dict[str, int] | None:
    """Give what was made, None for a run that was killed."""
    cache.mkdir(exist_ok=True)
    if not (cache / "models").exists():
        (cache / "models").symlink_to(Path(os.environ["MEETSCRIBE_CACHE"]) / "models")
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.resume_run", pipeline, audio, folder, end],
        env={**os.environ, "MEETSCRIBE_CACHE": str(cache)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, -9}, done.stderr
    assert (done.returncode == -9) == (end != "never")
    return json.loads(done.stdout) if done.stdout else None


def results(folder: Path) -> tuple[str, bytes]:
    made = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    for measured in MEASURED:
        made["provenance"].pop(measured, None)
    return json.dumps(made), (folder / "a.srt").read_bytes()


def kept(cache: Path) -> list[str]:
    return [path.name.split(".")[1] for path in (cache / "stages").rglob("*.json")]


@pytest.mark.slow
@pytest.mark.weights
def test_one_signal_goes_on_after_each_kill(tmp_path: Path) -> None:
    samples_nc, rate = soundfile.read(SAMPLE, start=36 * 16_000, stop=66 * 16_000)
    soundfile.write(tmp_path / "a.wav", samples_nc[:, 0], rate)
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(SETTINGS)
    given = pipeline, tmp_path / "a.wav"
    whole = run(tmp_path / "one", *given, tmp_path / "whole")
    assert whole is not None
    parts = ("activity-parts", "words-parts")
    assert all(whole[name] > 3 for name in parts), whole

    cache, out = tmp_path / "two", tmp_path / "out"
    run(cache, *given, out, "activity:0.6")  # most windows are heard
    first = kept(cache)
    assert set(first) == {"activity-parts"}
    run(cache, *given, out, "activity:0.9")  # and most voices
    second = kept(cache)
    assert len(second) > len(first)
    run(cache, *given, out, "recognize:0.8")
    third = kept(cache)
    assert set(third) == {"activity", "words-parts"}, "finished stages leave no parts"
    rest = run(cache, *given, out)
    assert rest is not None
    assert results(out) == results(tmp_path / "whole")
    assert "activity" not in rest
    assert rest["words-parts"] == whole["words-parts"] - third.count("words-parts")
    assert 1 <= rest["words-parts"] <= 2
    assert not [name for name in kept(cache) if name.endswith("-parts")]


@pytest.mark.slow
@pytest.mark.weights
def test_an_array_goes_on_and_compares_voices_once(tmp_path: Path) -> None:
    samples_nc, rate = soundfile.read(SAMPLE, start=36 * 16_000, stop=66 * 16_000)
    soundfile.write(tmp_path / "a.wav", samples_nc[:, :3], rate, subtype="PCM_16")
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(SETTINGS + "  separation: {block_s: 8, context_s: 2}\n")
    given = pipeline, tmp_path / "a.wav"
    whole = run(tmp_path / "one", *given, tmp_path / "whole")
    assert whole is not None
    assert whole["streams-parts"] > 3
    assert whole["streams-voices-parts"] > 1

    cache, out = tmp_path / "two", tmp_path / "out"
    run(cache, *given, out, "underneath:0.7")
    before = kept(cache)
    assert before.count("underneath-parts") >= 2
    run(cache, *given, out, "recognize:0.75")
    third = kept(cache)
    rest = run(cache, *given, out)
    assert rest is not None
    assert results(out) == results(tmp_path / "whole")
    for name in ("streams-parts", "streams-voices-parts"):
        assert third.count(name) >= 1, name
        assert rest[name] == whole[name] - third.count(name), name
    assert "streams-cuts-parts" not in rest
    assert not [name for name in kept(cache) if name.endswith("-parts")]


class Noise:
    """Ever the same noise, as an ``AudioReader``."""

    duration = 30.0

    def read(self, start: float, end: float) -> np.ndarray:
        samples_n = np.random.default_rng(0).normal(0, 0.1, 30 * 16_000).astype(np.float32)
        return samples_n[round(start * 16_000) : round(end * 16_000)]


class DiesError(Exception):
    """In place of a kill."""


def test_windows_and_voices_are_heard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(segmentation, "_PART_WINDOWS", 8)
    monkeypatch.setattr(voiceprint, "_PART_UNITS", 4)
    heard: list[int] = []

    def network(samples_bn: torch.Tensor) -> torch.Tensor:
        if len(heard) == dies_at:
            raise DiesError
        heard.append(len(samples_bn))
        return samples_bn[:, : 589 * 7].reshape(-1, 589, 7).log_softmax(dim=2)

    def printer(samples_n: np.ndarray, spans: list[tuple[float, float]]) -> np.ndarray:
        return network(torch.from_numpy(samples_n[None, : 589 * 7])).numpy()[0, : len(spans), :2]

    units = [Unit(0, 50 * number, 50 * number + 40, run=number // 2) for number in range(11)]

    def both(keep: Parts[Any]) -> bytes:
        windows = segmentation.segment(Noise(), network, step_frames=59, batch_size=4, keep=keep)
        prints_ud = voiceprint.voiceprints(Noise(), units, printer, keep=keep)
        assert len(prints_ud) == len(units)
        return windows.activity_wtk.tobytes() + prints_ud.tobytes()

    monkeypatch.setattr(voiceprint, "VOICEPRINT_SIZE", 2)
    dies_at = -1
    whole = both(all_at_once)
    calls, heard = heard, []
    store = DiskStore(tmp_path)
    parts = KeptParts(store, "a-parts", "abcd", "01", stages.array_to_json, stages.array_from_json)
    for dies_at in (4, 9):  # noqa: B007 - the network looks at it
        with pytest.raises(DiesError):
            both(parts)
    dies_at = -1
    assert both(parts) == whole
    # of the parts that were not ready twice is heard what had been, and nothing else
    assert len(calls) < len(heard) <= len(calls) + 2 * 2
    heard.clear()
    assert both(parts) == whole
    assert not heard


def test_parts_come_back_to_the_bit(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    array = np.random.default_rng(0).random((5, 7, 3)).astype(np.float16)
    made = []
    for where in (store, store, NoStore()):
        parts = KeptParts(
            where, "a-parts", "abcd", "01", stages.array_to_json, stages.array_from_json
        )
        again = parts(("windows", 0), lambda: made.append(1) or array)
        assert again.dtype == array.dtype
        assert again.tobytes() == array.tobytes()
        assert again.shape == array.shape
    assert len(made) == 2, "the second time it is not made"
    other = KeptParts(store, "a-parts", "abcd", "02", list, list)
    other(1, lambda: [1])
    KeptParts(store, "a-parts", "abcd", "01", list, list).forget()
    assert store.info().stages["a-parts"][0] == 1, "those of other settings stay"


def test_parts_keep_to_the_limit_of_the_cache(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, limit_bytes=20_000)
    parts = KeptParts(store, "a-parts", "abcd", "01", list, list)
    for number in range(100):
        parts(number, lambda: ["x" * 1000])
    assert store.info().num_bytes <= 1.1 * 20_000


def test_what_changes_later_is_compared_again() -> None:
    asked: list[list[float]] = []

    def likeness(some: list[Utterance]) -> list[tuple[str, float, float, dict[str, float]]]:
        asked.append([one.start for one in some])
        return [(one.speaker, one.start, one.end, {"a": one.end}) for one in some]

    said = [Utterance("a", at, at + 1.0, "word") for at in (0.0, 100.0, 290.0, 500.0, 700.0)]
    judge = Judge(lambda heard: said[: len(heard["a"])], likeness)
    judge.so_far({"a": [0]}, 200.0)  # no chapter is over
    judge.so_far({"a": [0, 1, 2]}, 370.0)
    judge.so_far({"a": [0, 1, 2, 3]}, 600.0)  # nor is the second
    found = judge.all_of({"a": [0, 1, 2, 3, 4]})
    assert asked == [[0.0, 100.0, 290.0], [500.0, 700.0]]
    assert found == [("a", one.start, one.end, {"a": one.end}) for one in said]
