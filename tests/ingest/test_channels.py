"""Channels on disk: what is read is what was written, in order, in any piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe import ingest
from meetscribe.errors import AudioError


def coded(num_samples: int, channels: int) -> np.ndarray:
    """Give samples that say where they come from: channel in the thousands, time in the rest."""
    time_n = np.arange(num_samples) % 997
    return np.stack([(1000 * c + time_n) / 32768 for c in range(channels)]).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", coded(40_000, 5).T, 16_000, subtype="PCM_16")
    return tmp_path / "a.wav"


def test_any_piece_of_all_channels(path: Path) -> None:
    with ingest.open_channels(ingest.probe([path])) as audio:
        assert (audio.num_channels, audio.num_samples, audio.duration) == (5, 40_000, 2.5)
        piece_cn = audio.read_cn(0.5, 1.25)
        assert piece_cn.dtype == np.float32
        np.testing.assert_array_equal(piece_cn, coded(40_000, 5)[:, 8_000:20_000])
        np.testing.assert_array_equal(audio.read_cn(0.0, 2.5), coded(40_000, 5))


def test_silence_outside_and_channels_in_the_order_asked_for(path: Path) -> None:
    with ingest.open_channels(ingest.probe([path]), (3, 1)) as audio:
        piece_cn = audio.read_cn(2.25, 3.0)
        assert piece_cn.shape == (2, 12_000)
        np.testing.assert_array_equal(piece_cn[:, :4_000], coded(40_000, 5)[[3, 1], 36_000:])
        assert not piece_cn[:, 4_000:].any()
        with pytest.raises(ValueError, match="start <= end"):
            audio.read_cn(1.0, 0.5)


def test_several_files_are_channels_of_one_session(tmp_path: Path) -> None:
    signal_cn = coded(16_000, 2)
    paths = []
    for number, signal_n in enumerate(signal_cn):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], signal_n, 16_000, subtype="PCM_16")
    with ingest.open_channels(ingest.probe(paths, as_channels=True)) as audio:
        np.testing.assert_array_equal(audio.read_cn(0, 1), signal_cn)


def test_late_channels_are_moved_and_flipped_ones_turned(path: Path) -> None:
    whole_cn = coded(40_000, 5)
    with ingest.open_channels(
        ingest.probe([path]), (4, 0, 2), delays_s=(0.25, 0.0, -0.5), signs=(1, -1, 1)
    ) as audio:
        mended_cn = audio.read_cn(0.5, 1.25)
        np.testing.assert_array_equal(mended_cn[0], whole_cn[4, 12_000:24_000])
        np.testing.assert_array_equal(mended_cn[1], -whole_cn[0, 8_000:20_000])
        np.testing.assert_array_equal(mended_cn[2], whole_cn[2, :12_000])
        ends_cn = audio.read_cn(-0.1, 2.5)
        assert ends_cn.shape == (3, 41_600)
        np.testing.assert_array_equal(ends_cn[0, -4_000:], 0)
        np.testing.assert_array_equal(ends_cn[2, : 1_600 + 8_000], 0)
        np.testing.assert_array_equal(ends_cn[2, 9_600:], whole_cn[2, :32_000])


def test_nothing_is_decoded_before_it_is_needed(path: Path, tmp_path: Path) -> None:
    recording = ingest.probe([path])
    path.unlink()
    with ingest.open_channels(recording, (0, 1), scratch_dir=tmp_path) as audio:
        assert audio.num_channels == 2
    with ingest.open_channels(recording) as audio, pytest.raises(AudioError):
        audio.read_cn(0, 1)


def test_progress_is_told_once_when_samples_are_first_read(path: Path) -> None:
    told: list[float] = []
    with ingest.open_channels(
        ingest.probe([path]), progress=lambda _, done: told.append(done)
    ) as audio:
        assert told == []
        audio.read_cn(0, 1)
        assert (told[0], told[-1]) == (0.0, 1.0)
        num = len(told)
        assert audio.duration == 2.5
        assert len(told) == num


def test_a_delay_for_every_channel(path: Path) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        ingest.open_channels(ingest.probe([path]), (0, 1), delays_s=(0.1,))
