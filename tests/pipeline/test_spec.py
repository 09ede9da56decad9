"""A pipeline file names one engine; the words of the command line fit each in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from meetscribe.cli.pipelines import pipelines
from meetscribe.config import load
from meetscribe.engines.cascade import CascadeEngine
from meetscribe.engines.joint import JointEngine
from meetscribe.engines.onestage import OnestageEngine
from meetscribe.errors import ConfigError
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import PipelineSpec, in_little_memory, load_spec, make_engine


def test_the_word_model_means_the_model_of_the_engine() -> None:
    cascade, joint = load_spec("mono", {"model": "small"}), load_spec("joint", {"model": "small"})
    assert (cascade.cascade.recognizer.model, cascade.model) == ("small", "small")
    assert (joint.joint.model, joint.model) == ("small", "small")
    onestage = load_spec("onestage", {"model": "runs/one"})
    assert (onestage.onestage.adapter, onestage.model) == ("runs/one", "runs/one")
    assert load_spec("onestage").model == "default"
    assert joint.cascade.recognizer.model == "base" or joint.cascade == load_spec("mono").cascade


def test_each_name_makes_its_engine() -> None:
    kinds = {"mono": CascadeEngine, "joint": JointEngine, "onestage": OnestageEngine}
    for name, kind in kinds.items():
        made = make_engine(load_spec(name), device="cpu", threads=1, offline=True)
        assert isinstance(made, kind)


def test_shared_words_reach_all_engines() -> None:
    words = {"speakers": 3, "channels": "array", "language": "DE", "activity.step_s": 0.5}
    for name in ("mono", "joint", "onestage"):
        settings = load_spec(name, words).settings
        assert (settings.speakers, settings.channels, settings.language) == (3, "array", "de")
        assert settings.activity.step_s == 0.5


def test_other_engines_share_what_the_cascade_keeps_of_activity() -> None:
    words = {"speakers": 3, "activity.step_s": 0.5}
    cascade = load_spec("mono", words).cascade
    onestage = load_spec("onestage", words).onestage.as_cascade("whisper-tiny")
    assert onestage.recognizer.model == "whisper-tiny"
    for other in (load_spec("joint", words).joint.as_cascade(), onestage):
        assert other.activity == cascade.activity
        assert (other.diarizer, other.speakers) == (cascade.diarizer, cascade.speakers)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("regions.longest_s", 60.0, "longest_s"),
        ("regions.longest_s", 2.0, "leaves no room"),
        ("batch_size", -1, "batch_size"),
        ("separation.margin_s", 0.1, "unknown key 'separation'"),
    ],
)
def test_a_wrong_option_of_the_onestage_engine_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^options") as caught:
        load_spec("onestage", {key: value})
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("language", "klingon", "'klingon', expected auto"),
        ("channels", "3-1", "'3-1', expected rising"),
        ("speakers", 0, "speakers"),
        ("decoding.order", "end", "order"),
        ("groups.longest_s", 600.0, "longest_s"),
        ("recognizer.model", "small", "unknown key 'recognizer'"),
    ],
)
def test_a_wrong_option_of_the_joint_engine_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^options") as caught:
        load_spec("joint", {key: value})
    assert said in caught.value.message


def test_bounds_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_speakers 2 is below min_speakers 4"):
        load_spec("joint", {"min_speakers": 4, "max_speakers": 2})
    with pytest.raises(ConfigError, match="speakers is exact"):
        load_spec("joint", {"speakers": 4, "max_speakers": 4})


def test_settings_of_an_engine_that_does_not_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("schema: 1\nengine: joint\ncascade: {speakers: 2}\njoint: {}\n")
    with pytest.raises(ConfigError, match="settings of cascade, but the engine is joint"):
        load_spec(str(path))


@pytest.mark.parametrize("name", ["mono", "joint", "onestage"])
def test_what_show_prints_is_the_same_pipeline(name: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(pipelines, ["show", name], standalone_mode=False).output
    (tmp_path / "again.yaml").write_text(shown)
    assert load(PipelineSpec, tmp_path / "again.yaml") == load_spec(name)
    engines = {"cascade", "joint", "onestage"} & yaml.safe_load(shown).keys()
    assert engines == {load_spec(name).engine}


def test_with_little_memory_one_piece_is_worked_on_at_a_time() -> None:
    assert in_little_memory(load_spec("mono")).cascade.recognizer.batch_size == 1
    little = in_little_memory(load_spec("joint", {"model": "x"})).joint
    assert (little.model, little.decoding.batch_s) == ("x", 0.1)
    alone = in_little_memory(load_spec("onestage", {"model": "x"})).onestage
    assert (alone.adapter, alone.batch_size) == ("x", 1)


def test_channels_asked_for_decide_the_layout_for_every_engine(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    noise_nc = 0.1 * np.random.default_rng(0).standard_normal((16_000, 2))
    soundfile.write(tmp_path / "two.wav", noise_nc, 16_000)
    for name in ("mono", "joint"):
        runner = Runner.of(name, channels="per-speaker", no_cache=True)
        assert runner.probe([tmp_path / "two.wav"]).layout == "per-speaker"
