"""Intervals hold what they say, and the paired one sees through what makes sessions hard."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import ShapeError
from meetscribe.evaluate.bootstrap import Difference, interval, paired

ROUNDS = 2_000
pairs = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 1000)), min_size=2, max_size=20)


def test_interval_equals_the_one_of_all_possible_draws() -> None:
    sessions = np.array([(1, 10), (6, 20), (2, 40), (30, 50)], dtype=float)
    sums = np.array(
        [sessions[list(draw)].sum(axis=0) for draw in itertools.product(range(4), repeat=4)]
    )
    exact = np.quantile(sums[:, 0] / sums[:, 1], [0.1, 0.9])
    found = interval([tuple(row) for row in sessions], level=0.8, rounds=40_000)
    assert found == pytest.approx(tuple(exact), abs=0.01)


def test_rates_are_pooled_and_not_averaged() -> None:
    # a mean of rates would reach 0.5 in the draws of one session each; pooled, the long one wins
    found = interval([(0, 100_000), (1, 1)], level=0.2)
    assert found is not None
    assert found[1] < 0.001


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_interval_lies_between_the_sessions_and_ignores_the_unit(sessions: list) -> None:
    low, high = interval(sessions, rounds=ROUNDS)
    rates = [errors / length for errors, length in sessions]
    assert min(rates) - 1e-9 <= low <= high <= max(rates) + 1e-9
    doubled = interval([(2 * errors, 2 * length) for errors, length in sessions], rounds=ROUNDS)
    assert doubled == pytest.approx((low, high), abs=1e-9)


def test_same_seed_same_interval_another_seed_another() -> None:
    sessions = [(n * n % 17, 20 + n) for n in range(12)]
    assert interval(sessions, rounds=500) == interval(sessions, rounds=500)
    assert interval(sessions, rounds=500) != interval(sessions, rounds=500, seed=1)


def test_no_interval_without_two_sessions_or_without_reference() -> None:
    assert interval([]) is None
    assert interval([(1, 10)]) is None
    assert interval([(1, 0), (2, 0)]) is None


def test_draws_without_any_reference_are_left_out() -> None:
    # a session without reference adds its errors to the draws that have a reference
    low, high = interval([(5, 0), (10, 100)], rounds=ROUNDS)
    assert (low, high) == pytest.approx((0.10, 0.15))


def test_many_sessions_need_little_memory() -> None:
    low, high = interval([(1, 10), (2, 10)] * 10_000, rounds=200)
    assert low < 0.15 < high
    assert high - low < 0.01


def test_paired_difference_is_known_better_than_either_rate() -> None:
    # sessions differ by far, but ours always makes one error in a hundred less
    theirs = [(n * 10, 100) for n in range(1, 10)]
    ours = [(errors - 1, length) for errors, length in theirs]
    found = paired(ours, theirs)
    assert found == Difference(point=-0.01, low=-0.01, high=-0.01, below=1.0)
    low, high = interval(theirs)
    assert high - low > 0.2


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_a_run_does_not_differ_from_itself(sessions: list) -> None:
    assert paired(sessions, sessions, rounds=ROUNDS) == Difference(0.0, 0.0, 0.0, 0.0)


@given(pairs, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_swapping_the_runs_turns_the_sign(sessions: list, random: object) -> None:
    other = [(random.randint(0, 500), length) for _, length in sessions]
    there, back = paired(sessions, other, rounds=ROUNDS), paired(other, sessions, rounds=ROUNDS)
    assert there.point == pytest.approx(-back.point)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.below + back.below <= 1


def test_paired_says_what_it_can_of_too_little() -> None:
    assert paired([(1, 10)], [(2, 10)]) == Difference(-0.1)
    assert paired([(1, 0)], [(2, 10)]) == Difference(None)
    with pytest.raises(ShapeError, match="1 sessions against 2"):
        paired([(1, 10)], [(1, 10), (2, 10)])
