"""The joint engine with a small joint model: random weights from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from meetscribe import formats
from meetscribe.engines.joint_kinds import Clip
from meetscribe.engines.joint_models import JointModels
from meetscribe.engines.joint_settings import DecodingSettings, GroupSettings, JointSettings
from meetscribe.errors import ConfigError, MeetscribeError, ModelError, WeightsError
from meetscribe.joint.whisper import checkpoint
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.types import no_progress
from tests.conftest import SAMPLE, run_meetscribe
from tests.engines.stores import CountingStore
from tests.joint import whisper_builders as builders

CLIP_S = 7.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model of random weights; all of it has learnt something."""
    base = builders.write_whisper(tmp_path_factory.mktemp("whisper"))
    made = tmp_path_factory.mktemp("made") / "joint"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = checkpoint.make(builders.settings(base=str(base), trailing_s=1.0), offline=True)
        with torch.no_grad():
            for one in network.trainable().values():
                one.add_(0.1 * torch.randn(one.shape))
    checkpoint.save(network, made, {"step": 3})
    return made


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples_nc, rate_hz = soundfile.read(SAMPLE, stop=round(CLIP_S * 16_000), dtype="float32")
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, samples_nc[:, 0], rate_hz)
    return path


def models(folder: Path, **given: object) -> JointModels:
    settings = JointSettings(model=str(folder), **given)
    return JointModels(settings, device="cpu", threads=1, offline=True)


@pytest.mark.weights
def test_a_small_model_gives_a_transcript(folder: Path, talk: Path) -> None:
    overrides = {"model": str(folder), "decoding.max_new_tokens": 64, "decoding.splits": 0}
    runner = Runner("joint", load_spec("joint", overrides), threads=1, keep_stages=False)
    store = CountingStore()
    runner.store = store  # type: ignore[assignment]
    made = runner.transcribe(runner.probe([talk]))
    groups = made.provenance["groups"]
    assert groups["count"] >= 1
    assert groups["failed"] == 0
    assert set(groups["repairs"]) <= {"loop"}
    assert groups["tokens"] > 0
    about = made.provenance["models"]
    assert {"config.json", "model.safetensors"} <= about["joint"]["sha256"].keys()
    base = checkpoint.read_settings(folder).base
    assert "model.safetensors" in about[base]["sha256"]
    assert about["campplus-zh-en"]["sha256"]
    assert all(0 <= turn.start < turn.end <= CLIP_S + 1e-3 for turn in made.turns)
    assert made.utterances
    for name in formats.names():
        formats.render(made, name)
    # a second run makes nothing again
    before = list(store.made)
    again = runner.transcribe(runner.probe([talk]))
    assert store.made == before
    assert again.utterances == made.utterances


@pytest.mark.weights
def test_the_command_line_takes_the_folder(folder: Path, talk: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "quick.yaml"
    pipeline.write_text(
        "schema: 1\nengine: joint\njoint: {decoding: {max_new_tokens: 64, splits: 0}}\n"
    )
    done = run_meetscribe(
        *("transcribe", talk, "--pipeline", pipeline, "--model", folder),
        *("-o", tmp_path, "-f", "rttm", "--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "talk.rttm").is_file()


@pytest.mark.weights
def test_without_a_model_the_one_that_comes_along_writes_words(talk: Path, tmp_path: Path) -> None:
    done = run_meetscribe(
        *("transcribe", talk, "--pipeline", "joint", "-o", tmp_path, "-f", "json"),
        *("--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert "let's start" in " ".join(one["words"] for one in made["utterances"])
    assert made["provenance"]["models"]["joint"]["name"] == "joint-small"


@pytest.mark.weights
def test_answers_are_within_the_clip_and_its_tokens(folder: Path) -> None:
    kind = models(folder).kind()
    settings = JointSettings(speakers=1)
    clips = [
        Clip(builders.noise(length, seed).numpy(), length - 0.2, 12)
        for seed, length in enumerate((0.5, 3.0, 1.3))
    ]
    for constrained in (True, False):
        decoding = DecodingSettings(constrained=constrained)
        answers = kind.write(clips, settings.model_copy(update={"decoding": decoding}))
        for clip, answer in zip(clips, answers, strict=True):
            assert answer.num_tokens <= 12
            if constrained:
                assert answer.parsed.repairs == ()
                assert answer.parsed.in_clip(clip.duration) == answer.parsed
                assert {one.speaker for one in answer.parsed.utterances} <= {"1"}
    # the longest group that Whisper hears is one sample more than it was cut to
    longest = np.zeros(round(16_000 * kind.longest_s(settings)) + 1, dtype=np.float32)
    (answer,) = kind.write([Clip(longest, 29.98, 8)], settings)
    assert answer.num_tokens <= 8


@pytest.mark.weights
def test_what_a_small_model_needs_is_seen_before_anything_runs(
    folder: Path, tmp_path: Path
) -> None:
    models(folder).fetch(no_progress)
    with pytest.raises(ConfigError, match="language 'de'") as caught:
        models(folder, language="de").fetch(no_progress)
    assert caught.value.hint
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        models(other).fetch(no_progress)
    config["settings"]["base"] = "whisper-nowhere"
    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(MeetscribeError, match="whisper-nowhere"):
        models(other).fetch(no_progress)


def test_groups_are_at_most_what_whisper_hears(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "whisper-joint"}')
    kind = models(tmp_path).kind()
    assert kind.longest_s(JointSettings()) == pytest.approx(29.98)
    shorter = JointSettings(groups=GroupSettings(longest_s=8.0))
    assert kind.longest_s(shorter) == 8.0
    # nor longer than what the model has heard in training
    told = {"model_type": "whisper-joint", "about": {"longest_s": 12}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert kind.longest_s(JointSettings()) == 12.0
    assert kind.longest_s(shorter) == 8.0
    told["about"] = {"longest_s": "long"}
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(WeightsError, match="expected seconds"):
        kind.longest_s(JointSettings())
    with pytest.raises(ModelError, match="schema None"):
        kind.check()
