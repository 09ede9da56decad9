"""Speech under somebody else's: found where it is, and nowhere else."""

from __future__ import annotations

import numpy as np

from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.underneath import UnderneathSettings, find_underneath, with_turns
from meetscribe.types import Activity, Turn

RATE_HZ = 16_000


def chords(random: np.random.Generator, num: int) -> np.ndarray:
    """Give tones that change every tenth of a second: few bins at a time, as in speech."""
    block = RATE_HZ // 10
    time_n = np.arange(block) / RATE_HZ
    made = [
        np.sin(2 * np.pi * np.outer(random.uniform(200, 4000, 12), time_n)).sum(0)
        for _ in range(-(-num // block))
    ]
    return np.concatenate(made)[:num]


class Scene:
    """Two voices at two places, eight channels, 12 s; b speaks twice."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.duration = 12.0
        num = round(self.duration * RATE_HZ)
        self.samples_cn = 0.001 * random.standard_normal((8, num)).astype(np.float32)
        spoken = {"a": [(0.5, 8.0)], "b": [(3.0, 5.0), (8.5, 11.5)]}
        for place, spans in enumerate(spoken.values()):
            source_n = chords(random, num + 64)
            active_n = np.zeros(num)
            for start, end in spans:
                active_n[round(start * RATE_HZ) : round(end * RATE_HZ)] = 0.1
            for channel in range(8):
                delay = (5 * place + 3 * channel * (1 + place)) % 23
                self.samples_cn[channel] += active_n * source_n[delay : delay + num]

    def read_cn(self, start: float, end: float) -> np.ndarray:
        return self.samples_cn[:, round(start * RATE_HZ) : round(end * RATE_HZ)]


def test_the_turn_that_was_missed_is_found() -> None:
    known = [Turn(0.5, 8.0, "a"), Turn(8.5, 11.5, "b")]
    found = find_underneath(Scene(), known, UnderneathSettings(), SeparationSettings(), threads=1)
    long = [turn for turn in found if turn.duration > 0.5]
    assert [turn.speaker for turn in long] == ["b"]
    assert abs(long[0].start - 3.0) < 0.4
    assert abs(long[0].end - 5.0) < 0.4


def test_a_speaker_alone_and_nobody_need_no_search() -> None:
    for known in ([], [Turn(0.5, 8.0, "a")]):
        assert find_underneath(Scene(), known, UnderneathSettings(), SeparationSettings()) == []


def test_turns_that_touch_become_one() -> None:
    activity = Activity((Turn(1.0, 2.0, "a"), Turn(1.5, 3.0, "b")))
    made = with_turns(activity, [Turn(2.0, 2.5, "a"), Turn(4.0, 5.0, "b")])
    assert made.turns == (Turn(1.0, 2.5, "a"), Turn(1.5, 3.0, "b"), Turn(4.0, 5.0, "b"))
