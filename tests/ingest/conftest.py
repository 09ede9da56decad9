"""Makers of real sound files, and of signals in which every sample says where it comes from."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def coded(num_channels, num_samples, *, first_channel=0):
    """Samples that name their channel and place, exact in 8 bits; shape (C, N)."""
    channel_c1 = np.arange(first_channel, first_channel + num_channels)[:, None]
    return ((np.arange(num_samples) * 7 + channel_c1 * 31) % 251 - 125).astype(np.float32) / 128


def tones(num_channels, duration, rate_hz, *, level=0.3):
    """A tone of 300 Hz in channel 0, 400 Hz in channel 1 and so on; shape (C, N)."""
    time_n = np.arange(round(duration * rate_hz)) / rate_hz
    pitch_c1 = 300.0 + 100.0 * np.arange(num_channels)[:, None]
    return (level * np.sin(2 * np.pi * pitch_c1 * time_n)).astype(np.float32)


def encode(
    path, samples_cn, rate_hz, codec, *, container=None, options=None, tracks=1, video_s=0.0
):
    """Write a compressed file, with further copies of the track and with a video if wanted."""
    import av

    layout = LAYOUTS[samples_cn.shape[0]]
    with av.open(os.fspath(path), "w", format=container, options=options or {}) as out:
        streams = []
        if video_s:
            video = out.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        for _ in range(tracks):
            stream = out.add_stream(codec, rate=rate_hz, layout=layout)
            if codec not in {"flac", "alac"}:
                stream.bit_rate = 128_000
            streams.append(stream)
        if video_s:
            for index in range(round(video_s * 10)):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
                picture.pts = index
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples_cn), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts = rate_hz, 0
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def write(path, samples_cn, rate_hz=16_000, **how):
    """Write an uncompressed or FLAC file with libsndfile."""
    import soundfile

    soundfile.write(os.fspath(path), samples_cn.T, rate_hz, **how)
    return path


def talk(num_speakers, duration, *, seed=0, rate_hz=16_000):
    """Noise in the speech band with syllables, each speaker in turn for 1 to 3 s; shape (K, N)."""
    rng = np.random.default_rng(seed)
    num = round(duration * rate_hz)
    voices_kn = rng.standard_normal((num_speakers, num))
    spectra = np.fft.rfft(voices_kn)
    hz = np.fft.rfftfreq(num, 1 / rate_hz)
    voices_kn = np.fft.irfft(spectra * ((hz > 150) & (hz < 3500)) / (1 + hz / 500), num)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(num) / rate_hz)
    turns_kn = np.zeros((num_speakers, num))
    at, speaker = 0, 0
    while at < num:
        end = at + round(rng.uniform(1, 3) * rate_hz)
        turns_kn[speaker, at:end] = 1
        at, speaker = end + round(0.2 * rate_hz), (speaker + 1) % num_speakers
    voices_kn *= syllables * turns_kn
    return (voices_kn * 0.15 / voices_kn.std()).astype(np.float32)


@pytest.fixture
def make():
    """The makers above; ``making.encode(...)`` and so on."""
    return SimpleNamespace(coded=coded, tones=tones, encode=encode, write=write, talk=talk)


@pytest.fixture(scope="session")
def speech_folder():
    """Folder of shared speech; the test is skipped without it."""
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("MEETSCRIBE_TEST_DATA", root / "../shared/data"))
    if not (data / "speech" / "transcripts.tsv").is_file():
        pytest.skip("no shared speech (MEETSCRIBE_TEST_DATA)")
    return data / "speech"
