"""A small meeting made of noise bursts: speakers, echoes, microphones, without any library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 16_000
Span = tuple[int, int]


@dataclass
class Scene:
    """Two speakers heard by some microphones.

    ``samples_cn`` is the mixture, ``images_kcn`` what each microphone hears of each speaker.
    """

    samples_cn: np.ndarray
    images_kcn: np.ndarray
    activity: list[list[Span]]

    @property
    def images_kn(self) -> np.ndarray:
        """What the first microphone hears of each speaker."""
        return self.images_kcn[:, 0]

    @property
    def num_samples(self) -> int:
        return self.samples_cn.shape[1]


def voice(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    """Something with the sparseness of speech: harmonics of a wandering pitch, in syllables."""
    time_n = np.arange(num_samples) / RATE
    pitch_n = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.4, 1) * time_n))
    phase_n = 2 * np.pi * np.cumsum(pitch_n) / RATE
    made_n = np.zeros(num_samples)
    for harmonic in range(1, 30):
        gain_n = np.repeat(rng.random(-(-num_samples // 2400)) ** 3, 2400)[:num_samples]
        made_n += gain_n * np.sin(harmonic * phase_n + rng.uniform(0, 6)) / harmonic**0.5
    made_n += 0.05 * rng.standard_normal(num_samples)
    syllable_n = np.repeat(rng.random(-(-num_samples // 3200)) > 0.25, 3200)[:num_samples]
    return 0.05 * made_n * np.convolve(syllable_n, np.hanning(400) / 200, "same")


def make_scene(channels: int = 4, seconds: float = 6.0, seed: int = 0, shift: int = 0) -> Scene:
    """Two speakers, each with two turns that overlap the other's, in a dampened room."""
    rng = np.random.default_rng(seed)
    num_samples = round(seconds * RATE)
    marks = [0.02, 0.3, 0.2, 0.52, 0.45, 0.8, 0.7, 0.97]
    edges = [round(mark * num_samples) + shift for mark in marks]
    activity = [
        [(edges[0], edges[1]), (edges[4], edges[5])],
        [(edges[2], edges[3]), (edges[6], edges[7])],
    ]
    images_kcn = np.zeros((2, channels, num_samples))
    for source, spans in enumerate(activity):
        room_cn = rng.standard_normal((channels, 400)) * np.exp(-np.arange(400) / 60) * 0.15
        room_cn[np.arange(channels), rng.integers(2, 14, channels)] += 1.0
        for first, last in spans:
            dry_n = voice(rng, last - first)
            for channel in range(channels):
                wet_n = np.convolve(dry_n, room_cn[channel])[: last - first]
                images_kcn[source, channel, first:last] += wet_n
    noise_cn = 0.0005 * rng.standard_normal((channels, num_samples))
    samples_cn = (images_kcn.sum(axis=0) + noise_cn).astype(np.float32)
    return Scene(samples_cn, images_kcn.astype(np.float32), activity)


def si_sdr_db(made_n: np.ndarray, expected_n: np.ndarray) -> float:
    made, expected = made_n.astype(np.float64), expected_n.astype(np.float64)
    target = expected * (made @ expected) / (expected @ expected)
    return float(10 * np.log10((target @ target) / np.sum((made - target) ** 2)))
