"""The words of a transcript as every format needs them: clean, timed, and safe for columns.

A token is what may stand alone on a line: a word with its punctuation, or a single character of
a script without spaces. Tokens are cut from the text of an utterance, so that all formats show
the same words, and take their times from its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from meetscribe.types import Transcript, Utterance, Word, is_unspaced, join_words

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSING = {"Pe", "Pf", "Po", "Mn", "Mc", "Me", "Lm", "Cf", "Sk"}
_OPENING = {"Ps", "Pi"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word that may stand alone, with its time in seconds.

    ``spaced`` says that a space goes before it, unless it is the first of a line.
    """

    text: str
    start: float
    end: float
    confidence: float | None
    spaced: bool


def clean(text: str) -> str:
    r"""Put text on one line: single spaces, no control characters, nothing UTF-8 cannot hold.

    >>> clean(" one\ttwo\n\nthree ")
    'one two three'
    """
    if not (text.isascii() and text.isprintable()):
        text = _CONTROL.sub(" ", text.replace("\ufeff", ""))
        text = _SURROGATE.sub("\ufffd", text)
    return " ".join(text.split())


def text_of(utterance: Utterance) -> str:
    """Give the text of an utterance on one line, from its words where it has no text."""
    return clean(utterance.text) or clean(join_words(word.text for word in utterance.words))


def shown_name(transcript: Transcript, speaker: str) -> str:
    """Give the name to show for a speaker on one line, never empty."""
    return clean(transcript.name_of(speaker)) or clean(speaker) or "?"


def column(text: str) -> str:
    """Make text safe for a column between spaces: never empty, no space, no comment mark.

    >>> column("Anna  Lee")
    'Anna_Lee'
    """
    safe = clean(text).replace(" ", "_")
    return f"_{safe}" if not safe or safe.startswith(("#", ";")) else safe


def unlike(names: Iterable[str], shorten: Mapping[str, str]) -> dict[str, str]:
    """Give every name its short form, numbered where two names would have the same.

    >>> unlike(["A B", "A_B"], {"A B": "A_B", "A_B": "A_B"})
    {'A B': 'A_B', 'A_B': 'A_B_2'}
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        short, number = shorten[name], 1
        while short in taken:
            number += 1
            short = f"{shorten[name]}_{number}"
        taken.add(short)
        given[name] = short
    return given


def speaker_columns(transcript: Transcript) -> dict[str, str]:
    """Give the name of every speaker label as a column; labels of one name are one speaker."""
    shown = {label: shown_name(transcript, label) for label in transcript.speakers}
    columns = unlike(shown.values(), {name: column(name) for name in shown.values()})
    return {label: columns[name] for label, name in shown.items()}


def tokens_of(utterance: Utterance) -> list[Token]:
    """Cut an utterance into tokens and time them.

    Where the words spell the text, the times are theirs, and so are the cuts in scripts without
    spaces. Otherwise (no word times, or a text edited by hand) the time of the utterance is
    divided among the letters.
    """
    line = text_of(utterance)
    letters = line.replace(" ", "")
    words = [replace(word, text=clean(word.text).replace(" ", "")) for word in utterance.words]
    if "".join(word.text for word in words) == letters:
        ends = set(accumulate(len(word.text) for word in words))
    else:
        words = [Word(letters, utterance.start, utterance.end)]
        ends = set(range(len(letters)))
    return _timed(line, [letter for word in words for letter in _letters(word)], ends)


def _letters(word: Word) -> list[Word]:
    """Divide the time of a word among its letters."""
    end = max(word.start, word.end)
    count = len(word.text)
    marks = [word.start + (end - word.start) * n / count for n in range(count)] + [end]
    return [
        Word(letter, start, stop, word.confidence)
        for letter, (start, stop) in zip(word.text, pairwise(marks), strict=True)
    ]


def _timed(line: str, letters: Sequence[Word], ends: AbstractSet[int]) -> list[Token]:
    """Cut a line at its spaces, and where ``ends`` allows between letters of unspaced scripts."""
    tokens = []
    done = 0
    for chunk in line.split():
        first = done
        for stop in range(done + 1, done + len(chunk) + 1):
            if stop < done + len(chunk) and not (
                stop in ends and _may_part(letters[stop - 1].text, letters[stop].text)
            ):
                continue
            part = letters[first:stop]
            known = [letter.confidence for letter in part if letter.confidence is not None]
            tokens.append(
                Token(
                    text="".join(letter.text for letter in part),
                    start=part[0].start,
                    end=max(part[0].start, part[-1].end),
                    confidence=min(known, default=None),
                    spaced=first == done,
                )
            )
            first = stop
        done += len(chunk)
    return tokens


def _may_part(left: str, right: str) -> bool:
    """Tell whether a line may end between two letters that no space parts."""
    return (
        (is_unspaced(left) or is_unspaced(right))
        and unicodedata.category(right) not in _CLOSING
        and unicodedata.category(left) not in _OPENING
        and left != "\u200d"
    )
