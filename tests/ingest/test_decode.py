"""Blocks put together are the whole; several files stand side by side from their start."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import AudioError, ShapeError
from meetscribe.ingest import blocks, content_hash, open_mono, probe
from meetscribe.ingest.decode import Decoder
from meetscribe.types import Layout


def whole(recording, **how):
    return np.concatenate(list(blocks(recording, **how)), axis=1)


@pytest.fixture(scope="module")
def noise_file(tmp_path_factory):
    """Give a recording of noise, 2 channels, a little over 2 s: noise_file(rate_hz, suffix)."""
    import soundfile

    folder = tmp_path_factory.mktemp("noise")

    @functools.cache
    def made(rate_hz, suffix):
        path = folder / f"{rate_hz}{suffix}"
        noise_nc = np.random.default_rng(0).standard_normal((rate_hz * 2 + 77, 2)) * 0.1
        soundfile.write(path, noise_nc, rate_hz)
        return probe([path], layout=Layout.ARRAY)

    return made


@settings(deadline=None, max_examples=40)
@given(
    block_s=st.floats(0.003, 3.0),
    rate_hz=st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    suffix=st.sampled_from([".wav", ".flac"]),
)
def test_blocks_of_any_size_make_the_same_whole(noise_file, block_s, rate_hz, suffix):
    import soxr

    recording = noise_file(rate_hz, suffix)
    parts = list(blocks(recording, block_s=block_s))
    num_samples = round((rate_hz * 2 + 77) * 16_000 / rate_hz)
    assert {part.shape[1] for part in parts[:-1]} <= {round(block_s * 16_000)}
    assert all(part.dtype == np.float32 and part.flags.c_contiguous for part in parts)
    joined_cn = np.concatenate(parts, axis=1)
    assert joined_cn.shape == (2, num_samples)
    import soundfile

    native_nc, _ = soundfile.read(recording.files[0].path, dtype="float32")
    expected_nc = soxr.resample(native_nc, rate_hz, 16_000) if rate_hz != 16_000 else native_nc
    both = min(num_samples, len(expected_nc))
    np.testing.assert_allclose(joined_cn[:, :both], expected_nc[:both].T, atol=2e-5)


@settings(deadline=None, max_examples=15)
@given(start=st.floats(0, 1.9), duration=st.floats(0.01, 0.5))
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_part_read_from_the_middle_is_that_part(noise_file, suffix, start, duration):
    recording = noise_file(16_000, suffix)
    with Decoder(recording, start=start, duration=duration) as decoder:
        part_cn = next(decoder.blocks(1.0))
    first = round(start * 16_000)
    expected_cn = whole(recording)[:, first : first + round(duration * 16_000)]
    np.testing.assert_array_equal(part_cn, expected_cn)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.opus", "libopus")]
)
def test_a_part_of_a_compressed_file_is_in_its_place(tmp_path, make, name, codec):
    samples_cn = np.random.default_rng(0).standard_normal((1, 480_000)).astype(np.float32) * 0.1
    recording = probe([make.encode(tmp_path / name, samples_cn, 48_000, codec)])
    whole_n = whole(recording)[0]
    with Decoder(recording, start=6.0, duration=1.0) as decoder:
        part_n = next(decoder.blocks(2.0))[0]
    likeness = np.correlate(whole_n[95_000:113_000], part_n[:16_000], "valid")
    assert abs(int(np.argmax(likeness)) - 1_000) <= 1


def test_a_file_that_cannot_be_sought_is_read_up_to_the_place(tmp_path, make):
    path = make.encode(
        tmp_path / "a.webm", make.tones(1, 9.0, 48_000), 48_000, "libopus", options={"live": "1"}
    )
    recording = probe([path])
    with Decoder(recording, start=8.0, duration=5.0) as decoder:
        assert next(decoder.blocks(5.0)).shape[1] == pytest.approx(16_000, abs=400)


def test_files_side_by_side_are_channels_in_the_order_given(tmp_path, make):
    coded_cn = make.coded(4, 9_000)
    paths = [
        make.write(tmp_path / "b.wav", coded_cn[:1]),
        make.write(tmp_path / "a.flac", coded_cn[1:3]),
        make.write(tmp_path / "c.wav", coded_cn[3:]),
    ]
    recording = probe(paths, as_channels=True, layout=Layout.ARRAY)
    assert (recording.num_channels, recording.layout_reason) == (4, "given")
    np.testing.assert_array_equal(whole(recording), coded_cn)
    np.testing.assert_array_equal(whole(recording, channels=[3, 0, 2]), coded_cn[[3, 0, 2]])
    with pytest.raises(ShapeError, match="0 to 3"):
        list(blocks(recording, channels=[4]))


def test_files_of_different_rate_and_length_start_together(tmp_path, make):
    paths = []
    for index, (rate_hz, duration) in enumerate([(48_000, 2.0), (8_000, 3.0), (44_100, 1.0)]):
        tone_cn = make.tones(1, duration, rate_hz)
        tone_cn[:, : rate_hz // 2] = 0  # all tones begin at 0.5 s
        paths.append(make.write(tmp_path / f"mic_{index}.wav", tone_cn, rate_hz))
    recording = probe(paths, as_channels=True, layout=Layout.PER_SPEAKER)
    assert recording.session_id == "mic"
    assert recording.duration == 3.0
    heard_cn = whole(recording, block_s=0.7)
    assert heard_cn.shape == (3, 48_000)
    for channel, end in enumerate((32_000, 48_000, 16_000)):
        sounding_n = np.flatnonzero(np.abs(heard_cn[channel]) > 0.1)
        assert sounding_n[0] == pytest.approx(8_000, abs=20)
        assert sounding_n[-1] == pytest.approx(end, abs=60)
    with open_mono(recording) as mono:
        assert mono.duration == 3.0
        assert "mic_0.wav: 1.0 s shorter than the longest file; silence was added" in mono.notes
        assert "mic_2.wav: 2.0 s shorter than the longest file; silence was added" in mono.notes


def test_a_file_that_vanished_is_an_error_at_reading(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 100))
    recording = probe([path])
    path.unlink()
    with pytest.raises(AudioError, match=r"a\.wav"):
        list(blocks(recording))
    make.write(path, make.coded(2, 100))
    assert whole(recording).shape == (1, 100)


def test_a_file_that_lost_channels_is_an_error_at_reading(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(2, 100))
    recording = probe([path])
    make.write(path, make.coded(1, 100))
    with pytest.raises(AudioError, match="1 channels, had 2"):
        list(blocks(recording))


@pytest.mark.parametrize(
    ("names", "session_id"),
    [
        (["standup.wav"], "standup"),
        (["a.b.wav"], "a.b"),
        (["EN2002a.Headset-0.wav", "EN2002a.Headset-1.wav"], "EN2002a.Headset"),
        (["2024-01-05_anna.wav", "2024-01-05_bob.wav"], "2024-01-05"),
        (["ch09.wav", "ch10.wav"], "ch"),
        (["1.wav", "2.wav"], "1"),
        (["anna.wav", "bob.wav"], "anna"),
    ],
)
def test_the_session_is_named_after_its_files(tmp_path, make, names, session_id):
    paths = [make.write(tmp_path / name, make.coded(1, 10)) for name in names]
    assert probe(paths, as_channels=True).session_id == session_id
    assert probe(paths, as_channels=True, session_id="x").session_id == "x"


def test_the_hash_is_that_of_the_content(tmp_path, make):
    path = make.write(tmp_path / "a.wav", make.coded(1, 100))
    same = make.write(tmp_path / "b.wav", make.coded(1, 100))
    other = make.write(tmp_path / "c.wav", make.coded(1, 101))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert content_hash(probe([path])) == content_hash(probe([same])) == expected
    hashes = {
        content_hash(probe(paths, as_channels=True))
        for paths in ([path], [path, same], [path, other], [other, path])
    }
    assert len(hashes) == 4
