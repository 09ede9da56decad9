"""Which pieces of speech are the same person: agglomerative clustering that counts the speakers.

Memory stays small on any length: blocks of consecutive pieces are clustered first, then the
clusters of all blocks. Axes: U unit, D dimension, C cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.likeness import alike

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 256
"""Pieces compared all with all; above that, blocks first."""
_SHRINK = 0.8
"""A round over the blocks must leave less than this share of groups."""


@dataclass(frozen=True)
class Bounds:
    """How many speakers there may be: at least ``low`` and at most ``high``."""

    low: int = 1
    high: int | None = None


def cluster(
    prints_ud: NDArray[np.float32],
    weights_u: NDArray[np.float32],
    *,
    same_voice: float,
    place_weight: float = 0.0,
    bounds: Bounds = Bounds(),
) -> NDArray[np.int64]:
    """Group pieces of speech by speaker.

    Parameters
    ----------
    prints_ud : float32, shape (U, D)
        Voiceprints of unit length, with places behind them or without.
    weights_u : float32, shape (U,), above 0
        Seconds of speech behind each.
    same_voice : mean likeness (``likeness.alike``) above which two groups are joined
    place_weight : what places count in it
    bounds : they bind: fewer groups than ``high`` are made whatever the cosines are, and joining
        stops at ``low``

    Returns
    -------
    int64, shape (U,): labels 0, 1, ... in order of first appearance

    Notes
    -----
    Average linkage. The mean cosines between two groups, of voices and of places, are the scalar
    products of their weighted means, so that groups need no more memory than single pieces do.
    """
    num = len(prints_ud)
    labels_u = np.arange(num)
    means_cd, weights_c = prints_ud.astype(np.float32), weights_u.astype(np.float32)
    within = same_voice
    # a count that was asked for must be left to choose from
    while len(means_cd) > max(_BLOCK, 2 * bounds.low):
        before = len(means_cd)
        merged_c = np.empty(before, dtype=np.int64)
        offset = 0
        for first in range(0, before, _BLOCK):
            here = slice(first, first + _BLOCK)
            fewest = Bounds(min(bounds.low, _BLOCK // 2))
            part_c = _agglomerate(means_cd[here], weights_c[here], within, place_weight, fewest)
            merged_c[here] = part_c + offset
            offset += int(part_c.max()) + 1
        labels_u = merged_c[labels_u]
        means_cd, weights_c = _pool(means_cd, weights_c, merged_c)
        if offset > _SHRINK * before:
            within -= 0.1  # hundreds of voices: join the nearest ones rather than run out of memory
    final_c = _agglomerate(means_cd, weights_c, same_voice, place_weight, bounds)
    return in_order(final_c[labels_u])


def in_order(labels_u: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumber labels by first appearance.

    >>> in_order(np.array([5, 2, 5, 0])).tolist()
    [0, 1, 0, 2]
    """
    order = {label: index for index, label in enumerate(dict.fromkeys(labels_u.tolist()))}
    return np.array([order[label] for label in labels_u.tolist()], dtype=np.int64)


def _pool(
    means_cd: NDArray[np.float32], weights_c: NDArray[np.float32], labels_c: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give weighted means and summed weights per label."""
    num = int(labels_c.max()) + 1
    weights = np.bincount(labels_c, weights=weights_c, minlength=num).astype(np.float32)
    sums = np.zeros((num, means_cd.shape[1]), dtype=np.float32)
    np.add.at(sums, labels_c, means_cd * weights_c[:, None])
    return sums / weights[:, None], weights


def _agglomerate(
    means_cd: NDArray[np.float32],
    weights_c: NDArray[np.float32],
    same_voice: float,
    place_weight: float,
    bounds: Bounds,
) -> NDArray[np.int64]:
    """Join the most similar pair until none is similar enough and the upper bound is kept."""
    means, weights = means_cd.copy(), weights_c.copy()
    labels = np.arange(len(means))
    scores = alike(means, means, place_weight)
    np.fill_diagonal(scores, -np.inf)
    alive = len(means)
    while alive > max(bounds.low, 1):
        a, b = divmod(int(scores.argmax()), len(means))
        if scores[a, b] < same_voice and (bounds.high is None or alive <= bounds.high):
            break
        total = weights[a] + weights[b]
        means[a] = (means[a] * weights[a] + means[b] * weights[b]) / total
        weights[a] = total
        labels[labels == b] = a
        gone = ~np.isfinite(scores[a])
        row = alike(means, means[a : a + 1], place_weight)[:, 0]
        row[gone] = -np.inf
        row[[a, b]] = -np.inf
        scores[a], scores[:, a] = row, row
        scores[b], scores[:, b] = -np.inf, -np.inf
        alive -= 1
    return in_order(labels)
