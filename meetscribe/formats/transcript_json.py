"""The canonical transcript: JSON from which a transcript comes back exactly as it was.

An object that is a superset of SegLST: ``utterances`` is a list of SegLST segments, whose
``tokens`` have the time and confidence of every word. The layout (one token a line) is made for
people who correct a word or a name in an editor. Reading is strict: a key that is missing or
unknown is an error, so that nothing is dropped silently when the file is written again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from meetscribe.errors import FormatError
from meetscribe.formats.json_reading import Reader, load_json
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.types import Transcript, Turn, Utterance, Word

SCHEMA = "meetscribe.transcript/1"

_KEYS = (
    "schema", "session_id", "language", "duration", "speakers", "warnings", "utterances", "turns",
    "provenance",
)  # fmt: skip
_UTTERANCE_KEYS = (
    "session_id", "speaker", "start_time", "end_time", "words", "flags", "tokens",
)  # fmt: skip
_SURROGATE = re.compile("[\ud800-\udfff]")


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write everything that a transcript holds.

    Raises
    ------
    FormatError
        If a time or confidence is infinite or not a number, which JSON cannot say.
    """
    fields = {
        "schema": _dump(SCHEMA),
        "session_id": _dump(transcript.session_id),
        "language": _dump(transcript.language),
        "duration": _dump(transcript.duration),
        "speakers": _lines(_dump(speaker) for speaker in _speakers(transcript)),
        "warnings": _lines(_dump(warning) for warning in transcript.warnings),
        "utterances": _lines(
            _utterance(utterance, transcript.session_id) for utterance in transcript.utterances
        ),
        "turns": _lines(
            _dump({"speaker": turn.speaker, "start_time": turn.start, "end_time": turn.end})
            for turn in transcript.turns
        ),
        "provenance": _dump(_plain(transcript.provenance), indent=1).replace("\n", "\n "),
    }
    text = ",\n".join(f' "{key}": {value}' for key, value in fields.items())
    # half of a surrogate pair is legal in JSON only when escaped
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return f"{{\n{text}\n}}\n"


def _speakers(transcript: Transcript) -> list[dict[str, str | None]]:
    labels = dict.fromkeys((*transcript.speakers, *transcript.names))
    return [{"label": label, "name": transcript.names.get(label)} for label in labels]


def _utterance(utterance: Utterance, session_id: str) -> str:
    fields = {
        "session_id": session_id,
        "speaker": utterance.speaker,
        "start_time": utterance.start,
        "end_time": utterance.end,
        "words": utterance.text,
        "flags": list(utterance.flags),
    }
    tokens = _lines(
        (
            _dump(
                {
                    "word": word.text,
                    "start_time": word.start,
                    "end_time": word.end,
                    "confidence": word.confidence,
                }
            )
            for word in utterance.words
        ),
        indent="   ",
    )
    return f'{_dump(fields)[:-1]},\n   "tokens": {tokens}}}'


def _lines(items: Iterable[str], indent: str = "  ") -> str:
    text = f",\n{indent}".join(items)
    return f"[\n{indent}{text}\n{indent[:-1]}]" if text else "[]"


def _dump(value: object, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str, indent=indent)
    except ValueError as error:
        raise FormatError(f"transcript: a number that JSON cannot say: {error}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Make provenance plain JSON; a number that JSON lacks must not cost a finished transcript."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def parse(text: str, *, path: str = "") -> Transcript:
    """Read a transcript.

    Raises
    ------
    FormatError
        With path and place, if it is not JSON, of another schema, or a key is missing, unknown
        or of the wrong kind.
    """
    top = Reader(load_json(text, path), path)
    top.check_schema(SCHEMA)
    top.known_keys(_KEYS)
    session_id = top.text("session_id")
    names = {}
    for speaker in top.objects("speakers"):
        speaker.known_keys(("label", "name"))
        name = speaker.text_or_null("name")
        if name is not None:
            names[speaker.text("label")] = name
    return Transcript(
        session_id=session_id,
        utterances=tuple(_read_utterance(item, session_id) for item in top.objects("utterances")),
        turns=tuple(_read_turn(item) for item in top.objects("turns")),
        language=top.text("language"),
        duration=top.number("duration"),
        names=names,
        provenance=top.mapping("provenance"),
        warnings=top.texts("warnings"),
    )


def _read_turn(item: Reader) -> Turn:
    item.known_keys(("speaker", "start_time", "end_time"))
    return Turn(*item.span("start_time", "end_time"), item.text("speaker"))


def _read_utterance(item: Reader, session_id: str) -> Utterance:
    item.known_keys(_UTTERANCE_KEYS)
    if item.text("session_id") != session_id:
        item.fail("session_id", f"found '{item.text('session_id')}', expected '{session_id}'")
    start, end = item.span("start_time", "end_time")
    return Utterance(
        speaker=item.text("speaker"),
        start=start,
        end=end,
        text=item.text("words"),
        words=tuple(_read_word(token) for token in item.objects("tokens")),
        flags=item.texts("flags"),
    )


def _read_word(item: Reader) -> Word:
    item.known_keys(("word", "start_time", "end_time", "confidence"))
    start, end = item.span("start_time", "end_time")
    return Word(item.text("word"), start, end, item.number_or_null("confidence"))
