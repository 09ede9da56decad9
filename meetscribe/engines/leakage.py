"""What leaks from one speaker's stream into another's: words said once but heard twice.

No separation is perfect: under a speaker's signal a rest of somebody else's stays, and the
recogniser may write it down. Two signs give it away. The same words stand in both streams at the
same time: they are the speaker's in whose stream they were recognised with more confidence. Or a
short utterance sounds, on the stream itself, much more like another speaker than like the one
whose stream it is.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Utterance, Word

log = logging.getLogger(__name__)

_LONGEST = 100
"""Words of one run; a longer copy is several runs."""

Likeness = Mapping[str, float]
"""Speaker -> cosine between a piece of a stream and his voice."""


class LeakageSettings(Settings):
    """When words of a speaker's stream are not his. Chosen on simulated meetings."""

    twice_s: float = Field(0.2, ge=0.0)
    """Equal words of two streams are one if their middles are no further apart."""
    twice_words: int = Field(2, ge=1)
    """So many in a row, at least: two people do say the same word at the same time."""
    closer: float = Field(0.15, ge=0.0, le=2.0)
    """Cosine by which another voice must be more like an utterance than the speaker's own."""
    nobody: float = Field(0.0, ge=-1.0, le=1.0)
    """An utterance that is less like any voice than this is nobody's, if it is unclear too."""
    shortest_s: float = Field(0.5, ge=0.0)
    """Shorter utterances cannot be told by voice."""
    longest_s: float = Field(3.0, gt=0.0)
    """Longer ones are the speaker's own: what leaks is heard in snatches."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A word of a stream, and what is compared of it."""

    word: Word
    key: str
    middle: float


def said_once(
    streams: Mapping[str, Sequence[Word]], settings: LeakageSettings
) -> dict[str, set[Word]]:
    """Find words that stand in two streams at the same time, and whose they are not.

    Parameters
    ----------
    streams : speaker -> words of his stream

    Returns
    -------
    Speaker -> words that are to be taken from him.
    """
    placed = {speaker: _placed(words) for speaker, words in streams.items()}
    copies: dict[str, set[Word]] = {speaker: set() for speaker in streams}
    for one, other in combinations(placed, 2):
        for mine, theirs in _common_runs(placed[one], placed[other], settings):
            loser, words = (
                (one, mine) if _confidence(mine) < _confidence(theirs) else (other, theirs)
            )
            copies[loser].update(words)
    taken = sum(map(len, copies.values()))
    if taken:
        log.info("%d words were heard in two streams", taken)
    return copies


def without_copies(
    heard: Mapping[str, Sequence[RecognizedRegion]], settings: LeakageSettings
) -> dict[str, list[RecognizedRegion]]:
    """Leave each word that two speakers share to one of them: see ``said_once``."""
    copies = said_once(
        {
            speaker: [word for region in regions for word in region.words]
            for speaker, regions in heard.items()
        },
        settings,
    )
    return {
        speaker: [
            replace(
                region, words=tuple(word for word in region.words if word not in copies[speaker])
            )
            for region in regions
        ]
        for speaker, regions in heard.items()
    }


def _placed(words: Iterable[Word]) -> list[_Placed]:
    made = []
    for word in words:
        key = "".join(letter for letter in word.text.casefold() if letter.isalnum())
        if key:
            made.append(_Placed(word, key, (word.start + word.end) / 2))
    return sorted(made, key=lambda one: one.middle)


def _common_runs(
    mine: Sequence[_Placed], theirs: Sequence[_Placed], settings: LeakageSettings
) -> Iterator[tuple[list[Word], list[Word]]]:
    """Give the longest runs of equal words at the same time, none twice."""
    middles = [one.middle for one in theirs]
    at, taken = 0, [False] * len(theirs)
    while at < len(mine):
        low = bisect_left(middles, mine[at].middle - settings.twice_s)
        high = bisect_right(middles, mine[at].middle + settings.twice_s)
        lengths = {
            start: _length(
                mine[at : at + _LONGEST],
                theirs[start : start + _LONGEST],
                taken[start : start + _LONGEST],
                settings.twice_s,
            )
            for start in range(low, high)
        }
        start = max(lengths, key=lambda index: lengths[index], default=0)
        length = lengths.get(start, 0)
        if length >= settings.twice_words:
            taken[start : start + length] = [True] * length
            yield (
                [one.word for one in mine[at : at + length]],
                [one.word for one in theirs[start : start + length]],
            )
            at += length
        else:
            at += 1


def _length(
    mine: Sequence[_Placed], theirs: Sequence[_Placed], taken: Sequence[bool], twice_s: float
) -> int:
    length = 0
    for one, other, gone in zip(mine, theirs, taken, strict=False):
        if gone or one.key != other.key or abs(one.middle - other.middle) > twice_s:
            break
        length += 1
    return length


def _confidence(words: Sequence[Word]) -> float:
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else 0.0


def to_be_judged(utterance: Utterance, settings: LeakageSettings) -> bool:
    """Tell whether the voice of an utterance is to be compared."""
    return settings.shortest_s <= utterance.end - utterance.start <= settings.longest_s


def by_voice(
    utterances: Sequence[Utterance],
    likeness: Mapping[tuple[str, float, float], Likeness],
    settings: LeakageSettings,
) -> tuple[Utterance, ...]:
    """Give every utterance to the one whose voice it is, or to nobody.

    Parameters
    ----------
    utterances : of all streams
    likeness : (speaker, start, end) of an utterance -> how like it is to each speaker's voice;
        utterances that are not in it stay

    Returns
    -------
    Utterances in another voice become that speaker's where he has no words at that time. Where he
    has, they are an echo of them and are left out, as are unclear ones in nobody's voice.
    """
    made = []
    for utterance in utterances:
        like = likeness.get((utterance.speaker, utterance.start, utterance.end))
        owner = utterance.speaker if like is None else _owner(utterance, like, settings)
        if owner == utterance.speaker:
            made.append(utterance)
        elif owner is not None and not _speaks(owner, utterance, utterances):
            made.append(replace(utterance, speaker=owner))
    if len(made) < len(utterances):
        log.info("%d utterances were not the speaker's", len(utterances) - len(made))
    return tuple(made)


def _owner(utterance: Utterance, like: Likeness, settings: LeakageSettings) -> str | None:
    """Give the speaker whose voice an utterance is in; None for nobody's."""
    own = like.get(utterance.speaker, -1.0)
    best = max(like, key=lambda speaker: like[speaker])
    if like[best] < settings.nobody and "unclear" in utterance.flags:
        return None
    return best if like[best] - own > settings.closer else utterance.speaker


def _speaks(speaker: str, utterance: Utterance, others: Iterable[Utterance]) -> bool:
    return any(
        other.speaker == speaker and other.start < utterance.end and utterance.start < other.end
        for other in others
    )
