"""Words that a joint model wrote again and again: the first round is kept, the rest is left out.

An untrained model, or one on a stream of which separation left little, may write "Yeah" to the end
of a clip: as the words of one turn, or as a turn each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meetscribe.formats.tokens import tokens_of
from meetscribe.recognize.guard import without_loop
from meetscribe.types import Utterance, Word, join_words


@dataclass(frozen=True, slots=True)
class Unlooped:
    """What is left of the turns of a clip.

    Parameters
    ----------
    turns : those that were given, in their order; None where nothing is left of one
    speakers : who repeated themselves
    """

    turns: tuple[Utterance | None, ...]
    speakers: frozenset[str]


def without_loops(turns: Sequence[Utterance]) -> Unlooped:
    """Leave out what each speaker of a clip repeats: the guard of the cascade, over all his turns.

    Turns in which nothing is repeated are given back as they are.
    """
    of_speaker: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(turns)), key=lambda place: (turns[place].start, place)):
        of_speaker[turns[place].speaker].append(place)
    left: list[Utterance | None] = list(turns)
    looped = set()
    for speaker, places in of_speaker.items():
        words = {place: _words(turns[place]) for place in places}
        all_words = [word for place in places for word in words[place]]
        kept = {id(word) for word in without_loop(all_words)}
        if len(kept) == len(all_words):
            continue
        looped.add(speaker)
        for place in places:
            own = [word for word in words[place] if id(word) in kept]
            if len(own) < len(words[place]):
                left[place] = only_words(turns[place], own) if own else None
    return Unlooped(tuple(left), frozenset(looped))


def only_words(turn: Utterance, words: Sequence[Word]) -> Utterance:
    """Leave of a turn these of its words, at least one."""
    text = join_words(word.text for word in words)
    return replace(turn, start=words[0].start, end=words[-1].end, text=text, words=())


def _words(turn: Utterance) -> list[Word]:
    return [Word(token.text, token.start, token.end) for token in tokens_of(turn)]
