"""Who is who: clusters, put right for people who move and for those with too little speech.

Axes: U unit, D dimension of prints, S speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.clustering import Bounds, cluster
from meetscribe.activity.likeness import alike, has_places
from meetscribe.activity.settings import DiarizationSettings
from meetscribe.activity.units import Unit
from meetscribe.activity.voiceprint import VOICEPRINT_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OUTSIDE = 0.05
"""Share of somebody's speech that may lie apart from the rest."""
_LEAST_S = 4.0
"""Speech at either place before somebody is taken to have moved: who says a word or two is never
there at the same time as anybody, and his voice is not known well."""


def group(  # noqa: PLR0917 - one value of each stage before
    units: Sequence[Unit],
    prints_ud: NDArray[np.float32],
    weights_u: NDArray[np.float32],
    clean: NDArray[np.bool_],
    shortest_s: float,
    settings: DiarizationSettings,
    bounds: Bounds,
) -> NDArray[np.int64]:
    """Give the speaker of each unit, -1 for those that are not ``clean``.

    Parameters
    ----------
    shortest_s : seconds of speech that make a speaker
    """
    labels_u = np.full(len(units), -1, dtype=np.int64)
    labels_u[clean] = cluster(
        prints_ud[clean],
        weights_u[clean],
        same_voice=settings.same_voice,
        place_weight=settings.place_weight,
        bounds=bounds,
    )
    if has_places(prints_ud):
        labels_u = join_moved(labels_u, prints_ud, weights_u, units, settings.same_voice_moved)
    return without_small(
        labels_u,
        prints_ud,
        weights_u,
        shortest_s,
        place_weight=settings.place_weight,
        bounds=bounds,
    )


def join_moved(
    labels_u: NDArray[np.int64],
    prints_ud: NDArray[np.float32],
    weights_u: NDArray[np.float32],
    units: Sequence[Unit],
    same_voice: float,
) -> NDArray[np.int64]:
    """Join speakers of one voice who are never there at the same time: one who changed his place.

    Parameters
    ----------
    prints_ud : voiceprints with places behind them
    same_voice : mean cosine of the voices alone above which two are one
    """
    labels_u = labels_u.copy()
    known = labels_u >= 0
    voices_ud = prints_ud[:, :VOICEPRINT_SIZE]
    middles_u = np.array([unit.start + unit.end for unit in units]) / 2
    while True:
        best, pair = same_voice, None
        for one, other in combinations(np.unique(labels_u[known]).tolist(), 2):
            mine_u, theirs_u = labels_u == one, labels_u == other
            least_s = min(weights_u[mine_u].sum(), weights_u[theirs_u].sum())
            if least_s < _LEAST_S or _interleave(middles_u, mine_u, theirs_u):
                continue
            total = weights_u[mine_u].sum() * weights_u[theirs_u].sum()
            mine_d = weights_u[mine_u] @ voices_ud[mine_u]
            cosine = float(mine_d @ (weights_u[theirs_u] @ voices_ud[theirs_u]) / total)
            if cosine > best:
                best, pair = cosine, (one, other)
        if pair is None:
            break
        labels_u[labels_u == pair[1]] = pair[0]
    labels_u[known] = np.unique(labels_u[known], return_inverse=True)[1]
    return labels_u


def _interleave(
    middles_u: NDArray[np.float64], mine_u: NDArray[np.bool_], theirs_u: NDArray[np.bool_]
) -> bool:
    """Tell whether two take turns, rather than one being there before the other."""
    mine, theirs = middles_u[mine_u], middles_u[theirs_u]
    return any(
        ((here > np.quantile(there, _OUTSIDE)) & (here < np.quantile(there, 1 - _OUTSIDE))).mean()
        > _OUTSIDE
        for here, there in ((mine, theirs), (theirs, mine))
    )


def without_small(
    labels_u: NDArray[np.int64],
    prints_ud: NDArray[np.float32],
    weights_u: NDArray[np.float32],
    shortest_s: float,
    *,
    place_weight: float,
    bounds: Bounds,
) -> NDArray[np.int64]:
    """Give the units of speakers with too little speech to the most similar other speaker."""
    known = labels_u >= 0
    num = int(labels_u.max()) + 1
    seconds_s = np.zeros(num)
    np.add.at(seconds_s, labels_u[known], weights_u[known])
    sums_sd = sums(labels_u, prints_ud, weights_u, num)
    target_s = np.arange(num)
    left = num
    while left > max(bounds.low, 1):
        smallest = int(seconds_s.argmin())
        if seconds_s[smallest] >= shortest_s:
            break
        centres_sd = unit_parts(sums_sd)
        scores_s = alike(centres_sd, centres_sd[smallest : smallest + 1], place_weight)[:, 0]
        scores_s[~np.isfinite(seconds_s)] = -np.inf
        scores_s[smallest] = -np.inf
        best = int(scores_s.argmax())
        sums_sd[best] += sums_sd[smallest]
        seconds_s[best] += seconds_s[smallest]
        seconds_s[smallest] = np.inf
        target_s[target_s == smallest] = best
        left -= 1
    labels = labels_u.copy()
    labels[known] = np.unique(target_s[labels_u[known]], return_inverse=True)[1]
    return labels


def sums(
    labels_u: NDArray[np.int64],
    prints_ud: NDArray[np.float32],
    weights_u: NDArray[np.float32],
    num: int,
) -> NDArray[np.float32]:
    """Give the weighted sum of every speaker's prints, shape (S, D)."""
    sums_sd = np.zeros((num, prints_ud.shape[1]), dtype=np.float32)
    for speaker in range(num):
        mine = labels_u == speaker
        sums_sd[speaker] = weights_u[mine] @ prints_ud[mine]
    return sums_sd


def unit_parts(prints_sd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the voiceprint and the place of each row to length 1."""
    parts = (prints_sd[:, :VOICEPRINT_SIZE], prints_sd[:, VOICEPRINT_SIZE:])
    return np.concatenate([unit_length(part) for part in parts], axis=1)


def unit_length(rows_sd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give rows of length 1 (0 stays 0)."""
    lengths: NDArray[np.float32] = np.linalg.norm(rows_sd, axis=1, keepdims=True)
    return (rows_sd / np.maximum(lengths, 1e-8)).astype(np.float32)
