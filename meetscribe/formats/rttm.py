"""RTTM (NIST Rich Transcription): who speaks when, without words.

``SPEAKER session 1 start duration <NA> <NA> speaker <NA> <NA>``, as dscore and meeteval read it.
"""

from __future__ import annotations

from collections.abc import Iterable

from meetscribe.errors import FormatError
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import numbered_lines, only, place, seconds
from meetscribe.formats.timeline import Span, plain_seconds, span_ms
from meetscribe.formats.tokens import column, speaker_columns
from meetscribe.types import Transcript, Turn

_FIELDS = (9, 10)


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write the turns, or the utterances where there are none, a line each.

    Times have three decimals, durations are never 0, and turns of one speaker that overlap are
    one, for scorers refuse a speaker who overlaps himself.
    """
    columns = speaker_columns(transcript)
    spans: dict[str, list[Span]] = {}
    for part in transcript.turns or transcript.utterances:
        start, end = span_ms(part.start, part.end)
        spans.setdefault(columns[part.speaker], []).append((start, max(end, start + 1)))
    session = column(transcript.session_id)
    lines = sorted((span, speaker) for speaker in spans for span in _joined(spans[speaker]))
    return "".join(
        f"SPEAKER {session} 1 {plain_seconds(start)} {plain_seconds(end - start)} "
        f"<NA> <NA> {speaker} <NA> <NA>\n"
        for (start, end), speaker in lines
    )


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def parse_sessions(text: str, *, path: str = "") -> list[Transcript]:
    """Read the turns of every session; lines other than SPEAKER are left out.

    Raises
    ------
    FormatError
        With path and line, if a line has too few fields or a time is no number.
    """
    turns: dict[str, list[Turn]] = {}
    for number, line in numbered_lines(text):
        fields = line.split()
        if fields[0] != "SPEAKER":
            continue
        where = place(path, number)
        if len(fields) not in _FIELDS:
            raise FormatError(f"{where}: {len(fields)} fields, expected 9 or 10 of a SPEAKER line")
        start = seconds(fields[3], where, "the start")
        end = start + seconds(fields[4], where, "the duration")
        turns.setdefault(fields[1], []).append(Turn(start, round(end, 6), fields[7]))
    return [
        Transcript(session, (), turns=tuple(own), duration=max(turn.end for turn in own))
        for session, own in turns.items()
    ]


def parse(text: str, *, path: str = "") -> Transcript:
    """Read the turns of a file that holds one session.

    Raises
    ------
    FormatError
        With path and line, if it does not fit or holds several sessions.
    """
    return only(parse_sessions(text, path=path), path)
