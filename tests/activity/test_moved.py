"""One person who changes his place is one speaker; two who take turns are two."""

from __future__ import annotations

import numpy as np

from meetscribe.activity.groups import join_moved
from meetscribe.activity.units import Unit
from meetscribe.activity.voiceprint import VOICEPRINT_SIZE

PLACE_SIZE = 8


def prints(voices: list[int], places: list[int]) -> np.ndarray:
    """Give a voiceprint with a place behind it for each unit."""
    rng = np.random.default_rng(0)
    voice_kd = rng.standard_normal((9, VOICEPRINT_SIZE))
    made = []
    for voice, place in zip(voices, places, strict=True):
        voice_d = voice_kd[voice] + 0.3 * rng.standard_normal(VOICEPRINT_SIZE)
        place_d = np.eye(PLACE_SIZE)[place]
        made.append(np.r_[voice_d / np.linalg.norm(voice_d), place_d])
    return np.array(made, np.float32)


def joined(
    voices: list[int], places: list[int], labels: list[int], seconds: float = 3.0
) -> list[int]:
    units = [Unit(0, 100 * at, 100 * at + 90) for at in range(len(voices))]
    weights_u = np.full(len(voices), seconds, np.float32)
    made_u = join_moved(
        np.array(labels, np.int64), prints(voices, places), weights_u, units, same_voice=0.275
    )
    return made_u.tolist()


def test_a_voice_at_another_place_later_is_the_same_person() -> None:
    voices = [0, 1, 0, 1, 0, 1, 0, 1]
    places = [0, 1, 0, 1, 2, 3, 2, 3]
    assert joined(voices, places, [0, 1, 0, 1, 2, 3, 2, 3]) == [0, 1, 0, 1, 0, 1, 0, 1]


def test_alike_voices_that_take_turns_at_two_places_stay_two() -> None:
    assert joined([0] * 6, [0, 1] * 3, [0, 1] * 3) == [0, 1] * 3


def test_another_voice_that_comes_later_is_another_person() -> None:
    assert joined([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]) == [0, 0, 0, 1, 1, 1]


def test_pieces_that_belong_to_nobody_yet_stay_so() -> None:
    assert joined([0] * 5, [0, 0, 0, 1, 1], [0, 0, -1, 1, 1]) == [0, 0, -1, 0, 0]


def test_somebody_who_moves_twice_is_still_one() -> None:
    assert joined([0] * 6, [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]) == [0] * 6


def test_a_word_at_another_place_is_not_enough_to_have_moved() -> None:
    assert joined([0] * 6, [0, 0, 0, 0, 0, 1], [0] * 5 + [1], seconds=2.0) == [0] * 5 + [1]
