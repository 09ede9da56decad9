"""Settings are strict, and say what is near."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetscribe import resources
from meetscribe.config import config_hash
from meetscribe.errors import ConfigError, NameNotFoundError
from meetscribe.pipeline.spec import load_spec


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(resources.listing("pipelines")))
def test_every_pipeline_loads(name: str) -> None:
    spec = load_spec(name)
    assert spec.summary


def test_unknown_key_names_the_near_one(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml", "cascade: {recognizer: {modle: base}}")
    with pytest.raises(ConfigError, match="unknown key 'modle'") as caught:
        load_spec(path)
    assert "'model'" in caught.value.hint
    assert "p.yaml" in caught.value.message


@pytest.mark.parametrize(
    "text", ["[]", "cascade: 3", "cascade: {speakers: many}", "schema: 2", "a: [", "engine: warp"]
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_spec(write(tmp_path / "p.yaml", text))


def test_unknown_pipeline_names_the_near_one() -> None:
    with pytest.raises(NameNotFoundError) as caught:
        load_spec("mnoo")
    assert "mono" in caught.value.hint


def test_options_lie_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml", "cascade: {speakers: 2, language: de}")
    spec = load_spec(path, {"speakers": 3, "language": None, "recognizer.model": "small"})
    assert spec.cascade.speakers == 3
    assert spec.cascade.language == "de"
    assert spec.cascade.recognizer.model == "small"


def test_contradicting_counts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml", "cascade: {}")
    for bounds in ({"min_speakers": 3, "max_speakers": 2}, {"speakers": 2, "max_speakers": 4}):
        with pytest.raises(ConfigError, match="speakers"):
            load_spec(path, bounds)


def test_hash_tells_settings_apart() -> None:
    one, two = load_spec("mono"), load_spec("mono", {"speakers": 2})
    assert config_hash(one) == config_hash(load_spec("mono"))
    assert config_hash(one) != config_hash(two)


def test_user_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipelines").mkdir()
    write(tmp_path / "pipelines" / "mono.yaml", "summary: mine")
    monkeypatch.setenv("MEETSCRIBE_PATH", str(tmp_path))
    assert load_spec("mono").summary == "mine"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("language", "klingon", "'klingon', expected auto"),
        ("channels", "3-1", "'3-1', expected rising"),
        ("channels", "0-99999999999", "below 64"),
        ("speakers", "3", "speakers"),
    ],
)
def test_a_wrong_option_is_named_as_one(key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^options: ") as caught:
        load_spec("mono", {key: value})
    assert said in caught.value.message
    assert caught.value.hint


def test_languages_may_be_in_capitals() -> None:
    assert load_spec("mono", {"language": "EN"}).cascade.language == "en"
