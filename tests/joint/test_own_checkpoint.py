"""Checkpoints of this project: what was trained is written, the rest comes from the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from meetscribe.errors import MeetscribeError, ModelError, OutputError, WeightsError
from meetscribe.joint import lora
from meetscribe.joint.checkpoint import load, missing_parts, new, read_config, restore, save
from meetscribe.joint.config import JointConfig, LlmLora
from meetscribe.joint.llm import load_llm
from tests.joint import builders, small_catalogue

pytestmark = pytest.mark.usefixtures("catalogue")

LORA = {"rank": 2, "alpha": 4.0}


def config(**changes):
    return small_catalogue.config(voice_encoder_config=small_catalogue.WHISPER, **changes)


def scores(model):
    heard = model.listen(model.features([builders.clip(1.0), builders.clip(2.0)]))
    return model.logits(model.prompt_input(heard), last=1)


def trained(settings):
    """Give a model whose changes to the language model are not zero."""
    model = new(settings)
    with torch.no_grad():
        for name, weight in model.learned.items():
            if name.endswith(".up"):
                weight.copy_(torch.randn(weight.shape, generator=torch.manual_seed(0)))
    return model


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_what_the_catalogue_has_is_left_out(tmp_path):
    model = new(config())
    save(model, config(), tmp_path / "new")
    assert names(tmp_path / "new") == ["config.json", "projectors.safetensors"]
    found = load(tmp_path / "new")
    assert torch.equal(scores(found), scores(model))
    assert torch.equal(found.digits_kd, model.digits_kd)
    assert not any(weight.requires_grad for weight in found.parameters())


def test_the_language_model_is_described_in_full(tmp_path):
    save(new(config()), config(), tmp_path)
    stated = read_config(tmp_path).llm_config
    assert (stated["model_type"], stated["hidden_size"]) == ("qwen2", builders.HIDDEN)
    assert stated["max_position_embeddings"] == 2048


def test_changes_to_the_language_model_are_kept_and_merged(tmp_path):
    settings = config(llm_lora=LORA)
    model = trained(settings)
    save(model, settings, tmp_path)
    merged, apart = load(tmp_path), load(tmp_path, merge_lora=False)
    assert torch.equal(scores(apart), scores(model))
    torch.testing.assert_close(scores(merged), scores(model), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(part, lora.LlmLoraLinear) for part in merged.modules())
    assert set(apart.learned) == set(model.learned)
    plain = new(config())
    assert (scores(plain) - scores(model)).abs().max() > 1e-2


def test_changes_begin_as_none_and_only_they_and_projectors_learn():
    plain, model = new(config()), new(config(llm_lora=LORA))
    assert torch.equal(scores(model), scores(plain))
    for weight in model.learned.values():
        weight.requires_grad_()
    heard = model.listen(model.features([builders.clip(1.0)]))
    rows = model.training_rows(heard, ["<text>\n</text>"])
    model.loss(model.training_input(heard, rows)).mean.backward()
    got = {name for name, weight in model.named_parameters() if weight.grad is not None}
    ours = {name.replace(lora.PREFIX, "llm.") for name in model.learned}
    assert got == ours
    assert all("q_proj" in name or "proj" in name for name in got)


def test_the_language_model_may_work_in_fewer_bits(tmp_path):
    settings = config(llm_lora=LORA)
    save(trained(settings), settings, tmp_path)
    for merge in (True, False):
        model = load(tmp_path, llm_dtype=torch.bfloat16, merge_lora=merge)
        assert model.llm_dtype == scores(model).dtype == torch.bfloat16
        assert all(weight.dtype == torch.float32 for weight in model.learned.values())


def test_half_the_bits_in_the_file(tmp_path):
    model = new(config())
    save(model, config(), tmp_path, dtype=torch.float16)
    kept = load_file(tmp_path / "projectors.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float16}
    found = load(tmp_path).learned
    for name, weight in model.learned.items():
        assert torch.equal(found[name], weight.half().float())


def test_random_numbers_are_those_of_the_seed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (new(config(llm_lora=LORA), seed=seed).learned for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["voice_projector.linear1.weight"],
                           other["voice_projector.linear1.weight"])  # fmt: skip


def test_what_was_trained_is_restored_in_place():
    settings = config(llm_lora=LORA)
    model, kept = trained(settings), {}
    for name, weight in model.learned.items():
        kept[name] = weight.detach().clone()
    other = new(settings, seed=3)
    weights = other.learned
    restore(other, kept, where="here")
    assert torch.equal(scores(other), scores(model))
    assert all(weights[name] is weight for name, weight in other.learned.items())
    kept.popitem()
    with pytest.raises(WeightsError, match="here: no tensor 'llm_lora"):
        restore(other, kept, where="here")


@pytest.mark.parametrize("kind", ["tagspeech", "tagspeech-base"])
def test_what_the_catalogue_has_not_is_written(tmp_path, kind):
    """The published layout is read, given changes, written and read again."""
    folder = builders.write_checkpoint(tmp_path / "a", model_type=kind)
    path = folder / "config.json"
    settings = JointConfig.model_validate_json(path.read_text())
    model = load(folder)
    lora.add(model.llm, LlmLora(rank=2))
    with torch.no_grad():
        for weight in lora.weights(model.llm).values():
            weight.normal_(generator=torch.manual_seed(0))
    settings = settings.model_copy(update={"llm_lora": LlmLora(rank=2)})
    save(model, settings, tmp_path / "b")
    expected = {"audio_encoder", "voice_encoder", "llm", "config.json", "projectors.safetensors"}
    assert expected <= {path.name for path in (tmp_path / "b").iterdir()}
    assert (tmp_path / "b" / "digit_embeddings.pt").exists() == (kind == "tagspeech")
    assert torch.equal(scores(load(tmp_path / "b", merge_lora=False)), scores(model))
    assert torch.equal(scores_before_changes(tmp_path / "b"), scores(load(folder)))


def scores_before_changes(folder):
    """Give the scores of a checkpoint's language model without the changes to it."""
    model = load(folder, merge_lora=False)
    model.llm = load_llm(folder / "llm", dtype=torch.float32)
    return scores(model)


def test_another_audio_token_is_added_to_the_tokenizer():
    model = new(config(audio_token="<|SOUND|>"))  # noqa: S106 - no secret
    assert model.chat.audio_id == len(model.chat.tokenizer) - 1
    assert scores(model).isfinite().all()


def test_a_model_without_anchors_or_voices(tmp_path):
    settings = config(model_type="tagspeech-base", voice_stream=False)
    save(new(settings), settings, tmp_path)
    model = load(tmp_path)
    assert model.digits_kd is None
    heard = model.listen(model.features([builders.clip(1.0)]))
    assert {name: row.lens for name, row in heard.items()} == {"semantic": (6,)}


def test_parts_that_a_folder_lacks_are_named(tmp_path):
    save(new(config()), config(), tmp_path)
    assert missing_parts(tmp_path, read_config(tmp_path)) == []
    assert read_config(tmp_path).catalogue == ("small-whisper", "small-llm")
    (tmp_path / "projectors.safetensors").unlink()
    assert missing_parts(tmp_path, config()) == ["projectors.safetensors"]
    about = json.loads((tmp_path / "config.json").read_text())
    del about["llm"], about["audio_encoder_config"]["weights"]
    (tmp_path / "config.json").write_text(json.dumps(about))
    found = missing_parts(tmp_path, read_config(tmp_path))
    assert found == ["projectors.safetensors", "audio_encoder", "llm"]
    (tmp_path / "model.safetensors").touch()
    assert missing_parts(tmp_path, config()) == []


def test_names_of_weights_are_those_of_the_layout(tmp_path):
    settings = config(llm_lora={"rank": 1, "layers": ["q_proj"]})
    save(new(settings), settings, tmp_path)
    found = load_file(tmp_path / "projectors.safetensors")
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        **{f"{s}_projector.linear1.weight": (32, 128) for s in ("semantic", "voice")},
        **{f"{s}_projector.linear2.weight": (32, 32) for s in ("semantic", "voice")},
        **{f"{s}_projector.linear{n}.bias": (32,) for s in ("semantic", "voice") for n in (1, 2)},
        **{f"llm_lora.model.layers.{n}.self_attn.q_proj.down": (1, 32) for n in (0, 1)},
        **{f"llm_lora.model.layers.{n}.self_attn.q_proj.up": (32, 1) for n in (0, 1)},
    }


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda state: state.popitem(), "no tensor"),
        (lambda state: state.update({"llm_lora.x": torch.zeros(1)}), "llm_lora.x"),
        (lambda state: state.update({"voice_projector.linear1.bias": torch.zeros(1)}), "shape"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, state, words):
    save(new(config()), config(), tmp_path)
    path = tmp_path / "projectors.safetensors"
    tensors = load_file(path)
    state(tensors)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=words):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"llm": {"weights": "nobody-knows"}},
        {"audio_encoder_config": {"model_type": "whisper"}},
        {"llm": None, "llm_config": builders.LLM},
        {"llm_lora": {"layers": ["nothing"]}},
    ],
)
def test_a_model_that_cannot_be_made_is_refused(changes):
    with pytest.raises(MeetscribeError) as caught:
        new(config(**changes))
    assert caught.value.hint


def test_a_model_is_saved_with_its_own_configuration(tmp_path):
    settings = config(llm_lora=LORA)
    model = new(settings)
    for other in (config(), config(llm_lora=LORA, stream_layout="features")):
        with pytest.raises(ModelError, match="not the one"):
            save(model, other, tmp_path)
    save(model, settings, tmp_path)
    with pytest.raises(ModelError, match="not the one"):
        save(load(tmp_path), settings, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        save(new(config()), config(), Path(tmp_path / "file"))
