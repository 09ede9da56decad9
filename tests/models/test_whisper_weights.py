"""Whisper's weights out of CTranslate2's file: written by its own library, read by us."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from meetscribe.errors import WeightsError
from meetscribe.models import fetch
from meetscribe.models.ct2_file import read_ct2
from meetscribe.models.whisper_weights import WhisperShape, load_whisper
from meetscribe.onestage.whisper import (
    Attention,
    DecoderLayer,
    EncoderLayer,
    Whisper,
    make_whisper,
)

SHAPE = WhisperShape(
    num_mel_bins=8,
    d_model=16,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=4,
    encoder_ffn_dim=24,
    decoder_ffn_dim=32,
    vocab_size=40,
    max_source_positions=20,
    max_target_positions=12,
)
CONFIG = {
    "suppress_ids": [5, 6],
    "suppress_ids_begin": [7],
    "alignment_heads": [[0, 1], [1, 3]],
}


def state_of(network: Whisper) -> dict[str, torch.Tensor]:
    return {f"model.{name}": value.clone() for name, value in network.state_dict().items()}


@pytest.fixture
def network() -> Whisper:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = Whisper(SHAPE).eval()
        for parameter in made.parameters():  # the norms too
            torch.nn.init.normal_(parameter, std=0.4)
    return made.requires_grad_(requires_grad=False)


def fill_linear(spec: object, plain: torch.nn.Linear | torch.nn.Conv1d) -> None:
    spec.weight = plain.weight.numpy()
    if plain.bias is not None:
        spec.bias = plain.bias.numpy()


def fill_norm(spec: object, plain: torch.nn.LayerNorm) -> None:
    spec.gamma, spec.beta = plain.weight.numpy(), plain.bias.numpy()


def fill_attention(spec: object, plain: Attention, *, across: bool) -> None:
    from ctranslate2.converters import utils
    from ctranslate2.specs import common_spec

    parts = [plain.q_proj, plain.k_proj, plain.v_proj]
    for at, group in enumerate([parts[:1], parts[1:]] if across else [parts]):
        specs = [common_spec.LinearSpec() for _ in group]
        for one, part in zip(specs, group, strict=True):
            fill_linear(one, part)
        if len(specs) == 1:
            fill_linear(spec.linear[at], group[0])
        else:
            utils.fuse_linear(spec.linear[at], specs)
    fill_linear(spec.linear[-1], plain.out_proj)


def fill_layer(spec: object, plain: EncoderLayer | DecoderLayer) -> None:
    fill_norm(spec.self_attention.layer_norm, plain.self_attn_layer_norm)
    fill_attention(spec.self_attention, plain.self_attn, across=False)
    if isinstance(plain, DecoderLayer):
        fill_norm(spec.attention.layer_norm, plain.encoder_attn_layer_norm)
        fill_attention(spec.attention, plain.encoder_attn, across=True)
    fill_norm(spec.ffn.layer_norm, plain.final_layer_norm)
    fill_linear(spec.ffn.linear_0, plain.fc1)
    fill_linear(spec.ffn.linear_1, plain.fc2)


def write_ct2(network: Whisper, folder: Path, quantization: str) -> None:
    """Write the network with CTranslate2's own converter."""
    from ctranslate2.specs import whisper_spec

    # the converter changes what it is given
    network = copy.deepcopy(network)
    layers, heads = SHAPE.encoder_layers, SHAPE.encoder_attention_heads
    spec = whisper_spec.WhisperSpec(
        layers, heads, SHAPE.decoder_layers, SHAPE.decoder_attention_heads
    )
    for name in ("conv1", "conv2"):
        fill_linear(getattr(spec.encoder, name), getattr(network.encoder, name))
    spec.decoder.embeddings.weight = network.decoder.embed_tokens.weight.numpy()
    spec.decoder.projection.weight = network.decoder.embed_tokens.weight.numpy()
    for there, here in ((spec.encoder, network.encoder), (spec.decoder, network.decoder)):
        there.position_encodings.encodings = here.embed_positions.weight.numpy()
        fill_norm(there.layer_norm, here.layer_norm)
        for theirs, ours in zip(there.layer, here.layers, strict=True):
            fill_layer(theirs, ours)
    spec.register_vocabulary([f"<{at}>" for at in range(SHAPE.vocab_size)])
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir()
    spec.save(str(folder))
    (folder / "config.json").write_text(json.dumps(CONFIG))


@pytest.mark.parametrize(
    ("quantization", "tolerance"),
    [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 1e-2), ("int16", 1e-2)],
)
def test_what_ctranslate2_wrote_is_read(
    network: Whisper, tmp_path: Path, quantization: str, tolerance: float
) -> None:
    write_ct2(network, tmp_path / "model", quantization)
    weights = load_whisper(tmp_path / "model")
    assert weights.shape == SHAPE
    assert (weights.suppress, weights.suppress_first) == ((5, 6), (7,))
    assert weights.alignment_heads == ((0, 1), (1, 3))
    expected = state_of(network)
    assert weights.state.keys() == expected.keys()
    for name, value in weights.state.items():
        assert value.dtype == torch.float32
        step = tolerance * float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], atol=step, rtol=0, msg=name)


def test_ctranslate2_encodes_the_same(network: Whisper, tmp_path: Path) -> None:
    import ctranslate2

    write_ct2(network, tmp_path / "model", "float32")
    theirs = ctranslate2.models.Whisper(
        str(tmp_path / "model"), device="cpu", compute_type="float32", intra_threads=1
    )
    mel = np.random.default_rng(0).normal(0, 1, (2, 8, 30)).astype(np.float32)
    expected = np.array(theirs.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True))
    ours = make_whisper(load_whisper(tmp_path / "model")).encoder(torch.from_numpy(mel))
    np.testing.assert_allclose(ours.detach(), expected, atol=1e-4)


@pytest.mark.weights
def test_whisper_base_is_read_whole() -> None:
    weights = load_whisper(fetch("whisper-base"))
    assert weights.shape.vocab_size == 51865
    assert len(weights.suppress) == 88
    assert weights.suppress_first == (220, 50257)
    count = sum(value.numel() for value in weights.state.values())
    # with the 1500 positions of the encoder, which OpenAI's own count of 72.6 million has too
    assert count == 72_593_920
    make_whisper(weights)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_ends_early_is_one_clear_error(
    network: Whisper, tmp_path: Path, share: float
) -> None:
    folder = tmp_path / "whole"
    if not folder.exists():
        write_ct2(network, folder, "int8")
    content = (folder / "model.bin").read_bytes()
    path = tmp_path / "cut.bin"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"cut\.bin") as caught:
        read_ct2(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("at", "found", "said"),
    [
        (0, b"\x05", "version 5"),
        (6, b"Transformer", "layout Transforme"),
        (18, b"\x02", "revision|layout WhisperSpec 2"),
        (26, b"\xff\xff", "not a whole"),
    ],
)
def test_another_file_is_refused(
    network: Whisper, tmp_path: Path, at: int, found: bytes, said: str
) -> None:
    folder = tmp_path / "model"
    write_ct2(network, folder, "float32")
    content = bytearray((folder / "model.bin").read_bytes())
    content[at : at + len(found)] = found
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        load_whisper(folder)


def write_transformers(
    network: Whisper, folder: Path, **changes: object
) -> dict[str, torch.Tensor]:
    folder.mkdir()
    state = state_of(network)
    config = {name: getattr(SHAPE, name) for name in SHAPE.__slots__}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "whisper"} | changes))
    generation = {"suppress_tokens": [1, 2], "begin_suppress_tokens": [3]}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return state


@pytest.mark.parametrize("kind", ["one file", "parts", "pickle"])
def test_transformers_own_layout(network: Whisper, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    state = write_transformers(network, folder)
    tied = state | {"proj_out.weight": state["model.decoder.embed_tokens.weight"].clone()}
    if kind == "one file":
        save_file(
            {name: value.half() for name, value in tied.items()}, folder / "model.safetensors"
        )
    elif kind == "pickle":
        torch.save(tied, folder / "pytorch_model.bin")
    else:
        half = sorted(state)[: len(state) // 2]
        files = {name: "a.safetensors" if name in half else "b.safetensors" for name in state}
        for file in set(files.values()):
            part = {name: value for name, value in state.items() if files[name] == file}
            save_file(part, folder / file)
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": files}))
    weights = load_whisper(folder)
    assert weights.shape == SHAPE
    assert (weights.suppress, weights.suppress_first) == ((1, 2), (3,))
    assert weights.state.keys() == state.keys()
    for name, value in weights.state.items():
        torch.testing.assert_close(value, state[name], atol=2e-3, rtol=0)
    make_whisper(weights)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model_type": "bert"}, "type bert"), ({"d_model": None}, r"config\.json")],
)
def test_another_model_is_refused(
    network: Whisper, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    state = write_transformers(network, tmp_path / "model", **changes)
    save_file(state, tmp_path / "model" / "model.safetensors")
    with pytest.raises(WeightsError, match=said):
        load_whisper(tmp_path / "model")


def test_damaged_safetensors_is_one_clear_error(network: Whisper, tmp_path: Path) -> None:
    write_transformers(network, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_whisper(tmp_path / "model")
