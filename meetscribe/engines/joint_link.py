"""Who of one utterance group is who in another: speakers linked over a meeting by their voices.

Agglomerative clustering with average linkage. Two speakers of one group are two people, and so
are two of those whom the activity stage found: they take part, and speaking at the same time as
one of them counts beside the voice. Whoever said too little for a voiceprint joins at the end.

Axes: C cluster, D dimension, S speaker of the activity stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.activity.clustering import Bounds
from meetscribe.engines.joint_settings import LinkSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 256
"""Local speakers that are compared all with all; more are taken in order of time."""
_ANY_NUMBER = Bounds()


@dataclass(frozen=True)
class LocalSpeaker:
    """A speaker of one group.

    Parameters
    ----------
    group : index of the group
    print_d : float32, shape (D,), unit length
    clean_s : seconds of speech, of nobody else, that the voiceprint was made of
    shares_s : float32, shape (S,): share of the time in which each speaker of the activity stage
        is active, too
    certain : the model said that this is one person, other than those beside
    """

    group: int
    print_d: NDArray[np.float32]
    clean_s: float
    shares_s: NDArray[np.float32]
    certain: bool = True


def link(
    speakers: Sequence[LocalSpeaker],
    voices_sd: NDArray[np.float32],
    weights_s: NDArray[np.float32],
    settings: LinkSettings,
    *,
    bounds: Bounds = _ANY_NUMBER,
) -> list[int]:
    """Give each local speaker the number of a person.

    Parameters
    ----------
    speakers : in order of their groups
    voices_sd : float32, shape (S, D), unit length; of those whom the activity stage found
    weights_s : float32, shape (S,), above 0; seconds that each of them speaks
    bounds : of the number of persons. The lower one stops the joining; to keep the upper one,
        even two speakers of a group are taken for one in the end.

    Returns
    -------
    list of int, in no particular order
    """
    if not speakers:
        return []
    pool = _Pool(voices_sd, weights_s, settings)
    reliable = [
        index
        for index, one in enumerate(speakers)
        if one.certain and one.clean_s >= settings.reliable_s
    ]
    for block in _blocks(reliable, speakers):
        pool.add([(index, speakers[index]) for index in block])
        pool.join(bounds.low, None)
    pool.join(bounds.low, bounds.high)
    others = set(range(len(speakers))).difference(reliable)
    for index in sorted(others, key=lambda index: (-speakers[index].clean_s, index)):
        pool.add_to_nearest(index, speakers[index], bounds.high)
    labels = [0] * len(speakers)
    for number, members in enumerate(pool.members):
        for index in members:
            labels[index] = number
    return labels


def _blocks(reliable: Sequence[int], speakers: Sequence[LocalSpeaker]) -> Iterator[list[int]]:
    """Give local speakers in blocks, all of a group in the same one."""
    block: list[int] = []
    for index in reliable:
        new_group = block and speakers[index].group != speakers[block[-1]].group
        if new_group and len(block) >= _BLOCK:
            yield block
            block = []
        block.append(index)
    if block:
        yield block


class _Pool:
    """Clusters that grow. The first of them are the speakers of the activity stage."""

    def __init__(
        self,
        voices_sd: NDArray[np.float32],
        weights_s: NDArray[np.float32],
        settings: LinkSettings,
    ) -> None:
        count = len(voices_sd)
        self.settings = settings
        self.means_cd = voices_sd.astype(np.float64)
        self.weights_c = weights_s.astype(np.float64)
        self.heard_c = np.zeros(count)
        """Seconds of local speakers in each: what the shares are means over."""
        self.shares_cs = np.zeros((count, count))
        self.known_c = np.arange(count)
        self.members: list[list[int]] = [[] for _ in range(count)]
        self.groups: list[set[int]] = [set() for _ in range(count)]
        self.barred_cc = np.ones((count, count), dtype=bool)

    def add(self, block: Sequence[tuple[int, LocalSpeaker]]) -> None:
        """Take in local speakers by index, each a cluster; their groups are new here."""
        before, new = len(self.members), [one for _, one in block]
        weights_c = np.array([max(one.clean_s, 1e-3) for one in new])
        self.means_cd = np.concatenate([self.means_cd, *(one.print_d[None] for one in new)])
        self.weights_c = np.concatenate([self.weights_c, weights_c])
        self.heard_c = np.concatenate([self.heard_c, weights_c])
        self.shares_cs = np.concatenate([self.shares_cs, *(one.shares_s[None] for one in new)])
        self.known_c = np.concatenate([self.known_c, np.full(len(new), -1)])
        self.members += [[index] for index, _ in block]
        self.groups += [{one.group} for one in new]
        barred_cc = np.zeros((before + len(new), before + len(new)), dtype=bool)
        barred_cc[:before, :before] = self.barred_cc
        of_group = np.array([one.group for one in new])
        barred_cc[before:, before:] = of_group[:, None] == of_group[None]
        self.barred_cc = barred_cc

    def join(self, low: int, high: int | None) -> None:
        """Join the most similar two until none are similar enough and ``high`` is kept."""
        if not self.members:
            return
        scores_cc = self._scores()
        alive_c = np.ones(len(self.members), dtype=bool)
        while True:
            spoke_c = np.array([bool(members) for members in self.members])
            people = int(spoke_c.sum())
            a, b = _best(np.where(self.barred_cc, -np.inf, scores_cc))
            alike = not self.barred_cc[a, b] and scores_cc[a, b] >= self.settings.same_voice
            if high is not None and people > high and not alike:
                among_cc = np.where(spoke_c[:, None] & spoke_c, scores_cc, -np.inf)
                free_cc = np.where(self.barred_cc, -np.inf, among_cc)
                a, b = _best(free_cc if np.isfinite(free_cc).any() else among_cc)
            elif not alike or (people <= low and spoke_c[a] and spoke_c[b]):
                break
            self._merge(a, b)
            alive_c[b] = False
            scores_cc[b], scores_cc[:, b] = -np.inf, -np.inf
            row_c = np.where(alive_c, self._row(a), -np.inf)
            scores_cc[a], scores_cc[:, a] = row_c, row_c
        self._keep(alive_c)

    def add_to_nearest(self, index: int, one: LocalSpeaker, high: int | None) -> None:
        """Give a local speaker of little speech to the most similar of those not beside him."""
        free = [
            number
            for number, groups in enumerate(self.groups)
            if not (one.certain and one.group in groups)
        ]
        people = sum(map(bool, self.members))
        if not free and high is not None and people >= high:
            free = list(range(len(self.groups)))
        if not free:
            self.add([(index, one)])
            return
        like_c = self.means_cd @ one.print_d
        known = self.known_c >= 0
        like_c[known] += self.settings.agreement * one.shares_s[self.known_c[known]]
        best = max(free, key=lambda number: float(like_c[number]))
        self.members[best].append(index)
        if one.certain:
            self.groups[best].add(one.group)

    def _scores(self) -> NDArray[np.float64]:
        scores_cc = self.means_cd @ self.means_cd.T
        known = np.flatnonzero(self.known_c >= 0)
        agreed_cs = self.settings.agreement * self.shares_cs[:, self.known_c[known]]
        scores_cc[:, known] += agreed_cs
        scores_cc[known] += agreed_cs.T
        np.fill_diagonal(scores_cc, -np.inf)
        return np.asarray(scores_cc)

    def _row(self, a: int) -> NDArray[np.float64]:
        """Give how much speaks for each cluster being one person with ``a``."""
        row_c = self.means_cd @ self.means_cd[a]
        if self.known_c[a] >= 0:
            row_c += self.settings.agreement * self.shares_cs[:, self.known_c[a]]
        known = self.known_c >= 0
        row_c[known] += self.settings.agreement * self.shares_cs[a, self.known_c[known]]
        row_c[a] = -np.inf
        return np.asarray(row_c)

    def _merge(self, a: int, b: int) -> None:
        total = self.weights_c[a] + self.weights_c[b]
        mean_d = self.means_cd[a] * self.weights_c[a] + self.means_cd[b] * self.weights_c[b]
        self.means_cd[a], self.weights_c[a] = mean_d / total, total
        heard = self.heard_c[a] + self.heard_c[b]
        if heard > 0:
            shares_s = self.shares_cs[a] * self.heard_c[a] + self.shares_cs[b] * self.heard_c[b]
            self.shares_cs[a], self.heard_c[a] = shares_s / heard, heard
        self.known_c[a] = max(self.known_c[a], self.known_c[b])
        self.members[a] += self.members[b]
        self.members[b] = []
        self.groups[a] |= self.groups[b]
        barred_c = self.barred_cc[a] | self.barred_cc[b]
        self.barred_cc[a], self.barred_cc[:, a] = barred_c, barred_c
        self.barred_cc[a, a] = True

    def _keep(self, kept_c: NDArray[np.bool_]) -> None:
        """Forget the clusters that were joined to others."""
        self.means_cd, self.weights_c = self.means_cd[kept_c], self.weights_c[kept_c]
        self.heard_c, self.shares_cs = self.heard_c[kept_c], self.shares_cs[kept_c]
        self.known_c = self.known_c[kept_c]
        self.barred_cc = self.barred_cc[np.ix_(kept_c, kept_c)]
        kept = np.flatnonzero(kept_c).tolist()
        self.members = [self.members[number] for number in kept]
        self.groups = [self.groups[number] for number in kept]


def _best(scores_cc: NDArray[np.float64]) -> tuple[int, int]:
    a, b = divmod(int(scores_cc.argmax()), len(scores_cc))
    return min(a, b), max(a, b)
