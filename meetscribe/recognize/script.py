"""Chinese characters: simplified, traditional, or as the recogniser wrote them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from meetscribe.types import Word

Script = Literal["simplified", "traditional", "as-is"]

_CONVERSIONS = {"simplified": "t2s", "traditional": "s2t"}


def convert_text(text: str, script: Script) -> str:
    """Write Chinese text in the given script; other text stays as it is.

    >>> convert_text("會議開始", "simplified")
    '会议开始'
    """
    if script == "as-is":
        return text
    return str(_converter(_CONVERSIONS[script]).convert(text))


def convert_words(words: Sequence[Word], script: Script) -> tuple[Word, ...]:
    """Convert every word; their number and times stay.

    The words are converted as one line, since the right traditional character depends on its
    neighbours; where that changes the length, each word is converted on its own.
    """
    if script == "as-is" or not words:
        return tuple(words)
    line = "".join(word.text for word in words)
    converted = convert_text(line, script)
    if converted == line:
        return tuple(words)
    if len(converted) != len(line):
        return tuple(replace(word, text=convert_text(word.text, script)) for word in words)
    made, at = [], 0
    for word in words:
        made.append(replace(word, text=converted[at : at + len(word.text)]))
        at += len(word.text)
    return tuple(made)


@functools.cache
def _converter(name: str) -> Any:  # noqa: ANN401 - the library has no types
    import opencc

    return opencc.OpenCC(name)
