"""The plain normaliser (N1): case, punctuation and spaces, in every language; no other rewriting.

Also what the other normalisers share: a rewriting repeated until nothing changes, and what
counts as a Han ideograph.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
"""Han ideographs, as the inside of a character class of a regular expression."""

_MIN_PASSES = 20


def settle(rewrite: Callable[[str], str], text: str) -> str:
    """Rewrite a text until it no longer changes, so that the whole is idempotent.

    Ordinary text is settled after one pass. Odd text is not: taking a mark out may bring two
    characters together that mean something new (a letter and its accent, the ends of a tag).

    >>> settle(lambda text: text.replace("ab", ""), "aabb")
    ''
    """
    for _ in range(max(_MIN_PASSES, len(text))):  # nested tags go one level a pass
        rewritten = rewrite(text)
        if rewritten == text:
            break
        text = rewritten
    return text


def normalise_basic(text: str) -> str:
    """Bring text to the form N1: NFKC, lower case, no punctuation or symbols, single spaces.

    Apostrophes stay inside words, dashes and underscores become spaces.

    >>> normalise_basic("‘Quoted’ end-to-end,  don’t!")
    "quoted end to end don't"
    """
    return settle(_once, text)


def _once(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    if not text.isalnum():
        text = text.replace("\u2018", "'").replace("\u2019", "'")
        text = _APOSTROPHE.sub(_keep_inside_words, text)
        text = "".join(map(without_mark, text))
    return " ".join(text.split())


_APOSTROPHE = re.compile("'")


def _keep_inside_words(match: re.Match[str]) -> str:
    text, at = match.string, match.start()
    inside = text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum()
    return "'" if inside else ""


@functools.cache
def without_mark(char: str) -> str:
    """Give what stays of one character: a space for a dash, nothing for other marks."""
    if char == "'":
        return char
    category = unicodedata.category(char)
    if category == "Pd" or char == "_":
        return " "
    return "" if category[0] in "PS" else char
