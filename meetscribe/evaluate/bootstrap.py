"""How far a rate would move with other sessions of the same kind: the bootstrap over sessions.

Sessions are drawn with replacement and rates are pooled in every draw (sum of errors over sum of
reference), as the totals are. It answers for the choice of sessions only: not for the choice of
reference or protocol. With fewer than about ten sessions the intervals come out too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pairs = Sequence[tuple[float, float]]
"""Errors and length of the reference, a pair a session, both in the same unit."""

_SEED = 20_000
_DRAWN_AT_ONCE = 1_000_000
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more errors one run makes than another, as a difference of pooled rates.

    ``point`` is None where a side has no reference at all; ``low``, ``high`` and ``below``, the
    share of draws in which the difference is below 0, also with fewer than two sessions.
    """

    point: float | None
    low: float | None = None
    high: float | None = None
    below: float | None = None


def interval(
    pairs: Pairs, *, rounds: int = 10_000, level: float = 0.95, seed: int = _SEED
) -> tuple[float, float] | None:
    """Give the interval that holds the pooled rate in ``level`` of the draws.

    Parameters
    ----------
    rounds : number of draws
    level : 0 to 1; what lies outside is shared equally between both ends
    seed : equal seeds and pairs give equal intervals

    Returns
    -------
    fractions (low, high), or None with fewer than two sessions or an empty reference

    Notes
    -----
    Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    13; for word error rates Bisani and Ney, ICASSP 2004, doi:10.1109/ICASSP.2004.1326009.

    Examples
    --------
    >>> interval([(1, 10), (2, 20), (3, 30)])
    (0.1, 0.1)
    >>> interval([(1, 10)]) is None
    True
    """
    table_s2 = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    if len(table_s2) < _FEWEST or not table_s2[:, 1].sum():
        return None
    return _middle(_pooled_rates(table_s2, rounds, seed), level)


def paired(
    ours: Pairs, theirs: Pairs, *, rounds: int = 10_000, level: float = 0.95, seed: int = _SEED
) -> Difference:
    """Compare two runs over the same sessions: our rate less theirs, in the same draws.

    What makes a session hard is hard for both, so that the difference of two runs is known
    better than either rate.

    Raises
    ------
    ShapeError
        If the two sides are not of the same number of sessions.

    Examples
    --------
    >>> paired([(1, 10), (2, 10)], [(2, 10), (4, 10)]).point
    -0.15
    """
    if len(ours) != len(theirs):
        raise ShapeError(f"paired: {len(ours)} sessions against {len(theirs)}, expected as many")
    ours_s2 = np.asarray(ours, dtype=np.float64).reshape(-1, 2)
    theirs_s2 = np.asarray(theirs, dtype=np.float64).reshape(-1, 2)
    if not ours_s2[:, 1].sum() or not theirs_s2[:, 1].sum():
        return Difference(None)
    point = round(float(_rate(ours_s2) - _rate(theirs_s2)), 12)
    if len(ours_s2) < _FEWEST:
        return Difference(point)
    both = np.concatenate([ours_s2, theirs_s2], axis=1)
    draws = _pooled_rates(both, rounds, seed)
    low, high = _middle(draws, level)
    return Difference(point, low, high, float((draws < 0).mean()))


def _rate(table_s2: NDArray[np.float64]) -> float:
    errors, length = table_s2.sum(axis=0)
    return float(errors / length)


def _pooled_rates(table_sx: NDArray[np.float64], rounds: int, seed: int) -> NDArray[np.float64]:
    """Give the rate of every draw, or with four columns the difference of two rates.

    A draw of nothing but sessions without reference has no rate and is left out.
    """
    rates = []
    for drawn_rs in _draws(len(table_sx), rounds, seed):
        sums_rx = table_sx[drawn_rs].sum(axis=1)
        sums_rx = sums_rx[(sums_rx[:, 1::2] > 0).all(axis=1)]
        rates_ry = sums_rx[:, ::2] / sums_rx[:, 1::2]
        rates.append(rates_ry[:, 0] - rates_ry[:, 1:].sum(axis=1))
    # the order of summing must not make a difference where there is none
    return np.round(np.concatenate(rates), 12)


def _draws(sessions: int, rounds: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Give the sessions of the draws, shape (R, S), in blocks that fit in memory."""
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWN_AT_ONCE // sessions)
    for done in range(0, rounds, block):
        yield generator.integers(sessions, size=(min(block, rounds - done), sessions))


def _middle(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
