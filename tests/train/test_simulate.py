"""Simulated meetings are what they say they are: speech, overlap, room, noise, files."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.config import build, load
from meetscribe.errors import AudioError, ConfigError, FormatError, OutputError, ShapeError
from meetscribe.formats import parse_file
from meetscribe.formats.rttm import parse_sessions
from meetscribe.ingest.write import AudioWriter
from meetscribe.resources import listing
from meetscribe.train import SimulationSettings, simulate
from meetscribe.train.casting import choose_speakers
from meetscribe.train.conversation import converse
from meetscribe.train.noise import Colour, DiffuseNoise, PointNoise
from meetscribe.train.rooms import (
    draw_scene,
    place_close,
    place_microphones,
    reverberation_time,
    simulate_room,
)
from meetscribe.train.speech import Reading, Spoken, load_corpus, speech_regions
from meetscribe.train.turns import measure_turns
from meetscribe.types import Segment
from tests.train.builders import RATE_HZ, voice, write_table

SMALL = {
    "minutes": 0.5,
    "channels": 2,
    "rt60_s": (0.2, 0.25),
    "speakers": (3, 3),
    "overlap": (0.2, 0.4),
    "backchannel_s": 1.0,
}
"""A meeting that is made in about a second."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four speakers with 14 utterances each, 2.5 minutes in all."""
    return write_table(tmp_path_factory.mktemp("speech"))


def small(**changes):
    return SimulationSettings(**{**SMALL, **changes})


def overlap_on_grid(turns):
    """Share of the speech with two or more voices, counted every millisecond."""
    speakers = sorted({turn.speaker for turn in turns})
    active = np.zeros((len(speakers), round(1000 * max(t.end for t in turns)) + 1), bool)
    for turn in turns:
        row = speakers.index(turn.speaker)
        active[row, round(1000 * turn.start) : round(1000 * turn.end)] = True
    voices = active.sum(axis=0)
    return (voices > 1).sum() / (voices > 0).sum()


# --- speech and its table ---


@pytest.mark.parametrize("level", [0.003, 0.3])
def test_speech_is_found_where_it_is_and_long_pauses_are_not_speech(level):
    sounds = [(0.5, 1.2), (1.4, 2.0), (2.5, 3.0)]  # pauses of 0.2 s and 0.5 s
    samples_n = voice(sounds, 3.6, rng=np.random.default_rng(1), level=level, hiss=level / 1000)
    found = speech_regions(samples_n)
    assert [(r.start, r.end) for r in found] == [
        pytest.approx((0.5, 2.0), abs=0.04),
        pytest.approx((2.5, 3.0), abs=0.04),
    ]


def test_a_noisy_recording_is_not_all_speech_and_a_click_is_none():
    rng = np.random.default_rng(2)
    samples_n = voice([(1.0, 2.0)], 3.0, rng=rng, level=0.2, hiss=0.02)
    samples_n[round(0.3 * RATE_HZ) : round(0.31 * RATE_HZ)] = 0.5
    (found,) = speech_regions(samples_n)
    assert (found.start, found.end) == pytest.approx((1.0, 2.0), abs=0.05)


def test_silence_has_no_speech():
    assert speech_regions(np.zeros(RATE_HZ, np.float32)) == []
    assert speech_regions(np.zeros(10, np.float32)) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(0, 1000))
def test_regions_are_sorted_apart_and_inside(pattern, seed):
    rng = np.random.default_rng(seed)
    sounds = [(0.2 * n, 0.2 * n + 0.2) for n, on in enumerate(pattern) if on]
    duration = 0.2 * len(pattern)
    found = speech_regions(voice(sounds, duration, rng=rng))
    assert all(0 <= r.start < r.end <= duration + 1e-9 for r in found)
    assert all(after.start - before.end >= 0.3 - 1e-9 for before, after in pairwise(found))


def test_missing_files_are_named_and_the_rest_goes_on(tmp_path):
    table = write_table(tmp_path)
    (tmp_path / "spk1/utt4.wav").unlink()
    corpus = load_corpus(table, small())
    assert corpus.notes == ("spk1/utt4.wav: missing, left out",)
    assert len(corpus.readings) == 4 * 14 - 1


def test_broken_files_are_named_and_the_meeting_is_made_without(tmp_path, caplog):
    table = write_table(tmp_path / "speech", columns=("path", "speaker", "text", "duration_s"))
    for path in (tmp_path / "speech/spk0").iterdir():
        if path.stem not in {"utt3", "utt4", "utt5", "utt6"}:
            path.write_bytes(b"no sound")
    (audio,) = simulate(table, tmp_path / "out", small(speakers=(4, 4)))
    scene = json.loads(audio.with_suffix(".scene.json").read_text(encoding="utf-8"))
    assert all("spk0/" in note for note in scene["notes"])
    assert any("left out" in message for message in caplog.messages)
    assert len(scene["speakers"]) == 4


def test_commas_and_further_columns_are_read_and_repeated_texts_are_not(tmp_path):
    write_table(tmp_path)
    rows = [
        "speaker,path,text,duration_s,split",
        'a,spk0/utt2.wav,"well, yes",3.25,train',
        "a,spk0/utt3.wav,Well; yes,3.0,train",
        'a,spk0/utt4.wav,"WELL,  yes",3.25,train',
        "b,spk1/utt2.wav,no,2.0,dev",
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    readings = load_corpus(table, small(split="train")).readings
    assert [(r.path, r.text, r.duration) for r in readings] == [
        ("spk0/utt2.wav", "well, yes", 3.25),
        ("spk0/utt3.wav", "Well; yes", 3.0),
    ]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FormatError, "empty"),
        ("path\tspeaker\na.wav\tx\n", FormatError, "no column text; found path, speaker"),
        ("path\tspeaker\ttext\na.wav\tx\n", FormatError, "table.tsv:2: expected 3 columns"),
        ("path\tspeaker\ttext\na.wav\tx\thi\n", AudioError, "no file that it lists is there"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, error, message):
    table = tmp_path / "table.tsv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        load_corpus(table, small())


def test_unknown_split_names_those_there_are(tmp_path):
    table = write_table(tmp_path, columns=("path", "speaker", "text", "split"))
    with pytest.raises(ConfigError, match="no row of split 'test'") as caught:
        load_corpus(table, small(split="test"))
    assert caught.value.hint == "there are: heldout, train"


# --- conversations ---


def readers(number, *, seed=0, count=60, longest=9.0):
    """Readings that were never recorded, and how they would sound: a pause in the long ones."""
    rng = np.random.default_rng(seed)
    readings = [
        Reading(f"{s}/{u}", f"s{s}", f"text {s} {u}", float(rng.uniform(0.8, longest)))
        for s in range(number)
        for u in range(count)
    ]

    def heard(reading):
        length = reading.duration - 0.3
        middle = length / 2
        pieces = [(0.0, middle - 0.4), (middle, length)] if length > 4 else [(0.0, length)]
        return Spoken(reading, 0.1, tuple(Segment(*piece) for piece in pieces), 0.1)

    return readings, heard


def talk(settings_, number, seed, target):
    readings, heard = readers(number, seed=seed)
    rng = np.random.default_rng(seed)
    return converse(choose_speakers(readings, settings_, rng), settings_, heard, rng, target=target)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 5),
    st.sampled_from([(0.0, 0.0), (0.0, 0.1), (0.2, 0.4), (0.45, 0.5)]),
    st.integers(0, 10_000),
)
def test_conversations_keep_the_rules(number, overlap, seed):
    wanted = small(speakers=(number, number), overlap=overlap, minutes=2)
    made = talk(wanted, number, seed, sum(overlap) / 2)
    turns = [turn for said in made.said for turn in said.turns()]
    assert overlap[0] - 0.01 <= overlap_on_grid(turns) <= overlap[1] + 0.01
    paths = [said.spoken.reading.path for said in made.said]
    assert len(set(paths)) == len(paths)
    assert {said.speaker for said in made.said} == set(made.speakers)
    assert max(said.end for said in made.said) + 0.9 < made.duration <= 120
    for speaker in made.speakers:
        own = sorted((s.start, s.end) for s in made.said if s.speaker == speaker)
        assert all(start - end > 0.19 for (_, end), (start, _) in pairwise(own))


def test_the_aim_is_met_closely():
    for target in (0.22, 0.38):
        made = talk(small(minutes=7), 3, 5, target)
        turns = [turn for said in made.said for turn in said.turns()]
        assert overlap_on_grid(turns) == pytest.approx(target, abs=0.01)


def test_backchannels_are_whole_short_utterances_under_a_long_one():
    made = talk(small(minutes=10, speakers=(4, 4)), 4, 7, 0.3)
    backchannels = [said for said in made.said if said.backchannel]
    assert backchannels
    for aside in backchannels:
        assert aside.spoken.duration <= 1.0
        assert any(
            other.speaker != aside.speaker and other.start <= aside.start and aside.end <= other.end
            for other in made.said
        )


def test_a_language_stays_among_itself(tmp_path):
    columns = ("path", "speaker", "text", "duration_s", "language")
    corpus = load_corpus(write_table(tmp_path, speakers=6, columns=columns), small())
    for seed in range(10):
        chosen = choose_speakers(corpus.readings, small(), np.random.default_rng(seed))
        assert len({reading.language for own in chosen.values() for reading in own}) == 1


def test_too_few_speakers_and_too_little_speech_are_refused(table):
    corpus = load_corpus(table, small())
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="4 speakers in the table, expected at least 5"):
        choose_speakers(corpus.readings, small(speakers=(5, 5)), rng)
    with pytest.raises(ConfigError, match="too few speakers with enough to say") as caught:
        choose_speakers(corpus.readings, small(minutes=5), rng)
    assert "--repeat" in caught.value.hint
    assert len(choose_speakers(corpus.readings, small(minutes=5, repeat=True), rng)) == 3


def test_an_overlap_that_cannot_be_had_is_refused():
    readings = [Reading(f"{s}", f"s{s}", "text", 20.0) for s in range(2)]

    def heard(reading):
        return Spoken(reading, 0.1, (Segment(0.0, 19.0),), 0.1)

    wanted = small(minutes=0.36, speakers=(2, 2), overlap=(0.0, 0.0))
    chosen = {reading.speaker: [reading] for reading in readings}
    with pytest.raises(ConfigError, match="0% to 0% overlap between all 2 speakers cannot be had"):
        converse(chosen, wanted, heard, np.random.default_rng(0), target=0.0)
    with pytest.raises(ConfigError, match=r"fill 3\d s, expected 59 s"):
        converse(chosen, small(minutes=1), heard, np.random.default_rng(0), target=0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": [0.9, 0.9]}, "overlap: 0.9 to 0.9: expected a range within 0 to 0.7"),
        ({"rt60_s": [0.7, 0.3]}, "rt60_s: 0.7 to 0.3"),
        ({"speakers": [1, 1], "overlap": [0.2, 0.3]}, "nobody overlaps himself"),
        ({"speakers": [0, 2]}, "speakers 0 to 2"),
        ({"channels": 9}, "holds 8 at most"),
        ({"rt60": [0.3, 0.7]}, "unknown key 'rt60'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(SimulationSettings, changes, where="sim.yaml")


def test_bundled_settings_load():
    assert load(SimulationSettings, listing("configs/train")["simulate"]).meetings == 6


def test_the_numbers_of_real_meetings_are_those_of_the_public_references(data):
    """The docstring of turns, measured again on AMI."""
    meetings = [
        meeting
        for path in sorted((data / "ami/rttm_only_words").rglob("*.rttm"))
        for meeting in parse_sessions(path.read_text(encoding="utf-8"))
    ]
    found = [measure_turns(meeting.turns) for meeting in meetings]
    spurts = sum(f.spurts for f in found)

    def share(name):
        return sum(getattr(f, name) * f.spurts for f in found) / spurts

    assert len(found) == 34
    assert share("same_speaker") == pytest.approx(0.13, abs=0.005)
    assert share("after_gap") == pytest.approx(0.30, abs=0.005)
    assert share("overlapping") == pytest.approx(0.22, abs=0.005)
    assert share("within_short") == pytest.approx(0.26, abs=0.005)
    assert share("within_long") == pytest.approx(0.09, abs=0.005)
    assert (min(f.overlap for f in found), max(f.overlap for f in found)) == pytest.approx(
        (0.04, 0.30), abs=0.005
    )


# --- rooms and noise ---


def test_a_line_a_circle_and_a_scatter_have_their_shapes():
    rng = np.random.default_rng(0)
    line_c3 = place_microphones(small(array="linear", channels=5, spacing_m=(0.04, 0.04)), rng)
    assert np.linalg.norm(np.diff(line_c3, axis=0), axis=1) == pytest.approx(0.04)
    assert np.linalg.norm(line_c3[4] - line_c3[0]) == pytest.approx(0.16)
    ring_c3 = place_microphones(small(channels=6, radius_m=(0.08, 0.08)), rng)
    assert np.linalg.norm(ring_c3, axis=1) == pytest.approx(0.08)
    sides = np.linalg.norm(ring_c3 - np.roll(ring_c3, 1, axis=0), axis=1)
    assert sides == pytest.approx(0.08)  # a hexagon
    loose_c3 = place_microphones(small(array="ad-hoc", channels=8, spread_m=(1.0, 1.0)), rng)
    assert np.linalg.norm(loose_c3[:, :2], axis=1).max() <= 1.0
    apart_cc = np.linalg.norm(loose_c3[:, None] - loose_c3[None], axis=2) + np.eye(8)
    assert apart_cc.min() >= 0.1


@pytest.mark.parametrize("rt60_s", [0.2, 0.5])
def test_rooms_have_their_reverberation_time_and_sound_takes_its_time(rt60_s):
    from pyroomacoustics.experimental import measure_rt60

    scene = draw_scene(small(), 3, np.random.default_rng(4), rt60_s=rt60_s)
    room = simulate_room(scene)
    assert room.rt60_s == pytest.approx(rt60_s, rel=0.1)
    measured = [
        measure_rt60(own_n.astype(float), RATE_HZ, decay_db=30)
        for own_cn in room.speakers
        for own_n in own_cn
    ]
    assert room.rt60_s == pytest.approx(float(np.median(measured)), rel=0.1)
    for place_3, own_cn in zip(scene.speakers_k3, room.speakers, strict=True):
        distance_c = np.linalg.norm(scene.microphones_c3 - place_3, axis=1)
        first_c = np.argmax(np.abs(own_cn) > 0.5 * np.abs(own_cn).max(axis=1)[:, None], axis=1)
        assert first_c / RATE_HZ == pytest.approx(distance_c / 343.0, abs=1.6 / RATE_HZ)


def test_reverberation_time_of_a_pure_decay_is_known():
    time_n = np.arange(RATE_HZ) / RATE_HZ
    noise_n = np.random.default_rng(0).standard_normal(RATE_HZ)
    assert reverberation_time(noise_n * 10 ** (-3 * time_n / 0.4)) == pytest.approx(0.4, rel=0.02)


def test_high_frequencies_fade_on_their_way_as_in_the_simulator_itself():
    import pyroomacoustics as pra

    scene = draw_scene(small(), 1, np.random.default_rng(4), rt60_s=0.45)
    own_n = simulate_room(scene).speakers[0][0]
    absorption = simulate_room(scene).absorption
    room = pra.ShoeBox(
        list(scene.room_m),
        fs=RATE_HZ,
        materials=pra.Material(absorption),
        max_order=40,
        air_absorption=True,
    )
    room.add_source(scene.speakers_k3[0])
    room.add_microphone(scene.microphones_c3[0])
    room.compute_rir()
    theirs_n = room.rir[0][0][40 : 40 + len(own_n)]

    def late_tilt_db(response_n):
        power_f = np.abs(np.fft.rfft(response_n[2400:4800])) ** 2
        return 10 * np.log10(power_f[900:1100].mean() / power_f[100:200].mean())  # 6 to 7.3 kHz

    assert late_tilt_db(own_n) == pytest.approx(late_tilt_db(theirs_n), abs=1.5)


@pytest.mark.parametrize(
    ("array", "reach_m"), [("headsets", (0.03, 0.08)), ("lapels", (0.15, 0.25))]
)
def test_everybody_wears_a_microphone_and_spare_ones_lie_on_the_table(array, reach_m):
    mouths_k3 = np.array([[1.0, 0.0, 0.4], [0.0, 1.2, 0.5], [-1.0, -0.3, 0.4]])
    worn = small(array=array, channels=5)
    places_c3 = place_close(worn, mouths_k3, np.random.default_rng(0))
    away_k = np.linalg.norm(places_c3[:3] - mouths_k3, axis=1)
    assert reach_m[0] <= away_k.min() <= away_k.max() <= reach_m[1]
    assert np.linalg.norm(places_c3[3:, :2], axis=1).max() < 0.5
    assert place_close(
        small(array=array, channels=None), mouths_k3, np.random.default_rng(0)
    ).shape == (
        3,
        3,
    )


def test_headsets_hear_the_others_15_to_30_db_below_their_own_speaker():
    worn = small(array="headsets", channels=None)
    room = simulate_room(draw_scene(worn, 3, np.random.default_rng(4), rt60_s=0.4))
    level_kc = np.array([20 * np.log10(np.linalg.norm(way_cn, axis=1)) for way_cn in room.speakers])
    below_kc = np.diag(level_kc)[:, None] - level_kc
    others = ~np.eye(3, dtype=bool)
    assert 12 < below_kc[others].min() <= below_kc[others].max() < 35
    assert room.rt60_s == pytest.approx(0.4, rel=0.15)


def test_too_few_microphones_for_everybody_are_refused():
    with pytest.raises(ValueError, match="2 channels for up to 3 speakers with headsets"):
        small(array="headsets")
    with pytest.raises(ValueError, match="9 channels as flac"):
        small(array="lapels", channels=None, speakers=(2, 9))


def test_a_room_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match="no room for 4 speakers"):
        draw_scene(small(distance_m=(5.0, 6.0)), 4, np.random.default_rng(0), rt60_s=0.3)


def test_diffuse_noise_has_power_1_and_the_coherence_of_a_diffuse_field():
    places_c3 = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.5, 0]])
    noise = DiffuseNoise(places_c3, Colour(8000, 1.0), np.random.default_rng(0), own_share=0.0)
    noise_cn = noise.read(60 * RATE_HZ)
    assert np.mean(noise_cn**2, axis=1) == pytest.approx(1.0, abs=0.02)
    frames_ctf = np.fft.rfft(noise_cn.reshape(3, -1, 512) * np.hanning(512), axis=2)
    cross_ccf = np.einsum("itf,jtf->ijf", frames_ctf, frames_ctf.conj())
    power_cf = np.einsum("iif->if", cross_ccf).real
    for i, j, apart in ((0, 1, 0.1), (0, 2, 0.5)):
        coherence_f = cross_ccf[i, j] / np.sqrt(power_cf[i] * power_cf[j])
        frequency_f = np.arange(257) * RATE_HZ / 512
        expected_f = np.sinc(2 * frequency_f * apart / 343.0)
        assert np.abs(coherence_f - expected_f)[4:200].mean() < 0.03


def test_noise_is_the_same_in_pieces():
    places_c3 = np.random.default_rng(1).uniform(-0.1, 0.1, (4, 3))

    def noise():
        return DiffuseNoise(places_c3, Colour(200, 1.5), np.random.default_rng(0))

    whole_cn, pieces = noise().read(5000), noise()
    assert np.array_equal(np.hstack([pieces.read(n) for n in (1, 700, 512, 3787)]), whole_cn)


def test_noise_from_a_place_has_power_1_at_channel_0_and_goes_on_without_a_seam():
    response_cn = np.random.default_rng(3).standard_normal((2, 900)).astype(np.float32)
    response_cn *= np.exp(-np.arange(900) / 200).astype(np.float32)

    def noise():
        return PointNoise(response_cn, Colour(200, 1.5), np.random.default_rng(0))

    whole_cn, pieces = noise().read(20 * RATE_HZ), noise()
    parts_cn = np.hstack([pieces.read(n) for n in (3000, 3000, 20 * RATE_HZ - 6000)])
    assert parts_cn == pytest.approx(whole_cn, abs=1e-4)
    assert np.mean(whole_cn[0] ** 2) == pytest.approx(1.0, abs=0.25)


# --- meetings on disk ---


@pytest.fixture(scope="module")
def meeting(table, tmp_path_factory):
    """One small meeting with images, and its settings."""
    wanted = small(images=True, seed=3, snr_db=(20.0, 20.0), point_noises=(1, 1))
    (audio,) = simulate(table, tmp_path_factory.mktemp("sim"), wanted)
    return audio


def read_cn(path):
    samples_nc, rate_hz = soundfile.read(path, always_2d=True)
    assert rate_hz == RATE_HZ
    return samples_nc.T


def scene_of(audio):
    return json.loads(audio.with_suffix(".scene.json").read_text(encoding="utf-8"))


def test_the_reference_says_what_was_said(meeting, table):
    texts = {}
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        path, speaker, text = line.split("\t")
        texts[path] = (speaker, text)
    scene = scene_of(meeting)
    said = parse_file(meeting.with_suffix(".seglst.json"))
    assert [(u.speaker, u.text) for u in said.utterances] == [
        texts[item["path"]] for item in scene["utterances"]
    ]
    turns = parse_file(meeting.with_suffix(".rttm")).turns
    assert 0.195 <= overlap_on_grid(turns) <= 0.405
    assert scene["statistics"]["overlap"] == pytest.approx(overlap_on_grid(turns), abs=0.01)
    uem = meeting.with_suffix(".uem").read_text(encoding="utf-8").split()
    assert uem[:2] == ["sim001", "1"]
    assert float(uem[3]) == read_cn(meeting).shape[1] / RATE_HZ == scene["duration"]


def test_every_speaker_is_heard_in_his_turns_alone(meeting):
    turns = parse_file(meeting.with_suffix(".rttm")).turns
    for speaker in {turn.speaker for turn in turns}:
        image_n = read_cn(meeting.with_suffix(".images") / f"{speaker}.flac")[0]
        spoken_n = np.zeros(len(image_n), bool)
        loud_n = np.zeros(len(image_n), bool)
        for turn in turns:
            if turn.speaker == speaker:
                first, last = round(turn.start * RATE_HZ), round(turn.end * RATE_HZ)
                # 30 ms are left to either side of the edges that the trimming adds
                loud_n[first + 480 : last - 480] = True
                spoken_n[max(0, first - 480) : last + round(0.25 * RATE_HZ)] = True
        power = np.mean(image_n[loud_n] ** 2)
        assert np.mean(image_n[~spoken_n] ** 2) < power / 1e4
        frames_tn = image_n[loud_n][: loud_n.sum() // 800 * 800].reshape(-1, 800)
        assert np.mean(frames_tn**2, axis=1).min() > power / 100


def test_images_and_noise_make_the_mixture_at_the_ratio_that_is_stated(meeting):
    images = [read_cn(path) for path in sorted(meeting.with_suffix(".images").iterdir())]
    speech_cn = np.sum(images, axis=0)
    noise_cn = read_cn(meeting) - speech_cn
    turns = parse_file(meeting.with_suffix(".rttm")).turns
    speech_s = sum(t.duration for t in turns) / (1 + overlap_on_grid(turns))
    power = np.sum(speech_cn[0] ** 2) / RATE_HZ / speech_s
    snr_db = 10 * np.log10(power / np.mean(noise_cn[0] ** 2))
    scene = scene_of(meeting)
    assert len(images) == 3
    assert snr_db == pytest.approx(scene["snr_db"], abs=0.5)
    # the diffuse noise at 20 dB, and one from a place at 15 to 25 dB
    assert 13 < scene["snr_db"] < 20
    assert scene["clipped_samples"] == 0
    assert 0.2 < np.abs(read_cn(meeting)).max() < 0.8


def test_the_scene_says_where_everybody_is(meeting):
    scene = scene_of(meeting)
    places_c3 = np.array(scene["microphones_m"])
    assert places_c3.shape == (2, 3)
    assert places_c3.mean(axis=0) == pytest.approx(scene["array_centre_m"], abs=1e-3)
    for speaker in scene["speakers"]:
        away_3 = np.array(speaker["position_m"]) - scene["array_centre_m"]
        assert np.linalg.norm(away_3) == pytest.approx(speaker["distance_m"], abs=1e-3)
        angle = np.radians(speaker["azimuth_deg"])
        flat = np.linalg.norm(away_3[:2])
        assert away_3[:2] == pytest.approx([flat * np.cos(angle), flat * np.sin(angle)], abs=1e-3)
    assert scene["rt60_s"] == pytest.approx(scene["rt60_target_s"], rel=0.1)
    assert scene["seed"] == 3


def test_a_meeting_with_headsets_has_a_channel_for_each_speaker(table, tmp_path):
    worn = small(array="headsets", channels=None, snr_db=(30.0, 30.0), microphone_spread_db=3.0)
    (audio,) = simulate(table, tmp_path, worn)
    samples_cn, scene = read_cn(audio), scene_of(audio)
    assert len(samples_cn) == len(scene["speakers"]) == len(scene["microphone_gains_db"]) == 3
    assert 0.2 < np.abs(samples_cn).max() < 0.8
    turns = parse_file(audio.with_suffix(".rttm")).turns
    for one in scene["speakers"]:
        alone = [
            turn
            for turn in turns
            if turn.speaker == one["speaker"]
            and not any(o.start < turn.end and turn.start < o.end for o in turns if o != turn)
        ]
        for turn in alone:
            piece_cn = samples_cn[:, round(turn.start * RATE_HZ) : round(turn.end * RATE_HZ)]
            assert np.argmax(np.mean(piece_cn**2, axis=1)) == one["channel"]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(table, tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(table, tmp_path / folder, small(seed=seed, images=True, array="ad-hoc"))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 5 + 3
    assert contents(tmp_path / "a")["sim001.flac"] != contents(tmp_path / "c")["sim001.flac"]


def test_finished_meetings_are_kept_and_more_are_added(table, tmp_path):
    simulate(table, tmp_path, small(meetings=2))
    before = contents(tmp_path)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
    (tmp_path / "sim002.uem").unlink()
    (tmp_path / "sim002.flac").unlink()
    # what an interrupted run leaves
    (tmp_path / ".sim002.part").mkdir()
    (tmp_path / ".sim002.part" / "sim002.flac").write_bytes(b"half")
    made = simulate(table, tmp_path, small(meetings=3))
    assert [path.name for path in made] == ["sim001.flac", "sim002.flac", "sim003.flac"]
    after = contents(tmp_path)
    audio = {name for name in before if not name.endswith(".scene.json")}
    assert {name: after[name] for name in audio} == {name: before[name] for name in audio}
    first = [name for name in before if name.startswith("sim001")]
    assert {n: (tmp_path / n).stat().st_mtime_ns for n in first} == {n: times[n] for n in first}
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_overwritten_unless_forced(table, tmp_path):
    theirs = tmp_path / "sim001.rttm"
    theirs.write_text("theirs", encoding="utf-8")
    with pytest.raises(OutputError, match=r"sim001\.rttm is there already"):
        simulate(table, tmp_path, small())
    assert contents(tmp_path) == {"sim001.rttm": b"theirs"}
    simulate(table, tmp_path, small(), force=True)
    with pytest.raises(OutputError, match="not made from this table with these settings"):
        simulate(table, tmp_path, small(seed=9))
    simulate(table, tmp_path, small(seed=9, audio_format="wav"), force=True)
    assert sorted(contents(tmp_path)) == [
        f"sim001.{end}" for end in ("rttm", "scene.json", "seglst.json", "uem", "wav")
    ]


def test_a_failure_leaves_nothing_behind(table, tmp_path):
    with pytest.raises(ConfigError, match="no room"):
        simulate(table, tmp_path / "out", small(distance_m=(5.0, 6.0)))
    assert contents(tmp_path) == {}
    assert not list((tmp_path / "out").iterdir())


def test_an_unwritable_folder_is_one_clear_error(table, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        simulate(table, tmp_path / "file" / "out", small())


def test_a_handful_of_meetings_covers_the_ranges(table, tmp_path):
    audio = simulate(table, tmp_path, small(meetings=5, rt60_s=(0.15, 0.25), overlap=(0.1, 0.5)))
    aims = sorted(scene_of(path)["overlap_target"] for path in audio)
    assert max(np.diff([0.1, *aims, 0.5])) < 0.17
    assert len({scene_of(path)["rt60_target_s"] for path in audio}) == 5


def test_real_speech_gives_what_is_asked_for(data, tmp_path):
    wanted = SimulationSettings(
        minutes=1.0, split="train", language="en", overlap=(0.2, 0.4), rt60_s=(0.3, 0.3), channels=4
    )
    (audio,) = simulate(data / "speech/transcripts.tsv", tmp_path, wanted)
    scene = scene_of(audio)
    turns = parse_file(audio.with_suffix(".rttm")).turns
    assert 0.195 <= overlap_on_grid(turns) <= 0.405
    assert 0.7 < scene["statistics"]["speech"] < 1
    assert scene["rt60_s"] == pytest.approx(0.3, rel=0.1)
    assert read_cn(audio).shape == (4, round(scene["duration"] * RATE_HZ))


# --- writing sound ---


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_sound_is_written_block_by_block_and_clipping_counted(tmp_path, suffix):
    samples_cn = np.arange(-6, 6).reshape(2, 6) / 32768
    samples_cn[1, 5] = 1.2
    with AudioWriter(tmp_path / f"a{suffix}", 2) as writer:
        writer.write(samples_cn[:, :4])
        writer.write(samples_cn[:, 4:])
    values_nc, _ = soundfile.read(tmp_path / f"a{suffix}", dtype="int16")
    assert values_nc.T.tolist() == [[-6, -5, -4, -3, -2, -1], [0, 1, 2, 3, 4, 32767]]
    assert (writer.num_samples, writer.num_clipped) == (6, 1)


def test_wrong_shapes_and_places_are_refused(tmp_path):
    with AudioWriter(tmp_path / "a.wav", 2) as writer, pytest.raises(ShapeError):
        writer.write(np.zeros((3, 4)))
    with pytest.raises(OutputError, match="cannot be written"):
        AudioWriter(tmp_path / "no" / "a.wav", 2)


def test_wav_that_would_be_too_long_has_wide_counts(tmp_path):
    with AudioWriter(tmp_path / "a.wav", 16, num_samples=1 << 30) as writer:
        writer.write(np.zeros((16, 4)))
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    shutil.rmtree(tmp_path, ignore_errors=True)
