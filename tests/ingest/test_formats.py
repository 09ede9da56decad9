"""Every kind of file gives its samples: exact where it is lossless, in place where it is not."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from meetscribe.ingest import blocks, probe
from meetscribe.types import Layout


def whole(recording, **how):
    return np.concatenate(list(blocks(recording, **how)), axis=1)


LOSSLESS = [
    ("a.wav", {"subtype": "PCM_U8"}),
    ("a.wav", {"subtype": "PCM_16"}),
    ("a.wav", {"subtype": "PCM_24"}),
    ("a.wav", {"subtype": "PCM_32"}),
    ("a.wav", {"subtype": "FLOAT"}),
    ("a.wav", {"subtype": "DOUBLE"}),
    ("extensible.wav", {"format": "WAVEX", "subtype": "PCM_24"}),
    ("extensible-float.wav", {"format": "WAVEX", "subtype": "FLOAT"}),
    ("a.rf64", {"format": "RF64", "subtype": "PCM_16"}),
    ("rf64-inside.wav", {"format": "RF64", "subtype": "PCM_24"}),
    ("a.w64", {"subtype": "PCM_16"}),
    ("a.aiff", {"subtype": "PCM_16"}),
    ("a.caf", {"subtype": "PCM_16"}),
    ("a.au", {"subtype": "PCM_16"}),
    ("a.flac", {"subtype": "PCM_16"}),
    ("a.flac", {"subtype": "PCM_24"}),
]


@pytest.mark.parametrize(
    ("name", "how"), LOSSLESS, ids=[f"{name}-{how['subtype']}" for name, how in LOSSLESS]
)
def test_lossless_files_give_every_sample_in_its_channel(tmp_path, make, name, how):
    samples_cn = make.coded(3, 20_001)
    path = make.write(tmp_path / name, samples_cn, **how)
    recording = probe([path], layout=Layout.ARRAY)
    assert (recording.num_channels, recording.files[0].sample_rate_hz) == (3, 16_000)
    assert recording.files[0].num_samples == 20_001
    np.testing.assert_array_equal(whole(recording), samples_cn)


LOSSY = [
    ("a.mp3", "libmp3lame", 44_100),
    ("low.mp3", "libmp3lame", 22_050),
    ("a.m4a", "aac", 44_100),
    ("a.aac", "aac", 44_100),
    ("lossless.m4a", "alac", 44_100),
    ("a.ogg", "libopus", 48_000),
    ("a.opus", "libopus", 48_000),
    ("a.webm", "libopus", 48_000),
    ("a.mkv", "aac", 48_000),
    ("a.mka", "flac", 44_100),
    ("a.mov", "aac", 44_100),
    ("a.wma", "wmav2", 44_100),
    ("a.ac3", "ac3", 48_000),
]


# these cannot say how much of their beginning is the encoder's padding, or did not in PyAV 14
ONSET_WITHIN_S = {"a.aac": 0.03, "a.ac3": 0.03, "a.mkv": 0.03, "a.wma": 0.06}


@pytest.mark.parametrize(("name", "codec", "rate_hz"), LOSSY, ids=[row[0] for row in LOSSY])
def test_compressed_files_keep_channels_level_and_time(tmp_path, make, name, codec, rate_hz):
    samples_cn = make.tones(2, 2.0, rate_hz)
    samples_cn[:, : rate_hz // 2] = 0  # the tones begin at 0.5 s
    path = make.encode(tmp_path / name, samples_cn, rate_hz, codec)
    recording = probe([path], layout=Layout.MIX)
    assert recording.files[0].sample_rate_hz == rate_hz
    assert recording.duration == pytest.approx(2.0, abs=0.1)
    heard_cn = whole(recording)
    assert heard_cn.shape[1] / 16_000 == pytest.approx(2.0, abs=0.1)
    for channel, hz in enumerate((300, 400)):
        spectrum = np.abs(np.fft.rfft(heard_cn[channel, 10_000:26_000]))
        assert int(np.argmax(spectrum)) == hz
        assert spectrum[hz] / 8_000 == pytest.approx(0.3, rel=0.1)
        onset = int(np.argmax(np.abs(heard_cn[channel]) > 0.1)) / 16_000
        assert onset == pytest.approx(0.5, abs=ONSET_WITHIN_S.get(name, 0.005))


def test_vorbis_is_read(tmp_path, make):
    path = make.write(tmp_path / "a.ogg", make.tones(1, 1.0, 44_100), 44_100, subtype="VORBIS")
    recording = probe([path])
    assert recording.files[0].codec == "ogg/vorbis"
    assert whole(recording).shape[1] == pytest.approx(16_000, abs=50)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
def test_the_sound_of_a_video_is_taken(tmp_path, make, suffix):
    path = make.encode(
        tmp_path / f"a.{suffix}", make.tones(1, 1.0, 48_000), 48_000, "aac", video_s=1.0
    )
    recording = probe([path])
    assert recording.files[0].stream == 1
    assert whole(recording).shape[1] == pytest.approx(16_000, abs=800)


def test_a_stream_can_be_chosen(tmp_path, make):
    path = make.encode(tmp_path / "a.mkv", make.tones(1, 1.0, 48_000), 48_000, "flac", tracks=2)
    assert probe([path]).files[0].stream == 0
    assert probe([path], stream=1).files[0].stream == 1


@pytest.mark.parametrize(
    "rate_hz", [1_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_any_rate_becomes_16_khz_in_place(tmp_path, make, rate_hz):
    path = make.write(tmp_path / "a.wav", make.tones(1, 2.0, rate_hz), rate_hz, subtype="FLOAT")
    heard_cn = whole(probe([path]))
    expected_cn = make.tones(1, 2.0, 16_000)
    assert heard_cn.shape == expected_cn.shape
    inside = slice(2_000, -2_000)
    np.testing.assert_allclose(heard_cn[0, inside], expected_cn[0, inside], atol=2e-3)


@pytest.mark.parametrize("num_channels", [1, 7, 40, 64])
def test_many_channels_keep_their_order(tmp_path, make, num_channels):
    samples_cn = make.coded(num_channels, 500)
    path = make.write(tmp_path / "a.wav", samples_cn, subtype="PCM_16")
    recording = probe([path], layout=Layout.ARRAY)
    np.testing.assert_array_equal(whole(recording), samples_cn)


NAMES = ["a b.wav", 'it\'s "so".wav', "会议 录音.wav", "10:30 standup.wav", "%d.wav", "-o.wav"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids these names")
def test_odd_names_are_only_names(tmp_path, make, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name.replace(".wav", suffix)
    if suffix == ".wav":
        make.write(path, make.coded(1, 4_000))
    else:
        make.encode(path, make.tones(1, 0.25, 16_000), 16_000, "libmp3lame")
    recording = probe([path.name])
    assert recording.session_id == path.stem
    assert whole(recording).shape == (1, 4_000)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
@pytest.mark.parametrize("suffix", [b".wav", b".flac"])
def test_a_name_that_is_not_unicode_is_read(tmp_path, make, suffix):
    good = make.write(tmp_path / f"a{suffix.decode()}", make.coded(1, 4_000))
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9" + suffix)
    good.rename(odd)
    assert whole(probe([odd])).shape == (1, 4_000)


def test_a_wrong_suffix_does_not_matter(tmp_path, make):
    path = make.encode(tmp_path / "a.mp3", make.tones(1, 1.0, 16_000), 16_000, "libmp3lame")
    path = path.rename(tmp_path / "a.wav")
    assert whole(probe([path])).shape == (1, 16_000)


def test_tags_in_an_old_chinese_encoding_do_no_harm(tmp_path, make):
    path = make.encode(tmp_path / "a.mp3", make.tones(1, 1.0, 16_000), 16_000, "libmp3lame")
    with path.open("ab") as file:  # an ID3v1 tag has no encoding
        file.write(b"TAG" + "会议".encode("gbk").ljust(125, b"\0"))
    assert whole(probe([path])).shape[1] == pytest.approx(16_000, abs=10)


def test_a_recording_that_states_no_length_is_measured(tmp_path, make):
    """Browsers write WebM as a live stream."""
    path = make.encode(
        tmp_path / "a.webm", make.tones(1, 2.0, 48_000), 48_000, "libopus", options={"live": "1"}
    )
    recording = probe([path])
    assert recording.duration == pytest.approx(2.0, abs=0.05)
    assert whole(recording).shape[1] == pytest.approx(32_000, abs=400)


def test_a_wav_file_from_a_pipe_has_no_length_in_its_header(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 5_000))
    content = path.read_bytes()
    size_at = content.index(b"data") + 4
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        path.write_bytes(content[:4] + size + content[8:size_at] + size + content[size_at + 4 :])
        np.testing.assert_array_equal(whole(probe([path])), make.coded(1, 5_000))


def test_rate_and_channels_may_change_midway(tmp_path, make):
    """Recorders that append to an MP3 file leave this behind."""
    first = make.encode(tmp_path / "1.mp3", make.tones(2, 8.0, 44_100), 44_100, "libmp3lame")
    second = make.encode(tmp_path / "2.mp3", make.tones(1, 1.0, 22_050), 22_050, "libmp3lame")
    both = tmp_path / "both.mp3"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    heard_cn = whole(probe([both], layout=Layout.MIX))
    assert heard_cn.shape[0] == 2
    assert heard_cn.shape[1] == pytest.approx(144_000, abs=3_000)
    spectrum = np.abs(np.fft.rfft(heard_cn[1, 133_000:141_000]))
    assert int(np.argmax(spectrum)) == 150  # the second file's 300 Hz, still 300 Hz


def test_a_gap_in_the_time_stamps_is_silence(tmp_path, make):
    """A muted browser tab sends nothing; what follows must stay where it was said."""
    import av

    path = tmp_path / "a.mkv"
    samples_cn = make.tones(1, 1.0, 48_000)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("flac", rate=48_000, layout="mono")
        for index, start_s in enumerate((0, 3)):
            frame = av.AudioFrame.from_ndarray(samples_cn, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, start_s * 48_000
            for packet in [*stream.encode(frame), *(stream.encode(None) if index else [])]:
                out.mux(packet)
    heard_n = whole(probe([path]))[0]
    assert heard_n.size == pytest.approx(64_000, abs=5_000)
    assert np.abs(heard_n[18_000:46_000]).max() < 1e-3
    assert np.abs(heard_n[49_000:60_000]).max() > 0.2


def test_damaged_packets_cost_only_themselves(tmp_path, make, capfd):
    samples_cn = (np.random.default_rng(0).standard_normal((1, 160_000)) * 0.1).astype(np.float32)
    samples_cn[:, 150_000:] = make.tones(1, 10_000 / 16_000, 16_000)
    path = make.write(tmp_path / "a.flac", samples_cn)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = np.random.default_rng(1).bytes(3_000)
    path.write_bytes(content)
    heard_cn = whole(probe([path]))
    assert heard_cn.shape == (1, 160_000)
    np.testing.assert_allclose(heard_cn[:, 152_000:], samples_cn[:, 152_000:], atol=1e-4)
    assert capfd.readouterr() == ("", "")
