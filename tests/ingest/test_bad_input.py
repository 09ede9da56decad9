"""What cannot be read gives one clear line with the next step; what can be read in part is read."""

from __future__ import annotations

import os
import re
import struct

import numpy as np
import pytest

from meetscribe.errors import AudioError, ConfigError
from meetscribe.ingest import blocks, find_audio, open_mono, probe


def refused(paths, **how):
    """Give the error of ``probe``, which must be one line with a hint."""
    with pytest.raises(AudioError) as caught:
        probe(paths, **how)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 3
    return caught.value


def test_missing_file(tmp_path):
    assert "no such file" in refused([tmp_path / "nope.wav"]).message


def test_folder_names_batch_only_where_there_are_recordings(tmp_path, make):
    assert "there is no recording" in refused([tmp_path]).hint
    make.write(tmp_path / "a.wav", make.coded(1, 10))
    assert "meetscribe batch" in refused([tmp_path]).hint


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.mp4"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert "empty" in refused([tmp_path / name]).message


@pytest.mark.parametrize("name", ["notes.wav", "notes.mp3", "notes.m4a", "notes.txt"])
@pytest.mark.parametrize(
    "text", ["hello\n" * 99, "会议记录\n" * 99, "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"]
)
def test_text_renamed(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert "text, expected a sound recording" in refused([path]).message


def test_a_playlist_opens_neither_another_file_nor_a_socket(tmp_path, make):
    """FFmpeg would follow it."""
    inner = make.encode(tmp_path / "inner.aac", make.tones(1, 1.0, 16_000), 16_000, "aac")
    for line in (f"file '{inner}'", "file 'http://127.0.0.1:9/a.aac'"):
        (tmp_path / "list.wav").write_text(f"ffconcat version 1.0\n{line}\n", encoding="utf-8")
        assert "text" in refused([tmp_path / "list.wav"]).message


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.bin"])
def test_random_bytes(tmp_path, name, capfd):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(50_000))
    assert "not a sound file" in refused([tmp_path / name]).message
    assert capfd.readouterr() == ("", "")


def test_a_video_without_sound(tmp_path):
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        out.mux(video.encode(None))
    assert "no audio stream" in refused([path]).message


def test_an_unknown_codec(tmp_path, make):
    path = make.encode(tmp_path / "a.mp4", make.tones(1, 1.0, 16_000), 16_000, "alac")
    path.write_bytes(path.read_bytes().replace(b"alac", b"zzzz"))
    assert "codec" in refused([path]).message


def test_a_stream_that_is_no_audio(tmp_path, make):
    path = make.encode(tmp_path / "a.mp4", make.tones(1, 1.0, 16_000), 16_000, "aac", video_s=1.0)
    error = refused([path], stream=0)
    assert "stream 0" in error.message
    assert error.hint == "there are: 1"
    path = make.write(tmp_path / "a.wav", make.coded(1, 100))
    assert probe([path], stream=0).files[0].stream == 0
    assert refused([path], stream=1).hint == "there are: 0"


@pytest.mark.parametrize("how", [{"format": "WAV"}, {"format": "WAVEX"}, {"format": "AIFF"}])
def test_zero_samples(tmp_path, make, how):
    make.write(tmp_path / "a.wav", np.zeros((1, 0), np.float32), subtype="PCM_16", **how)
    assert "without samples" in refused([tmp_path / "a.wav"]).message


def test_too_many_channels(tmp_path, make):
    make.write(tmp_path / "a.wav", make.coded(65, 10))
    assert "65 channels" in refused([tmp_path / "a.wav"]).message
    make.write(tmp_path / "b.wav", make.coded(40, 10))
    paths = [tmp_path / "b.wav", tmp_path / "b.wav"]
    assert "80 channels" in refused(paths, as_channels=True).message


def test_a_rate_too_low_for_speech(tmp_path, make):
    make.write(tmp_path / "a.wav", make.coded(1, 999), 999)
    assert "999 Hz" in refused([tmp_path / "a.wav"]).message


def test_several_files_are_several_recordings(tmp_path, make):
    paths = [make.write(tmp_path / f"{name}.wav", make.coded(1, 10)) for name in "ab"]
    with pytest.raises(ConfigError, match="2 files") as caught:
        probe(paths)
    assert "--as-channels" in caught.value.hint
    with pytest.raises(ConfigError, match="at least one"):
        probe([])


def test_1_khz_is_read_with_a_note(tmp_path, make):
    make.write(tmp_path / "a.wav", make.tones(1, 2.0, 1_000), 1_000)
    with open_mono(probe([tmp_path / "a.wav"])) as mono:
        assert mono.duration == 2.0
        assert any("1000 Hz" in note for note in mono.notes)


def test_silence_is_a_valid_recording(tmp_path, make):
    for channels in (1, 2, 4):
        make.write(tmp_path / "a.wav", np.zeros((channels, 16_000), np.float32))
        with open_mono(probe([tmp_path / "a.wav"])) as mono:
            assert mono.peak == mono.rms == 0
            assert any("silent" in note for note in mono.notes)


def test_nan_and_infinity_become_silence_and_are_counted(tmp_path, make):
    samples_cn = make.tones(1, 1.0, 44_100)
    samples_cn[0, 5_000:5_100] = np.nan
    samples_cn[0, 6_000] = np.inf
    samples_cn[0, 7_000] = -np.inf
    path = make.write(tmp_path / "a.wav", samples_cn, 44_100, subtype="FLOAT")
    recording = probe([path])
    assert all(np.isfinite(block_cn).all() for block_cn in blocks(recording))
    with open_mono(recording) as mono:
        assert mono.num_nonfinite == 102
        assert any(note.startswith("102 samples") for note in mono.notes)
        assert mono.peak < 0.35


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def seconds_read(note):
    found = re.search(r"the file ends early: ([\d.]+) s of ([\d.]+) s could be read", note)
    assert found, note
    return float(found[1]), float(found[2])


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
CUT = {
    "a.mp3": ("libmp3lame", {}),
    "a.mp4": ("aac", {"movflags": "faststart"}),
    "live.m4a": ("aac", FRAGMENTED),
    "a.mkv": ("aac", {}),
    "a.webm": ("libopus", {}),
    "a.wma": ("wmav2", {}),
    "a.flac": ("flac", {}),
}


@pytest.mark.parametrize("name", CUT)
def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path, make, capfd, name):
    codec, options = CUT[name]
    noise_cn = np.random.default_rng(0).standard_normal((1, 480_000)).astype(np.float32) * 0.1
    path = cut(make.encode(tmp_path / name, noise_cn, 48_000, codec, options=options), 0.6)
    with open_mono(probe([path])) as mono:
        assert mono.duration == pytest.approx(6.0, abs=0.7)
        if options is not FRAGMENTED:  # pieces of a live stream promise no length
            (note,) = [note for note in mono.notes if "ends early" in note]
            assert note.startswith(name)
            have, promised = seconds_read(note)
            assert have == pytest.approx(mono.duration, abs=0.1)
            assert promised == pytest.approx(10.0, abs=0.1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", [{}, {"format": "WAVEX"}, {"format": "RF64"}])
def test_a_truncated_wav_file_is_read_as_far_as_it_goes(tmp_path, make, how):
    samples_cn = make.coded(2, 160_000)
    path = cut(make.write(tmp_path / "a.wav", samples_cn, subtype="PCM_16", **how), 0.25)
    recording = probe([path])
    heard_cn = np.concatenate(list(blocks(recording)), axis=1)
    np.testing.assert_array_equal(heard_cn, samples_cn[:, : heard_cn.shape[1]])
    with open_mono(recording) as mono:
        (note,) = [note for note in mono.notes if "ends early" in note]
        assert seconds_read(note) == (2.5, 10.0)


def test_whole_files_have_no_notes(tmp_path, make):
    samples_cn = make.tones(1, 3.0, 48_000)
    rows = [("a.mp3", "libmp3lame"), ("a.mp4", "aac"), ("a.mkv", "aac"), ("a.webm", "libopus")]
    paths = [make.encode(tmp_path / name, samples_cn, 48_000, codec) for name, codec in rows]
    paths.append(make.write(tmp_path / "a.wav", samples_cn, 48_000))
    # the sound of a video may be shorter than its pictures
    for suffix in ("mp4", "mkv"):
        name = tmp_path / f"video.{suffix}"
        paths.append(make.encode(name, samples_cn, 48_000, "aac", video_s=6.0))
    for path in paths:
        with open_mono(probe([path])) as mono:
            assert mono.notes == (), path.name


def test_an_mp3_file_without_a_length_table_promises_nothing(tmp_path, make):
    """FFmpeg guesses such a length from the first frames' bit rate."""
    path = make.encode(
        tmp_path / "a.mp3", make.tones(1, 3.0, 16_000), 16_000, "libmp3lame",
        options={"write_xing": "0"},
    )  # fmt: skip
    with open_mono(probe([cut(path, 0.5)])) as mono:
        assert mono.notes == ()


def test_mp4_cut_before_its_index_says_so(tmp_path, make):
    path = cut(make.encode(tmp_path / "a.mp4", make.tones(1, 9.0, 48_000), 48_000, "aac"), 0.8)
    assert "index" in refused([path]).message


def test_a_header_without_any_sound_is_refused(tmp_path, make):
    path = make.encode(tmp_path / "a.mp3", make.tones(1, 3.0, 16_000), 16_000, "libmp3lame")
    path.write_bytes(path.read_bytes()[:300])
    refused([path])
    path = make.write(tmp_path / "a.wav", make.coded(1, 1_000))
    path.write_bytes(path.read_bytes()[:44])
    refused([path])


def test_a_wav_file_with_a_broken_format_chunk_is_refused(tmp_path):
    chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 0, 0, 0, 0, 16)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\x64\0\0\0WAVE" + chunk + b"data\x40\0\0\0" + bytes(64))
    refused([path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="read twice"):
        probe([tmp_path / "a.wav"])


def test_find_audio_lists_recordings_only(tmp_path, make):
    for name in ("b.WAV", "a.flac"):
        make.write(tmp_path / name, make.coded(1, 10), format=name[2:].upper())
    for name in ("._b.wav", ".hidden.wav", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.wav").mkdir()
    assert [path.name for path in find_audio(tmp_path)] == ["a.flac", "b.WAV"]
    with pytest.raises(AudioError):
        find_audio(tmp_path / "nope")
