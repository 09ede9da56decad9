from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from meetscribe.activity.clustering import Bounds, cluster


def voices(num_units: int, num_voices: int, *, noise: float = 0.05, seed: int = 0):
    """Voiceprints of orthogonal voices with noise, and who each one is."""
    rng = np.random.default_rng(seed)
    centres, _ = np.linalg.qr(rng.standard_normal((192, num_voices)))
    who = rng.integers(num_voices, size=num_units)
    who[:num_voices] = np.arange(num_voices)
    prints = centres.T[who] + noise * rng.standard_normal((num_units, 192))
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    return prints.astype(np.float32), who


def same_partition(a, b) -> bool:
    pairs = set(zip(np.asarray(a).tolist(), np.asarray(b).tolist(), strict=True))
    return len(pairs) == len(set(np.asarray(a).tolist())) == len(set(np.asarray(b).tolist()))


@pytest.mark.parametrize("num_voices", [1, 2, 5, 8])
@pytest.mark.parametrize("num_units", [60, 700])
def test_the_number_of_voices_is_found(num_voices, num_units):
    prints, who = voices(num_units, num_voices)
    labels = cluster(prints, np.ones(num_units, np.float32), same_voice=0.3)
    assert same_partition(labels, who)


@pytest.mark.parametrize("asked", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("num_units", [40, 700])
def test_an_exact_number_binds(asked, num_units):
    prints, _ = voices(num_units, 3)
    weights = np.ones(num_units, np.float32)
    labels = cluster(prints, weights, same_voice=0.3, bounds=Bounds(asked, asked))
    assert sorted(set(labels.tolist())) == list(range(asked))


def test_bounds_bind_from_below_and_above():
    prints, _ = voices(100, 4)
    weights = np.ones(100, np.float32)
    more = cluster(prints, weights, same_voice=0.3, bounds=Bounds(6, None))
    fewer = cluster(prints, weights, same_voice=0.3, bounds=Bounds(1, 2))
    assert (more.max() + 1, fewer.max() + 1) == (6, 2)


def test_six_hours_cluster_within_a_hundred_megabytes():
    # a unit every half second of a meeting in which somebody always speaks
    prints, who = voices(43_200, 6, noise=0.07)
    weights = np.ones(len(prints), np.float32)
    tracemalloc.start()
    labels = cluster(prints, weights, same_voice=0.3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert same_partition(labels, who)
    assert peak < 100e6


def test_hundreds_of_unlike_voices_do_not_exhaust_memory():
    rng = np.random.default_rng(1)
    prints = rng.standard_normal((3_000, 192)).astype(np.float32)
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    tracemalloc.start()
    cluster(prints, np.ones(3_000, np.float32), same_voice=0.3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
