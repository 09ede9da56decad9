"""SegLST (segment-wise long-form speech transcription): a JSON list of segments.

Each segment has ``session_id``, ``speaker``, ``start_time``, ``end_time`` (seconds) and
``words`` (one string), as CHiME and meeteval use it. Names and the session are written as in the
formats with columns, so that files of different formats can be scored against each other.
"""

from __future__ import annotations

import json

from meetscribe.errors import FormatError
from meetscribe.formats.json_reading import Reader, load_json
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import only
from meetscribe.formats.timeline import span_ms
from meetscribe.formats.tokens import column, speaker_columns, text_of
from meetscribe.types import Transcript, Utterance


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write the utterances that have words, a line each; times are whole milliseconds."""
    columns = speaker_columns(transcript)
    session = column(transcript.session_id)
    lines = []
    for utterance in transcript.utterances:
        if text := text_of(utterance):
            start, end = span_ms(utterance.start, utterance.end)
            segment = {
                "session_id": session,
                "speaker": columns[utterance.speaker],
                "start_time": start / 1000,
                "end_time": end / 1000,
                "words": text,
            }
            lines.append(json.dumps(segment, ensure_ascii=False))
    return "[\n " + ",\n ".join(lines) + "\n]\n" if lines else "[]\n"


def parse_sessions(text: str, *, path: str = "") -> list[Transcript]:
    """Read the segments of every session; other keys of a segment are left out.

    Raises
    ------
    FormatError
        With path and place, if it is no such list, or a segment lacks a key.
    """
    content = load_json(text, path)
    if not isinstance(content, list):
        raise FormatError(f"{path or 'text'}: expected a list of segments")
    sessions: dict[str, list[Utterance]] = {}
    for number, item in enumerate(content):
        segment = Reader(item, path, f"[{number}]")
        start, end = segment.span("start_time", "end_time")
        utterance = Utterance(segment.label("speaker"), start, end, segment.text("words"))
        sessions.setdefault(segment.label("session_id"), []).append(utterance)
    return [
        Transcript(session, tuple(own), duration=max(utterance.end for utterance in own))
        for session, own in sessions.items()
    ]


def parse(text: str, *, path: str = "") -> Transcript:
    """Read the segments of a file that holds one session.

    Raises
    ------
    FormatError
        With path and place, if it does not fit or holds several sessions.
    """
    return only(parse_sessions(text, path=path), path)
