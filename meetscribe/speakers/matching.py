"""Which speaker is which person: compared by voice, one to one, the best total; or nobody.

Axes: S speaker of a recording, P person, D dimension of a voiceprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from meetscribe.activity.groups import unit_length
from meetscribe.speakers.settings import NamingSettings
from meetscribe.speakers.voices import Voice, Voices, weighted

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGITS = 3
NEW = "Voice"
"""What those are called who are known by nothing but their voice."""
_ROOM = 64


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a name, and voices that are known to be his; at least one."""

    name: str
    voices: tuple[Voice, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What a speaker is taken for.

    Attributes
    ----------
    name : "" for nobody who is known
    score : cosine with this person's other voices, or with those of ``nearest``; None where there
        is nothing to compare with
    nearest : who sounds most like it, where that is not enough
    """

    name: str
    score: float | None
    nearest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give a plain mapping, without what is empty."""
        made = {"name": self.name, "score": self.score, "nearest": self.nearest}
        return {key: value for key, value in made.items() if value not in {"", None}}

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Self:
        """Give back what ``to_json`` was given."""
        return cls(made.get("name", ""), made.get("score"), made.get("nearest", ""))

    def line(self, speaker: str) -> str:
        """Say it in a line for the reader.

        >>> Match("Anna", 0.712).line("Speaker 1")
        'Speaker 1 is Anna (0.71)'
        >>> Match("", 0.31, "Ben").line("Speaker 2")
        'Speaker 2 is nobody known (nearest: Ben, 0.31)'
        """
        score = "" if self.score is None else f"{self.score:.2f}"
        if self.name:
            return f"{speaker} is {self.name}{f' ({score})' if score else ''}"
        nearest = f" (nearest: {self.nearest}, {score})" if self.nearest else ""
        return f"{speaker} is nobody known{nearest}"


def assign(scores_sp: NDArray[np.float64], threshold: float) -> dict[int, int]:
    """Pair rows with columns, each at most once, so that the sum of the scores is highest.

    Parameters
    ----------
    scores_sp : shape (S, P); no pair below ``threshold`` is made

    Returns
    -------
    dict
        Row -> column. What counts is by how much scores are above the threshold, so that a pair
        that is hardly one never costs a good one.
    """
    from scipy.optimize import linear_sum_assignment

    good_p = np.flatnonzero((scores_sp >= threshold).any(axis=0))
    if not good_p.size:
        return {}
    scores_sp = scores_sp[:, good_p]
    # a pair exactly at the threshold is one, if nothing better is to be had
    gains_sp = np.where(scores_sp >= threshold, scores_sp - threshold + 1e-9, 0.0)
    rows, columns = linear_sum_assignment(gains_sp, maximize=True)
    return {
        row: int(good_p[column])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if scores_sp[row, column] >= threshold
    }


class Gallery:
    """People to compare voices with; it may grow."""

    def __init__(
        self, people: Iterable[Person] = (), settings: NamingSettings | None = None
    ) -> None:
        self.settings = settings or NamingSettings()
        self._voices: dict[str, list[Voice]] = {}
        self._owner: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        self._number = 1
        self._sums_pd: NDArray[np.float64] = np.zeros((0, 0))
        for person in people:
            self.add(person.name, person.voices)

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they came."""
        return tuple(Person(name, tuple(voices)) for name, voices in self._voices.items())

    def add(self, name: str, voices: Iterable[Voice]) -> None:
        """Add voices of somebody; those that are somebody's already are left out."""
        for voice in voices:
            if voice.key in self._owner:
                continue
            self._owner[voice.key] = name
            self._voices.setdefault(name, []).append(voice)
            row = self._rows.setdefault(name, len(self._rows))
            if row >= len(self._sums_pd):
                more_pd = np.zeros((max(_ROOM, row), len(voice.print_d)))
                self._sums_pd = np.concatenate(
                    [self._sums_pd.reshape(-1, len(more_pd[0])), more_pd]
                )
            self._sums_pd[row] += weighted(voice)

    def match(self, voices: Voices) -> dict[str, Match]:
        """Say who the speakers of one recording are, each a different person.

        A voice that is one of a person's own is that person; so are two of them, where somebody
        said that they are one. Of speakers with too little speech nothing is said.
        """
        found = self._own(voices)
        taken = {one.name for one in found.values()}
        labels = [label for label in voices if label not in found and self._enough(voices[label])]
        names = [name for name in self._voices if name not in taken]
        scores_sp = self._scores([voices[label] for label in labels], names)
        pairs = assign(scores_sp, self.settings.same_person)
        for row, label in enumerate(labels):
            if row in pairs:
                found[label] = Match(names[pairs[row]], float(scores_sp[row, pairs[row]]))
            elif names:
                best = int(scores_sp[row].argmax())
                found[label] = Match("", float(scores_sp[row, best]), names[best])
            else:
                found[label] = Match("", None)
        return {label: found[label] for label in voices if label in found}

    def fresh_name(self) -> str:
        """Give a name that nobody has yet."""
        while f"{NEW} {self._number}" in self._voices:
            self._number += 1
        return f"{NEW} {self._number}"

    def _own(self, voices: Voices) -> dict[str, Match]:
        found: dict[str, Match] = {}
        for label, voice in voices.items():
            name = self._owner.get(voice.key)
            if name is not None:
                mine = self._voices[name]
                place = [one.key for one in mine].index(voice.key)
                found[label] = Match(name, scores_among(mine)[place])
        return found

    def _enough(self, voice: Voice) -> bool:
        return voice.seconds >= self.settings.enough_s

    def _scores(self, voices: Sequence[Voice], names: Sequence[str]) -> NDArray[np.float64]:
        if not voices or not names:
            return np.zeros((len(voices), len(names)))
        rows = [self._rows[name] for name in names]
        centres_pd = unit_length(self._sums_pd[rows].astype(np.float32)).astype(np.float64)
        prints_sd = np.array([voice.print_d for voice in voices])
        return np.asarray((prints_sd @ centres_pd.T).round(_DIGITS))


def scores_among(voices: Sequence[Voice]) -> list[float | None]:
    """Give the cosine of each voice of a person with the others together; None for a single one."""
    if len(voices) < 2:  # noqa: PLR2004 - there are no others
        return [None] * len(voices)
    sums_ud = np.array([weighted(voice) for voice in voices])
    others_ud = unit_length((sums_ud.sum(axis=0) - sums_ud).astype(np.float32))
    prints_ud = np.array([voice.print_d for voice in voices])
    return [round(float(value), _DIGITS) for value in (others_ud * prints_ud).sum(axis=1)]


def link(recordings: Iterable[Voices], gallery: Gallery) -> list[dict[str, Match]]:
    """Say who the speakers of many recordings are: known people, and new ones where nobody fits.

    Parameters
    ----------
    recordings : in an order that does not depend on chance: the first who is heard decides
    gallery : people who are known; the new ones are added

    Returns
    -------
    list
        For every recording, label -> match. The score of a known person is against his own voices
        as they were; the score of a new one is against all his others.
    """
    before = {person.name for person in gallery.people}
    found: list[dict[str, Match]] = []
    heard: dict[str, list[tuple[int, str, Voice]]] = {}
    for number, voices in enumerate(recordings):
        matches = gallery.match(voices)
        for label, one in matches.items():
            name = one.name or gallery.fresh_name()
            if name not in before:
                gallery.add(name, [voices[label]])
                heard.setdefault(name, []).append((number, label, voices[label]))
            matches[label] = Match(name, one.score if one.name else None)
        found.append(matches)
    for name, mine in heard.items():
        scores = scores_among([voice for _, _, voice in mine])
        for (number, label, _), score in zip(mine, scores, strict=True):
            found[number][label] = Match(name, score)
    return found
