"""Each small part against golden numbers of its own."""

from __future__ import annotations

import json

import pytest
import torch

from meetscribe.errors import ShapeError
from meetscribe.joint import anchors
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.fbank import PADDING, fbank, fbank_batch, num_frames
from meetscribe.joint.projector import Projector
from meetscribe.joint.zipformer import attention, elements
from meetscribe.joint.zipformer.config import ZipformerConfig
from meetscribe.joint.zipformer.convolution import chunk_blocked


@pytest.fixture(scope="module")
def units(goldens):
    return goldens.tensors("units")


@pytest.fixture(scope="module")
def facts(goldens):
    return json.loads((goldens.folder / "units.json").read_text())


def close(found, expected, atol=2e-6):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def parameters(units, prefix):
    return {k.removeprefix(prefix): v for k, v in units.items() if k.startswith(prefix)}


def test_swoosh(units):
    close(elements.swoosh_l(units["swoosh/x"]), units["swoosh/L"])
    close(elements.swoosh_r(units["swoosh/x"]), units["swoosh/R"])


def test_bias_norm(units):
    norm = elements.BiasNorm(12)
    norm.load_state_dict({key: units[f"biasnorm/{key}"] for key in ("bias", "log_scale")})
    close(norm(units["biasnorm/x"]), units["biasnorm/y"])


@pytest.mark.parametrize("name", ["d192_T40", "d32_T5", "d48_T1", "d48_T7"])
def test_relative_positions(units, name):
    expected = units[f"posenc/{name}"][0]
    dim, frames = expected.shape[1], (len(expected) + 1) // 2
    close(attention.relative_positions(frames, dim), expected)


def test_relative_positions_of_a_long_clip(units):
    expected = units["posenc/d48_T1203_rows_0_1_2_1201_1202_1203_2403_2404"]
    found = attention.relative_positions(1203, 48)
    close(found[[0, 1, 2, 1201, 1202, 1203, 2403, 2404]], expected)


@pytest.mark.parametrize("name", ["ds2_T7", "ds4_T9", "ds8_T13", "ds8_T3", "ds8_T8"])
def test_change_of_rate(units, name):
    case = parameters(units, f"downsample/{name}/")
    module = elements.Downsample(len(case["bias"]))
    module.load_state_dict({"bias": case["bias"]})
    x = case["x"].transpose(0, 1)
    slow = module(x)
    close(slow.transpose(0, 1), case["y"])
    back = elements.upsample(slow, module.factor, x.shape[1])
    close(back.transpose(0, 1), case["upsampled_cropped"])


@pytest.mark.parametrize("dim", [3, 8])
def test_with_channels(units, dim):
    found = elements.with_channels(units["convert_channels/x"], dim)
    close(found, units[f"convert_channels/to{dim}"], 0)


def test_all_channels_takes_each_from_the_last_stack_that_has_it():
    outputs = [torch.full((1, 1, dim), float(index)) for index, dim in enumerate((2, 5, 4, 3))]
    assert elements.all_channels(outputs).flatten().tolist() == [3, 3, 3, 2, 1]


@pytest.mark.parametrize("masks", ["both", "chunks"])
def test_attention_weights(units, masks):
    config = ZipformerConfig(
        num_encoder_layers=(1,),
        downsampling_factor=1,
        encoder_dim=16,
        feedforward_dim=16,
        num_heads=4,
        query_head_dim=8,
        cnn_module_kernel=3,
    )
    module = attention.AttentionWeights(config.stacks[0])
    module.load_state_dict(parameters(units, "relattn/param/"))
    x = units["relattn/x"].transpose(0, 1)
    if masks == "chunks":
        blocked, expected = units["relattn/attn_mask"][None], units["relattn/w_attn_mask_only"]
    else:
        blocked, expected = units["relattn/key_padding_mask"][:, None], units["relattn/w"]
    found = module(x, units["relattn/pos_emb"][0], blocked)
    close(found.transpose(0, 1), expected)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_position_score_is_that_of_source_minus_target(frames):
    scores = torch.arange(2 * frames - 1.0) - (frames - 1)
    found = attention._shifted(scores.expand(1, 1, frames, -1))[0, 0]
    index = torch.arange(float(frames))
    assert torch.equal(found, index[None] - index[:, None])


@pytest.mark.parametrize("frames", [4, 8, 11])
def test_projector(units, frames):
    case = parameters(units, f"projector/T{frames}/")
    module = Projector(6, 8)
    module.load_state_dict(parameters(units, "projector/param/"))
    found = module(Padded(case["x"], (frames, frames - 1)))
    close(found.values_btd, case["y"])
    assert found.lens == (frames // 4, (frames - 1) // 4)


ANCHOR_CASES = (
    *("official", "exact_multiple", "shorter_than_interval", "zero_length", "many_two_digit"),
    *("three_digit", "no_ends", "no_ends_short", "interval_1_len_1", "len_longer_pad"),
)


@pytest.mark.parametrize("name", ANCHOR_CASES)
def test_anchors(units, facts, name):
    case, about = parameters(units, f"anchors/{name}/"), facts["anchors"][name]
    interval, ends = about["interval"], about["insert_anchors_at_ends"]
    found = anchors.insert(
        Padded(case["x"], tuple(case["lens"].tolist())),
        units["anchors/digit_embeddings_f32"],
        interval=interval,
        ends=ends,
        dtype=torch.float32,
    )
    close(found.values_btd, case["y"], 0)
    assert list(found.lens) == case["y_lens"].tolist()
    lengths = [
        anchors.num_positions(length, interval=interval, ends=ends)
        for length in case["lens"].tolist()
    ]
    assert lengths == list(found.lens)


def test_anchors_refuse_digits_of_another_size():
    with pytest.raises(ShapeError, match=r"\(10, 4\)"):
        anchors.insert(
            pad([torch.zeros(3, 4)]), torch.zeros(10, 5), interval=8, dtype=torch.float32
        )


def test_fbank_of_silence_noise_and_a_tone(units):
    found = fbank_batch([units[f"fbank/wave{index}"] for index in range(3)])
    assert list(found.lens) == units["fbank/lens"].tolist()
    close(found.values_btd, units["fbank/padded"], 3e-3)


def test_number_of_features(facts):
    for samples, frames in facts["fbank_frames"].items():
        if int(samples) >= 80:
            assert num_frames(int(samples)) == frames == len(fbank(torch.ones(int(samples))))


@pytest.mark.parametrize("shape", [(79,), (2, 1600)])
def test_fbank_refuses_what_is_no_clip(shape):
    with pytest.raises(ShapeError, match="80"):
        fbank(torch.zeros(shape))


def test_filling_is_below_the_floor_of_features():
    assert fbank(torch.zeros(1600)).min() > PADDING + 7


def test_chunks_see_themselves_and_what_went_before():
    blocked = chunk_blocked(6, chunk=2, left_context=2, device=torch.device("cpu"))
    seen = ["".join(".x"[int(not value)] for value in row) for row in blocked.tolist()]
    assert seen == ["xx....", "xx....", "xxxx..", "xxxx..", "..xxxx", "..xxxx"]
