"""The network: equal to transformers', alone and in a batch, at once and token by token."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from meetscribe.errors import ShapeError, WeightsError
from meetscribe.models.whisper_weights import WhisperWeights, load_whisper
from meetscribe.onestage.whisper import Whisper, make_whisper
from tests.onestage.conftest import SHAPE

ORACLE = """
import sys, types
import numpy as np, torch
stub = types.ModuleType("torchaudio._extension")  # PyPI's torchaudio fits no torch without CUDA
stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = False
stub.fail_if_no_align = lambda function: function
stub._check_cuda_version = lambda: None
sys.modules["torchaudio._extension"] = stub
from transformers import WhisperConfig, WhisperForConditionalGeneration
torch.manual_seed(0)
config = WhisperConfig(
    vocab_size=60, num_mel_bins=80, d_model=24, encoder_layers=3, decoder_layers=2,
    encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=48,
    max_source_positions=25, max_target_positions=12, pad_token_id=0, bos_token_id=0,
    eos_token_id=0, decoder_start_token_id=1, suppress_tokens=[3, 4], begin_suppress_tokens=[5],
)
model = WhisperForConditionalGeneration(config).eval()
for parameter in model.parameters():  # biases and norms too
    torch.nn.init.normal_(parameter, std=0.3)
mel, tokens = torch.randn(3, 80, 50), torch.randint(0, 60, (3, 7))
with torch.no_grad():
    out = model(input_features=mel, decoder_input_ids=tokens)
model.save_pretrained(sys.argv[1])
np.savez(sys.argv[1] + "/out.npz", mel=mel, tokens=tokens, logits=out.logits,
         encoded=out.encoder_last_hidden_state)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small model as transformers saves it, with what it made of random input."""
    made = tmp_path_factory.mktemp("transformers")
    code = [sys.executable, "-W", "ignore", "-c", ORACLE, str(made)]
    subprocess.run(code, check=True, capture_output=True)
    return made


def test_equal_to_transformers(folder: Path) -> None:
    weights = load_whisper(folder)
    assert weights.shape.encoder_attention_heads == 4
    assert (weights.suppress, weights.suppress_first) == ((3, 4), (5,))
    network = make_whisper(weights)
    found = np.load(folder / "out.npz")
    with torch.inference_mode():
        encoded = network.encoder(torch.from_numpy(found["mel"]))
        memory = network.decoder.begin(encoded)
        tokens = torch.from_numpy(found["tokens"])
        logits = network.decoder.logits(network.decoder(tokens, memory))
    np.testing.assert_allclose(encoded, found["encoded"], atol=1e-4)
    np.testing.assert_allclose(logits, found["logits"], atol=1e-4, rtol=1e-5)


def test_a_batch_of_different_lengths_is_each_alone(tiny: Whisper) -> None:
    steps = [50, 7, 31, 1]
    generator = torch.Generator().manual_seed(1)
    mels = [torch.randn(80, 2 * one, generator=generator) for one in steps]
    tokens = torch.tensor([[13, 0, 1, 2]] * len(steps))
    batch = torch.stack([torch.nn.functional.pad(mel, (0, 100 - mel.shape[1])) for mel in mels])
    with torch.inference_mode():
        encoded = tiny.encoder(batch, steps)
        together = tiny.decoder(tokens, tiny.decoder.begin(encoded, steps))
        for number, (mel, length) in enumerate(zip(mels, steps, strict=True)):
            alone = tiny.encoder(mel[None])
            torch.testing.assert_close(encoded[number, :length], alone[0], atol=1e-5, rtol=0)
            text = tiny.decoder(tokens[:1], tiny.decoder.begin(alone))
            torch.testing.assert_close(together[number], text[0], atol=1e-5, rtol=0)


def test_token_by_token_is_all_at_once_and_rows_can_leave(tiny: Whisper) -> None:
    generator = torch.Generator().manual_seed(2)
    encoded = torch.randn(3, 20, SHAPE.d_model, generator=generator)
    tokens = torch.randint(0, 100, (3, 8), generator=generator)
    steps = [20, 12, 5]
    with torch.inference_mode():
        whole = tiny.decoder(tokens, tiny.decoder.begin(encoded, steps))
        memory = tiny.decoder.begin(encoded, steps)
        made = [tiny.decoder(tokens[:, :3], memory)]
        made += [tiny.decoder(tokens[:, at : at + 1], memory) for at in (3, 4)]
        torch.testing.assert_close(torch.cat(made, dim=1), whole[:, :5], atol=1e-5, rtol=0)
        rows = torch.tensor([0, 2])
        memory.keep(rows)
        rest = [tiny.decoder(tokens[rows, at : at + 1], memory) for at in (5, 6, 7)]
    torch.testing.assert_close(torch.cat(rest, dim=1), whole[rows, 5:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [0, 7, 202])
def test_input_of_a_wrong_length_is_refused(tiny: Whisper, frames: int) -> None:
    with pytest.raises(ShapeError, match="at most 200"):
        tiny.encoder(torch.zeros(1, 80, frames))


def test_a_text_that_is_too_long_is_refused(tiny: Whisper) -> None:
    memory = tiny.decoder.begin(torch.zeros(1, 4, SHAPE.d_model))
    with pytest.raises(ShapeError, match="at most 40"):
        tiny.decoder(torch.zeros(1, 41, dtype=torch.long), memory)


@pytest.mark.parametrize("change", ["missing", "superfluous", "shape"])
def test_tensors_of_another_model_are_refused(tiny: Whisper, change: str) -> None:
    state = {f"model.{name}": value for name, value in tiny.state_dict().items()}
    if change == "missing":
        del state["model.encoder.conv1.bias"]
    elif change == "superfluous":
        state["model.encoder.conv3.bias"] = torch.zeros(1)
    else:
        state["model.encoder.conv1.bias"] = torch.zeros(1)
    with pytest.raises(WeightsError, match="some folder"):
        make_whisper(WhisperWeights(SHAPE, state), where="some folder")
