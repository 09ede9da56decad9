"""Chinese normalisers: the rules of the M2MeT challenge, and a robust form on top of them."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from meetscribe.evaluate.normalise.basic import HAN, settle, without_mark

_TAGS = re.compile("<sil>|<%>|<->|<\\$>|<#>|<_>|<space>")
_DELETED = str.maketrans("", "", "`&,")
_LATIN = re.compile("[A-Za-z]")
_FULL_WIDTH = str.maketrans("Ａａｂｃｋｔ", "AABCKT", "，丶。、？")
_IDEOGRAPHS = re.compile(f"[{HAN}]+")
_UNSEEN = {"Cc", "Cf", "Cs"}  # control and format characters, halves of surrogate pairs
_FILLERS = re.compile("[嗯呃啊哦哎]+")


def normalise_m2met(text: str) -> str:
    """Bring Chinese text to the form of M2MeT: its tags and five marks go, Latin in upper case.

    To the letter what AliMeeting's ``text_normalize.pl`` does, repeated until nothing changes:
    fillers, other marks, digits, traditional characters and spaces stay as they are.

    >>> normalise_m2met("嗯<sil>，我们用pytorch！")
    '嗯我们用PYTORCH！'
    """
    return settle(_m2met_once, text)


def normalise_zh(text: str) -> str:
    """Bring Chinese text to a robust form: NFKC, M2MeT's deletions, no marks, simplified.

    Latin words are in lower case; dashes between them become spaces, spaces become single.

    >>> normalise_zh("會議：“深度學習”，end-to-end模型…")
    '会议深度学习end to end模型'
    """
    return settle(_zh_once, text)


def without_fillers(text: str) -> str:
    """Drop the fillers 嗯 呃 啊 哦 哎, wherever they stand.

    >>> without_fillers("嗯好啊")
    '好'
    """
    return _FILLERS.sub(_gap, text).strip()


def _gap(found: re.Match[str]) -> str:
    """Keep Latin words apart that only a filler separated."""
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    return " " if before.isascii() and before.isalnum() and after.isascii() else ""


def _m2met_once(text: str) -> str:
    text = _TAGS.sub("", text).translate(_DELETED)
    if _LATIN.search(text):
        text = text.upper()
    return text.translate(_FULL_WIDTH)


def _zh_once(text: str) -> str:
    text = _m2met_once(unicodedata.normalize("NFKC", text))
    text = "".join(map(_without_mark_or_control, text.lower()))
    text = _IDEOGRAPHS.sub(_simplified, text)
    return " ".join(text.split())


@functools.cache
def _without_mark_or_control(char: str) -> str:
    if char == "'" or (unicodedata.category(char) in _UNSEEN and not char.isspace()):
        return ""
    return without_mark(char)


def _simplified(found: re.Match[str]) -> str:
    return str(_converter().convert(found[0]))


@functools.cache
def _converter() -> Any:  # noqa: ANN401 - the library has no types
    import opencc

    return opencc.OpenCC("t2s")
