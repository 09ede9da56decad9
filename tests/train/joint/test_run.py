"""A whole training, tiny: stages in order, on after a kill, averaged, exported, learnt by heart."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from meetscribe import resources
from meetscribe.cli import cli
from meetscribe.config import load
from meetscribe.errors import ConfigError, FormatError
from meetscribe.joint import checkpoint as joint_checkpoint
from meetscribe.train import checkpoint as checkpoints
from meetscribe.train.averaging import average_of
from meetscribe.train.joint import score as scoring
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.parts import make_trainee
from meetscribe.train.joint.run import prepare, run
from meetscribe.train.joint.settings import JointTraining
from meetscribe.train.joint.stages import read_settled
from meetscribe.train.joint.task import GroupTask
from meetscribe.train.joint.training import MODEL
from meetscribe.train.loop import LoopSettings, train
from meetscribe.train.machine import Machine
from tests.train.joint.tiny import group_maker, settings_of, write_model
from tests.train.tiny import write_config

HERE = Machine(device="cpu", workers=0, threads=1)
STAGES = ("1-encoder", "2-projectors", "3-lora")


@pytest.fixture(scope="module")
def trained(place: Path, given_settings: dict[str, Any]) -> Path:
    """Train once without a break."""
    settings = settings_of(given_settings)
    result = run(settings, place / "whole", work=place / "work", machine=HERE)
    assert (result.step, result.stopped) == (4, False)
    return place / "whole"


def column(folder: Path, name: str = "loss") -> list[str]:
    with (folder / "log.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def same_files(one: Path, other: Path) -> None:
    for stage in STAGES:
        for name in ("loss", "gradient", "weight"):
            assert column(one / stage, name) == column(other / stage, name)
        for name in ("scores.csv", "settled.json"):
            assert (one / stage / name).read_text() == (other / stage / name).read_text()
    for name in ("projectors.safetensors", "audio_encoder/model.safetensors", "training.json"):
        assert (one / MODEL / name).read_bytes() == (other / MODEL / name).read_bytes()


@pytest.mark.parametrize("at", [3, 6])
def test_a_stopped_run_goes_on_with_the_same_losses_to_the_last_bit(
    trained: Path, place: Path, given_settings: dict[str, Any], tmp_path: Path, at: int
) -> None:
    settings = settings_of(given_settings)
    asked = count(1)
    first = run(
        settings, tmp_path, work=place / "work", machine=HERE, stop=lambda: next(asked) == at
    )
    assert first.stopped
    run(settings, tmp_path, work=place / "work", machine=HERE)
    same_files(trained, tmp_path)


def test_stages_come_in_order_and_each_begins_with_the_best_of_the_one_before(
    trained: Path, given_settings: dict[str, Any]
) -> None:
    assert [len(column(trained / stage)) for stage in STAGES] == [2, 4, 4]
    assert "ctc" in (trained / "1-encoder" / "log.csv").read_text()
    first = checkpoints.load(trained / "1-encoder/checkpoints/best.safetensors").tensors
    start = joint_checkpoint.load(Path(given_settings["model"]["start"]))
    model = joint_checkpoint.load(trained / MODEL, merge_lora=False)
    settled = [read_settled(trained / stage) for stage in STAGES]
    assert all(settled)
    before = start.get_submodule("audio_encoder").state_dict()
    after = model.get_submodule("audio_encoder").state_dict()
    assert any(not torch.equal(one, before[name]) for name, one in after.items())
    if settled[0].averaged == 1:
        assert all(
            torch.equal(first[f"network.encoder.{name}"], one) for name, one in after.items()
        )
    # what the second stage does not train is no part of its checkpoints
    names = set(checkpoints.load(trained / "2-projectors/checkpoints/best.safetensors").tensors)
    assert names == {
        f"network.{one}_projector.linear{n}.{part}"
        for one in ("semantic", "voice")
        for n in (1, 2)
        for part in ("weight", "bias")
    }
    names = set(checkpoints.load(trained / "3-lora/checkpoints/best.safetensors").tensors)
    assert any("q_proj.up" in name for name in names)


def test_the_model_is_what_was_chosen_and_tells_of_its_training(trained: Path) -> None:
    model = joint_checkpoint.load(trained / MODEL, merge_lora=False)
    told = json.loads((trained / MODEL / "training.json").read_text())
    settled = [read_settled(trained / stage) for stage in STAGES]
    chosen = [one for one in settled if one.kept]
    assert told["stages"] == [[one.trains, one.step] for one in chosen]
    folder = trained / f"{len(chosen)}-{chosen[-1].trains}"
    name = "averaged" if chosen[-1].averaged > 1 else "best"
    found = checkpoints.load(folder / "checkpoints" / f"{name}.safetensors").tensors
    for key, one in model.named_parameters():
        if f"network.{key}" in found:
            assert torch.allclose(one, found[f"network.{key}"], atol=1e-3)
    assert told["scores"]["cpwer"] == pytest.approx(chosen[-1].score)
    card = (trained / MODEL / "README.md").read_text()
    for text in ("split `train`", "Kept out of training", "| all |", "stage encoder: "):
        assert text in card


def test_the_mean_of_checkpoints_is_used_only_where_it_is_no_worse(trained: Path) -> None:
    for stage in STAGES:
        tensors, steps = average_of(trained / stage, 2)
        assert len(steps) == (1 if stage == "1-encoder" else 2)
        one = [checkpoints.load(path).tensors for path in checkpoints.saved(trained / stage)[:2]]
        for name, mean in tensors.items():
            values = torch.stack([tensors[f"network.{name}"] for tensors in one])
            assert torch.allclose(mean, values.mean(dim=0), atol=1e-7)
        settled = read_settled(trained / stage)
        with (trained / stage / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        best = min(float(row[list(row)[1]]) for row in rows if int(row["step"]))
        assert settled.score <= best


def test_a_gate_stops_before_the_next_stage(
    place: Path, given_settings: dict[str, Any], tmp_path: Path
) -> None:
    stages = [dict(one) for one in given_settings["stages"]]
    stages[0]["gate"] = 0.01
    settings = settings_of({**given_settings, "stages": stages})
    with pytest.raises(ConfigError, match=r"expected at most 0\.01 \(gate\)"):
        run(settings, tmp_path, work=place / "work", machine=HERE)
    assert not (tmp_path / "2-projectors").exists()


def test_other_settings_are_refused_and_a_further_stage_is_not(
    trained: Path, place: Path, given_settings: dict[str, Any]
) -> None:
    stages = [dict(one) for one in given_settings["stages"]]
    task = prepare(
        settings_of({**given_settings, "stages": stages[:2]}),
        trained,
        work=place / "work",
        machine=HERE,
    )
    told = task.identity(2, [])
    whole = prepare(settings_of(given_settings), trained, work=place / "work", machine=HERE)
    assert whole.identity(2, []) == told
    stages[1]["learning_rate"] = 0.5
    with pytest.raises(ConfigError, match="other settings"):
        run(
            settings_of({**given_settings, "stages": stages}),
            trained,
            work=place / "work",
            machine=HERE,
        )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"speech": {"split": "heldout"}}, "for measuring only"),
        ({"stages": [{"trains": "lora"}, {"trains": "projectors"}]}, "expected encoder"),
        ({"batch_s": 3.0}, "groups of up to 20 s"),
        ({"groups": {"length_s": [0.5, 9.0]}}, "shortest piece"),
        ({"groups": {"voices": [0.2] * 6}}, r"rooms\.seats 4 for 6"),
        ({"model": {"kind": "llm"}}, "expected the folder"),
        ({"speech": {"language": "zh"}}, "language 'en'"),
        ({"groups": {"voice": [1.0]}}, "did you mean 'voices'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(changes)
    import re

    assert re.search(what, f"{refused.value.message} {refused.value.hint}")


@pytest.mark.parametrize("name", ["joint", "joint-small"])
def test_the_settings_that_come_with_meetscribe_load(name: str) -> None:
    settings = load(JointTraining, resources.find("configs/train", name))
    assert all(settings.loop_of(stage).steps == stage.steps for stage in settings.stages)


@dataclass
class Again:
    """The same batch for ever."""

    groups: list[Group]

    def __call__(self, _number: int) -> list[Group]:
        return self.groups


def test_eight_groups_are_learnt_by_heart(
    given_settings: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    """The must-show of training: everything from samples to text is learnt, and written again."""
    model = {
        "kind": "llm",
        "start": str(write_model(tmp_path / "model", hidden=64, layers=2)),
        "llm": {"lora": {"rank": 32, "alpha": 32.0}, "tokens_per_s": 60.0},
    }
    trainee = make_trainee(settings_of({**given_settings, "model": model}), "cpu")
    trainee.begin("lora")
    maker = group_maker(given_settings, place / "work", length_s=[1.5, 4.0])
    groups = [maker.make(number, 4.0, 1.5) for number in range(8)]
    assert len({str(one.utterances) for one in groups}) == 8
    assert {len(one.speakers) for one in groups} == {1, 2}

    def measure(progress: Any) -> dict[str, float]:
        write = lambda batch: trainee.write(batch, constrained=True)  # noqa: E731
        return scoring.summary(scoring.score([groups], write, progress=progress))

    task = GroupTask(trainee, Again(groups), 0, measure, scoring.COLUMNS, exporting=lambda *_: None)
    pace = LoopSettings(
        steps=160, learning_rate=3e-3, warmup_steps=20, weight_decay=0.0, score_every=160
    )
    result = train(task, pace, tmp_path / "run", identity={})
    assert result.losses[0] > 5.0
    assert result.losses[-1] < 0.05
    assert result.best < 0.05
    with (tmp_path / "run" / "scores.csv").open(newline="") as file:
        first, last = list(csv.DictReader(file))
    assert float(first["cpwer"]) > 0.9
    assert float(last["der"]) < 0.05
    assert float(last["count_accuracy"]) == 1.0
    # unconstrained it writes nearly the same
    free = scoring.summary(
        scoring.score([groups], lambda batch: trainee.write(batch, constrained=False))
    )
    assert free["cpwer"] < 0.05


def arguments(config: Path, output: Path, *more: str) -> list[str]:
    some = ["--config", str(config), "-o", str(output), "--device", "cpu", "--workers", "0"]
    return ["train", "joint", *some, "--threads", "1", *more]


def test_the_command_trains_from_end_to_end(
    trained: Path, place: Path, given_settings: dict[str, Any], tmp_path: Path
) -> None:
    config = write_config(given_settings, tmp_path / "tiny.yaml")
    work = ("--work", str(place / "work"))
    done = CliRunner().invoke(cli, arguments(config, tmp_path / "run", *work, "--minutes", "1e-9"))
    assert done.exit_code == 0, done.output
    assert "stopped at step 1; no scores yet" in done.stdout
    done = CliRunner().invoke(cli, arguments(config, tmp_path / "run", *work))
    assert done.exit_code == 0, done.output
    assert "encoder: going on from step 1 of 2" in done.stderr
    assert "done, step 4; best at step" in done.stdout
    same_files(trained, tmp_path / "run")
    done = CliRunner().invoke(
        cli, arguments(config, tmp_path / "run", *work, "--seed", "5"), standalone_mode=False
    )
    assert isinstance(done.exception, ConfigError)


def test_preparing_trains_nothing(
    place: Path, given_settings: dict[str, Any], tmp_path: Path
) -> None:
    config = write_config(given_settings, tmp_path / "tiny.yaml")
    done = CliRunner().invoke(cli, arguments(config, tmp_path / "run", "--prepare"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["work"]
    assert len(list((tmp_path / "run/work").glob("rooms-*/*.safetensors"))) == 3
    # the same files as a training makes
    assert {path.name for path in (place / "work").iterdir()} >= {
        path.name for path in (tmp_path / "run/work").iterdir()
    }


def test_a_table_that_is_not_there_leaves_nothing_behind(
    given_settings: dict[str, Any], tmp_path: Path
) -> None:
    config = write_config(given_settings, tmp_path / "tiny.yaml")
    table = ("--speech", str(tmp_path / "no.tsv"))
    done = CliRunner().invoke(
        cli, arguments(config, tmp_path / "run", *table), standalone_mode=False
    )
    assert isinstance(done.exception, FormatError)
    assert not (tmp_path / "run").exists()


def test_options_win_over_the_settings(given_settings: dict[str, Any], tmp_path: Path) -> None:
    from meetscribe.cli.train import _joint_settings

    options = dict.fromkeys(("speech", "seed", "steps", "model"))
    path = write_config({**given_settings, "model": {}}, tmp_path / "tiny.yaml")
    given = {**options, "steps": 7, "seed": 3, "model": "whisper-tiny"}
    settings = _joint_settings(path, given)
    assert [one.steps for one in settings.stages] == [7, 7, 7]
    assert (settings.loop.seed, settings.model.whisper.base) == (3, "whisper-tiny")
    path = write_config(given_settings, tmp_path / "llm.yaml")
    assert _joint_settings(path, {**options, "model": "there"}).model.start == "there"
    start = Path(_joint_settings(path, {**options, "model": "joint-small"}).model.start)
    assert (start / "model.safetensors").is_file()


@pytest.fixture
def command(given_settings: dict[str, Any], place: Path, tmp_path: Path) -> list[str]:
    config = write_config(given_settings, tmp_path / "tiny.yaml")
    more = arguments(config, tmp_path / "run", "--work", str(place / "work"))
    return [sys.executable, "-m", "meetscribe", *more]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_a_run_that_was_killed_goes_on(
    trained: Path, command: list[str], tmp_path: Path, stage: int
) -> None:
    log = tmp_path / "run" / STAGES[stage] / "log.csv"
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (log.is_file() and log.read_text().count("\n") >= 2):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same_files(trained, tmp_path / "run")
