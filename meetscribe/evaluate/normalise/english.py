"""English normalisers: CHiME-8, Whisper's, and Kaldi's for AMI.

``chime8`` follows the CHiME-8 / NOTSOFAR normaliser (chime-utils, MIT), whose conventions were
read from its public source; it is written anew here. One thing differs on purpose: 9th becomes
"ninth" (there "nineth", which never equals the spoken word), and text in brackets that has Han
ideographs stays, since it cannot be one of the tags that the rule is for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from meetscribe.errors import DependencyError
from meetscribe.evaluate.normalise.basic import HAN, settle
from meetscribe.evaluate.normalise.numbers_english import (
    SMALL,
    TENS,
    integer_words,
    ordinal_words,
    plural,
)

_BRACKETED = re.compile(rf"[<\[][^>\]{HAN}]*[>\]]")
_PARENTHESISED = re.compile(rf"\([^){HAN}]+\)")
_SPACE_BEFORE_APOSTROPHE = re.compile(r"\s+'")
_SOUND = re.compile(
    r"\b(?:(?P<hmm>hm+|mhm|mm+|m+h|uh?m+)|(?P<ah>a+h+|ha+)|(?P<oh>o+h+|h+o+)"
    r"|(?P<uh>u+h+|h+u+h*))\b"
)
_FINAL_MARKS = re.compile(r"[!?.]+(?=$|\s)")
_WIFI = re.compile(r"\bwi\sfi\b|\wi-fi\b")  # the second also takes hi-fi, as chime-utils does


def _table(text: str) -> dict[str, str]:
    return dict(entry.split("=") for entry in text.split(", "))


_WHOLE_TOKENS = _table("ain't=ain not, shan't=shall not, han't=has not")
_WORDS = _table(
    "won't=will not, can't=can not, let's=let us, ain't=aint, y'all=you all, ma'am=madam, "
    "i'ma=i am going to, imma=i am going to, wanna=want to, gotta=got to, gonna=going to, "
    "goin=going, woulda=would have, coulda=could have, shoulda=should have, okay=ok, "
    "setup=set up, everyday=every day"
)
_TITLES = _table(
    "mr=mister, mrs=missus, st=saint, dr=doctor, prof=professor, capt=captain, gov=governor, "
    "ald=alderman, gen=general, sen=senator, rep=representative, pres=president, rev=reverend, "
    "hon=honorable, asst=assistant, assoc=associate, lt=lieutenant, col=colonel, jr=junior, "
    "sr=senior, esq=esquire"
)
_ENDINGS = _table(
    "'d been= had been, 's been= has been, 'd gone= had gone, 's gone= has gone, "
    "'d done= had done, 's got= has got, n't= not, 're= are, 's= is, 'd= would, 'll= will, "
    "'t= not, 've= have, 'm= am"
)
# a title is set off by a space, since what follows may be written close to it (mr.smith)
_EXPANSIONS = {**_WORDS, **{title: f"{word} " for title, word in _TITLES.items()}, **_ENDINGS}
_SHORT = re.compile(rf"\b(?:{'|'.join([*_WORDS, *_TITLES])})\b")
_ENDING = re.compile(rf"(?:{'|'.join(_ENDINGS)})\b")  # after the words: it's gotta -> 's got

_DIGIT_COMMA = re.compile(r"(\d),(\d)")
_FULL_STOP = re.compile(r"\.([^0-9]|$)")
_DOLLARS = re.compile(r"\$(\d+(?:\.\d+)?)"), re.compile(r"(?<!\d)(\d+(?:\.\d+)?)\$")
_PERCENT = re.compile(r"(?<!\d)(\d+(?:\.\d+)?)%")
_LONE_SYMBOL = re.compile(r"[.$¢€£]([^0-9])")
_LONE_PERCENT = re.compile(r"([^0-9])%")
_DROPPED_SOUND = re.compile(r"\b(?:hmm|uh|ah|eh)\b")
_CHIME8_LARGEST = 1000
_LONGEST_NUMBER = 20  # characters; int() of a longer one may cost much or be refused

_NUMBER_WITH_SUFFIX = {
    **{f"{n}s": plural(SMALL[n]) for n in range(1, 20)},
    **{f"{n}th": ordinal_words(n) for n in (0, *range(4, 20))},
    **_table("1st=first, 2nd=second, 3rd=third"),
    **{f"{n}0s": plural(word) for n, word in enumerate(TENS, 2)},
    **{f"{n}0th": ordinal_words(n * 10) for n in range(2, 10)},
}


def normalise_chime8(text: str) -> str:
    """Bring English text to the form in which CHiME-8 and NOTSOFAR score it.

    Integers up to 1000 become words (larger ones and decimals stay digits, as there), hmm, uh,
    ah and eh go, "oh" stays. Repeated until nothing changes, so idempotent.

    >>> normalise_chime8("Mr. Smith won't, uh, pay $20 [laughs] for the wi-fi")
    'mister smith will not pay twenty dollars for the wifi'

    Raises
    ------
    DependencyError
        If ``whisper_normalizer``, which brings the table of spellings, is not installed.
    """
    return settle(_chime8_once, text)


def normalise_whisper(text: str) -> str:
    """Bring English text to the form of Whisper's own normaliser, number words as digits.

    The library's result as it is, which is not idempotent (that is its nature, and published
    scores are made so). The few texts on which the library itself fails (such as numbers beyond
    what Python converts) go through its rules for other languages.

    >>> normalise_whisper("It's twenty-one colours, isn't it?")
    'it is 21 colors is not it'

    Raises
    ------
    DependencyError
        If ``whisper_normalizer`` is not installed.
    """
    normalise, normalise_other = _whisper()
    try:
        normalised: str = normalise(text)
    except (ArithmeticError, AssertionError, AttributeError, IndexError, TypeError, ValueError):
        normalised = normalise_other(text)
    return normalised.strip()


_NOT_KALDI = re.compile(rf"[^A-Z0-9'{HAN}]+")
_SPELT_OK = re.compile(r"\bO K\b")


def normalise_ami(text: str) -> str:
    """Bring English text to the form in which Kaldi, icefall and lhotse score AMI.

    Upper case, fillers kept. Han ideographs, which AMI does not have, stay.

    >>> normalise_ami("Mm-hmm, o. k., it's fine.")
    "MM-HMM OK IT'S FINE"
    """
    text = _NOT_KALDI.sub(" ", text.upper())
    text = text.replace("MM HMM", "MM-HMM").replace("UH HUH", "UH-HUH")
    return _SPELT_OK.sub("OK", text).strip()


def without_fillers(text: str) -> str:
    """Drop English fillers from normalised text: what chime8 drops, and er, erm.

    >>> without_fillers("uh-huh oh erm yes mm")
    'oh yes'
    """
    return " ".join(word for word in text.split() if not _is_filler(word))


@functools.lru_cache(maxsize=2**14)
def _is_filler(word: str) -> bool:
    parts = word.lower().split("-")
    return all(_SOUND.sub(_same_sound, part) in _FILLERS for part in parts)


_FILLERS = {"hmm", "uh", "ah", "eh", "er", "erm"}


def _chime8_once(text: str) -> str:
    text = _PARENTHESISED.sub("", _BRACKETED.sub("", text.lower()))
    text = " ".join(_WHOLE_TOKENS.get(token, token) for token in text.split())
    text = _SPACE_BEFORE_APOSTROPHE.sub("'", text).replace("\u2019", "'")
    text = _FINAL_MARKS.sub("", _SOUND.sub(_same_sound, text))
    text = _SHORT.sub(_expanded, _WIFI.sub("wifi", text))
    text = _ENDING.sub(_expanded, text)
    text = _FULL_STOP.sub(r" \1", _DIGIT_COMMA.sub(r"\1\2", text))
    text = _library().basic.remove_symbols_and_diacritics(text, keep=".%$¢€£")
    for dollars in _DOLLARS:
        text = dollars.sub(r"\1 dollars", text)
    text = _PERCENT.sub(r"\1 percent", text)
    american = _american()
    words = " ".join(map(_number_word, text.split())).split()
    text = " ".join(american.get(word, word) for word in words)
    text = _LONE_PERCENT.sub(r"\1 ", _LONE_SYMBOL.sub(r" \1", text))
    return " ".join(_DROPPED_SOUND.sub("", text).split())


def _same_sound(found: re.Match[str]) -> str:
    return str(found.lastgroup)


def _expanded(found: re.Match[str]) -> str:
    return _EXPANSIONS[found[0]]


def _number_word(word: str) -> str:
    if not word.isdecimal() or len(word) > _LONGEST_NUMBER:
        return _NUMBER_WITH_SUFFIX.get(word, word)
    number = int(word)
    if word == "000" or number == _CHIME8_LARGEST:
        return "thousand"
    if number == 100:  # noqa: PLR2004 - said without "one", as 1000 is
        return "hundred"
    return integer_words(number) if number < _CHIME8_LARGEST else word


@functools.cache
def _american() -> Mapping[str, str]:
    """Give the American spelling of British words: Whisper's table with two mistakes mended."""
    table = {**_library().english.EnglishSpellingNormalizer().mapping, "archaeology": "archeology"}
    for sound in ("mhm", "mmm"):  # no spellings, and gone before
        table.pop(sound, None)
    return table


@functools.cache
def _whisper() -> tuple[Callable[[str], str], Callable[[str], str]]:
    return _library().english.EnglishTextNormalizer(), _library().basic.BasicTextNormalizer()


@functools.cache
def _library() -> Any:  # noqa: ANN401 - the library has no types
    try:
        import whisper_normalizer.basic
        import whisper_normalizer.english
    except ImportError as error:
        raise DependencyError(
            "English text cannot be normalised: the library whisper_normalizer is missing",
            hint="pip install whisper_normalizer, or choose the normaliser basic or ami",
        ) from error
    return whisper_normalizer
