"""STM (NIST segment time marks): a line an utterance, ``session 1 speaker start end words``.

Written without the optional label field, which meeteval takes for a word; read with or without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meetscribe.errors import FormatError
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import numbered_lines, only, place, seconds
from meetscribe.formats.timeline import plain_seconds, span_ms
from meetscribe.formats.tokens import column, speaker_columns, text_of
from meetscribe.types import Transcript, Utterance

_LABEL = re.compile(r"<(?:NA|[^<>\s]*,[^<>\s]*)>(?:\s+|$)")
_NOT_SCORED = {"ignore_time_segment_in_scoring", "inter_segment_gap"}
_FIELDS = 5


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write the utterances that have words; times have three decimals, none has length 0."""
    columns = speaker_columns(transcript)
    session = column(transcript.session_id)
    texts = [text_of(utterance) for utterance in transcript.utterances]
    said = [text for text in texts if text]
    # where all words began like labels, a reader would take them for labels
    label = "<NA> " if said and all(_LABEL.match(text) for text in said) else ""
    lines = []
    for utterance, text in zip(transcript.utterances, texts, strict=True):
        if text:
            start, end = span_ms(utterance.start, utterance.end)
            times = f"{plain_seconds(start)} {plain_seconds(max(end, start + 1))}"
            lines.append(f"{session} 1 {columns[utterance.speaker]} {times} {label}{text}\n")
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class _Line:
    session: str
    speaker: str
    start: float
    end: float
    text: str


def parse_sessions(text: str, *, path: str = "") -> list[Transcript]:
    """Read the utterances of every session; parts that are not to be scored are left out.

    Raises
    ------
    FormatError
        With path and line, if a line has too few fields or its times make no sense.
    """
    lines = [_line(line, place(path, number)) for number, line in numbered_lines(text)]
    lines = [line for line in lines if _is_scored(line)]
    said = [line for line in lines if line.text]
    labelled = bool(said) and all(_LABEL.match(line.text) for line in said)
    sessions: dict[str, list[Utterance]] = {}
    for line in lines:
        words = _LABEL.sub("", line.text, count=1) if labelled else line.text
        utterance = Utterance(line.speaker, line.start, line.end, words)
        sessions.setdefault(line.session, []).append(utterance)
    return [
        Transcript(session, tuple(own), duration=max(utterance.end for utterance in own))
        for session, own in sessions.items()
    ]


def _is_scored(line: _Line) -> bool:
    """Tell speech from the gaps that TED-LIUM and NIST files state as lines, labelled or not."""
    words = _LABEL.sub("", line.text, count=1).strip().lower()
    return words not in _NOT_SCORED and line.speaker.lower() not in _NOT_SCORED


def _line(line: str, where: str) -> _Line:
    fields = line.split(maxsplit=_FIELDS)
    if len(fields) < _FIELDS:
        raise FormatError(
            f"{where}: {len(fields)} fields, expected session, channel, speaker, start, end, words"
        )
    start = seconds(fields[3], where, "the start")
    end = seconds(fields[4], where, "the end")
    if end < start:
        raise FormatError(f"{where}: ends at {end} s, before its start at {start} s")
    text = fields[_FIELDS] if len(fields) > _FIELDS else ""
    return _Line(fields[0], fields[2], start, end, text)


def parse(text: str, *, path: str = "") -> Transcript:
    """Read the utterances of a file that holds one session.

    Raises
    ------
    FormatError
        With path and line, if it does not fit or holds several sessions.
    """
    return only(parse_sessions(text, path=path), path)
