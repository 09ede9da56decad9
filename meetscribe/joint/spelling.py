"""How times and characters are spelled, byte by byte: what the grammar of the text needs to know.

A prefix is only written if something can come of it: a time inside its limits, a character that a
line of words may hold.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator
from functools import cache

_JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Not printable, but needed to write Persian, the languages of India, and emoji."""
_FORBIDDEN = frozenset("<&")
_LEADS = {2: (0xC2, 0xDF, 0x1F), 3: (0xE0, 0xEF, 0x0F), 4: (0xF0, 0xF4, 0x07)}
"""UTF-8: length of a character -> lowest and highest first byte, and which bits of it count."""
_LOWEST = {2: 0x80, 3: 0x800, 4: 0x10000}
_HIGHEST = 0x10FFFF


def seconds(centiseconds: int) -> str:
    """Write hundredths of a second as the format has times.

    >>> seconds(1205)
    '12.05'
    """
    return f"{centiseconds // 100}.{centiseconds % 100:02d}"


def smallest(prefix: bytes, low: int, high: int, without: Collection[int] = ()) -> int | None:
    """Give the smallest time whose spelling begins so; None if there is none.

    Parameters
    ----------
    prefix : what is written of it, a time with two decimals and no leading zeros
    low, high : of the time, both included, in hundredths of a second
    without : times that are not allowed

    Examples
    --------
    >>> smallest(b"1", 300, 3000), smallest(b"1.", 0, 3000), smallest(b"1", 200, 900)
    (1000, 100, None)
    """
    for first, last in _ranges(prefix, high):
        time = max(first, low)
        while time <= min(last, high):
            if time not in without:
                return time
            time += 1
    return None


def _ranges(prefix: bytes, high: int) -> Iterator[tuple[int, int]]:
    """Give the times that begin with a prefix, as ranges in rising order, not far beyond high."""
    if not prefix:
        yield 0, high
        return
    whole, point, decimals = prefix.partition(b".")
    if not whole.isdigit() or (len(whole) > 1 and whole.startswith(b"0")):
        return
    if point:
        free = 10 ** (2 - len(decimals))
        if len(decimals) <= 2 and (not decimals or decimals.isdigit()):  # noqa: PLR2004
            first = int(whole) * 100 + int(decimals or b"0") * free
            yield first, first + free - 1
        return
    first, count = int(whole) * 100, 100
    while first <= high:
        yield first, first + count - 1
        if first == 0:
            return
        first, count = first * 10, count * 10


def printable(text: str) -> bool:
    r"""Tell whether a line of words may hold this: visible characters and plain spaces.

    >>> printable("naïve: a > b?"), printable("a < b"), printable("tab\t"), printable("我们")
    (True, False, False, True)
    """
    if _FORBIDDEN & set(text):
        return False
    return text.isprintable() or text.translate(_JOINERS).isprintable()


def spell(partial: bytes, more: bytes) -> tuple[str, bytes] | None:
    r"""Read bytes on from the beginning of a character.

    Returns
    -------
    the characters that are complete now, and the beginning of the next one; None if a line of
    words may not hold them

    Examples
    --------
    >>> spell(b"", "né".encode()[:-1])
    ('n', b'\xc3')
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(partial + more)
    except UnicodeDecodeError:
        return None
    left = decoder.getstate()[0]
    fine = printable(text) and (not left or completion(left) is not None)
    return (text, left) if fine else None


@cache
def completion(partial: bytes) -> bytes | None:
    r"""Give bytes that complete a character of several bytes; None if no line may hold any.

    >>> completion(b"\xe2\x80"), completion(b"\xf1")
    (b'\x90', None)
    """
    length = next((n for n, (low, high, _) in _LEADS.items() if low <= partial[0] <= high), None)
    if length is None:
        return None
    code = partial[0] & _LEADS[length][2]
    for byte in partial[1:]:
        code = code << 6 | byte & 0x3F
    free = 6 * (length - len(partial))
    first, last = code << free, (code + 1 << free) - 1
    for point in range(max(first, _LOWEST[length]), min(last, _HIGHEST) + 1):
        if chr(point).isprintable() and printable(chr(point)):
            return chr(point).encode()[len(partial) :]
    return None
