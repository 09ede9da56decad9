"""Conditioning and low-rank changes: nothing before training, and only they learn."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from meetscribe.errors import ConfigError, ShapeError, WeightsError
from meetscribe.models import fetch
from meetscribe.onestage import ConditioningSettings, LoraSettings, TargetWhisperSettings
from meetscribe.onestage.model import TargetWhisper
from meetscribe.onestage.whisper import Whisper

SETTINGS = TargetWhisperSettings(
    conditioning=ConditioningSettings(width=6, layers=(0, 1)),
    lora=LoraSettings(rank=3, alpha=6.0, places=("encoder", "decoder", "cross")),
)
TOKENS = torch.tensor([[13, 3, 4, 5], [13, 0, 1, 2]])


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("steps", [None, [30, 11]], ids=["equal lengths", "different lengths"])
def test_untrained_it_is_plain_whisper_exactly(tiny: Whisper, steps: list[int] | None) -> None:
    plain = copy.deepcopy(tiny)
    model = TargetWhisper(tiny, SETTINGS)
    mel = random(2, 80, 60)
    with torch.inference_mode():
        expected = plain.decoder(TOKENS, plain.decoder.begin(plain.encoder(mel, steps), steps))
        for embedding in (None, 100.0 * random(2, 30, 6)):
            made = model(mel, TOKENS, embedding, steps)
            assert torch.equal(made, plain.decoder.logits(expected))


@pytest.mark.weights
def test_whisper_base_untrained_is_plain_whisper_exactly() -> None:
    folder = fetch("whisper-base")
    settings = TargetWhisperSettings(lora=LoraSettings(places=("encoder", "decoder", "cross")))
    model, _ = TargetWhisper.load(folder, settings)
    plain, _ = TargetWhisper.load(folder, TargetWhisperSettings(lora=LoraSettings(rank=0)))
    mel, tokens = random(2, 80, 300), torch.tensor([[50258, 50259, 50359, 50363]] * 2)
    with torch.inference_mode():
        expected = plain(mel, tokens, None, [150, 90])
        assert torch.equal(model(mel, tokens, random(2, 150, 256), [150, 90]), expected)


def one_step(model: TargetWhisper, embedding: torch.Tensor) -> None:
    optimiser = torch.optim.SGD(model.trainable().values(), lr=0.5)
    logits = model(random(2, 80, 60), TOKENS[:, :-1], embedding)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten()).backward()
    optimiser.step()


def test_only_the_conditioning_and_the_low_rank_changes_learn(tiny: Whisper) -> None:
    before = {name: one.clone() for name, one in tiny.state_dict().items()}
    model = TargetWhisper(tiny, SETTINGS)
    embedding = random(2, 30, 6).requires_grad_()
    one_step(model, embedding)
    assert embedding.grad is not None
    assert not embedding.grad.any(), "the paths were zero"
    embedding.grad = None
    one_step(model, embedding)
    assert embedding.grad.any(), "after a step the embedding learns too"

    after = model.whisper.state_dict()
    for name, value in before.items():
        stem, _, leaf = name.rpartition(".")
        here = name if name in after else f"{stem}.plain.{leaf}"
        assert torch.equal(after[here], value), name
    learnt = model.trainable()
    assert all(name.split(".")[-1] in ("weight", "bias", "up", "down") for name in learnt)
    # 3 attentions, 2 projections, 2 factors, 2 layers; 2 paths and the norm, weight and bias each
    assert len(learnt) == 24 + 6
    assert all(one.grad is not None and one.grad.any() for one in learnt.values())


def test_the_embedding_changes_its_own_item_and_frame_on(tiny: Whisper) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    for _ in range(3):
        one_step(model, random(2, 30, 6))
    first, second = random(2, 30, 6), random(2, 30, 6).flip(0)
    second[0] = first[0]
    with torch.inference_mode():
        made = [model.encode(random(2, 80, 60), one) for one in (first, second)]
    torch.testing.assert_close(made[0][0], made[1][0])
    assert not torch.allclose(made[0][1], made[1][1])


def test_an_adapter_is_saved_and_loaded_and_merged(tiny: Whisper) -> None:
    other = copy.deepcopy(tiny)
    model = TargetWhisper(tiny, SETTINGS)
    embedding = random(2, 30, 6)
    for _ in range(3):
        one_step(model, embedding)
    again = TargetWhisper(other, SETTINGS)
    again.load_adapter(model.adapter(), where="adapter.safetensors")
    with torch.inference_mode():
        expected = model(random(2, 80, 60), TOKENS, embedding)
        assert torch.equal(again(random(2, 80, 60), TOKENS, embedding), expected)
        merged = again.for_decoding()
        torch.testing.assert_close(merged(random(2, 80, 60), TOKENS, embedding), expected)
    assert not [name for name in merged.state_dict() if "down" in name]


@pytest.mark.parametrize("change", ["missing", "superfluous", "shape"])
def test_an_adapter_of_other_settings_is_refused(tiny: Whisper, change: str) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    state = model.adapter()
    name = "conditioning.paths.1.weight"
    if change == "missing":
        del state[name]
    elif change == "superfluous":
        state["conditioning.paths.2.weight"] = state[name]
    else:
        state[name] = state[name][:, :1]
    with pytest.raises(WeightsError, match=r"adapter\.safetensors: conditioning\.paths"):
        model.load_adapter(state, where="adapter.safetensors")


def test_a_layer_that_is_not_there_is_refused(tiny: Whisper) -> None:
    settings = TargetWhisperSettings(conditioning=ConditioningSettings(layers=(0, 2)))
    with pytest.raises(ConfigError, match="layers 0 to 1"):
        TargetWhisper(tiny, settings)


def test_an_embedding_of_another_length_is_refused(tiny: Whisper) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    with pytest.raises(ShapeError, match="20 ms"):
        model.encode(random(2, 80, 60), random(2, 60, 6))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"neither model\.bin"):
        TargetWhisper.load(tmp_path, SETTINGS)
