"""Utterance groups of real meetings: whole ones, as ``corpus prepare`` made them ready.

A group is speech without any pause (of nobody, not of one speaker), with all its words; one that
is too long is refused and counted, for it cannot be cut without cutting through an utterance.

Axes: C channel, N sample.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError
from meetscribe.evaluate.corpora import Corpus, CorpusSession, load
from meetscribe.train.corpora import (
    Stretch,
    choose_sessions,
    read_span,
    recording_of,
    references_of,
    stretches,
)
from meetscribe.train.data_settings import CorpusSettings
from meetscribe.train.joint.bucketing import SIMILAR, count_in
from meetscribe.train.joint.groups import Group
from meetscribe.types import Recording, Segment, Utterance

_ARRAY = frozenset({"array", "auto"})
_ANY = _ARRAY | {"mono", "mix"}
"""One microphone of it hears everybody."""
_TOUCHING_S = 1e-6
_MARGIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group is; ``clip`` has some of the silence around it."""

    recording: Recording
    clip: Segment
    said: tuple[Utterance, ...]


@dataclass(frozen=True)
class RealGroups:
    """Groups of a corpus, the shortest first.

    Parameters
    ----------
    share : of all batches
    """

    name: str
    licence: str
    reference: str
    share: float
    places: tuple[Place, ...]
    meetings: int

    @property
    def minutes(self) -> float:
        """Of all groups together."""
        return sum(one.clip.duration for one in self.places) / 60

    def content_hash(self) -> str:
        """Give a short hash: what is drawn depends on it. Where the audio lies does not matter."""
        return config_hash(
            [
                [one.recording.session_id, one.recording.num_channels, one.clip.start, one.clip.end]
                + [[part.speaker, part.start, part.end, part.text] for part in one.said]
                for one in self.places
            ]
        )

    def batch(self, batch_s: float, *, channels: str, rng: np.random.Generator) -> list[Group]:
        """Draw a group, and others nearly as long.

        Raises
        ------
        AudioError
            If a recording can no longer be read.
        """
        length_p = np.asarray([one.clip.duration for one in self.places])
        longest = int(rng.choice(len(length_p), p=length_p / length_p.sum()))
        low = int(np.searchsorted(length_p, SIMILAR * length_p[longest]))
        count = min(count_in(float(length_p[longest]), batch_s), longest - low + 1)
        others = low + rng.permutation(longest - low)[: count - 1]
        return [self._cut_out(at, channels, rng) for at in (longest, *others.tolist())]

    def _cut_out(self, at: int, channels: str, rng: np.random.Generator) -> Group:
        place = self.places[at]
        there = place.recording.num_channels
        chosen = [int(rng.integers(there))] if channels == "one" else list(range(there))
        samples_cn = read_span(place.recording, chosen, place.clip)
        start, length = place.clip.start, place.clip.duration
        utterances = tuple(
            replace(
                one, start=max(0.0, one.start - start), end=min(length, one.end - start), words=()
            )
            for one in place.said
        )
        every_cn = samples_cn if channels == "all" else None
        return Group(samples_cn[0], utterances, every_cn, source=self.name)


def load_groups(
    wanted: CorpusSettings, *, language: str, longest_s: float, channels: str
) -> tuple[RealGroups, list[str]]:
    """Read the references of a prepared corpus, and the headers of its recordings.

    Parameters
    ----------
    language : sessions that say they are of another one are left out
    longest_s : longer groups are refused
    channels : ``one``, or ``all`` of an array

    Returns
    -------
    RealGroups
    list of str
        What was left out and why, with counts.

    Raises
    ------
    NameNotFoundError, FormatError
        If there is no such corpus, or it cannot be read.
    ConfigError
        If there is no such condition or split, or nothing can be used.
    """
    corpus = load(wanted.path)
    sessions, condition = choose_sessions(
        corpus,
        wanted,
        layouts=_ARRAY if channels == "all" else _ANY,
        expected="all microphones of an array" if channels == "all" else "one that hears everybody",
    )
    found = _Collector(longest_s)
    for session in sessions:
        if not session.seglst:
            found.sessions["no words that may be used"] += 1
        elif session.language not in {"", language}:
            found.sessions[f"not in '{language}'"] += 1
        else:
            found.add(corpus, session, condition)
    notes = [f"{corpus.name}: {n} meetings left out: {why}" for why, n in found.sessions.items()]
    notes += [
        f"{corpus.name}: {n} groups ({found.lost_s[why] / 60:.0f} min) left out: {why}"
        for why, n in found.groups.items()
    ]
    if not found.places:
        raise ConfigError(
            f"corpus {corpus.name}: no group can be trained on ({'; '.join(notes)})",
            hint="check condition, split, speech.language and groups.length_s",
        )
    found.places.sort(key=lambda one: (one.clip.duration, one.recording.session_id, one.clip))
    made = RealGroups(
        corpus.name,
        corpus.licence,
        corpus.reference,
        wanted.share,
        tuple(found.places),
        found.used,
    )
    return made, notes


class _Collector:
    """Collects groups, and counts what does not fit."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self.places: list[Place] = []
        self.used = 0
        self.sessions: Counter[str] = Counter()
        self.groups: Counter[str] = Counter()
        self.lost_s: dict[str, float] = defaultdict(float)

    def add(self, corpus: Corpus, session: CorpusSession, condition: str) -> None:
        try:
            recording = recording_of(corpus, session, condition)
        except AudioError:
            self.sessions["the recording cannot be read"] += 1
            return
        words, turns, scored = references_of(corpus, session, recording.duration)
        self.used += 1
        found = list(stretches(words, turns, scored, gap_s=_TOUCHING_S))
        for before, one, after in _with_neighbours(found):
            if not one.said:
                if any(one.start < part.end and part.start < one.end for part in words):
                    self._refuse("not all of their words are known", one)
                continue
            clip = _widened(before, one, after, recording.duration)
            if clip.duration > self._longest_s:
                self._refuse(f"longer than {self._longest_s:g} s", one)
            else:
                self.places.append(Place(recording, clip, one.said))

    def _refuse(self, why: str, one: Stretch) -> None:
        self.groups[why] += 1
        # of what nobody wrote down the end may be that of all time
        self.lost_s[why] += one.duration if math.isfinite(one.duration) else 0.0


def _with_neighbours(
    found: Sequence[Stretch],
) -> list[tuple[Stretch | None, Stretch, Stretch | None]]:
    padded: list[Stretch | None] = [None, *found, None]
    return [
        (before, one, after)
        for (before, one), (_, after) in zip(pairwise(padded), pairwise(padded[1:]), strict=False)
        if one is not None
    ]


def _widened(
    before: Stretch | None, one: Stretch, after: Stretch | None, duration: float
) -> Segment:
    """Add some of the silence on both sides, at most half of it."""
    low = max(0.0, one.start - _MARGIN_S, (before.end + one.start) / 2 if before else 0.0)
    high = min(duration, one.end + _MARGIN_S, (one.end + after.start) / 2 if after else duration)
    return Segment(min(low, one.start), max(high, one.end))
