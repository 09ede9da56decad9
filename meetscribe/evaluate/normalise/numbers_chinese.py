"""Chinese numerals and Arabic digits written one way, so that they can be compared.

The rule:

1. 5% is read as 百分之5, 3.5 as 3点5; both then follow the rules below.
2. A run of numerals of at least two characters becomes digits if it is a number: digit by digit
   (二零二三 -> 2023) or with its units (三百二十一 -> 321, 一万五 -> 15000, 20万 -> 200000), 十
   alone as well. A run that begins with 百 千 万 亿 or is no number (万一, 千万, 两三百) stays.
3. A single digit with no Latin letter or digit beside it becomes a numeral (3个 -> 三个), since
   一 is part of too many words (一起, 一些, 一下) to become 1. 两 alone counts as 二.

It changes ordinary words too (一一, 十分), but alike on both sides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0}
_PAIR = {"两": 2, "兩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_NUMERALS = "零一二三四五六七八九"

_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_PERCENT = re.compile(r"(?<!\d)(\d+(?:[.．]\d+)?)\s?[%％]", re.ASCII)
_DECIMAL = re.compile(r"(?<![\d.．])(\d+)[.．](?=\d+(?![\d.．]))", re.ASCII)
_FULL_WIDTH = str.maketrans("０１２３４５６７８９", "0123456789")
_RUN = re.compile(f"[0-9{''.join([*_DIGITS, *_PAIR, *_UNITS, *_MYRIADS])}]+")
_PART = re.compile(r"[0-9]+|[^0-9]")
_LONGEST = 32  # characters of a number with units


def unify_marked(text: str) -> str:
    """Unify text that still has its punctuation: percentages and decimals as they are said.

    Without it, numbers that only a comma separates would be read as one.

    >>> unify_marked("3.5%、二十，三十")
    '百分之三点五、20，30'
    """
    text = _GROUPED.sub("", text.translate(_FULL_WIDTH))
    return unify(_DECIMAL.sub(r"\1点", _PERCENT.sub(r"百分之\1", text)))


def unify(text: str) -> str:
    """Write numbers as digits and single digits as numerals, by the rule of this module.

    >>> unify("二零二三年一起买了三百二十一个，还有3个")
    '2023年一起买了321个，还有三个'
    """
    return _RUN.sub(_one_way, text)


def _one_way(found: re.Match[str]) -> str:
    run = found[0]
    if len(run) == 1 and run != "十":
        return _single(
            run,
            _neighbour(found.string, found.start(), -1)
            + _neighbour(found.string, found.end() - 1, 1),
        )
    number = _value(run)
    if number is None:
        return run
    return _NUMERALS[int(number)] if len(number) == 1 else number


def _neighbour(text: str, at: int, step: int) -> str:
    """Give the nearest character that is no space, "" at the ends of the text."""
    at += step
    while 0 <= at < len(text) and text[at].isspace():
        at += step
    return text[at] if 0 <= at < len(text) else ""


def _single(char: str, beside: str) -> str:
    if char in _PAIR:
        return "二"
    if char == "〇":
        return "零"
    if char.isascii() and not any(near.isascii() and near.isalnum() for near in beside):
        return _NUMERALS[int(char)]
    return char


def _value(run: str) -> str | None:
    """Give the digits of a run of numerals, None where it is no number."""
    parts = _PART.findall(run)
    if not any(part in _UNITS or part in _MYRIADS for part in parts):
        if any(part in _PAIR for part in parts):
            return None
        return "".join(str(_DIGITS.get(part, part)) for part in parts)
    if len(run) > _LONGEST:
        return None
    number = _Reader().read(parts)
    return None if number is None else str(number)


@dataclass
class _Reader:
    """Reads a number with units from left to right; ``section`` is what 万 and 亿 multiply."""

    total: int = 0
    section: int = 0
    digit: int | None = None
    gap: bool = False
    """A 零 was read: the digit at the end counts ones."""
    unit: int = 10**9
    """The last 十, 百 or 千 of the section; units descend."""
    myriad: int = 10**9
    last: int = 1
    """The last unit of any kind."""

    def read(self, parts: list[str]) -> int | None:
        """Give the value of digits and units, None where they do not follow the grammar."""
        if not all(map(self._take, parts)):
            return None
        if self.digit == 0:
            return None
        # 一万五 is 15000, 三百二 is 320; but 一万零五 is 10005
        small = self.digit is not None and self.digit < len(_NUMERALS) and not self.gap
        ones = (self.digit or 0) * (max(self.last // 10, 1) if small else 1)
        return self.total + self.section + ones

    def _take(self, part: str) -> bool:
        if part in _UNITS:
            return self._take_unit(_UNITS[part])
        if part in _MYRIADS:
            return self._take_myriad(_MYRIADS[part])
        if self.digit:
            return False
        self.gap = self.gap or self.digit == 0 or part in {"零", "〇"}
        self.digit = _DIGITS.get(part, _PAIR.get(part, -1))
        if self.digit < 0:
            self.digit = int(part)
        return True

    def _take_unit(self, unit: int) -> bool:
        if self.digit is None and unit == _UNITS["十"] and not self.section:
            self.digit = 1
        if not self.digit or unit >= self.unit:
            return False
        self.section += self.digit * unit
        self.digit, self.gap, self.unit, self.last = None, False, unit, unit
        return True

    def _take_myriad(self, myriad: int) -> bool:
        section = self.section + (self.digit or 0)
        larger = myriad > self.myriad and self.total > 0  # 一万亿
        if self.digit == 0 or myriad == self.myriad or not (section or larger):
            return False
        if larger:
            self.total = (self.total + section) * myriad
        else:
            self.total += section * myriad
        self.section, self.digit, self.gap = 0, None, False
        self.unit, self.myriad, self.last = 10**9, myriad, myriad
        return True
