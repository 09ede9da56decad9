"""results.json: scores as a file, from which they come back exactly as they were.

An object of ``schema``, ``written_by``, ``name``, ``protocol``, ``notes``, ``sessions`` and
``total``. Rates are fractions; ``rate`` and ``total`` follow from the counts and are there for
other programs: reading does not use them. A span is a list of start, end, kind and the number of
reference speakers. Reading is strict: a key that is missing or unknown is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeGuard

from meetscribe.errors import FormatError
from meetscribe.evaluate.scores import (
    DiarizationErrors,
    ErrorSpan,
    JaccardErrors,
    Scores,
    SessionScore,
    Total,
    WordErrors,
)
from meetscribe.formats.json_reading import Reader, load_json
from meetscribe.version import __version__

SCHEMA = "meetscribe.results/1"

_KEYS = ("schema", "written_by", "name", "protocol", "notes", "total", "sessions")
_SESSION_KEYS = (
    "session_id", "reference_speakers", "hypothesis_speakers", "duration", "diarization",
    "jaccard", "words", "assignment", "conditions", "notes", "failed", "spans",
)  # fmt: skip
_WORD_KEYS = (
    "rate", "errors", "length", "substitutions", "deletions", "insertions", "exact",
)  # fmt: skip
_DIARIZATION_KEYS = ("rate", "total_s", "miss_s", "falarm_s", "confusion_s")
_JACCARD_KEYS = ("rate", "error_sum", "speakers")
_KINDS = ("miss", "falarm", "confusion")
_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(scores: Scores) -> str:
    """Write everything that scores hold.

    Raises
    ------
    FormatError
        If a number is infinite or not a number, which JSON cannot say.
    """
    fields = {
        "schema": _dump(SCHEMA),
        "written_by": _dump(f"meetscribe {__version__}"),
        "name": _dump(scores.name),
        "protocol": _dump(dict(scores.protocol), indent=1),
        "notes": _dump(list(scores.notes), indent=1),
        "total": _dump(_total(scores.total), indent=1),
        "sessions": "[" + ",".join("\n" + _session(session) for session in scores.sessions) + "]",
    }
    text = ",\n".join(f'"{key}": {value}' for key, value in fields.items())
    return f"{{\n{text}\n}}\n"


def from_json(text: str, *, path: str = "") -> Scores:
    """Read scores.

    Raises
    ------
    FormatError
        With path and place, if it is not JSON, of another schema, or a key is missing, unknown
        or of the wrong kind.
    """
    top = Reader(load_json(text, path), path)
    top.check_schema(SCHEMA)
    top.known_keys(_KEYS)
    sessions: dict[str, SessionScore] = {}
    for number, item in enumerate(top.objects("sessions")):
        session = _read_session(item, path, f"sessions[{number}]")
        if session.session_id in sessions:
            item.fail("session_id", f"'{session.session_id}' is there twice")
        sessions[session.session_id] = session
    return Scores(
        name=top.text("name"),
        sessions=tuple(sessions.values()),
        protocol=_texts(top, "protocol"),
        notes=top.texts("notes"),
    )


def _total(total: Total) -> dict[str, Any]:
    counts = total.speaker_counts
    return {
        "sessions": total.sessions,
        "failed": total.failed,
        "diarization": _diarization(total.diarization),
        "jaccard": _jaccard(total.jaccard),
        "speaker_counts": {
            "accuracy": counts.accuracy,
            "mean_absolute_error": counts.mean_absolute_error,
            **asdict(counts),
        },
        "words": _words(total.words),
    }


def _session(session: SessionScore) -> str:
    fields = {
        "session_id": session.session_id,
        "reference_speakers": session.reference_speakers,
        "hypothesis_speakers": session.hypothesis_speakers,
        "duration": session.duration,
        "diarization": _diarization(session.diarization),
        "jaccard": _jaccard(session.jaccard),
        "words": _words(session.words),
        "assignment": dict(session.assignment),
        "conditions": dict(session.conditions),
        "notes": list(session.notes),
        "failed": session.failed,
    }
    # one line for all spans: there are thousands of them, and nobody reads them here
    spans = [[span.start, span.end, span.kind, span.speakers] for span in session.spans]
    return f'{_dump(fields, indent=1)[:-2]},\n "spans": {_dump(spans)}\n}}'


def _diarization(errors: DiarizationErrors | None) -> dict[str, Any] | None:
    return None if errors is None else {"rate": _rate(errors.der), **asdict(errors)}


def _jaccard(errors: JaccardErrors | None) -> dict[str, Any] | None:
    return None if errors is None else {"rate": _rate(errors.jer), **asdict(errors)}


def _rate(rate: float | None) -> float | None:
    """Leave out a rate beyond all numbers, of a reference of next to nothing."""
    return rate if rate is not None and math.isfinite(rate) else None


def _words(words: Mapping[str, WordErrors]) -> dict[str, Any]:
    return {metric: {"rate": errors.rate, **asdict(errors)} for metric, errors in words.items()}


def _dump(value: object, indent: int | None = None) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError as error:
        raise FormatError(f"results: a number that JSON cannot say: {error}") from error
    # half of a surrogate pair, as in an undecodable file name, is legal JSON only when escaped
    return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _read_session(item: Reader, path: str, here: str) -> SessionScore:
    item.known_keys(_SESSION_KEYS)
    words = Reader(item.value("words"), path, f"{here}.words")
    return SessionScore(
        session_id=item.text("session_id"),
        reference_speakers=_count(item, "reference_speakers"),
        hypothesis_speakers=_count(item, "hypothesis_speakers"),
        duration=item.number("duration"),
        diarization=_read_diarization(item, path, here),
        jaccard=_read_jaccard(item, path, here),
        words={
            metric: _read_words(Reader(words.value(metric), path, f"{here}.words.{metric}"))
            for metric in item.mapping("words")
        },
        assignment=_assignment(item),
        conditions=_texts(item, "conditions"),
        spans=_spans(item),
        notes=item.texts("notes"),
        failed=item.text("failed"),
    )


def _read_diarization(item: Reader, path: str, here: str) -> DiarizationErrors | None:
    if item.value("diarization") is None:
        return None
    inner = Reader(item.value("diarization"), path, f"{here}.diarization")
    inner.known_keys(_DIARIZATION_KEYS)
    return DiarizationErrors(*(inner.number(key) for key in _DIARIZATION_KEYS[1:]))


def _read_jaccard(item: Reader, path: str, here: str) -> JaccardErrors | None:
    if item.value("jaccard") is None:
        return None
    inner = Reader(item.value("jaccard"), path, f"{here}.jaccard")
    inner.known_keys(_JACCARD_KEYS)
    return JaccardErrors(inner.number("error_sum"), _count(inner, "speakers"))


def _read_words(item: Reader) -> WordErrors:
    item.known_keys(_WORD_KEYS)
    exact = item.value("exact")
    if not isinstance(exact, bool):
        item.fail("exact", "expected true or false")
    counts = {key: _count(item, key) for key in _WORD_KEYS[1:-1]}
    try:
        return WordErrors(**counts, exact=exact)
    except ValueError:
        kinds = counts["substitutions"] + counts["deletions"] + counts["insertions"]
        item.fail("errors", f"{counts['errors']}, but the kinds of error sum to {kinds}")


def _spans(item: Reader) -> tuple[ErrorSpan, ...]:
    spans = item.value("spans")
    if not isinstance(spans, list):
        item.fail("spans", "expected a list")
    return tuple(_span(item, number, span) for number, span in enumerate(spans))


def _span(item: Reader, number: int, span: object) -> ErrorSpan:
    if not _is_span(span):
        item.fail(
            f"spans[{number}]",
            f"found {span!r:.60}, expected start, end, {' or '.join(_KINDS)}, speakers",
        )
    return ErrorSpan(*span)


def _is_span(span: object) -> TypeGuard[tuple[float, float, str, int]]:
    match span:
        case [int() | float() as start, int() | float() as end, str(kind), int(speakers)]:
            plain = not any(isinstance(part, bool) for part in span)
            return plain and 0 <= start <= end < math.inf and kind in _KINDS and speakers >= 0
    return False


def _count(item: Reader, key: str) -> int:
    number = item.number(key)
    if not isinstance(item.value(key), int):
        item.fail(key, f"found {number}, expected a whole number")
    return int(item.value(key))


def _texts(item: Reader, key: str) -> dict[str, str]:
    mapping = item.mapping(key)
    for name, value in mapping.items():
        if not isinstance(value, str):
            item.fail(f"{key}.{name}", "expected a string")
    return mapping


def _assignment(item: Reader) -> dict[str, str | None]:
    mapping = item.mapping("assignment")
    for name, value in mapping.items():
        if value is not None and not isinstance(value, str):
            item.fail(f"assignment.{name}", "expected a string or null")
    return mapping
