"""The stream of places: who speaks is heard from where the sound comes."""

from __future__ import annotations

import pytest
import torch

from meetscribe.errors import AudioError, ModelError, ShapeError
from meetscribe.joint.checkpoint import load, new, save
from meetscribe.joint.encoders import build
from meetscribe.joint.spatial_settings import SpatialStreamSettings
from meetscribe.joint.spatial_stream import ArrayClip, array_clip, solo_frames
from meetscribe.types import Turn
from tests.joint import small_catalogue
from tests.joint.array_builders import TURNS, meeting

pytestmark = pytest.mark.usefixtures("catalogue")

SETTINGS = SpatialStreamSettings()
BANDS = SETTINGS.num_bands


def frames_of(clip, settings=SETTINGS):
    """Give frames as (time, speaker, bands and flag)."""
    return solo_frames(clip, settings).unflatten(1, (settings.num_speakers, -1))


def test_sound_fits_the_place_of_who_speaks():
    frames = frames_of(array_clip(meeting(), TURNS))
    assert frames.shape == (240, 4, BANDS + 1)
    fit_sk = frames[..., :-1].mean(dim=2)
    for speaker, (first, last) in enumerate([(0.0, 2.0), (2.0, 4.0)]):
        own = fit_sk[round(50 * first) + 3 : round(50 * last) - 3]
        assert own[:, speaker].min() > 0.9
        assert own[:, 1 - speaker].max() < 0.5


def test_speakers_stand_in_order_of_first_appearance_and_say_whether_they_are_known():
    clip = array_clip(meeting(), TURNS)
    assert [place is not None for place in clip.places] == [True, True, False]
    frames = frames_of(clip)
    # cid is never alone for a second; a fourth speaker is not there
    assert frames[:, :, -1].unique(dim=0).tolist() == [[1, 1, 0, 0]]
    assert not frames[:, 2:].any()


def test_places_of_the_whole_meeting_serve_a_clip_of_it():
    whole = array_clip(meeting(), TURNS)
    profiles = dict(zip(("ann", "ben", "cid"), whole.places, strict=True))
    piece = meeting([Turn(0.0, 1.0, "ben"), Turn(0.2, 1.0, "ann")], seconds=1.0, seed=1)
    turns = [Turn(70.2, 71.0, "ann"), Turn(70.0, 71.0, "ben")]
    clip = array_clip(piece, turns, profiles=profiles)
    assert clip.places == (profiles["ben"], profiles["ann"])
    assert frames_of(clip)[:8, 0, :-1].mean() > 0.9


def test_those_who_come_too_late_have_no_room():
    clip = array_clip(meeting(), TURNS)
    small = SpatialStreamSettings(num_speakers=1, num_bands=8)
    found = solo_frames(clip, small)
    assert found.shape == (240, 9)
    assert found[10:90, :-1].mean() > 0.9
    assert found[110:190, :-1].mean() < 0.5


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 7_000])
def test_there_is_a_frame_for_each_20_ms(samples):
    clip = array_clip(meeting(), TURNS)
    cut = ArrayClip(clip.samples_n[:samples], clip.samples_cn[:, :samples], clip.places)
    found = solo_frames(cut, SETTINGS)
    assert len(found) == -(-samples // 320)
    assert found.isfinite().all()


def test_one_microphone_knows_no_places():
    samples_cn = meeting()[:1]
    clip = array_clip(samples_cn, TURNS)
    assert clip.places == (None, None, None)
    assert not solo_frames(clip, SETTINGS).any()
    places = array_clip(meeting(), TURNS).places
    with pytest.raises(AudioError, match="1 channel"):
        solo_frames(ArrayClip(samples_cn[0], samples_cn, places), SETTINGS)
    with pytest.raises(ShapeError, match="a profile of 4 channels"):
        solo_frames(ArrayClip(samples_cn[0], meeting()[:2], places), SETTINGS)


@pytest.mark.parametrize(("one", "several"), [((5,), (2, 6)), ((5,), (5,)), ((2, 5), (2, 5))])
def test_signals_of_other_times_are_refused(one, several):
    with pytest.raises(ShapeError, match="expected"):
        ArrayClip(torch.zeros(one), torch.zeros(several))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ModelError, match="num_bands"):
        build({"model_type": "spatial", "num_bands": 2}, where="spatial_encoder_config")


SPATIAL = {"model_type": "spatial", "num_bands": 8}


@pytest.mark.parametrize("stream_layout", ["separate", "interleaved", "features"])
def test_a_model_with_a_third_stream(tmp_path, stream_layout):
    config = small_catalogue.config(
        voice_encoder_config=small_catalogue.WHISPER,
        spatial_encoder_config=SPATIAL,
        stream_layout=stream_layout,
    )
    model = new(config)
    clips = [array_clip(meeting(), TURNS), array_clip(meeting(TURNS[1:2], seconds=2.0), TURNS[1:2])]
    frames = model.encode(model.features(clips), apart=True)
    assert list(frames) == ["semantic", "voice", "spatial"]
    assert {row.lens for row in frames.values()} == {(240, 100)}
    heard = model.listen(model.features(clips))
    assert len(heard) == (3 if stream_layout == "separate" else 1)
    assert len(model.generate(heard, max_new_tokens=2)) == 2
    save(model, config, tmp_path)
    again = load(tmp_path)
    for place, found in again.listen(again.features(clips)).items():
        assert torch.equal(found.values_btd, heard[place].values_btd)


def test_other_streams_hear_the_one_signal():
    plain = new(small_catalogue.config(voice_encoder_config=small_catalogue.WHISPER))
    samples_cn = meeting()
    clip = array_clip(samples_cn, TURNS, samples_n=samples_cn[2])
    found, expected = plain.features([clip]), plain.features([samples_cn[2]])
    assert torch.equal(found["voice"].values_btd, expected["voice"].values_btd)


def test_a_model_that_hears_places_is_not_given_one_signal():
    config = small_catalogue.config(
        voice_encoder_config=small_catalogue.WHISPER, spatial_encoder_config=SPATIAL
    )
    with pytest.raises(ShapeError, match="clip 1: one signal") as caught:
        new(config).features([array_clip(meeting(), TURNS), meeting()[0]])
    assert "without places" in caught.value.hint
