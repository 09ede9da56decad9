"""The layout is guessed from how the channels relate, not from their number alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from meetscribe.errors import AudioError
from meetscribe.ingest import guess_layout, plan_channels, plan_mono, probe
from meetscribe.types import Layout

RATE_HZ = 16_000


def noisy(samples_cn, snr_db, *, seed=0):
    rng = np.random.default_rng(seed)
    level = np.sqrt(np.mean(samples_cn**2)) * 10 ** (-snr_db / 20)
    return (samples_cn + rng.standard_normal(samples_cn.shape) * level).astype(np.float32)


def in_room(sources_kn, talkers, microphones, *, seconds_to_silence=0.35):
    """Simulate a room of 5 x 6 x 3 m; shape (C, N)."""
    import pyroomacoustics as pra

    size = (5.0, 6.0, 3.0)
    absorption, order = pra.inverse_sabine(seconds_to_silence, size)
    room = pra.ShoeBox(
        size, fs=RATE_HZ, materials=pra.Material(absorption), max_order=min(order, 8)
    )
    for place, signal_n in zip(talkers, sources_kn, strict=True):
        room.add_source(place, signal=signal_n)
    room.add_microphone_array(np.array(microphones).T)
    room.simulate()
    heard_cn = room.mic_array.signals[:, : sources_kn.shape[1]]
    return heard_cn / np.abs(heard_cn).max() * 0.5


def around(count, radius_m, height_m):
    angles = 2 * np.pi * np.arange(count) / count
    return [
        (2.5 + radius_m * np.cos(angle), 3 + radius_m * np.sin(angle), height_m) for angle in angles
    ]


def close_to(talkers, distance_m):
    return [(x, y + 0.6 * distance_m, z - 0.8 * distance_m) for x, y, z in talkers]


TALKERS = around(4, 1.1, 1.15)
SCENES = {
    "array of 8": (around(8, 0.05, 0.8), Layout.ARRAY),
    "array of 3": (around(3, 0.1, 0.8), Layout.ARRAY),
    "far over a table": (
        [(1.6, 2.2, 0.8), (2.2, 3.9, 0.8), (2.9, 2.6, 0.8), (3.4, 3.7, 0.8)],
        Layout.ARRAY,
    ),
    "stereo pair": ([(2.35, 3, 0.8), (2.65, 3, 0.8)], Layout.MIX),
    "headsets": (close_to(TALKERS, 0.05), Layout.PER_SPEAKER),
    "lapels": (close_to(TALKERS, 0.22), Layout.PER_SPEAKER),
}


def guessed(tmp_path, make, samples_cn):
    scaled_cn = samples_cn / max(1.0, float(np.abs(samples_cn).max()))
    recording = probe([make.write(tmp_path / "a.wav", scaled_cn)])
    assert (recording.layout, recording.layout_reason) == guess_layout(recording)
    assert "\n" not in recording.layout_reason
    return recording


@pytest.mark.parametrize("scene", SCENES)
def test_rooms_with_noise_for_voices(tmp_path, make, scene):
    microphones, expected = SCENES[scene]
    heard_cn = in_room(make.talk(4, 30.0), TALKERS, microphones)
    # gains of recorders differ
    gains_c1 = 10 ** (np.random.default_rng(1).normal(0, 3, (len(heard_cn), 1)) / 20)
    recording = guessed(tmp_path, make, noisy(heard_cn * gains_c1, 25))
    assert recording.layout is expected, recording.layout_reason


@pytest.mark.parametrize("scene", SCENES)
def test_rooms_with_read_speech(tmp_path, make, speech_folder, scene):
    import soundfile

    with (speech_folder / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    by_speaker = {row["speaker"]: row["path"] for row in rows}
    paths = [by_speaker[speaker] for speaker in sorted(by_speaker)[:12]]
    turns_kn = np.zeros((4, 40 * RATE_HZ))
    at = 0
    for index, path in enumerate(paths):
        voice_n, _ = soundfile.read(speech_folder / path)
        voice_n = voice_n[: 4 * RATE_HZ] / voice_n.std() * 0.05
        end = min(at + voice_n.size, turns_kn.shape[1])
        turns_kn[index % 4, at:end] += voice_n[: end - at]
        at = end - RATE_HZ // 4  # a little overlap
    microphones, expected = SCENES[scene]
    heard_cn = in_room(turns_kn, TALKERS, microphones)
    recording = guessed(tmp_path, make, noisy(heard_cn, 20))
    assert recording.layout is expected, recording.layout_reason


def test_two_sides_of_a_call(tmp_path, make):
    sides_cn = make.talk(2, 20.0)
    assert guessed(tmp_path, make, noisy(sides_cn, 40)).layout is Layout.PER_SPEAKER
    # digital silence between the turns, and an echo of the other side
    assert guessed(tmp_path, make, sides_cn).layout is Layout.PER_SPEAKER
    echo_cn = sides_cn + 0.1 * np.roll(sides_cn[::-1], 2_400, axis=1)
    assert guessed(tmp_path, make, noisy(echo_cn, 40)).layout is Layout.PER_SPEAKER


def test_panned_stereo_is_a_mix(tmp_path, make):
    voices_kn = make.talk(3, 20.0)
    pan_k1 = np.array([[0.3], [0.5], [0.7]])
    mix_cn = np.stack([(voices_kn * pan_k1).sum(0), (voices_kn * (1 - pan_k1)).sum(0)])
    assert guessed(tmp_path, make, noisy(mix_cn, 30)).layout is Layout.MIX


@pytest.mark.parametrize("num_channels", [2, 4])
@pytest.mark.parametrize("gain", [1.0, 0.5, -1.0])
def test_copies_are_a_mix(tmp_path, make, num_channels, gain):
    voice_n = make.talk(2, 10.0).sum(0)
    copies_cn = np.stack([voice_n, *[voice_n * gain] * (num_channels - 1)])
    recording = guessed(tmp_path, make, copies_cn)
    assert recording.layout is Layout.MIX
    assert "copies" in recording.layout_reason
    assert plan_mono(recording).channels == (0,)


def test_copies_through_a_lossy_codec_are_a_mix(tmp_path, make):
    voice_n = make.talk(2, 10.0).sum(0)
    path = make.encode(tmp_path / "a.mp3", np.stack([voice_n, voice_n]), RATE_HZ, "libmp3lame")
    recording = probe([path])
    assert recording.layout is Layout.MIX
    assert "copies" in recording.layout_reason


def test_one_live_channel_is_the_one_used(tmp_path, make):
    samples_cn = np.zeros((3, 160_000), np.float32)
    samples_cn[1] = make.talk(1, 10.0)[0]
    recording = guessed(tmp_path, make, samples_cn)
    assert recording.layout is Layout.MIX
    assert recording.layout_reason == "only channel 1 of 3 carries sound"
    assert plan_mono(recording).channels == (1,)


def test_a_channel_with_a_loose_contact_does_not_make_an_array_per_speaker(tmp_path, make):
    heard_cn = noisy(in_room(make.talk(4, 20.0), TALKERS, SCENES["array of 8"][0]), 25)
    heard_cn[5, 40_000:120_000] *= 0.01
    assert guessed(tmp_path, make, heard_cn).layout is Layout.ARRAY


def test_separate_files_are_guessed_together(tmp_path, make):
    voices_kn = noisy(make.talk(3, 20.0), 40)
    paths = [
        make.write(tmp_path / f"person{index}.flac", voice_n[None])
        for index, voice_n in enumerate(voices_kn)
    ]
    assert probe(paths, as_channels=True).layout is Layout.PER_SPEAKER


def test_a_long_recording_is_sampled(tmp_path, make):
    """Only one person speaks in the first quarter."""
    voices_cn = make.talk(2, 400.0, seed=3)
    voices_cn[1, : 100 * RATE_HZ] = 0
    assert guessed(tmp_path, make, noisy(voices_cn, 40)).layout is Layout.PER_SPEAKER


def test_a_given_layout_is_kept(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(2, 100))
    assert probe([path], layout=Layout.ARRAY).layout is Layout.ARRAY
    with pytest.raises(AudioError, match="'mono' has one"):
        probe([path], layout=Layout.MONO)
    path = make.write(tmp_path / "b.wav", make.coded(1, 100))
    assert probe([path], layout=Layout.ARRAY).layout is Layout.MONO


@pytest.mark.parametrize("late_s", [(0.3, 0.0, 0.3, 0.0), (0.0, 0.15, 0.3, 0.45)])
def test_recorders_started_one_after_the_other_are_an_array(tmp_path, make, late_s):
    """The last sounds of a turn are heard by the late ones alone."""
    heard_cn = in_room(make.talk(4, 30.0), TALKERS, SCENES["far over a table"][0])
    late_cn = [
        np.roll(own_n, round(s * RATE_HZ)) for s, own_n in zip(late_s, heard_cn, strict=True)
    ]
    recording = guessed(tmp_path, make, noisy(np.stack(late_cn), 25))
    assert recording.layout is Layout.ARRAY, recording.layout_reason


def test_two_microphones_next_to_people_do_not_make_six_one_each(tmp_path, make):
    near_db_k, far_db_k = np.full(4, -25.0), np.array([-12.0, -12.0, 0.0, 0.0])
    gains_db_ck = np.stack([near_db_k, near_db_k, *[far_db_k] * 4])
    gains_db_ck[0, 0] = gains_db_ck[1, 1] = 0.0
    heard_cn = 10 ** (gains_db_ck / 20) @ make.talk(4, 40.0)
    recording = guessed(tmp_path, make, noisy(heard_cn, 40))
    assert recording.layout is Layout.ARRAY, recording.layout_reason


def test_headsets_recorded_out_of_step_are_still_one_each(tmp_path, make):
    heard_cn = in_room(make.talk(4, 30.0), TALKERS, SCENES["headsets"][0])
    heard_cn[2] = np.roll(heard_cn[2], 4_000)
    recording = guessed(tmp_path, make, noisy(heard_cn, 25))
    assert recording.layout is Layout.PER_SPEAKER, recording.layout_reason


def test_excerpts_are_heard_once(tmp_path, make, monkeypatch):
    from meetscribe.ingest import excerpts

    opened = []
    decoder = excerpts.Decoder
    monkeypatch.setattr(
        excerpts, "Decoder", lambda *how, **more: opened.append(how) or decoder(*how, **more)
    )
    path = make.write(tmp_path / "a.wav", noisy(make.talk(3, 12.0), 40))
    recording = probe([path])
    first = len(opened)
    assert first == 2
    plan_mono(recording)
    guess_layout(recording)
    plan_channels(recording)
    assert len(opened) == first
    make.write(tmp_path / "a.wav", noisy(make.talk(3, 13.0), 40))
    guess_layout(recording)
    assert len(opened) == 2 * first
