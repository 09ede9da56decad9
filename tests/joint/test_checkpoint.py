"""The published layout is read whole, or refused with a reason."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from meetscribe.errors import ModelError, WeightsError
from meetscribe.joint.checkpoint import dtype_for, load
from tests.joint import builders


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return builders.write_checkpoint(tmp_path_factory.mktemp("joint"))


@pytest.fixture
def folder(written, tmp_path):
    """Give a checkpoint to spoil."""
    return shutil.copytree(written, tmp_path / "checkpoint")


def answer(model):
    heard = model.listen(model.features([builders.clip(1.5)]))
    return model.generate(heard, max_new_tokens=8)[0].ids


def change(path, **values):
    mapping = json.loads(path.read_text()) | values
    path.write_text(json.dumps(mapping))


def test_a_folder_and_one_composite_file_are_the_same_model(written, tmp_path):
    composite = builders.write_checkpoint(tmp_path, composite=True)
    assert not (composite / "llm").exists()
    expected = load(written).state_dict()
    for path in (composite, composite / "model.safetensors"):
        found = load(path).state_dict()
        assert found.keys() == expected.keys()
        for name, value in found.items():
            # the folder's language model was stored in float16
            torch.testing.assert_close(value, expected[name], atol=1e-3, rtol=1e-3)


def test_a_part_of_its_own_wins_over_the_composite_file(folder):
    state = {key: value + 1 for key, value in load(folder).state_dict().items()}
    torch.save({"state_dict": state}, folder / "model.pt")
    shutil.rmtree(folder / "voice_encoder")
    found, before = load(folder), load_file(folder / "audio_encoder" / "model.safetensors")
    key = "encoder_embed.out.bias"
    assert torch.equal(found.audio_encoder.state_dict()[key], before[key])
    assert torch.equal(found.voice_encoder.state_dict()[key], state[f"voice_encoder.{key}"])


def test_an_encoder_cut_out_of_a_larger_model(folder):
    expected = answer(load(folder))
    file = folder / "audio_encoder" / "model.safetensors"
    tensors = {f"module.speech_encoder.{key}": value for key, value in load_file(file).items()}
    del tensors["module.speech_encoder.model_batch_count"]
    torch.save(tensors | {"module.head": torch.zeros(2)}, folder / "audio_encoder/pretrained.pt")
    file.unlink()
    config = {"model_type": "asr", "speech_encoder_config": builders.ENCODER}
    (folder / "audio_encoder" / "config.json").write_text(json.dumps(config))
    model = load(folder)
    assert answer(model) == expected
    assert float(model.audio_encoder.model_batch_count) == 100_000


def test_digits_are_found_by_their_tokens_not_their_order(folder):
    path = folder / "digit_embeddings.pt"
    expected = load(folder).digits_kd
    content = torch.load(path, weights_only=True)
    content["tokens"].reverse()
    content["embeddings"] = content["embeddings"].flip(0)
    torch.save(content, path)
    assert torch.equal(load(folder).digits_kd, expected)


def test_a_model_without_anchors(tmp_path):
    folder = builders.write_checkpoint(tmp_path, model_type="tagspeech-base")
    (folder / "digit_embeddings.pt").unlink()
    model = load(folder)
    heard = model.listen(model.features([builders.clip(3.0)]))
    assert heard["voice"].lens == (18,)


def test_advice_on_sampling_in_the_folder_changes_nothing(folder):
    expected = answer(load(folder))
    advice = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 9.0}
    (folder / "llm" / "generation_config.json").write_text(json.dumps(advice))
    assert answer(load(folder)) == expected


def test_loading_prints_nothing_and_opens_no_connection(folder, capfd, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    load(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "digit_embeddings.pt",
        "projectors.pt",
        "tokenizer.json",
        "audio_encoder",
        "voice_encoder/model.safetensors",
        "llm",
        "llm/model.safetensors",
    ],
)
def test_what_is_missing_is_named(folder, name):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WeightsError) as caught:
        load(folder)
    assert name.split("/")[0].removesuffix("s.pt") in caught.value.message.replace(
        "no tokenizer", "tokenizer.json"
    )
    assert caught.value.hint


def test_the_config_of_the_whole_model_holds(folder):
    expected = answer(load(folder))
    (folder / "llm" / "config.json").write_text("{")
    assert answer(load(folder)) == expected


@pytest.mark.parametrize("content", [b"", b"\x80garbage", b"{}", b"[1]"])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "digit_embeddings.pt",
        "projectors.pt",
        "tokenizer.json",
        "audio_encoder/model.safetensors",
        "llm/model.safetensors",
    ],
)
def test_what_is_damaged_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.hint


def test_a_pickle_that_names_code_is_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was here"), "w"))

    torch.save({"semantic_projector.linear1.weight": Evil()}, folder / "projectors.pt")
    with pytest.raises(WeightsError, match="names code"):
        load(folder)
    assert not (tmp_path / "was here").exists()


def spoil(path, key, value):
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    if value is None:
        del tensors[key]
    else:
        tensors[key] = value
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(tensors, path)


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("projectors.pt", "voice_projector.linear1.bias", None, "no tensor 'linear1.bias'"),
        ("projectors.pt", "voice_projector.linear1.bias", torch.zeros(3), r"\(3,\), expected"),
        ("voice_encoder/model.safetensors", "encoder_embed.out.bias", torch.zeros(3), r"\(3,\)"),
        ("voice_encoder/model.safetensors", "encoder_embed.out.bias", None, "no tensor"),
        ("voice_encoder/model.safetensors", "stranger", torch.zeros(3), "'stranger'"),
        ("llm/model.safetensors", "model.norm.weight", None, "model.norm.weight"),
        ("llm/model.safetensors", "model.norm.weight", torch.zeros(3), "llm"),
    ],
)
def test_tensors_must_be_exactly_those_of_the_model(folder, name, key, value, words):
    spoil(folder / name, key, value)
    with pytest.raises(WeightsError, match=words) as caught:
        load(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "qwen2"}, "model_type 'qwen2'"),
        ({"audio_encoder_config": {"model_type": "wavlm"}}, "model_type 'wavlm'"),
        ({"audio_encoder_config": builders.ENCODER | {"encoder_dim": "x"}}, "encoder_dim"),
        ({"llm_config": {"model_type": "nonsense"}}, "nonsense"),
        ({"llm_config": {}}, "no model_type"),
        ({"semantic_anchor_interval": 4}, "16 encoder frames"),
        ({"audio_token": "<|nothing|>"}, "not one token"),
    ],
)
def test_a_config_of_another_model_is_refused(folder, values, words):
    change(folder / "config.json", **values)
    with pytest.raises(ModelError, match=words) as caught:
        load(folder)
    assert caught.value.hint


def test_nine_digits_are_refused(folder):
    path = folder / "digit_embeddings.pt"
    content = torch.load(path, weights_only=True)
    content |= {"tokens": content["tokens"][:9], "embeddings": content["embeddings"][:9]}
    torch.save(content, path)
    with pytest.raises(WeightsError, match="'9' is missing"):
        load(folder)


def test_on_a_cpu_the_language_model_works_in_float32(written):
    assert dtype_for("cpu") == torch.float32
    assert load(written).llm_dtype == torch.float32
    assert load(written, llm_dtype=torch.bfloat16).llm_dtype == torch.bfloat16
