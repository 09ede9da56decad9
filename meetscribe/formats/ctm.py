"""CTM (NIST conversation time marks): a line a word, ``session channel start duration word conf``.

The format knows no speakers; the channel says who speaks. The confidence is left out where there
is none.
"""

from __future__ import annotations

from itertools import pairwise

from meetscribe.errors import FormatError
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.reading import numbered_lines, only, place, seconds
from meetscribe.formats.timeline import plain_seconds, span_ms
from meetscribe.formats.tokens import column, speaker_columns, tokens_of
from meetscribe.types import Transcript, Utterance, Word

_FIELDS = (5, 6)
_PAUSE_S = 1.0
"""A silence that parts utterances when words are read."""


def render(transcript: Transcript, _options: RenderOptions = DEFAULT) -> str:
    """Write the words, speaker by speaker, by start.

    Words without times share the time of their utterance by their letters. In scripts without
    spaces the recogniser's words are kept, or the characters stand alone.
    """
    columns = speaker_columns(transcript)
    session = column(transcript.session_id)
    words = [
        (columns[utterance.speaker], *span_ms(token.start, token.end), token)
        for utterance in transcript.utterances
        for token in tokens_of(utterance)
    ]
    words.sort(key=lambda word: word[:2])
    lines = []
    for speaker, start, end, token in words:
        sure = "" if token.confidence is None else f" {token.confidence:.3f}"
        times = f"{plain_seconds(start)} {plain_seconds(end - start)}"
        lines.append(f"{session} {speaker} {times} {token.text}{sure}\n")
    return "".join(lines)


def parse_sessions(text: str, *, path: str = "") -> list[Transcript]:
    """Read the words of every session; a pause of a second begins a new utterance.

    Raises
    ------
    FormatError
        With path and line, if a line has too few fields or a time is no number.
    """
    sessions: dict[str, dict[str, list[Word]]] = {}
    for number, line in numbered_lines(text, comment=";;"):
        where = place(path, number)
        fields = line.split()
        if len(fields) not in _FIELDS:
            raise FormatError(
                f"{where}: {len(fields)} fields, expected 5 or 6: "
                "session channel start duration word confidence"
            )
        start = seconds(fields[2], where, "the start")
        end = round(start + seconds(fields[3], where, "the duration"), 6)
        sure = seconds(fields[5], where, "the confidence") if len(fields) == _FIELDS[1] else None
        word = Word(fields[4], start, end, sure)
        sessions.setdefault(fields[0], {}).setdefault(fields[1], []).append(word)
    return [_transcript(session, words) for session, words in sessions.items()]


def _transcript(session: str, words_of: dict[str, list[Word]]) -> Transcript:
    utterances = []
    for speaker, words in words_of.items():
        words.sort(key=lambda word: word.start)
        breaks = [n for n, (a, b) in enumerate(pairwise(words), 1) if b.start - a.end >= _PAUSE_S]
        for first, stop in pairwise([0, *breaks, len(words)]):
            utterances.append(Utterance.from_words(speaker, words[first:stop]))
    duration = max(utterance.end for utterance in utterances)
    return Transcript(session, tuple(utterances), duration=duration)


def parse(text: str, *, path: str = "") -> Transcript:
    """Read the words of a file that holds one session; the channels are the speakers.

    Raises
    ------
    FormatError
        With path and line, if it does not fit or holds several sessions.
    """
    return only(parse_sessions(text, path=path), path)
