"""CSV for spreadsheets: a row an utterance.

The file begins with a byte order mark: without it Excel takes UTF-8 for a code page of its own
and shows Chinese as rubbish, and the programs that read CSV skip it. Cells that a spreadsheet
would take for a formula begin with an apostrophe, for words of a meeting are not to be run.
"""

from __future__ import annotations

import csv
import io

from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.timeline import plain_seconds, span_ms
from meetscribe.formats.tokens import clean, shown_name, text_of
from meetscribe.types import Transcript

COLUMNS = ("session_id", "start", "end", "speaker", "name", "text", "flags")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "|", "%")


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write the table; times are seconds with three decimals, flags are parted by semicolons."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for utterance in transcript.utterances:
        start, end = span_ms(utterance.start, utterance.end)
        texts = (
            utterance.speaker,
            shown_name(transcript, utterance.speaker),
            text_of(utterance),
            ";".join(utterance.flags),
        )
        writer.writerow(
            [
                cell(transcript.session_id),
                plain_seconds(start),
                plain_seconds(end),
                *map(cell, texts),
            ]
        )
    return "\ufeff" + table.getvalue()


def cell(text: str) -> str:
    """Make a cell plain text; an apostrophe that is there already is kept by a second one.

    >>> cell("=1+1")
    "'=1+1"
    """
    text = clean(text)
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text
