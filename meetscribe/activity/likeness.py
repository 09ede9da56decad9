"""How alike two pieces of speech are: by voice and, where an array hears them, by place.

Prints are rows of two parts, each of unit length or a mean of such: the voiceprint, and behind it
the place (``spatial.signature``), which is missing where there is one channel only, and zeros where
it is not known.

Axes: C, E groups, D dimension of prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.voiceprint import VOICEPRINT_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLACE = (0.3, 0.65, 0.85, 0.95)
"""Cosines of places: up to the first they are two; from the last on they are one."""
_EVIDENCE = (-1.0, 0.0, 0.0, 1 / 6)
"""What each says of one person. Places part people and seldom unite them: who speaks from another
place is likely another person, but a line hears people on its two sides in one place. In between
it says nothing: speech of two at once comes from between their places."""


def alike(
    one_cd: NDArray[np.float32], other_ed: NDArray[np.float32], place_weight: float
) -> NDArray[np.float32]:
    """Give the cosine of voices, more or less by what the places say, shape (C, E).

    Parameters
    ----------
    one_cd, other_ed : prints, or weighted means of them: then it is the mean cosine
    place_weight : by how much two places lower the cosine; one place raises it by a sixth of that
    """
    voices: NDArray[np.float32] = one_cd[:, :VOICEPRINT_SIZE] @ other_ed[:, :VOICEPRINT_SIZE].T
    if not has_places(one_cd):
        return voices
    one_cp, other_ep = one_cd[:, VOICEPRINT_SIZE:], other_ed[:, VOICEPRINT_SIZE:]
    evidence_ce = np.interp(one_cp @ other_ep.T, _PLACE, _EVIDENCE)
    evidence_ce[~one_cp.any(axis=1)] = 0.0
    evidence_ce[:, ~other_ep.any(axis=1)] = 0.0
    scores_ce: NDArray[np.float32] = voices + (place_weight * evidence_ce).astype(np.float32)
    return scores_ce


def has_places(prints_cd: NDArray[np.float32]) -> bool:
    """Tell whether there are places behind the voiceprints."""
    return bool(prints_cd.shape[1] > VOICEPRINT_SIZE)
