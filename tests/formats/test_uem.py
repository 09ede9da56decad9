"""UEM: exact text, reading it back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.errors import FormatError
from meetscribe.formats import uem

_MICROSECONDS = st.integers(0, 10_000_000_000)
_NAMES = st.text("abcXYZ019_.-会", min_size=1, max_size=8)


@st.composite
def regions(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Regions that neither touch nor overlap, on whole microseconds."""
    marks = sorted(draw(st.sets(_MICROSECONDS, min_size=2, max_size=8)))
    pairs = zip(marks[::2], marks[1::2], strict=False)
    return [(start / 1e6, end / 1e6) for start, end in pairs]


@given(st.dictionaries(_NAMES, regions(), max_size=4))
def test_what_is_written_is_read_back(sessions: dict[str, list[tuple[float, float]]]) -> None:
    assert uem.parse(uem.render(sessions)) == sessions


def test_text_is_exact() -> None:
    sessions = {"a b": [(10.0, 62.5), (0, 2)], "c": [(0.0, 1113.845375)], "d": [(1, 1.0000001)]}
    assert uem.render(sessions) == (
        "a_b 1 0.000 2.000\na_b 1 10.000 62.500\nc 1 0.000 1113.845375\n"
    )


def test_comments_spaces_and_channels_are_read_over() -> None:
    text = "\ufeff;; a comment\n\ns\t1 0.0   5\r\ns 2 4 8\ns 1 9 10\nt 1 0 1\n"
    assert uem.parse(text) == {"s": [(0.0, 8.0), (9.0, 10.0)], "t": [(0.0, 1.0)]}


def test_an_empty_file_has_no_sessions() -> None:
    assert uem.parse("") == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("s 1 0", "3 fields, expected 4"),
        ("s 1 0 5 x", "5 fields, expected 4"),
        ("s 1 -1 5", "the start is '-1', expected seconds, 0 or more"),
        ("s 1 0 five", "the end is 'five', expected seconds, 0 or more"),
        ("s 1 0 nan", "the end is 'nan'"),
        ("s 1 5 5", "ends at 5.0 s, expected an end after its start"),
        ("s 1 6 5", "ends at 5.0 s, expected an end after its start"),
    ],
)
def test_mistakes_are_named_with_file_and_line(line: str, problem: str) -> None:
    with pytest.raises(FormatError, match=r"all\.uem:2: ") as raised:
        uem.parse(f"s 1 0 5\n{line}\n", path="all.uem")
    assert problem in raised.value.message


def test_public_maps_of_ami_are_read(data: Path) -> None:
    path = data / "ami" / "uem" / "dev" / "ES2011a.uem"
    assert uem.parse(path.read_text(), path=str(path)) == {"ES2011a": [(0.0, 1113.845375)]}
