from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.recognize import cut_regions, speech_regions
from meetscribe.recognize.regions import merge
from meetscribe.types import Activity, Segment, Turn


class Signal:
    """A reader over an array."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    @property
    def duration(self) -> float:
        return len(self.samples) / 16_000

    def read(self, start: float, end: float) -> np.ndarray:
        first, last = round(start * 16_000), round(end * 16_000)
        piece = self.samples[first:last]
        return np.pad(piece, (0, last - first - len(piece))).astype(np.float32)


segments = st.lists(
    st.tuples(st.floats(0, 200), st.floats(0.01, 90)).map(lambda p: Segment(p[0], p[0] + p[1])),
    max_size=25,
)


@settings(deadline=None)
@given(segments, st.floats(7, 30), st.floats(0, 6), st.floats(0, 2))
def test_pieces_are_disjoint_short_enough_and_cover_all_speech(
    speech: list[Segment], longest: float, bridge: float, padding: float
) -> None:
    duration = 250.0
    pieces = cut_regions(speech, duration, longest=longest, bridge=bridge, padding=padding)

    assert all(piece.duration <= longest + 0.021 for piece in pieces)
    assert all(left.end <= right.start + 1e-9 for left, right in pairwise(pieces))
    assert all(0 <= piece.start <= piece.end <= duration for piece in pieces)
    for one in merge(speech):
        inside = min(one.end, duration) - min(one.start, duration)
        covered = sum(common.duration for piece in pieces if (common := piece & one))
        assert covered >= inside - 1e-6


def test_a_short_pause_stays_inside_a_piece_and_a_long_one_does_not() -> None:
    speech = [Segment(1.0, 2.0), Segment(4.0, 5.0), Segment(12.0, 13.0)]
    assert cut_regions(speech, 20.0, bridge=3.0, padding=0.5) == [
        Segment(0.5, 5.5),
        Segment(11.5, 13.5),
    ]


def test_neighbours_share_the_pause_between_them() -> None:
    first, second = cut_regions(
        [Segment(0.0, 1.0), Segment(1.4, 3.0)], 5.0, bridge=0.1, padding=0.5
    )
    assert first.end == second.start == 1.2


def test_long_speech_is_cut_at_its_widest_pause() -> None:
    speech = [Segment(0, 12), Segment(12.2, 20), Segment(21, 28), Segment(28.3, 45)]
    first, second = cut_regions(speech, 45.0, padding=0.0)
    assert first == Segment(0.0, 20.0)
    assert second == Segment(21.0, 45.0)


def test_speech_without_a_pause_is_cut_where_it_is_quiet() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 50 * 16_000).astype(np.float32)
    samples[22 * 16_000 : int(22.4 * 16_000)] *= 0.01
    first, second = cut_regions([Segment(0, 50)], 50.0, audio=Signal(samples))
    assert 22.0 < first.end < 22.4
    assert second.start == first.end


def test_a_rest_too_short_to_understand_is_not_left() -> None:
    pieces = cut_regions([Segment(0.0, 30.5)], 30.5)
    assert pieces[-1].duration >= 3.0


def test_no_speech_gives_no_pieces() -> None:
    assert cut_regions([], 10.0) == []
    assert cut_regions([Segment(11.0, 12.0)], 10.0) == []


def test_speech_regions_are_the_union_of_turns_within_the_recording() -> None:
    turns = (Turn(0.0, 2.0, "a"), Turn(1.0, 3.0, "b"), Turn(8.0, 12.0, "a"), Turn(12.0, 13.0, "b"))
    assert speech_regions(Activity(turns), 10.0) == [Segment(0.0, 3.0), Segment(8.0, 10.0)]
