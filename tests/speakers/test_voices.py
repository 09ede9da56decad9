"""Stretches in which somebody speaks alone, and the voiceprints made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.ingest import InMemory
from meetscribe.spatial.solo_segments import solo_runs
from meetscribe.speakers.settings import NamingSettings
from meetscribe.speakers.voices import Voice, likeness, mean, voices_of
from meetscribe.types import Segment, Turn
from tests.speakers.builders import voice

TURNS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 15), st.sampled_from("ABC")), max_size=12
).map(lambda made: [Turn(start / 4, (start + length) / 4, who) for start, length, who in made])


def speaking(turns: list[Turn], time: float) -> set[str]:
    return {turn.speaker for turn in turns if turn.start <= time < turn.end}


@given(turns=TURNS)
def test_alone_is_where_one_speaks_and_nobody_else(turns: list[Turn]) -> None:
    found = solo_runs(turns)
    for time in np.arange(0.125, 15, 0.25):
        mine = {who for who, parts in found.items() for p in parts if p.start <= time < p.end}
        there = speaking(turns, float(time))
        assert mine == (there if len(there) == 1 else set())
    assert all(part.duration > 0 for parts in found.values() for part in parts)


def test_pieces_are_the_longest_and_no_more_than_enough() -> None:
    heard: list[int] = []

    def printer(samples_n: np.ndarray, spans: list[tuple[float, float]]) -> np.ndarray:
        assert spans == [(0, len(samples_n))]
        heard.append(len(samples_n))
        return np.ones((1, 4), np.float32)

    audio = InMemory(np.zeros(16_000 * 60, np.float32))
    stretches = {"A": [Segment(0, 0.3), Segment(1, 26), Segment(30, 31), Segment(40, 52)]}
    made = voices_of(audio, stretches, printer, NamingSettings(longest_s=25.0))
    assert sum(heard) / 16_000 == pytest.approx(made["A"].seconds) == 25.0
    assert max(heard) <= 16_000 * 10
    assert np.linalg.norm(made["A"].print_d) == pytest.approx(1)
    heard.clear()
    short = voices_of(
        audio, {"A": [Segment(0, 0.3)], "B": [Segment(1, 1.01)]}, printer, NamingSettings()
    )
    assert list(short) == ["A"]


def test_a_voice_survives_its_file_to_the_last_digit() -> None:
    made = voice(3, change=2)
    again = Voice.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert again.key == made.key != voice(3, change=1).key


def test_the_mean_of_voices_is_nearer_to_each_than_they_are() -> None:
    one, other = voice(1), voice(1, change=1)
    both = mean([one, other])
    assert both.seconds == 40
    assert min(likeness(both, one), likeness(both, other)) > likeness(one, other)
