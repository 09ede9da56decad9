"""Where a long recording is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.spatial.blocks import plan_blocks

TURNS = st.lists(
    st.tuples(st.floats(0, 600), st.floats(0, 30)).map(lambda pair: (pair[0], sum(pair))),
    max_size=30,
)


@given(turns=TURNS, duration=st.floats(0.1, 700), block_s=st.floats(5, 120))
def test_blocks_cover_everything_once_and_are_about_as_long_as_asked(
    turns: list[tuple[float, float]], duration: float, block_s: float
) -> None:
    blocks = plan_blocks(turns, duration, block_s)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == duration
    assert all(left[1] == right[0] for left, right in pairwise(blocks))
    for start, end in blocks:
        assert start < end
        assert end - start <= 2.3 * block_s


def test_cuts_are_made_in_the_longest_pause_near_by() -> None:
    turns = [(0.0, 48.0), (49.0, 58.0), (63.0, 120.0)]
    assert plan_blocks(turns, 120.0, 60.0) == [(0.0, 60.5), (60.5, 120.0)]


def test_without_a_pause_the_cut_is_where_fewest_speak() -> None:
    turns = [(0.0, 120.0), (0.0, 55.0), (57.0, 120.0)]
    assert plan_blocks(turns, 120.0, 60.0)[0][1] == pytest.approx(56.0)


def test_a_short_recording_is_one_block() -> None:
    assert plan_blocks([], 61.0, 60.0) == [(0.0, 61.0)]
