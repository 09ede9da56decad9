"""English numbers in words, and written numbers found in running text.

"and" is left out (three hundred twenty one), as the CHiME-8 normaliser does.
"""

from __future__ import annotations

import re

_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = tuple(_BELOW_TWENTY.split())
TENS = tuple(_TENS.split())
_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (10**2, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_TOO_LARGE = 10**12


def integer_words(number: int) -> str:
    """Write an integer of 0 to 999,999,999,999 in words.

    Raises
    ------
    ValueError
        If it is outside that range.

    Examples
    --------
    >>> integer_words(2_000_321)
    'two million three hundred twenty one'
    """
    if not 0 <= number < _TOO_LARGE:
        raise ValueError(f"{number}: expected 0 to 999,999,999,999")
    if number < len(SMALL):
        return SMALL[number]
    for size, name in _SCALES:
        if number >= size:
            head, rest = f"{integer_words(number // size)} {name}", number % size
            break
    else:
        head, rest = TENS[number // 10 - 2], number % 10
    return f"{head} {integer_words(rest)}" if rest else head


def ordinal_words(number: int) -> str:
    """Write an ordinal of 0 to 999,999,999,999 in words.

    >>> ordinal_words(21), ordinal_words(90)
    ('twenty first', 'ninetieth')
    """
    head, _, last = integer_words(number).rpartition(" ")
    ordinal = last[:-1] + "ieth" if last.endswith("y") else _ORDINALS.get(last, last + "th")
    return f"{head} {ordinal}".strip()


def plural(word: str) -> str:
    """Write the plural of a number word.

    >>> plural("six"), plural("ninety")
    ('sixes', 'nineties')
    """
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")


_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_NUMBER = r"\d+(?:\.\d+)?"
_MONEY = re.compile(rf"([$£€]) ?({_NUMBER})( hundred| thousand| million| billion)?\b", re.ASCII)
_PERCENT = re.compile(rf"(?<!\d)({_NUMBER}) ?%| per cent\b", re.ASCII)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", re.ASCII)
_WRITTEN = re.compile(r"(?<![\w.])(\d+)(?:\.(\d+)|(st|nd|rd|th)|(s))?(?!\w|\.\d)", re.ASCII)
_SCALE = "hundred|thousand|million|billion"
_ONE_OF = re.compile(rf"\ban? ({_SCALE})\b")
_AND = re.compile(rf"\b({_SCALE}) and (?=(?:{'|'.join(SMALL + TENS)})\b)")


def unify(text: str) -> str:
    """Write every number in lower-case English text in words, of any size, decimals included.

    An amount of money ends in its currency, and "and" within a number goes. Years that are said
    in pairs (nineteen eighty five) stay unlike written ones (one thousand nine hundred ...).

    >>> unify("$1,200 or 2.5%, the 21st, one hundred and five")
    'one thousand two hundred dollars or two point five percent, the twenty first, one hundred five'
    """
    text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
    text = _MONEY.sub(lambda found: f"{found[2]}{found[3] or ''} {_CURRENCIES[found[1]]}", text)
    text = _PERCENT.sub(lambda found: f"{found[1] or ''} percent", text)
    text = _WRITTEN.sub(_in_words, text)
    text = _ONE_OF.sub(r"one \1", text)
    return _AND.sub(r"\1 ", text)


def _in_words(found: re.Match[str]) -> str:
    whole, decimals, ordinal, many = found.groups()
    spelt = whole.startswith("0") and whole != "0"  # a code or a dialled number: digit by digit
    if spelt or len(whole) > len(str(_TOO_LARGE)) - 1:
        words = _digits(whole)
    elif ordinal:
        return ordinal_words(int(whole))
    else:
        words = integer_words(int(whole))
    if decimals:
        return f"{words} point {_digits(decimals)}"
    if many:
        head, _, last = words.rpartition(" ")
        return f"{head} {plural(last)}".strip()
    return words


def _digits(text: str) -> str:
    return " ".join(SMALL[int(digit)] for digit in text)
