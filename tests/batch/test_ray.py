"""Batches on Ray: the same results as in processes of this machine, whatever dies."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from meetscribe.batch import ray_pool
from meetscribe.batch.plan import Request
from meetscribe.batch.pool import ProcessPool
from meetscribe.batch.ray_pool import LOCAL, RayPool
from meetscribe.batch.ray_worker import RayWorker
from meetscribe.batch.run import Limits
from meetscribe.batch.start import prepare
from meetscribe.batch.summary import State
from meetscribe.batch.tasks import Begun, Executor, Outcome, Task
from meetscribe.errors import ConfigError, DependencyError
from meetscribe.pipeline.runner import Runner
from tests.batch import fake_worker
from tests.batch.conftest import Heard, Ran
from tests.conftest import SAMPLE, run_meetscribe

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)"
)
WORDS = {"pipeline": "mono", "threads": 1, "language": "en", "offline": True}
MEASURED = ("created", "timings_s", "cpu_s", "peak_memory_mb")


class Troublesome(RayWorker):
    """Makes trouble as the names of recordings say, and loads nothing."""

    def __init__(self, words: Mapping[str, Any], label: str, *_: object) -> None:
        super().__init__(words, label, {}, ".")
        self._worker = _Fake(label)


class _Fake:
    def __init__(self, label: str) -> None:
        self.label = label

    def run(self, task: Task, emit: Any) -> Outcome:
        emit(Begun(task.name, self.label, 1.0, 1))
        if task.session_id.startswith("wait"):
            # until somebody has seen that it is at work, and ended it
            flag = Path(task.sources[0]).with_suffix(".at_work")
            there = flag.exists()
            flag.write_text(str(os.getpid()))
            time.sleep(0 if there else 600)
        fake_worker.trouble(task)
        return fake_worker.outcome(task)


def quiet_ray() -> Any:
    """Give the library as the batch has it."""
    return ray_pool._library()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Start Ray once for all tests: that is what takes the time."""
    pytest.importorskip("ray")
    ray = quiet_ray()
    ray_pool._connect(ray, LOCAL, cores=2, num_gpus=0.0)
    yield ray
    ray.shutdown()


def batch(folder: Path, out: Path, executor: Executor, **limits: Any) -> Ran:
    described = Runner.of(**WORDS).describe() if limits.pop("real", False) else {}
    request = Request(str(out), ("json", "txt", "srt"), described)
    prepared = prepare([str(folder)], request)
    heard = Heard()
    job = prepared.batch(executor, heard, Limits(**limits))
    return Ran(job.run(prepared.sessions, prepared.plan), heard, job, prepared)


def results(folder: Path) -> dict[str, bytes]:
    """Give all results and records by name, without what was measured."""
    found = {}
    for path in sorted(folder.rglob("*.*")):
        if path.suffix == ".json":
            made = json.loads(path.read_text(encoding="utf-8"))
            for measured in MEASURED:
                made.get("provenance", {}).pop(measured, None)
            made.get("outcome", {}).pop("seconds", None)
            text = json.dumps(made).replace(str(folder), "OUT")
            found[str(path.relative_to(folder))] = text.encode()
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@needs_ray
@pytest.mark.weights
@pytest.mark.usefixtures("ray")
def test_the_same_results_as_of_processes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    samples, rate = soundfile.read(SAMPLE, stop=3 * 16_000, dtype="float32")
    soundfile.write(folder / "speech.wav", samples[:, 0], rate)
    soundfile.write(folder / "quiet.wav", np.zeros(8000), 16_000)
    (folder / "text.wav").write_text("not a recording")
    words = {**WORDS, "no_cache": True}
    one = batch(folder, tmp_path / "pool", ProcessPool(words, workers=1), real=True)
    pool = RayPool(words, address=LOCAL, workers=2, threads=1)
    two = batch(folder, tmp_path / "ray", pool, real=True)
    states = {row.recording: row.state for row in two.summary.rows}
    assert states == {"quiet": State.DONE, "speech": State.DONE, "text": State.FAILED}
    assert results(tmp_path / "ray") == results(tmp_path / "pool")
    assert [row.error for row in two.summary.rows] == [row.error for row in one.summary.rows]
    assert len(two.heard.begins) == 2
    assert len(list((tmp_path / "ray").glob("speech.*"))) == 3


@needs_ray
@pytest.mark.usefixtures("ray")
def test_every_recording_ends_in_one_way(recordings: Any, tmp_path: Path) -> None:
    folder = recordings("a.wav", "bad.wav", "sub/b.wav", "kill-once.wav", "kill.wav")
    pool = RayPool({}, address=LOCAL, workers=2, threads=1, worker=Troublesome)
    ran = batch(folder, tmp_path / "out", pool, retries=1)
    done, failed = State.DONE, State.FAILED
    expected = {"a": done, "bad": failed, "kill": failed, "kill-once": done, "sub/b": done}
    assert {row.recording: row.state for row in ran.summary.rows} == expected
    assert ran.row("bad").error == "no audio"
    assert ran.row("kill").error == "the worker process was killed, or crashed (2 attempts)"
    assert sorted(ran.heard.transcribed) == ["a", "kill-once", "sub/b"]
    assert not list((tmp_path / "out" / ".meetscribe" / "locks").glob("*.lock"))


@needs_ray
@pytest.mark.usefixtures("ray")
def test_killed_worker_process_costs_one_attempt(recordings: Any, tmp_path: Path) -> None:
    folder = recordings("wait.wav", "a.wav", "b.wav", "c.wav")
    flag = folder / "wait.at_work"

    def kill() -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and not (flag.exists() and flag.read_text()):
            time.sleep(0.05)
        os.kill(int(flag.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    pool = RayPool({}, address=LOCAL, workers=2, threads=1, worker=Troublesome)
    ran = batch(folder, tmp_path / "out", pool)
    killer.join()
    assert {row.state for row in ran.summary.rows} == {State.DONE}
    assert ran.heard.repeats == [("wait", "the worker process was killed, or crashed")]
    assert ran.row("wait").attempts == 2
    assert ran.row("a").attempts == 1


@needs_ray
@pytest.mark.usefixtures("ray")
def test_hang_is_ended(recordings: Any, tmp_path: Path) -> None:
    pool = RayPool({}, address=LOCAL, workers=1, threads=1, worker=Troublesome)
    limits = {"timeout_factor": 0.1, "timeout_floor_s": 3.0, "retries": 0}
    ran = batch(recordings("hang.wav", "good.wav"), tmp_path / "out", pool, **limits)
    assert ran.row("hang").error == "no end after 3 s"
    assert ran.row("good").state is State.DONE


@needs_ray
@pytest.mark.usefixtures("ray")
def test_what_no_node_has_is_said() -> None:
    with pytest.raises(ConfigError, match=r"no node has room for a worker of 1 cores, 0\.5 GPUs"):
        RayPool({}, address=LOCAL, workers=1, threads=1, num_gpus=0.5)


def test_missing_ray_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError) as caught:
        RayPool({}, address=LOCAL, workers=1, threads=1)
    assert "pip install 'meetscribe[ray]'" in caught.value.hint


def test_workers_that_fit() -> None:
    node = {"CPU": 16.0, "GPU": 2.0, "memory": 40e9}
    assert ray_pool._fits(node, {"CPU": 1.0, "GPU": 0.0, "memory": 0.0}) == 16
    assert ray_pool._fits(node, {"CPU": 3.0, "GPU": 0.0}) == 5
    assert ray_pool._fits(node, {"CPU": 1.0, "GPU": 0.1, "memory": 2e9}) == 20 - 4
    assert ray_pool._fits({"CPU": 4.0}, {"CPU": 1.0, "GPU": 0.5}) == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--num-gpus", "0.5"], "--num-gpus shares GPUs out among the workers of --ray"),
        (["--ray", "auto", "--memory", "4GB"], "--memory is of this machine"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, args: list[str], said: str) -> None:
    (tmp_path / "a.wav").touch()
    done = run_meetscribe("batch", tmp_path / "a.wav", "-o", tmp_path / "out", *args)
    assert done.returncode == 2
    assert said in done.stderr


@needs_ray
def test_cluster_that_does_not_answer_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    args = ("batch", tmp_path / "a.wav", "-o", tmp_path / "out", "--ray")
    done = run_meetscribe(*args, "127.0.0.1:9")
    assert done.returncode == 2, done.stderr
    assert "--ray 127.0.0.1:9: no Ray cluster answers" in done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_meetscribe(*args, "ray://127.0.0.1:10001")
    assert done.returncode == 2
    assert "Ray's client" in done.stderr
