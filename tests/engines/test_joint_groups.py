"""Utterance groups: all speech is in one, none is too long, cuts are where they harm least."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meetscribe.engines.joint_groups import cut, halves, utterance_groups
from meetscribe.engines.joint_settings import GroupSettings
from meetscribe.types import Segment, Turn

RATE_HZ = 16_000


class Sound:
    """A signal in memory: as loud everywhere, but for pauses."""

    def __init__(self, duration: float, pauses: tuple[tuple[float, float], ...] = ()) -> None:
        self.duration = duration
        self.samples_n = np.full(round(duration * RATE_HZ), 0.1, dtype=np.float32)
        for start, end in pauses:
            self.samples_n[round(start * RATE_HZ) : round(end * RATE_HZ)] = 0.0001

    def read(self, start: float, end: float) -> np.ndarray:
        made = np.zeros(round(end * RATE_HZ) - round(start * RATE_HZ), dtype=np.float32)
        piece = self.samples_n[round(start * RATE_HZ) : round(end * RATE_HZ)]
        made[: len(piece)] = piece
        return made


LENGTH_S = 90.0
TURNS = st.lists(
    st.tuples(st.floats(0, LENGTH_S - 1), st.floats(0.02, 50.0), st.sampled_from("abc")).map(
        lambda one: Turn(one[0], min(one[0] + one[1], LENGTH_S), one[2])
    ),
    max_size=12,
)


@given(turns=TURNS, longest_s=st.floats(2.0, 40.0), pause_s=st.floats(0.0, 2.0))
@hypothesis_settings(max_examples=60, deadline=None)
def test_all_speech_is_in_one_group_that_is_not_too_long(
    turns: list[Turn], longest_s: float, pause_s: float
) -> None:
    settings = GroupSettings(longest_s=longest_s, pause_s=pause_s)
    groups = utterance_groups(turns, Sound(LENGTH_S), settings)
    assert list(groups) == sorted(groups)
    assert all(one.end <= two.start for one, two in itertools.pairwise(groups))
    assert all(group.duration <= longest_s + 1e-6 for group in groups)
    assert all(0 <= group.start < group.end <= LENGTH_S for group in groups)
    for turn in turns:
        inside = sum(
            max(0.0, min(turn.end, group.end) - max(turn.start, group.start)) for group in groups
        )
        assert inside == pytest.approx(turn.duration, abs=1e-6)


def test_pauses_end_groups_and_short_ones_are_heard_with_what_is_around() -> None:
    turns = [Turn(1.0, 3.0, "a"), Turn(3.4, 4.0, "b"), Turn(6.0, 6.1, "a")]
    groups = utterance_groups(turns, Sound(8.0), GroupSettings(pause_s=0.5, margin_s=0.1))
    assert groups == (Segment(0.9, 4.1), Segment(5.8, 6.3))


def test_margins_of_neighbours_share_the_pause_between_them() -> None:
    turns = [Turn(0.0, 2.0, "a"), Turn(2.1, 4.0, "b")]
    first, second = utterance_groups(turns, Sound(4.0), GroupSettings(pause_s=0.0, margin_s=1.0))
    assert (first.start, first.end) == (0.0, pytest.approx(2.05))
    assert (second.start, second.end) == (pytest.approx(2.05), 4.0)


def test_a_long_group_is_cut_where_nobody_speaks() -> None:
    turns = [Turn(0.0, 12.0, "a"), Turn(12.3, 40.0, "b")]
    first, second = cut(Segment(0.0, 40.0), turns, Sound(40.0, ((12.0, 12.3),)), longest_s=30.0)
    assert 12.0 <= first.end <= 12.3
    assert second.start == first.end


def test_where_somebody_always_speaks_the_fewest_are_cut_short() -> None:
    turns = [Turn(0.0, 40.0, "a"), Turn(0.0, 21.0, "b"), Turn(22.0, 40.0, "c")]
    (first, _) = cut(Segment(0.0, 40.0), turns, Sound(40.0), longest_s=30.0)
    assert 21.0 <= first.end <= 22.0


def test_of_one_speaker_the_quietest_place_is_taken() -> None:
    sound = Sound(40.0, ((17.2, 17.4),))
    (first, _) = cut(Segment(0.0, 40.0), [Turn(0.0, 40.0, "a")], sound, longest_s=30.0)
    assert 17.15 <= first.end <= 17.45


def test_a_stretch_of_many_minutes_is_cut_too() -> None:
    pieces = cut(Segment(0.0, 600.0), [Turn(0.0, 600.0, "a")], Sound(600.0), longest_s=30.0)
    assert 20 <= len(pieces) <= 21
    assert max(piece.duration for piece in pieces) <= 30.0 + 1e-6


def test_halves_leave_nothing_out_and_very_short_groups_stay_whole() -> None:
    sound = Sound(20.0, ((8.0, 8.3),))
    first, second = halves(Segment(2.0, 18.0), [Turn(2.0, 18.0, "a")], sound) or (None, None)
    assert first is not None
    assert second is not None
    assert (first.start, second.end) == (2.0, 18.0)
    assert 7.9 <= first.end == second.start <= 8.4
    assert halves(Segment(0.0, 3.0), [], sound) is None
