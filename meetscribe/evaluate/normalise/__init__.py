"""Normalisers: what two transcripts must share before their words are compared.

======  ====================================================================================
basic   any language: NFKC, lower case, no punctuation (N1); no word is rewritten
chime8  English, as CHiME-8 and NOTSOFAR score
whisper English, Whisper's own: number words become digits; the only one that is not idempotent
ami     English, Kaldi's rules for AMI: upper case, fillers kept
m2met   Chinese, the rules of the M2MeT challenge (AliMeeting)
zh      Chinese, robust: NFKC, M2MeT's rules, no punctuation, simplified, lower case
======  ====================================================================================

Every one has two variants: ``fillers="drop"`` takes fillers out (嗯 呃 啊 哦 哎, and in English
what chime8 drops, er and erm), ``numerals="unify"`` writes numbers one way (in words in English,
where whisper already has digits; see ``numbers_chinese`` for Chinese). Scores of different
normalisers or variants are not comparable; ``version`` names both.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from meetscribe.errors import ConfigError, NameNotFoundError
from meetscribe.evaluate.normalise import (
    basic,
    chinese,
    english,
    numbers_chinese,
    numbers_english,
)

Fillers = Literal["keep", "drop"]
Numerals = Literal["keep", "unify"]

_Rewrite = Callable[[str], str]
_REMEMBERED = 2**16
"""Texts whose normalised form is kept: short utterances come again and again."""


@dataclass(frozen=True)
class Normaliser:
    """A way to bring text to a comparable form; ``version`` is what the protocol line prints."""

    name: str
    version: str
    apply: Callable[[str], str]

    def __call__(self, text: str) -> str:
        """Give the normalised text."""
        return self.apply(text)


@dataclass(frozen=True)
class _Recipe:
    """A normaliser and its variants: ``spell`` goes before it, the others after it."""

    version: str
    rewrite: _Rewrite
    drop: _Rewrite
    spell: _Rewrite | None = None
    unify: _Rewrite | None = None
    settles: bool = True


def _basic_drop(text: str) -> str:
    return english.without_fillers(chinese.without_fillers(text))


def _where_chinese(rewrite: _Rewrite) -> _Rewrite:
    return lambda text: rewrite(text) if _IDEOGRAPH.search(text) else text


def _spell_english(text: str) -> str:
    return numbers_english.unify(text.lower())


_IDEOGRAPH = re.compile(f"[{basic.HAN}]")
_NUMBERS_ZH = (numbers_chinese.unify_marked, numbers_chinese.unify)

_RECIPES = {
    "basic": _Recipe(
        "basic-N1/1",
        basic.normalise_basic,
        _basic_drop,
        _where_chinese(numbers_chinese.unify_marked),
        _where_chinese(numbers_chinese.unify),
    ),
    "chime8": _Recipe(
        "chime8-equivalent/1",
        english.normalise_chime8,
        english.without_fillers,
        _spell_english,
    ),
    "whisper": _Recipe(
        "whisper-english/1", english.normalise_whisper, english.without_fillers, settles=False
    ),
    "ami": _Recipe("ami-kaldi/1", english.normalise_ami, english.without_fillers, _spell_english),
    "m2met": _Recipe("m2met/1", chinese.normalise_m2met, chinese.without_fillers, *_NUMBERS_ZH),
    "zh": _Recipe("zh/1", chinese.normalise_zh, chinese.without_fillers, *_NUMBERS_ZH),
}


def names() -> tuple[str, ...]:
    """Give the names of all normalisers."""
    return tuple(_RECIPES)


def get(name: str, *, fillers: Fillers = "keep", numerals: Numerals = "keep") -> Normaliser:
    """Give a normaliser, in the variant asked for.

    Parameters
    ----------
    name : one of ``names()``
    fillers : "drop" takes fillers out; chime8 and whisper drop most of them by themselves
    numerals : "unify" writes numbers one way

    Raises
    ------
    NameNotFoundError
        If there is no such normaliser; the hint names near ones.
    ConfigError
        If a variant is none of those above.

    Examples
    --------
    >>> get("zh", numerals="unify")("二零二三年，我們一起買了321個！")
    '2023年我们一起买了321个'
    >>> get("chime8", fillers="drop").version
    'chime8-equivalent/1+nofillers'
    """
    if name not in _RECIPES:
        near = ", ".join(difflib.get_close_matches(name.lower(), _RECIPES, n=3, cutoff=0.5))
        raise NameNotFoundError(
            f"no normaliser named '{name}'",
            hint=f"did you mean: {near}?" if near else f"there are: {', '.join(names())}",
        )
    if fillers not in {"keep", "drop"} or numerals not in {"keep", "unify"}:
        raise ConfigError(
            f"normaliser {name}: fillers '{fillers}', numerals '{numerals}'; "
            "expected keep or drop, keep or unify"
        )
    return _make(name, drop=fillers == "drop", unify=numerals == "unify")


@functools.cache
def _make(name: str, *, drop: bool, unify: bool) -> Normaliser:
    recipe = _RECIPES[name]
    version = recipe.version + "+nofillers" * drop + "+numerals" * unify
    steps = (
        recipe.spell if unify else None,
        recipe.rewrite,
        recipe.drop if drop else None,
        recipe.unify if unify else None,
    )
    apply = _in_turn([step for step in steps if step], settles=recipe.settles)
    return Normaliser(name, version, functools.lru_cache(maxsize=_REMEMBERED)(apply))


def choose(
    name: str,
    texts: Iterable[str],
    *,
    fillers: Fillers = "keep",
    numerals: Numerals = "keep",
) -> Normaliser:
    """Give a normaliser by name; "auto" is zh for Chinese texts and chime8 for all others.

    Raises
    ------
    NameNotFoundError
        If there is no such normaliser; the hint names near ones.
    """
    if name == "auto":
        name = "zh" if is_chinese(texts) else "chime8"
    return get(name, fillers=fillers, numerals=numerals)


def is_chinese(texts: Iterable[str]) -> bool:
    """Tell whether Han characters are more than half of the letters.

    >>> is_chinese(["我们用 Python 写代码，不用别的"]), is_chinese(["we say 你好"])
    (True, False)
    """
    han = letters = 0
    for text in texts:
        han += len(_IDEOGRAPH.findall(text))
        letters += sum(map(str.isalpha, text))
    return 2 * han > letters


def tokens(text: str, unit: Literal["word", "char", "mixed"]) -> list[str]:
    """Cut normalised text into what is counted.

    Parameters
    ----------
    text : normalised text
    unit : "word" cuts at spaces, "char" takes every character but spaces, "mixed" every Han
        ideograph and every other run without spaces

    Examples
    --------
    >>> tokens("用 end to end 模型", "mixed")
    ['用', 'end', 'to', 'end', '模', '型']
    """
    words = text.split()
    if unit == "word":
        return words
    if unit == "char":
        return list("".join(words))
    return [token for word in words for token in _MIXED.findall(word)]


_MIXED = re.compile(f"[{basic.HAN}]|[^{basic.HAN}]+")


def _in_turn(steps: list[_Rewrite], *, settles: bool) -> _Rewrite:
    if len(steps) == 1:
        return steps[0]

    def apply(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return functools.partial(basic.settle, apply) if settles else apply
