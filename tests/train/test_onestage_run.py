"""A whole training, tiny: it goes on after a kill, keeps its best, and can be used."""

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

import pytest
import torch
from click.testing import CliRunner

from meetscribe import resources
from meetscribe.cli import cli
from meetscribe.config import load
from meetscribe.errors import ConfigError, OutputError, WeightsError
from meetscribe.onestage.adapter import (
    SpatialWhisper,
    apply_adapter,
    load_adapter,
    save_adapter,
)
from meetscribe.train.machine import Machine
from meetscribe.train.onestage import card as cards
from meetscribe.train.onestage.card import Trained, export
from meetscribe.train.onestage.plain import plain_encodings
from meetscribe.train.onestage.run import prepare, run
from meetscribe.train.onestage.score import score, summary
from meetscribe.train.onestage.settings import OnestageTraining
from tests.train.tiny import SHAPE, settings_of, tiny_training, write_config

HERE = Machine(device="cpu", workers=0, threads=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def given(place: Path) -> dict[str, Any]:
    return tiny_training(place)


@pytest.fixture(scope="module")
def trained(place: Path, given: dict[str, Any]) -> Path:
    """Train once without a break."""
    run(settings_of(given), place / "whole", work=place / "work", machine=HERE)
    return place / "whole"


def column(folder: Path, name: str = "loss") -> list[str]:
    with (folder / "log.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_a_stopped_run_goes_on_with_the_same_losses_to_the_last_bit(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    asked = iter(range(99))
    first = run(
        settings_of(given),
        tmp_path,
        work=place / "work",
        machine=HERE,
        stop=lambda: next(asked) == 2,
    )
    assert (first.step, first.stopped) == (3, True)
    run(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    for name in ("loss", "words", "distil", "mel", "gradient", "weight"):
        assert column(tmp_path, name) == column(trained, name)
    assert len(column(trained)) == 6
    assert (tmp_path / "scores.csv").read_text() == (trained / "scores.csv").read_text()
    one, other = (folder / "adapter" / "adapter.safetensors" for folder in (trained, tmp_path))
    assert one.read_bytes() == other.read_bytes()


def test_before_the_first_step_the_score_is_that_of_plain_whisper(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    plain = summary(task.scored(lambda *_: None, plain=True))
    with (trained / "scores.csv").open(newline="") as file:
        before = next(csv.DictReader(file))
    assert float(before["wer"]) == plain["wer"]
    assert summary(task.scored(lambda *_: None)) == plain


def test_the_adapter_is_what_was_the_best(
    trained: Path, given: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    settings, tensors, about = load_adapter(trained / "adapter")
    assert settings == settings_of(given).model
    network, _ = SpatialWhisper.load(settings, place / "whisper")
    apply_adapter(network, tensors, where="test")
    again = load_adapter_bytes(save_adapter(network, settings, about), tmp_path)
    assert all(torch.equal(one, tensors[name]) for name, one in again.items())
    text = (trained / "adapter" / "README.md").read_text()
    assert "plain Whisper, best channel" in text
    assert f"{about['step']} steps" in text
    assert "split `train`" in text
    assert (trained / "adapter" / "adapter.safetensors").stat().st_size < 100_000


def load_adapter_bytes(data: bytes, folder: Path) -> dict[str, torch.Tensor]:
    (folder / "a.safetensors").write_bytes(data)
    return load_adapter(folder / "a.safetensors")[1]


def test_an_adapter_that_does_not_fit_is_refused(trained: Path, place: Path) -> None:
    settings, tensors, _ = load_adapter(trained / "adapter")
    network, _ = SpatialWhisper.load(settings, place / "whisper")
    name = next(name for name in tensors if name.startswith("embedding."))
    with pytest.raises(WeightsError, match="does not fit"):
        apply_adapter(network, {k: v for k, v in tensors.items() if k != name}, where="test")
    with pytest.raises(WeightsError, match="not an adapter"):
        load_adapter(trained / "adapter" / "README.md")


def test_plain_encodings_leave_everything_learnt_aside(place: Path, given: dict[str, Any]) -> None:
    model = settings_of(given).model
    network, _ = SpatialWhisper.load(model, place / "whisper")
    mel, steps = torch.randn(2, 80, 40, generator=torch.Generator().manual_seed(1)), [20, 14]
    before = plain_encodings(network.target, mel, steps)
    with torch.no_grad():
        for one in network.trainable().values():
            one.add_(0.3)
        assert not torch.equal(network.target.encode(mel, None, steps), before)
    assert torch.equal(plain_encodings(network.target, mel, steps), before)


def test_the_loss_is_of_the_words_and_of_their_end(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    packed = next(one for one in task.batches(5) if "" in one.texts)
    with torch.no_grad():
        loss, parts = task.loss(packed)
        expected = 0.0
        encoded = task.network.encode(packed.inputs("cpu"))
        start = task.vocabulary.start("en", timestamps=False)
        for row, text in enumerate(packed.texts):
            tokens = task.vocabulary.encode(text)
            steps = packed.steps[row]
            logits = task.network.logits(
                encoded[row : row + 1, :steps], torch.tensor([[*start, *tokens]]), [steps]
            )
            wanted = torch.tensor([*tokens, task.vocabulary.end])
            found = logits[0, len(start) - 1 :].log_softmax(dim=1)
            expected -= float(found[range(len(wanted)), wanted].sum()) * (1 if text else 5)
    assert float(parts["words"]) == pytest.approx(expected, rel=1e-4)
    assert float(loss) == pytest.approx(float(sum(parts.values())), rel=1e-6)
    counts = [len(task.vocabulary.encode(text)) + 1 if text else 5 for text in packed.texts]
    assert 5 in counts
    assert task.weight(packed) == sum(counts)


def test_a_training_may_begin_with_an_adapter(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    start = {"start": str(trained / "adapter")}
    settings = settings_of({**given, **start})
    task, _ = prepare(settings, tmp_path, work=place / "work", machine=HERE)
    _, tensors, about = load_adapter(trained / "adapter")
    begun = task.network.adapter()
    assert all(torch.equal(begun[name], one) for name, one in tensors.items())
    task.export(3, dict.fromkeys(task.score_columns, 0.5))
    _, _, later = load_adapter(tmp_path / "adapter")
    assert later["step"] == about["step"] + 3
    assert f"of {about['step']} steps" in (tmp_path / "adapter" / "README.md").read_text()
    other = json.loads(json.dumps(given))
    other["model"]["embedding"]["num_competitors"] = 0
    with pytest.raises(ConfigError, match="other settings of model"):
        prepare(settings_of({**other, **start}), tmp_path, work=place / "work", machine=HERE)


def test_a_stage_without_words_learns_the_mel_alone(place: Path, given: dict[str, Any]) -> None:
    first = json.loads(json.dumps(given))
    first["scenes"]["stages"][0]["words"] = False
    first["loop"] |= {"steps": 4, "learning_rate": 0.01}
    output = place / "mel-first"
    run(settings_of(first), output, work=place / "work", machine=HERE)
    words = [float(value) for value in column(output, "words")]
    assert words[:2] == [0.0, 0.0]
    assert min(words[2:]) > 0.0
    assert min(float(value) for value in column(output, "mel")) > 0.0
    _, tensors, _ = load_adapter(output / "adapter")
    assert float(tensors["correction.weight"].abs().max()) > 0.0


def test_the_mel_distance_is_in_bels_and_not_of_what_is_as_good_as_gone(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    packed = next(one for one in task.batches(0) if all(one.texts))
    inputs = packed.inputs("cpu")
    frames = inputs.planes.spectral_bctf.shape[2]
    mixture, alone = inputs.mel_bft[..., :frames], torch.from_numpy(packed.alone_bft)[..., :frames]
    # a unit of a log-mel is 4 bels, and 3 bels below the mixture is far enough
    wanted = torch.maximum(alone, mixture - 0.75)
    expected = 4 * (mixture - wanted).abs().mean(dim=1)
    there = inputs.planes.frames_bt
    mean = expected.mean() if there is None else expected[there].mean()
    with torch.no_grad():
        _, parts = task.loss(packed)
    assert float(parts["mel"]) == pytest.approx(float(mean) * task.weight(packed), rel=1e-4)
    assert 0.0 < float(mean) < 3.0


@pytest.mark.parametrize(
    ("stages", "more"),
    [
        ([{"until": 1.0, "words": False}], {}),
        ([{"until": 0.5, "words": False}, {}], {"mel": 0.0}),
        ([{"until": 0.5, "words": False}, {}], {"model": {"correct_mel": False}}),
    ],
)
def test_stages_that_would_learn_nothing_are_refused(
    stages: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="words"):
        settings_of({"scenes": {"stages": stages}, **more})


def test_without_an_embedding_the_mel_stays_as_it_is(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    """The silence at the end, and what is no part of an item, must not change with it."""
    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    packed = next(one for one in task.batches(0) if len(one.texts) > 1)
    network = task.network
    assert network.correction is not None
    with torch.no_grad():
        before = network.encode(packed.inputs("cpu"))
        network.correction.weight.normal_(generator=torch.Generator().manual_seed(0))
        after = network.encode(packed.inputs("cpu"))
        assert not torch.allclose(before, after, atol=1e-3)
        seen: list[torch.Tensor] = []
        network.target.whisper.encoder.conv1.register_forward_pre_hook(
            lambda _module, given: seen.append(given[0])
        )
        network.encode(packed.inputs("cpu"))
    frames = packed.planes["spectral_bctf"].shape[2]
    change = seen[0] - packed.inputs("cpu").mel_bft
    assert change[..., :frames].any()
    assert not change[..., frames:].any()


def test_half_precision_gives_nearly_the_same(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    loop = {**given["loop"], "precision": "bfloat16", "score_every": 6}
    run(settings_of({**given, "loop": loop}), tmp_path, work=place / "work", machine=HERE)
    exact, half = (list(map(float, column(folder))) for folder in (trained, tmp_path))
    assert exact != half
    assert half == pytest.approx(exact, rel=0.03)


def test_texts_that_are_too_long_are_left_out_and_counted(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    import dataclasses

    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    packed = next(task.batches(0))
    long = " ".join(["words"] * SHAPE.max_target_positions)
    changed = dataclasses.replace(packed, texts=[long, *packed.texts[1:]])
    with torch.no_grad():
        loss, _ = task.loss(changed)
    assert task.refused == 1
    assert torch.isfinite(loss)


def test_scores_count_words_for_silent_targets_as_errors(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    import dataclasses

    task, _ = prepare(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    packed = dataclasses.replace(
        next(task.batches(0)),
        texts=["words 1 of 2", "", "words 3"],
        scene_b=[0, 0, 1],
        voices_b=[1, 1, 2],
    )
    found = summary(score(lambda _: ["Words 1, of 4.", "well no then", ""], [packed]))
    # one word is another, three are of nobody, two are missing
    assert found["wer"] == pytest.approx((1 + 3 + 2) / 6)
    assert found["silent_words"] == 3.0
    assert found["wer_overlapped"] == 1.0
    assert found["empty_share"] == 0.5
    perfect = summary(score(lambda one: one.texts, [packed]))
    assert (perfect["wer"], perfect["silent_words"]) == (0.0, 0.0)


def test_an_adapter_that_is_too_large_is_not_written(
    place: Path, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(given)
    network, _ = SpatialWhisper.load(settings.model, place / "whisper")
    monkeypatch.setattr(cards, "LARGEST_BYTES", 1000)
    told = Trained(settings, speech={"librispeech_x": 60.0}, speakers=3, held_out=("a",))
    with pytest.raises(OutputError, match="MB at most"):
        export(network, told, tmp_path, step=1, scores={})
    assert not any(tmp_path.iterdir())


def test_the_card_attributes_the_speech(given: dict[str, Any]) -> None:
    told = Trained(
        settings_of(given),
        speech={"librispeech_subset": 60.0, "vctk": 2.0, "mine": 3.0},
        speakers=3,
        held_out=("a", "b"),
        left_out=("2 utterances left out: silent",),
    )
    names = ("wer", "wer_low", "wer_high", "wer_overlapped", "silent_words", "empty_share")
    text = cards.card(told, step=7, scores=dict.fromkeys(names, 0.5), parameters=10, size=20)
    assert "LibriSpeech" in text
    assert "CC BY 4.0: 60 min" in text
    assert "mine (see its own licence): 3 min" in text
    assert "2 utterances left out: silent" in text
    assert "a, b" in text


def test_regions_that_this_whisper_cannot_hear_are_refused(
    place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    longer = json.loads(json.dumps(given))
    longer["scenes"]["stages"][1]["longest_s"] = 9.0
    with pytest.raises(ConfigError, match="hears 4 s"):
        prepare(settings_of(longer), tmp_path, work=place / "work", machine=HERE)


@pytest.mark.parametrize("name", ["onestage", "onestage-small"])
def test_the_settings_that_come_with_meetscribe_load(name: str) -> None:
    settings = load(OnestageTraining, resources.find("configs/train", name))
    assert settings.model.recogniser.conditioning.width == settings.model.embedding.width


def test_the_width_is_said_once() -> None:
    wide = {"embedding": {"width": 64}, "target": {"conditioning": {"width": 32}}}
    with pytest.raises(ConfigError, match="say it in embedding alone"):
        settings_of({"model": wide})


def arguments(config: Path, output: Path, *more: str) -> list[str]:
    some = ["--config", str(config), "-o", str(output), "--device", "cpu", "--workers", "0"]
    return ["train", "onestage", *some, "--threads", "1", *more]


def test_the_command_says_how_it_ended(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    config = write_config(given, tmp_path / "tiny.yaml")
    work = ("--work", str(place / "work"))
    done = CliRunner().invoke(cli, arguments(config, tmp_path / "run", *work, "--minutes", "1e-9"))
    assert done.exit_code == 0, done.output
    assert "stopped at step 1; no scores yet" in done.stdout
    done = CliRunner().invoke(cli, arguments(config, tmp_path / "run", *work))
    assert done.exit_code == 0, done.output
    assert "going on from step 1 of 6" in done.stderr
    assert "done, step 6; best at step" in done.stdout
    assert column(tmp_path / "run") == column(trained)
    done = CliRunner().invoke(
        cli, arguments(config, tmp_path / "run", *work, "--seed", "5"), standalone_mode=False
    )
    assert isinstance(done.exception, ConfigError)


def test_a_table_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    more = ("--speech", str(tmp_path / "none.tsv"), "--config", "onestage-small")
    done = CliRunner().invoke(
        cli, ["train", "onestage", "-o", str(tmp_path / "run"), "--device", "cpu", *more]
    )
    assert done.exit_code != 0
    assert "none.tsv" in str(getattr(done.exception, "message", done.exception))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_goes_on(
    trained: Path, place: Path, given: dict[str, Any], tmp_path: Path, how: signal.Signals
) -> None:
    config = write_config(given, tmp_path / "tiny.yaml")
    command = [sys.executable, "-m", "meetscribe"]
    command += arguments(config, tmp_path / "run", "--work", str(place / "work"))
    log = tmp_path / "run" / "log.csv"
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    while not (log.is_file() and log.read_text().count("\n") >= 4):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from there" in said
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    assert column(tmp_path / "run") == column(trained)
