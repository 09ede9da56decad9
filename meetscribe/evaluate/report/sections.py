"""What reports are made of: sections of sentences and tables, and how numbers are written.

A report is built once as sections (``contents``, ``compare``) and then written as Markdown here,
as HTML by ``html`` or as plain text by the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meetscribe.evaluate.bootstrap import Difference
from meetscribe.evaluate.scores import WordErrors
from meetscribe.formats.tokens import clean

NONE = "–"
"""Stands where there is no number."""

_MARKUP = re.compile(r"[\\`*\[\]<>|~#$]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text under a header; the first ``text_columns`` are words, the rest numbers.

    ``code_columns`` (by index) hold commands to be copied.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    code_columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: title, sentences, items of a list, a table; names of its plots."""

    title: str
    lines: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    table: Table | None = None
    plots: tuple[str, ...] = ()


def percent(rate: float | None) -> str:
    """Write a fraction in percent, without the sign.

    >>> percent(0.12345), percent(None)
    ('12.35', '–')
    """
    if rate is None:
        return NONE
    # "or": what rounds to nothing has no sign
    return f"{round(100 * rate, 2) or 0.0:.2f}".replace("-", "−")


def signed_percent(rate: float | None) -> str:
    """Write a difference of fractions in percent.

    >>> signed_percent(0.01), signed_percent(-0.01), signed_percent(-1e-9)
    ('+1.00', '−1.00', '0.00')
    """
    text = percent(rate)
    return f"+{text}" if rate is not None and round(100 * rate, 2) > 0 else text


def word_rate(errors: WordErrors | None) -> str:
    """Write the rate of a word metric in percent; one that is an upper bound says so.

    >>> word_rate(WordErrors(1, 8, 1, exact=False))
    '≤ 12.50 (greedy)'
    """
    if errors is None or errors.rate is None:
        return NONE
    return percent(errors.rate) if errors.exact else f"≤ {percent(errors.rate)} (greedy)"


def with_sign(text: str) -> str:
    """Put the percent sign after a number, where there is one.

    >>> with_sign("≤ 12.50 (greedy)"), with_sign("–")
    ('≤ 12.50 % (greedy)', '–')
    """
    number, bracket, rest = text.partition(" (")
    return text if text == NONE else f"{number} %{bracket}{rest}"


def between(ends: tuple[float, float] | None) -> str:
    """Write an interval of fractions in percent.

    >>> between((0.1, 0.2))
    '10.00 to 20.00'
    """
    return NONE if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"


def ends_of(difference: Difference) -> tuple[float, float] | None:
    """Give the interval of a difference, if it has one."""
    if difference.low is None or difference.high is None:
        return None
    return difference.low, difference.high


def clock(seconds: float) -> str:
    """Write a time as players show it: minutes and seconds, hours where there are any.

    >>> clock(75), clock(3675)
    ('01:15', '1:01:15')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"


def counted(number: int, thing: str) -> str:
    """Write a number of things.

    >>> counted(1, "session"), counted(2, "session")
    ('1 session', '2 sessions')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def markdown(title: str, sections: Iterable[Section], protocol: Sequence[str]) -> str:
    """Write sections as Markdown, with the lines of the protocol under every table."""
    blocks = [f"# {_escaped(title)}"]
    for section in sections:
        blocks.append(f"## {_escaped(section.title)}")
        blocks += [_escaped(line) for line in section.lines]
        if section.items:
            blocks.append("\n".join(f"- {_escaped(item)}" for item in section.items))
        if section.table is not None:
            blocks.append(_table(section.table))
            blocks.append("  \n".join(f"Protocol: {_escaped(line)}" for line in protocol))
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    rule = ["---" if n < table.text_columns else "---:" for n in range(len(table.header))]
    lines = [[_escaped(cell) for cell in table.header], rule]
    lines += [
        [_code(cell) if n in table.code_columns else _escaped(cell) for n, cell in enumerate(row)]
        for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    r"""Keep names from being taken for markup.

    >>> _escaped("R8002_M8002 <b> a|b")
    'R8002_M8002 \\<b\\> a\\|b'
    """
    return _MARKUP.sub(lambda found: f"\\{found.group()}", clean(text))


def _code(text: str) -> str:
    if not text:
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{clean(text)}{pad}{fence}".replace("|", "\\|")
