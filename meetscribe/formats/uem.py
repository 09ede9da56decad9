"""UEM (NIST unpartitioned evaluation map): which parts of a session are scored.

A line a region, ``session channel start end``; regions of all channels of a session count alike.
It holds no transcript, so it is not one of the formats that transcripts are rendered in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meetscribe.errors import FormatError
from meetscribe.formats.reading import numbered_lines, place, seconds
from meetscribe.formats.tokens import column

_FIELDS = 4


def render(regions: Mapping[str, Iterable[tuple[float, float]]]) -> str:
    r"""Write the regions of every session, by start; times have three to six decimals.

    Six, because the end of a recording seldom falls on a millisecond. Regions that have no
    length left are not written.

    >>> render({"a": [(0, 62.0625)]})
    'a 1 0.000 62.062500\n'
    """
    return "".join(
        f"{column(session)} 1 {start} {end}\n"
        for session, own in regions.items()
        for start, end in ((_time(start), _time(end)) for start, end in sorted(own))
        if start != end
    )


def _time(time_s: float) -> str:
    return f"{time_s:.6f}".removesuffix("000")


def parse(text: str, *, path: str = "") -> dict[str, list[tuple[float, float]]]:
    """Read the regions of every session in seconds, sorted, those that touch or overlap joined.

    Raises
    ------
    FormatError
        With path and line, if a line has not four fields, a time is no number of at least 0, or
        a region does not end after its start.
    """
    regions: dict[str, list[tuple[float, float]]] = {}
    for number, line in numbered_lines(text):
        where = place(path, number)
        fields = line.split()
        if len(fields) != _FIELDS:
            raise FormatError(
                f"{where}: {len(fields)} fields, expected 4: session channel start end"
            )
        start, end = seconds(fields[2], where, "the start"), seconds(fields[3], where, "the end")
        if end <= start:
            raise FormatError(
                f"{where}: ends at {end} s, expected an end after its start {start} s"
            )
        regions.setdefault(fields[0], []).append((start, end))
    return {session: joined(own) for session, own in regions.items()}


def joined(regions: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sort regions and join those that touch or overlap.

    >>> joined([(5, 6), (0, 2), (1, 3), (3, 4)])
    [(0, 4), (5, 6)]
    """
    merged: list[tuple[float, float]] = []
    for start, end in sorted(regions):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
