"""Encoders other than the published ones: what they hear, how long it is, alone and in batches."""

from __future__ import annotations

import pytest
import torch

from meetscribe.activity import fbank
from meetscribe.errors import ModelError, ShapeError, WeightsError
from meetscribe.joint import encoders, encoders_campplus
from meetscribe.joint.batch import pad
from meetscribe.joint.checkpoint import load, new
from meetscribe.joint.encoders_campplus import CampplusFrames
from meetscribe.joint.encoders_whisper import WhisperEncoderConfig, WhisperFrames
from meetscribe.onestage.features import log_mel
from tests.joint import builders, small_catalogue

pytestmark = pytest.mark.usefixtures("catalogue")

SECONDS = (0.6, 1.9, 1.3)


def clips():
    return [builders.clip(seconds, seed=at) for at, seconds in enumerate(SECONDS)]


@pytest.fixture
def whisper():
    return encoders.from_catalogue(small_catalogue.WHISPER, where="test")


@pytest.fixture
def campplus():
    return encoders.from_catalogue(small_catalogue.CAMPPLUS, where="test")


@pytest.mark.parametrize("samples", [1, 199, 320, 321, 5_000, 16_000])
@pytest.mark.parametrize("kind", ["whisper", "campplus"])
def test_there_is_a_frame_for_each_20_ms(request, kind, samples):
    encoder = request.getfixturevalue(kind)
    made = encoder(encoder.features([builders.clip(1.0)[:samples]]))
    assert made.lens == (-(-samples // 320),)
    assert made.values_btd.shape == (1, made.lens[0], encoder.dim)
    assert made.values_btd.isfinite().all()


def test_whisper_hears_what_the_recogniser_hears(whisper):
    (clip,) = clips()[:1]
    expected = whisper.encoder(log_mel(clip)[None])
    torch.testing.assert_close(whisper(whisper.features([clip])).values_btd, expected)


def test_campplus_hears_what_voiceprints_are_made_of(campplus):
    (clip,) = clips()[:1]
    (heard_tf,) = campplus.features([clip]).rows()
    plain_tf = fbank.fbank(clip)
    # the same energies but for their mean, and two more frames at the end
    apart_tf = heard_tf[: len(plain_tf)] - plain_tf
    torch.testing.assert_close(apart_tf, apart_tf[:1].expand_as(apart_tf), atol=1e-4, rtol=0)
    assert heard_tf.mean(dim=0).abs().max() < 1e-4
    expected = campplus.campplus.frames(heard_tf[None])[0].T
    assert torch.equal(campplus(pad([heard_tf])).values_btd[0], expected)


@pytest.mark.parametrize(("kind", "limit"), [("whisper", 1e-5), ("campplus", 0.0)])
def test_a_clip_gets_the_same_frames_alone_and_beside_others(request, kind, limit):
    encoder = request.getfixturevalue(kind)
    together = encoder(encoder.features(clips())).rows()
    for clip, found in zip(clips(), together, strict=True):
        alone = encoder(encoder.features([clip])).values_btd[0]
        torch.testing.assert_close(found, alone, atol=limit, rtol=0)


def test_of_a_zipformer_neighbours_change_frames(tmp_path):
    model = load(builders.write_checkpoint(tmp_path))
    features = model.features(clips())
    apart = model.encode(features, apart=True)["semantic"].rows()
    together = model.encode(features, apart=False)["semantic"].rows()
    assert (apart[0] - together[0]).abs().max() > 1e-4


def test_one_at_a_time_or_together_is_the_same_where_encoders_permit():
    model = new(small_catalogue.config())
    features = model.features(clips())
    apart, together = (model.encode(features, apart=apart) for apart in (True, False))
    for name in ("semantic", "voice"):
        assert apart[name].lens == together[name].lens
        for one, other in zip(apart[name].rows(), together[name].rows(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_whisper_takes_long_clips_in_equal_pieces(whisper):
    assert whisper.longest == 400
    (row_tf,) = whisper.features([builders.clip(4.5)]).rows()
    found = whisper(pad([row_tf, row_tf[:100]])).rows()
    assert [len(row) for row in found] == [225, 50]
    halves = [whisper(pad([part])).values_btd[0] for part in (row_tf[:226], row_tf[226:])]
    torch.testing.assert_close(found[0], torch.cat(halves), atol=1e-5, rtol=0)


def test_averages_of_campplus_are_left_alone_by_training():
    encoder = CampplusFrames().train()
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize("shape", [(0,), (2, 1600)])
def test_campplus_refuses_what_is_no_clip(shape):
    with pytest.raises(ShapeError, match="campplus"):
        encoders_campplus.features([torch.zeros(shape)])


def test_encoders_that_hear_the_same_share_it():
    model = new(small_catalogue.config(voice_encoder_config=small_catalogue.WHISPER))
    features = model.features(clips())
    assert features["semantic"] is features["voice"]


@pytest.mark.parametrize("kind", ["whisper", "campplus"])
def test_a_folder_may_hold_the_tensors(request, kind):
    """The same encoder from the catalogue, and written down and read with its sizes stated."""
    from meetscribe.joint.tensor_files import fill

    encoder = request.getfixturevalue(kind)
    sizes = {name: getattr(small_catalogue.SHAPE, name) for name in small_catalogue.SHAPE.__slots__}
    with torch.device("meta"):
        made = encoders.build({**sizes, "model_type": kind}, where="test")
    fill(made, encoder.state_dict(), "test")
    expected = encoder(encoder.features(clips())).values_btd
    assert torch.equal(made.eval()(made.features(clips())).values_btd, expected)


def test_by_default_whisper_has_the_sizes_of_the_base():
    shape = WhisperEncoderConfig().shape
    with torch.device("meta"):
        encoder = WhisperFrames(shape)
    assert (encoder.dim, encoder.longest, shape.decoder_layers) == (512, 3000, 0)


@pytest.mark.parametrize(
    "mapping",
    [
        {"model_type": "whisper", "weights": "small-campplus"},
        {"model_type": "campplus", "weights": "small-whisper"},
        {"model_type": "campplus", "weights": "nobody-knows"},
        {"weights": "small-whisper"},
    ],
)
def test_weights_of_another_kind_are_refused(mapping):
    with pytest.raises(ModelError, match=r"here: weights '.*': the catalogue has no such"):
        encoders.from_catalogue(mapping, where="here")


def test_a_damaged_model_of_the_catalogue_is_refused(tmp_path):
    from meetscribe.joint.encoders import tensors_of_whisper

    (tmp_path / "model.safetensors").write_bytes(b"{}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError):
        tensors_of_whisper(tmp_path)


@pytest.mark.weights
def test_the_published_weights_fit(weights_cache, monkeypatch):
    monkeypatch.setenv("MEETSCRIBE_CACHE", str(weights_cache))
    words = encoders.from_catalogue({"model_type": "whisper", "weights": "base"}, where="test")
    mapping = {"model_type": "campplus", "weights": "campplus-zh-en"}
    voices = encoders.from_catalogue(mapping, where="test")
    for encoder in (words, voices):
        made = encoder(encoder.features([builders.clip(0.5)])).values_btd
        assert made.shape == (1, 25, 512)
        assert not any(weight.requires_grad for weight in encoder.parameters())
