"""What is to be written for an utterance: Whisper's spelling, the reference's words.

References of read speech often have neither case nor punctuation, while Whisper writes both. To
teach a frozen decoder another spelling would cost most of what a small adapter can learn. So
wherever the recogniser heard the reference's word in the clean utterance, its own spelling of it
is taken; elsewhere the reference's word in lower case. Words are those of the reference, always.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from meetscribe.evaluate import normalise
from meetscribe.types import Segment, Word

_EDGE_S = 0.2
"""How far a word's time may be off."""
_SHORT_S, _NEAR_S = 0.2, 0.12
"""A pause shorter than that may lie within a word: words must meet so near to it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A word of the reference; ``middle`` is its time in seconds, None if it was not heard."""

    text: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Atom:
    """A stretch between two pauses whose words are known; seconds in its utterance."""

    start: float
    end: float
    text: str


def write(reference: str, heard: Sequence[Word]) -> tuple[list[Written], float]:
    """Give the reference's words, spelled and timed as they were heard, and the share heard.

    >>> words, share = write("MISTER SMITH SAYS", [Word("Mr.", 0, 1), Word("Smith", 1, 2)])
    >>> [word.text for word in words], round(share, 2)
    (['Mr.', 'Smith', 'says'], 0.67)
    """
    own = reference.split()
    matcher = difflib.SequenceMatcher(
        None, [_key(word) for word in own], [_key(word.text) for word in heard], autojunk=False
    )
    made = [Written(_lower(word)) for word in own]
    for first, second, size in matcher.get_matching_blocks():
        for offset in range(size):
            word = heard[second + offset]
            made[first + offset] = Written(word.text.strip(), word.start, word.end)
    return made, sum(word.start is not None for word in made) / max(1, len(made))


def cut(words: Sequence[Written], regions: Sequence[Segment]) -> list[Atom]:
    """Cut an utterance at those pauses at which it is sure which words stand on either side.

    A pause is sure if the words next to it were both heard, the one before it ends where it
    begins, and the one after it goes on beyond it; a short one, if the two meet in it.

    Parameters
    ----------
    words : at least one, as ``write`` gives them
    regions : speech between pauses, at least one

    Returns
    -------
    list of Atom
        All words in order; each atom has at least one.
    """
    atoms: list[Atom] = []
    begun, first = regions[0].start, 0
    for before, after in pairwise(regions):
        split = _split(words, before.end, after.start)
        if split is None or split <= first or split >= len(words):
            continue
        atoms.append(Atom(begun, before.end, text_of(words[first:split])))
        begun, first = after.start, split
    atoms.append(Atom(begun, regions[-1].end, text_of(words[first:])))
    return atoms


def _split(words: Sequence[Written], end: float, start: float) -> int | None:
    """Give the number of words before the pause from ``end`` to ``start``, None if unsure."""
    middle = (end + start) / 2
    before = [at for at, one in enumerate(words) if one.end is not None and _middle(one) < middle]
    split = before[-1] + 1 if before else 0
    if not 0 < split < len(words):
        return None
    left, right = words[split - 1], words[split]
    if left.end is None or right.end is None:
        return None
    if start - end < _SHORT_S:
        meet = (left.end + (right.start or left.end)) / 2
        return split if end - _NEAR_S <= meet <= start + _NEAR_S else None
    # word times are lax where nothing is said: a word that fills the pause may be of either side
    return split if left.end <= end + _EDGE_S and right.end > start else None


def _middle(word: Written) -> float:
    return ((word.start or 0.0) + (word.end or 0.0)) / 2


def text_of(words: Sequence[Written]) -> str:
    """Join words to a text."""
    return " ".join(word.text for word in words)


def sentence(text: str) -> str:
    """Begin with a capital, as Whisper does whatever a piece begins with."""
    return text[:1].upper() + text[1:]


def _key(word: str) -> str:
    return normalise.get("chime8")(word) or normalise.get("basic")(word)


def _lower(word: str) -> str:
    lower = word.lower()
    return "I" + lower[1:] if lower == "i" or lower.startswith("i'") else lower
