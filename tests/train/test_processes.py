"""Processes that train together make the steps that one would make of all their batches."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from meetscribe.errors import ConfigError
from meetscribe.train.loop import LoopSettings, train
from meetscribe.train.processes import ALONE, Launch, launch, own_device, together
from tests.conftest import REPOSITORY
from tests.train.test_loop import Line
from tests.train.tiny import tiny_training, write_config

SETTINGS = LoopSettings(
    steps=6, warmup_steps=2, learning_rate=0.05, checkpoint_every=2, score_every=3, weight_decay=0.5
)


class Uneven(Line):
    """Batches of several sizes, of which some leave a part of the network alone."""

    def batches(self, first: int, every: int = 1) -> Any:
        for batch in super().batches(first, every):
            yield batch[: 1 + int(batch[0, 0] * 1000) % 4]

    def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if len(batch) == 1:
            squares = (self.network[0](batch).sum(dim=1) - 1).square().sum()
            return squares, {"squares": squares}
        return super().loss(batch)


def play(folder: Path, kind: str) -> None:
    """Train as one of two processes; run by ``two``."""
    task = Uneven()
    calls = iter(range(99))
    with together("cpu") as processes:
        stop = lambda: kind == "stop" and processes.rank == 1 and next(calls) == 2  # noqa: E731
        if kind == "nan" and processes.rank == 1:
            task.loss = lambda batch: (  # type: ignore[method-assign]
                found := task.network(batch).sum() * float("nan"),
                {"squares": found},
            )
        identity = {"of": "test"}
        result = train(task, SETTINGS, folder, identity=identity, processes=processes, stop=stop)
        state = [one.tolist() for one in task.network.parameters()]
        told = {"step": result.step, "stopped": result.stopped, "exported": task.exported}
    told["threads"] = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    (folder / f"told{processes.rank}.json").write_text(json.dumps([told, state]))


def environment(rank: int, port: int) -> dict[str, str]:
    more = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    more |= {"MASTER_PORT": str(port), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **more}


def two(folder: Path, kind: str) -> list[Any]:
    folder.mkdir(exist_ok=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    code = (
        "from pathlib import Path; from tests.train.test_processes import play; "
        f"play(Path({str(folder)!r}), {kind!r})"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment(rank, port))
        for rank in range(2)
    ]
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    return [json.loads((folder / f"told{rank}.json").read_text()) for rank in range(2)]


def rows(folder: Path, file: str = "log.csv") -> list[list[float]]:
    with (folder / file).open(newline="") as opened:
        return [
            [float(value) for name, value in row.items() if name != "seconds"]
            for row in csv.DictReader(opened)
        ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Train in one process, with the batches of two."""
    folder = tmp_path_factory.mktemp("whole")
    task = Uneven()
    settings = SETTINGS.model_copy(update={"accumulate": 2})
    train(task, settings, folder, identity={"of": "test"})
    return folder, [one.tolist() for one in task.network.parameters()]


def test_two_processes_make_the_steps_of_one_and_stop_together(
    whole: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    folder, state = whole
    (first, _), (second, _) = two(tmp_path / "two", "stop")
    assert (first["step"], first["stopped"]) == (second["step"], second["stopped"]) == (3, True)
    again = two(tmp_path / "two", "go on")
    assert [told["step"] for told, _ in again] == [6, 6]
    # those that are there at exit end a process now and then with an abort
    assert not [name for told, _ in again for name in told["threads"] if "gloo" in name]
    assert again[0][0]["exported"]
    assert again[1][0]["exported"] == [], "the first one alone writes"
    assert again[0][1] == again[1][1], "the same network in both"
    for own, other in zip(again[0][1], state, strict=True):
        torch.testing.assert_close(torch.tensor(own), torch.tensor(other), atol=1e-5, rtol=1e-5)
    for file in ("log.csv", "scores.csv"):
        found, expected = rows(tmp_path / "two", file), rows(folder, file)
        assert len(found) == len(expected)
        for row, wanted in zip(found, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_a_gradient_that_is_no_number_in_one_process_is_none_in_all(tmp_path: Path) -> None:
    before = [one.tolist() for one in Uneven().network.parameters()]
    for _, state in two(tmp_path / "two", "nan"):
        assert state == before


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launch() == Launch(0, 1, 0, 1)
    with together("cpu") as processes:
        assert processes is ALONE
    assert ALONE.total([1.5]) == [1.5]
    assert ALONE.any(here=True)
    assert not ALONE.any(here=False)


def test_a_launch_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(1, 1).items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(1, 2, 1, 2)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert launch() == Launch(1, 2, 0, 1)
    assert own_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="for 2 processes"):
        own_device("cuda:1")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ConfigError, match="process 2 of 2"):
        launch()
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(ConfigError, match="RANK 'one'"):
        launch()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.device_count() > 1:
        pytest.skip("there are several GPUs")
    for name, value in environment(1, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="2 processes on"):
        own_device("cuda")


@pytest.mark.slow
def test_the_command_under_a_launcher_trains_as_one_process_does(tmp_path: Path) -> None:
    given = tiny_training(tmp_path, steps=4, checkpoint_every=1, score_every=4)
    given["scenes"]["dev_scenes"] = 1
    work = ["--work", str(tmp_path / "work"), "--workers", "0", "--threads", "1"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    outputs: list[str] = []
    for name, accumulate, before, more in (
        ("one", 2, [], []),
        ("two", 1, launcher, ["--minutes", "1e-9"]),
        ("two", 1, launcher, []),
    ):
        config = write_config(
            {**given, "loop": {**given["loop"], "accumulate": accumulate}},
            tmp_path / f"{name}.yaml",
        )
        command = [sys.executable, *before, "-m", "meetscribe", "train", "onestage"]
        command += ["--config", str(config), "-o", str(tmp_path / name), "--device", "cpu", *work]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, check=False, env=env
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[1].count("stopped at step 1") == 1
    assert outputs[2].count("done, step 4") == 1
    for file in ("log.csv", "scores.csv"):
        found, expected = rows(tmp_path / "two", file), rows(tmp_path / "one", file)
        assert len(found) == len(expected)
        for row, wanted in zip(found, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    assert (tmp_path / "two" / "adapter" / "adapter.safetensors").is_file()
