"""The encoder against its golden traces, names and shapes."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from meetscribe.config import build
from meetscribe.errors import ConfigError, ShapeError
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.checkpoint import build_parts
from meetscribe.joint.config import JointConfig
from meetscribe.joint.zipformer.config import ZipformerConfig
from meetscribe.joint.zipformer.encoder import Zipformer
from tests.joint import builders

TRACED = {"ami/sem": "audio_encoder", "batch/sem": "audio_encoder", "batch/voi": "voice_encoder"}
EMBED = {
    "conv.0": "conv.0",
    "conv.4": "conv.4",
    "convnext": "convnext",
    "out": "out",
    "final": "out_norm",
}


def submodule(name):
    """Give our name of what a trace calls so, or None for what is no module's output."""
    where, _, rest = name.partition("/")
    if where == "embed":
        return f"encoder_embed.{EMBED[rest]}" if rest in EMBED else None
    if not where.startswith("stack"):
        return None
    index = int(where.removeprefix("stack"))
    stack = f"encoder.encoders.{index}"
    inner = stack if index == 0 else f"{stack}.encoder"
    if rest.startswith("layer"):
        layer, _, part = rest.partition("/")
        part = {"out": "", "attn_weights": ".self_attn_weights"}.get(part, f".{part}")
        return None if part == ".in" else f"{inner}.layers.{layer.removeprefix('layer')}{part}"
    return {"out": stack, "downsampled": f"{stack}.downsample", "inner_out": inner}.get(rest)


def as_traced(name, value):
    if name.endswith("attn_weights"):
        return value.transpose(0, 1)
    return value if name.startswith("embed") else value.transpose(0, 1)


@pytest.mark.parametrize("trace", TRACED)
def test_every_step_equals_its_trace(goldens, model, io, trace):
    expected = {
        key.removeprefix(f"{trace}/"): value
        for key, value in goldens.tensors("zipformer_trace").items()
        if key.startswith(f"{trace}/")
    }
    encoder = getattr(model, TRACED[trace])
    names = {name: submodule(name) for name in expected}
    outputs = {}

    def keep(name):
        return lambda _module, _given, made: outputs.__setitem__(name, made.detach())

    hooks = [
        encoder.get_submodule(path).register_forward_hook(keep(name))
        for name, path in names.items()
        if path is not None
    ]
    case = trace.split("/")[0]
    features = Padded(io[f"{case}/fbank"], tuple(io[f"{case}/fbank_lens"].tolist()))
    made = encoder(features).values_btd.detach()
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(made, expected["encoder_out"], atol=2e-4, rtol=0)
    assert len(outputs) > 20
    for name, value in outputs.items():
        found = as_traced(name, value)
        torch.testing.assert_close(
            found, expected[name], atol=2e-4, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_names_and_shapes_of_the_large_model_are_those_published(goldens):
    about = json.loads((goldens.folder / "zipformer_large_keys.json").read_text())
    config = build(JointConfig, about["tagspeech_config_json"], where="config.json")
    parts = build_parts(config, config.llm_config["hidden_size"])
    for name in ("audio_encoder", "voice_encoder"):
        state = parts[name].state_dict()
        assert [[key, list(value.shape)] for key, value in state.items()] == [
            [key, shape] for key, shape, _ in about["encoder_state_dict"]
        ]
        assert all(value.is_meta and value.dtype == torch.float32 for value in state.values())
        count = sum(weight.numel() for weight in parts[name].parameters())
        assert count == about["n_encoder_parameters"]
    projectors = [
        [f"{name}.{key}", list(value.shape)]
        for name in ("semantic_projector", "voice_projector")
        for key, value in parts[name].state_dict().items()
    ]
    assert projectors == [[key, shape] for key, shape, _ in about["projectors_pt"]]


def test_the_causal_variant_has_the_names_published(goldens):
    about = json.loads((goldens.folder / "zipformer_large_keys.json").read_text())
    config = build(ZipformerConfig, about["encoder_config_json"] | {"causal": True}, where="test")
    with torch.device("meta"):
        state = Zipformer(config).state_dict()
    first = {k: list(v.shape) for k, v in state.items() if "encoders.0.layers.0" in k}
    variant = about["causal_variant"]
    assert {key: first[key] for key, _ in variant["only_if_causal"]} == dict(
        variant["only_if_causal"]
    )
    assert not first.keys() & dict(variant["replaced"]).keys()


@pytest.mark.parametrize(("chunk", "left"), [(32, 64), (32, -1), (16, 64), (-1, -1)])
def test_causal_encoder(goldens, io, chunk, left):
    folder = goldens.folder / "causal_encoder"
    mapping = json.loads((folder / "config.json").read_text())
    mapping |= {"chunk_size": [chunk], "left_context_frames": [left]}
    encoder = Zipformer(build(ZipformerConfig, mapping, where="config.json")).eval()
    encoder.load_state_dict(load_file(folder / "model.safetensors"))
    features = Padded(io["batch/fbank"], tuple(io["batch/fbank_lens"].tolist()))
    with torch.inference_mode():
        found = encoder(features)
    expected = load_file(folder / "io.safetensors")
    torch.testing.assert_close(
        found.values_btd, expected[f"chunk{chunk}_left{left}/encoder_out"], atol=2e-4, rtol=0
    )
    assert list(found.lens) == expected["lens"].tolist()


def test_a_new_encoder_learns():
    torch.manual_seed(0)
    encoder = Zipformer(build(ZipformerConfig, builders.ENCODER, where="test"))
    features = Zipformer.features([builders.clip(1.0), builders.clip(0.7, seed=1)])
    assert encoder(features).values_btd.square().mean().sqrt() > 0.1
    encoder(features).values_btd.square().sum().backward()
    silent = [
        name
        for name, weight in encoder.named_parameters()
        if weight.grad is None and not name.split("layers.")[-1].endswith("0.bypass_scale")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("shape", "lens"), [((1, 8, 80), (8,)), ((1, 40, 60), (40,)), ((1, 40, 80), (39,))]
)
def test_features_that_do_not_fit_are_refused(shape, lens):
    encoder = Zipformer(build(ZipformerConfig, builders.ENCODER, where="test"))
    with pytest.raises(ShapeError, match="zipformer: expected"):
        encoder(Padded(torch.zeros(shape), lens))


def test_the_shortest_clip_gives_one_frame():
    encoder = Zipformer(build(ZipformerConfig, builders.ENCODER, where="test"))
    assert encoder(pad([torch.zeros(9, 80)])).lens == (1,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cnn_module_kernel": [4]}, "odd"),
        ({"encoder_dim": [8, 16]}, "2 numbers for 3 stacks"),
        ({"causal": True, "chunk_size": [6], "left_context_frames": [8]}, "multiple"),
        ({"pos_dim": 7}, "pos_dim"),
        ({"output_downsampling_factor": 1}, "output_downsampling_factor"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        build(ZipformerConfig, builders.ENCODER | change, where="config.json")
