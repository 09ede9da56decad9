"""The second voice: words under somebody else's that the first hearing left out.

Whisper writes one text for a mixed signal, that of the louder voice, and its words follow each
other. Where a speaker's turn overlaps another's without words of his own, the turn is heard again
by itself: it begins and ends where he does, so Whisper follows him, and his own words around the
overlap keep it there. What is new in it, and heard in two ways alike, are his words.

Nothing here knows a language.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from meetscribe.engines.assign import AssignSettings
from meetscribe.engines.settings import SecondVoiceSettings
from meetscribe.recognize import RecognizedRegion
from meetscribe.recognize.regions import merge
from meetscribe.types import Segment, Turn, Utterance, Word

_JOINED_S = 0.3
"""Overlaps with a shorter pause between them are one."""
_EDGE_S = 0.2
"""Words this far outside of an overlap may still be in it: their times are uncertain."""
_AROUND_S = 1.5
"""Words of the first hearing this far away may be the same as those of the second."""
_LONGEST_S = 25.0


@dataclass(frozen=True, slots=True)
class Gap:
    """An overlap in which a speaker should have words, and the part of his turn to hear."""

    speaker: str
    overlap: Segment
    heard: Segment


def find_gaps(
    turns: Sequence[Turn], utterances: Sequence[Utterance], settings: SecondVoiceSettings
) -> list[Gap]:
    """Find where a speaker talks while others do, and has hardly any words.

    Parameters
    ----------
    turns : of all speakers; may overlap
    utterances : what the first hearing gave

    Returns
    -------
    Sorted by time; the longest ``per_minute`` overlaps for each minute of speech.
    """
    middles: dict[str, list[float]] = {}
    for one in utterances:
        own = middles.setdefault(one.speaker, [])
        own += [(word.start + word.end) / 2 for word in one.words]
    for own in middles.values():
        own.sort()
    gaps = []
    for turn, others in _beside(turns):
        own = middles.get(turn.speaker, [])
        for overlap in _overlaps(turn, others):
            inside = bisect_right(own, overlap.end) - bisect_left(own, overlap.start)
            if overlap.duration < settings.shortest_s:
                continue
            if inside <= settings.words_per_s * overlap.duration:
                gaps.append(_gap(turn, overlap, settings.context_s))
    speech_s = sum(one.duration for one in merge(Segment(one.start, one.end) for one in turns))
    most = math.ceil(settings.per_minute * speech_s / 60)
    longest = sorted(gaps, key=lambda gap: (-gap.overlap.duration, gap.overlap, gap.speaker))
    return sorted(longest[:most], key=lambda gap: (gap.overlap, gap.speaker))


def _beside(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Sequence[Turn]]]:
    """Give every turn with those that may overlap it: a long meeting has thousands."""
    ordered = sorted(turns)
    starts = [turn.start for turn in ordered]
    longest = max((turn.duration for turn in ordered), default=0.0)
    for turn in ordered:
        first = bisect_left(starts, turn.start - longest)
        yield turn, ordered[first : bisect_left(starts, turn.end)]


def _overlaps(turn: Turn, turns: Sequence[Turn]) -> list[Segment]:
    shared = [
        Segment(max(turn.start, other.start), min(turn.end, other.end))
        for other in turns
        if other.speaker != turn.speaker and turn.start < other.end and other.start < turn.end
    ]
    return merge(shared, gap=_JOINED_S)


def _gap(turn: Turn, overlap: Segment, context_s: float) -> Gap:
    start = max(turn.start, overlap.start - context_s)
    end = min(turn.end, overlap.end + context_s, start + _LONGEST_S)
    return Gap(turn.speaker, overlap, Segment(start, end))


def new_words(
    gap: Gap,
    ways: Sequence[Sequence[Word]],
    known: Iterable[Word],
    settings: SecondVoiceSettings,
) -> tuple[Word, ...]:
    """Choose the words of a second hearing that belong to its speaker.

    Parameters
    ----------
    ways : the words of ``gap.heard`` as heard in one or two ways
    known : words of everybody that were found before, those around are enough

    Returns
    -------
    Words in the overlap, in order, that all ways share and that are not known; none if the ways
    differ too much, or the words are too uncertain.
    """
    words = _shared(ways, settings.agreement)
    inside = [word for word in words if _inside(word, gap.overlap, margin=_EDGE_S)]
    around = [word for word in known if _near(word, gap)]
    near = sorted(around, key=lambda word: (word.start, word.end))
    same = {right for _, right in _matches(near, inside)}
    new = [word for at, word in enumerate(inside) if at not in same]
    least = settings.confidence if len(ways) > 1 else settings.confidence_alone
    if not new or sum(word.confidence or 0.0 for word in new) / len(new) < least:
        return ()
    return tuple(new)


def _near(one: Word | Utterance, gap: Gap) -> bool:
    return one.end > gap.overlap.start - _AROUND_S and one.start < gap.overlap.end + _AROUND_S


def _shared(ways: Sequence[Sequence[Word]], agreement: float) -> list[Word]:
    """Keep the words of the first way that the second has as well, with their mean confidence."""
    spoken = [[word for word in way if _letters(word)] for way in ways]
    if len(spoken) == 1:
        return spoken[0]
    first, second = spoken
    pairs = [(first[left], second[right]) for left, right in _matches(first, second)]
    if len(pairs) < agreement * max(len(first), len(second)):
        return []
    return [
        Word(
            one.text,
            one.start,
            one.end,
            round(((one.confidence or 0.0) + (other.confidence or 0.0)) / 2, 4),
        )
        for one, other in pairs
    ]


def _matches(left: Sequence[Word], right: Sequence[Word]) -> list[tuple[int, int]]:
    """Pair equal words of two sequences, in order."""
    matcher = SequenceMatcher(
        None, [_letters(word) for word in left], [_letters(word) for word in right], autojunk=False
    )
    return [
        (block.a + step, block.b + step)
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]


def _letters(word: Word) -> str:
    text = unicodedata.normalize("NFKC", word.text.casefold())
    return "".join(char for char in text if char.isalnum())


def _inside(word: Word, segment: Segment, *, margin: float = 0.0) -> bool:
    middle = (word.start + word.end) / 2
    return segment.start - margin <= middle <= segment.end + margin


def add_words(
    utterances: Sequence[Utterance],
    speaker: str,
    words: Sequence[Word],
    settings: AssignSettings | None = None,
) -> list[Utterance]:
    """Put new words of a speaker beside what is there, flagged ``overlap``.

    They become part of what he says right before and after, or an utterance of their own. All
    other utterances stay as they are; sorted by start.
    """
    options = settings or AssignSettings()
    start, end = words[0].start, max(word.end for word in words)
    near = [
        one
        for one in utterances
        if one.speaker == speaker
        and one.start <= end + options.pause_s
        and one.end >= start - options.pause_s
    ]
    joined = sorted(
        [*words, *(word for one in near for word in one.words)],
        key=lambda word: (word.start, word.end),
    )
    known = [word.confidence for word in joined if word.confidence is not None]
    flags = {"overlap", *(flag for one in near for flag in one.flags)}
    if known and sum(known) / len(known) < options.unclear_confidence:
        flags.add("unclear")
    made = Utterance.from_words(speaker, joined, sorted(flags))
    others = [one for one in utterances if one not in near]
    return sorted([*others, made], key=lambda one: (one.start, one.end, one.speaker))


def with_second_voices(
    utterances: Sequence[Utterance],
    gaps: Sequence[Gap],
    ways: Sequence[Sequence[RecognizedRegion]],
    settings: SecondVoiceSettings,
) -> tuple[Utterance, ...]:
    """Put the words of second voices beside what the first hearing gave.

    ``ways`` has, for each way of hearing, one result per gap.
    """
    made = list(utterances)
    for at, gap in enumerate(gaps):
        known = [word for one in made if _near(one, gap) for word in one.words]
        words = new_words(gap, [way[at].words for way in ways], known, settings)
        if words:
            made = add_words(made, gap.speaker, words)
    return tuple(made)
