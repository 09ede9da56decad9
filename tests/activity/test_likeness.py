"""Places part people and seldom unite them."""

from __future__ import annotations

import numpy as np
import pytest

from meetscribe.activity.clustering import cluster
from meetscribe.activity.groups import unit_parts
from meetscribe.activity.likeness import alike
from meetscribe.activity.voiceprint import VOICEPRINT_SIZE

WEIGHT = 0.6
SAME = 0.22


def prints(voice_cosine: float | None, place_cosine: float | None) -> np.ndarray:
    """Give two prints whose voices and places have these cosines; None is a part of zeros."""
    made = np.zeros((2, VOICEPRINT_SIZE + 4), np.float32)
    for first, cosine in ((0, voice_cosine), (VOICEPRINT_SIZE, place_cosine)):
        if cosine is not None:
            made[0, first] = 1.0
            made[1, first : first + 2] = cosine, np.sqrt(1 - cosine**2)
    return made


def likeness(voice_cosine: float | None, place_cosine: float | None) -> float:
    one, other = prints(voice_cosine, place_cosine)
    return float(alike(one[None], other[None], WEIGHT)[0, 0])


def test_without_places_it_is_the_cosine_of_the_voices() -> None:
    both = prints(0.4, 0.1)[:, :VOICEPRINT_SIZE]
    np.testing.assert_allclose(alike(both, both, WEIGHT), both @ both.T)


def test_similar_voices_at_two_places_are_two_people() -> None:
    assert likeness(0.45, 0.8) > SAME
    assert likeness(0.45, 0.2) < SAME


def test_one_place_does_not_unite_different_voices() -> None:
    assert likeness(0.08, 1.0) < SAME


def test_a_voice_that_is_surely_the_same_is_so_at_any_place() -> None:
    assert likeness(0.85, 0.0) > SAME


def test_a_nearer_place_never_speaks_against_one_person() -> None:
    scores = [likeness(0.3, cosine) for cosine in np.linspace(-1, 1, 41)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_a_place_that_is_not_known_says_nothing() -> None:
    assert likeness(0.4, None) == pytest.approx(0.4)
    one, other = prints(0.4, 0.0)
    one[VOICEPRINT_SIZE:] = 0
    assert float(alike(one[None], other[None], WEIGHT)[0, 0]) == pytest.approx(0.4)


def test_parts_get_length_one_each_and_zeros_stay() -> None:
    rows = prints(0.3, 0.5) * np.float32(7)
    rows[1, VOICEPRINT_SIZE:] = 0
    made = unit_parts(rows)
    np.testing.assert_allclose(np.linalg.norm(made[:, :VOICEPRINT_SIZE], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made[:, VOICEPRINT_SIZE:], axis=1), [1, 0], atol=1e-6)


def crowd(voices: list[int], places: list[int], alike_by: float) -> np.ndarray:
    """Give 30 prints of each person, whose voices have the cosine ``alike_by`` with each other."""
    rng = np.random.default_rng(0)
    voice_kd = np.sqrt(1 - alike_by) * np.eye(VOICEPRINT_SIZE)[1:9]
    voice_kd[:, 0] = np.sqrt(alike_by)
    rows = []
    for voice, place in zip(voices, places, strict=True):
        row = np.r_[voice_kd[voice], np.eye(8)[place]]
        rows.append(row + 0.03 * rng.standard_normal((30, len(row))))
    return unit_parts(np.concatenate(rows).astype(np.float32))


@pytest.mark.parametrize(
    ("voices", "places", "alike_by", "count"),
    [
        pytest.param([0, 1, 2], [0, 1, 2], 0.4, 3, id="similar voices, three places"),
        pytest.param([0, 1, 2, 3, 4], [0, 0, 1, 1, 0], 0.05, 5, id="a line hears two places of 5"),
        pytest.param([0, 0, 0], [0, 0, 0], 0.0, 1, id="one person"),
    ],
)
@pytest.mark.parametrize("times", [1, 4])
def test_people_are_counted_by_voice_and_place(voices, places, alike_by, count, times) -> None:
    prints_ud = np.tile(crowd(voices, places, alike_by), (times, 1))
    weights_u = np.ones(len(prints_ud), np.float32)
    labels_u = cluster(prints_ud, weights_u, same_voice=SAME, place_weight=WEIGHT)
    assert labels_u.max() + 1 == count
    whose = np.tile(np.repeat(np.arange(len(voices)), 30), times)
    assert len(set(zip(labels_u.tolist(), whose.tolist(), strict=True))) == len(voices)


def test_memory_stays_small_with_places() -> None:
    import tracemalloc

    prints_ud = np.tile(crowd([0, 1, 2, 3], [0, 1, 2, 3], 0.4), (100, 1))
    tracemalloc.start()
    labels_u = cluster(
        prints_ud, np.ones(len(prints_ud), np.float32), same_voice=SAME, place_weight=WEIGHT
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels_u.max() == 3
    assert peak < 60e6
