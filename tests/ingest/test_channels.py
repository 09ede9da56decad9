"""Channels on disk: what is read is what was written, in order, in any piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe import ingest


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
