"""The catalogue: every card fits, the default models are pinned to the publishers' own bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetscribe.errors import ConfigError, NameNotFoundError
from meetscribe.models import card, default_models, describe_model, fetch, load_catalogue
from tests.models.conftest import WEIGHTS, write_card

PUBLISHED = {
    ("whisper-base", "model.bin"): ("d01c3014881c9c6f", 145_217_532),
    ("whisper-base", "tokenizer.json"): ("fb7b63191e9bb045", 2_203_239),
    ("whisper-base", "vocabulary.txt"): ("34ce3fe1c5041027", 459_861),
    ("whisper-base", "config.json"): ("56a6d8110d311f19", 2_309),
    ("segmentation-3.0", "pytorch_model.bin"): ("da85c29829d4002d", 5_905_440),
    ("campplus-zh-en", "campplus_cn_en_common.pt"): ("92f29b94e6948786", 28_044_640),
    ("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"): ("b179c9523d0e6a0f", 98_362_432),
}


def test_every_card_loads() -> None:
    catalogue = load_catalogue()
    assert {"whisper-tiny", "whisper-large-v3-turbo", "pyannote-community-1"} <= set(catalogue)
    for name, model in catalogue.items():
        assert model.name == name
        assert model.licence
        assert model.origin


def test_default_models_are_pinned_or_come_with_a_package() -> None:
    assert set(default_models()) == {
        "whisper-base",
        "segmentation-3.0",
        "campplus-zh-en",
        "silero-vad",
    }
    for name in set(default_models()) - {"silero-vad"}:
        assert card(name).pinned


@pytest.mark.parametrize(("name", "file"), PUBLISHED)
def test_pins_are_those_of_the_publishers(name: str, file: str) -> None:
    prefix, size = PUBLISHED[name, file]
    found = next(each for each in card(name).files if each.name == file)
    assert found.sha256 is not None
    assert found.sha256.startswith(prefix)
    assert found.size == size


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("base", "whisper-base"),
        ("turbo", "whisper-large-v3-turbo"),
        ("pyannote/speaker-diarization-community-1", "pyannote-community-1"),
    ],
)
def test_aliases_and_hub_ids_name_cards(alias: str, name: str) -> None:
    assert card(alias).name == name


def test_no_name_means_two_models() -> None:
    names = [
        name
        for model in load_catalogue().values()
        for name in (model.name, *model.aliases, *([model.hub.repo] if model.hub else []))
    ]
    assert len(names) == len(set(names))


def test_unknown_name_has_near_names() -> None:
    with pytest.raises(NameNotFoundError) as caught:
        card("segmentaton-3.0")
    assert "segmentation-3.0" in caught.value.hint


FILE = {"name": "model.bin", "size": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": ["wheel"], "files": [FILE]}, "parts"),
        ({"sources": ["hub"], "files": [FILE]}, "hub.repo"),
        ({"sources": ["package"], "files": [FILE]}, "package"),
        ({"sources": ["ftp"]}, "sources"),
        ({"sources": ["wheel"], "files": []}, "files"),
        ({"files": [FILE | {"name": "../model.bin"}]}, "without folders"),
        ({"files": [FILE | {"sha256": "abc"}]}, "sha256"),
        ({"name": "other"}, "expected 'fake'"),
        ({"license": "MIT"}, "license"),
    ],
)
def test_card_that_does_not_fit_is_refused(
    fake_card: Path, changes: dict[str, object], said: str
) -> None:
    write_card(fake_card, **({"hub": None} | changes))  # type: ignore[arg-type]
    if "name" in changes:
        path = fake_card / "configs" / "models"
        (path / "other.yaml").rename(path / "fake.yaml")
    with pytest.raises(ConfigError, match="fake") as caught:
        fetch("fake", offline=True)
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_description_holds_hashes_and_is_plain() -> None:
    import json

    for name in (*default_models(), "base", "owner/unknown"):
        assert json.loads(json.dumps(describe_model(name))) == describe_model(name)
    assert describe_model("base") == describe_model("whisper-base")
    assert describe_model("whisper-base")["sha256"]["model.bin"].startswith("d01c3014")
    assert set(describe_model("silero-vad")["sha256"]) == {"silero_vad_v6.onnx"}


def test_description_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(WEIGHTS["part1"])
    first = describe_model(str(tmp_path))
    assert describe_model(str(tmp_path)) == first
    (tmp_path / "model.bin").write_bytes(WEIGHTS["part2"])
    assert describe_model(str(tmp_path)) != first
