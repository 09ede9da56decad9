"""The loop goes on exactly where it was, whatever happened to it."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from meetscribe.errors import ConfigError, ModelError, WeightsError
from meetscribe.train import checkpoint
from meetscribe.train.checkpoint import Checkpoint
from meetscribe.train.log import Table
from meetscribe.train.loop import LoopSettings, train
from meetscribe.train.prefetch import in_order
from tests.conftest import REPOSITORY

SETTINGS = LoopSettings(
    steps=12, warmup_steps=3, learning_rate=0.05, checkpoint_every=4, score_every=5, keep=2
)


class Line:
    """Learns y = 2 x + 1 from numbered batches; a part of it is frozen."""

    columns = ("squares",)
    score_columns = ("wer",)

    def __init__(self, *, rows: int = 4) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Linear(8, 1))
        self.network[1].bias.requires_grad_(requires_grad=False)
        self.rows = rows
        self.exported: list[int] = []

    def batches(self, first: int, every: int = 1) -> Iterator[torch.Tensor]:
        for number in count(first, every):
            yield torch.randn(self.rows, 1, generator=torch.Generator().manual_seed(number))

    def weight(self, batch: torch.Tensor) -> float:
        return float(len(batch))

    def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        squares = (self.network(batch) - 2 * batch - 1).square().sum()
        return squares, {"squares": squares}

    def score(self, progress: Any) -> dict[str, float]:
        progress("score", 1.0)
        x = torch.linspace(-1, 1, 9)[:, None]
        return {"wer": float((self.network(x) - 2 * x - 1).abs().mean())}

    def export(self, step: int, scores: Any) -> None:
        assert scores["wer"] >= 0
        self.exported.append(step)


def run(
    folder: Path, task: Line | None = None, *, stop_at: int | None = None, **others: Any
) -> Any:
    task = task or Line()
    asked = iter(range(1, 10_000))
    others = {"identity": {"of": "test"}, **others}
    settings = others.pop("settings", SETTINGS)
    stop = (lambda: next(asked) == stop_at) if stop_at else (lambda: False)
    return train(task, settings, folder, stop=stop, **others)


def losses(folder: Path) -> list[str]:
    with (folder / "log.csv").open(newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_run_that_was_stopped_has_the_same_losses_to_the_last_bit(
    tmp_path: Path, at: int
) -> None:
    whole = run(tmp_path / "whole")
    first = run(tmp_path / "parts", stop_at=at)
    assert first.stopped
    assert first.step == at
    second = run(tmp_path / "parts")
    assert not second.stopped
    assert first.losses + second.losses == whole.losses
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert (second.best, second.best_step) == (whole.best, whole.best_step)
    scores = [(tmp_path / part / "scores.csv").read_text() for part in ("whole", "parts")]
    assert scores[0] == scores[1]
    one, other = (checkpoint.latest(tmp_path / part)[0] for part in ("whole", "parts"))
    assert one is not None
    assert other is not None
    assert all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    killed = Line()
    ordinary = killed.loss
    calls = count()

    def dies(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if next(calls) == 6:
            raise KeyboardInterrupt
        return ordinary(batch)

    killed.loss = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", killed)
    assert len(losses(tmp_path / "killed")) == 6
    notes: list[str] = []
    again = run(tmp_path / "killed", note=notes.append)
    assert notes[0] == "going on from step 4 of 12"
    assert again.losses == whole.losses[4:]
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_the_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    run(tmp_path, settings=SETTINGS.model_copy(update={"hold": 0.5}))
    with (tmp_path / "log.csv").open(newline="") as file:
        rates = [float(row["rate"]) for row in csv.DictReader(file)]
    assert rates[:3] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05])
    # 9 steps are left after the warm-up, half of them at the highest
    assert rates[3:8] == pytest.approx([0.05] * 5)
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[8] < 0.05
    assert rates[-1] < 0.01


class Later(Line):
    """The first layer alone learns in the first five steps."""

    def batches(self, first: int, every: int = 1) -> Iterator[torch.Tensor]:
        for number, batch in zip(count(first, every), super().batches(first, every), strict=False):
            yield batch if number >= 5 else batch[:2]

    def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if len(batch) > 2:
            return super().loss(batch)
        squares = self.network[0](batch).square().sum()
        return squares, {"squares": squares}


@pytest.mark.parametrize("stop_at", [None, 4, 7])
def test_the_rate_rises_again_when_a_part_begins_to_learn(
    tmp_path: Path, stop_at: int | None
) -> None:
    if stop_at:
        run(tmp_path, Later(), stop_at=stop_at)
    run(tmp_path, Later())
    with (tmp_path / "log.csv").open(newline="") as file:
        found = [float(row["rate"]) / 0.05 for row in csv.DictReader(file)]
    fall = [0.02 + 0.49 * (1 + math.cos(math.pi * max(0, step - 3) / 9)) for step in range(12)]
    warm = [1 / 3, 2 / 3, 1, 1, 1, 1 / 3, 2 / 3, 1, 1, 1, 1, 1]
    assert found == pytest.approx([one * other for one, other in zip(fall, warm, strict=True)])


def test_a_finished_run_does_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = (tmp_path / "log.csv").read_text()
    again = run(tmp_path)
    assert again.losses == ()
    assert (again.step, again.best) == (first.step, first.best)
    assert (tmp_path / "log.csv").read_text() == before


def test_several_small_batches_are_one_large_one(tmp_path: Path) -> None:
    task = Line(rows=3)
    parts = list(zip(range(4), task.batches(0), strict=False))
    large = Line()
    large.batches = lambda *_: iter([torch.cat([one for _, one in parts])])  # type: ignore[method-assign]
    one_step = SETTINGS.model_copy(update={"steps": 1})
    small = run(tmp_path / "a", task, settings=one_step.model_copy(update={"accumulate": 4}))
    big = run(tmp_path / "b", large, settings=one_step)
    assert small.losses[0] == pytest.approx(big.losses[0], rel=1e-6)
    for own, other in zip(task.network.parameters(), large.network.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_it_learns_and_keeps_the_best_and_the_last(tmp_path: Path) -> None:
    task = Line()
    result = run(tmp_path, task, settings=SETTINGS.model_copy(update={"steps": 60}))
    assert result.losses[-1] < 0.05 * result.losses[0]
    assert task.exported[-1] == result.best_step
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.safetensors", "step000056.safetensors", "step000060.safetensors"]
    best = checkpoint.load(tmp_path / "checkpoints" / "best.safetensors")
    assert best.about["step"] == result.best_step
    assert "network.1.bias" not in best.tensors, "frozen"


def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "a", stop_at=8)
    path = checkpoint.path_of(tmp_path / "a", 8)
    path.write_bytes(path.read_bytes()[:100])
    notes: list[str] = []
    again = run(tmp_path / "a", note=notes.append)
    assert "step000008.safetensors" in notes[0]
    assert again.losses == whole.losses[4:]


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stop_at=2, identity={"model": {"rank": 4}, "seed": 1})
    with pytest.raises(ConfigError, match=r"model\.rank"):
        run(tmp_path, identity={"model": {"rank": 8}, "seed": 1})


def test_time_that_is_up_saves_and_ends(tmp_path: Path) -> None:
    result = run(tmp_path, minutes=1e-9)
    assert result.stopped
    assert result.step == 1
    assert checkpoint.path_of(tmp_path, 1).is_file()


def test_a_gradient_that_is_no_number_changes_nothing_and_then_ends_the_run(
    tmp_path: Path,
) -> None:
    task = Line()
    task.loss = lambda batch: (  # type: ignore[method-assign]
        self_sum := (task.network(batch) * math.nan).sum(),
        {"squares": self_sum},
    )
    before = [one.clone() for one in task.network.parameters()]
    with pytest.raises(ModelError, match="no number"):
        run(tmp_path, task, settings=SETTINGS.model_copy(update={"steps": 60}))
    for one, was in zip(task.network.parameters(), before, strict=True):
        assert torch.equal(one, was)


def test_a_row_that_a_kill_cut_short_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    table = Table(path, ("loss",), since=0)
    for step in (1, 2, 3):
        table.add(step, {"loss": 1 / step})
    path.write_text(path.read_text() + "4")
    Table(path, ("loss",), since=3).add(3, {"loss": 0.1})
    assert path.read_text() == "step,loss\n1,1.0\n2,0.5\n3,0.1\n"


def test_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("hello")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        checkpoint.load(path)
    checkpoint.save(path, Checkpoint({"a": torch.ones(2)}, {"step": 3}))
    assert checkpoint.load(path).about == {"step": 3}
    assert [one.name for one in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.slow
def test_processes_leave_with_one_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "from tests.train.test_loop import pids\n"
        "from meetscribe.train.prefetch import in_order\n"
        "if __name__ == '__main__':\n"
        "    print(next(in_order(pids, range(9), workers=1)), flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "first.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()
    for _ in range(100):
        time.sleep(0.1)
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
    pytest.fail("it is still there")


def pids() -> Any:
    return lambda _number: os.getpid()


def squares() -> Any:
    return lambda number: number * number


@pytest.mark.parametrize("workers", [0, 1])
def test_numbers_come_in_order(workers: int) -> None:
    assert list(in_order(squares, range(3, 9), workers=workers)) == [9, 16, 25, 36, 49, 64]


def test_checkpoints_of_a_stop_go_when_there_is_a_later_one(tmp_path: Path) -> None:
    folder = tmp_path / checkpoint.FOLDER
    folder.mkdir()
    for step in (2, 4, 5, 6, 7):
        checkpoint.path_of(tmp_path, step).touch()
        checkpoint.remove_old(tmp_path, 2, 2)
    # 7 is the latest, 5 was one of a stop
    assert [path.stem for path in checkpoint.saved(tmp_path)] == ["step000007", "step000006"]
