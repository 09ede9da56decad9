"""Transcripts for tests: short ones by hand, and hypothesis strategies for any that may occur."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from hypothesis import strategies as st

from meetscribe.types import Transcript, Turn, Utterance, Word, is_unspaced, join_words


def said(speaker: str, start: float, end: float, text: str, flags: Iterable[str] = ()) -> Utterance:
    """Make an utterance whose words share its time evenly."""
    parts = text.split()
    step = (end - start) / max(len(parts), 1)
    words = tuple(
        Word(part, start + n * step, start + (n + 1) * step, 0.9) for n, part in enumerate(parts)
    )
    return Utterance(speaker, start, end, text, words, tuple(flags))


def meeting(*utterances: Utterance, **fields: object) -> Transcript:
    """Make a transcript of a session named 'standup'."""
    duration = max((utterance.end for utterance in utterances), default=0.0)
    return Transcript(
        **{"session_id": "standup", "duration": duration, **fields}, utterances=utterances
    )


MEETING = meeting(
    said("S1", 1.0, 4.0, "Good morning all, shall we start?", ["overlap"]),
    said("S2", 3.0, 3.6, "Morning!", ["overlap"]),
    said("S1", 65.0, 69.0, 'The "remote" is <5 & cheap.'),
    Utterance("S3", 70.0, 74.0, "我用 Python 写。", (), ("unclear",)),
    names={"S1": "Anna Lee"},
    turns=(Turn(1.0, 4.2, "S1"), Turn(3.0, 3.6, "S2"), Turn(65, 69, "S1"), Turn(70, 74, "S3")),
    language="en",
    duration=80.0,
    warnings=("channel 2 is silent",),
    provenance={"version": "0.1", "models": [{"name": "base", "sha256": "d01c"}]},
)

_PLAIN = st.text("abcXYZ019äé'-.,?", min_size=1, max_size=10)
_ODD = st.sampled_from(
    [
        '"',
        '""',
        "<b>",
        "&amp;",
        "<NA>",
        "a,b",
        "=1+1",
        "-",
        "@x",
        ";;",
        "#",
        "👩‍🚀",
        "e\u0301",
        "don't",
        "!",
    ]
)
_CJK = st.text("我用写的会议，。「」ーかア한글", min_size=1, max_size=6)
_NASTY = st.text(min_size=1, max_size=8)
TAME_WORDS = st.one_of(_PLAIN, _ODD, _CJK).filter(lambda word: bool(letters(word)))
"""Words of at most 10 characters without spaces."""

ANY_WORDS = st.one_of(
    TAME_WORDS, _NASTY, st.sampled_from(["a b", "new\nline", "t\tab", "\x00", "x" * 100, "-->"])
)
TAME_NAMES = st.sampled_from(["Anna", "Ben Ng", "李雷", "Speaker 4"])
_NAMES = st.one_of(
    TAME_NAMES,
    st.sampled_from(["A B", "A_B", "A  B", ";x", "", " ", "a very long name " * 5]),
    st.text(max_size=12),
)
_TIMES = st.floats(0, 40, allow_nan=False).map(lambda time: round(time, 4))


@st.composite
def utterances(draw: st.DrawFn, labels: list[str], words: st.SearchStrategy[str]) -> Utterance:
    """Draw an utterance: with word times, without, or with a text that its words do not spell."""
    texts = draw(st.lists(words, max_size=9))
    start = draw(_TIMES)
    length = draw(st.sampled_from([0.0, 0.3, 2.0, 12.0]))
    kind = draw(st.sampled_from(["timed", "untimed", "edited", "wordless text"]))
    marks = sorted(
        draw(st.lists(st.floats(0, 1), min_size=len(texts) + 1, max_size=len(texts) + 1))
    )
    timed = tuple(
        Word(text, start + length * low, start + length * high, draw(st.none() | st.just(0.5)))
        for text, low, high in zip(texts, marks, marks[1:], strict=False)
    )
    text = join_words(texts) if kind != "edited" else " ".join([*texts, "more"])
    return Utterance(
        speaker=draw(st.sampled_from(labels)),
        start=start,
        end=start + length,
        text="" if kind == "wordless text" else text,
        words=() if kind == "untimed" else timed,
        flags=draw(st.sampled_from([(), ("overlap",), ("unclear", "overlap")])),
    )


@st.composite
def transcripts(
    draw: st.DrawFn,
    words: st.SearchStrategy[str] = ANY_WORDS,
    names: st.SearchStrategy[str] = _NAMES,
) -> Transcript:
    """Draw a transcript of up to four speakers, who overlap each other and themselves."""
    labels = ["S1", "S2", "S 3", "S;4"][: draw(st.integers(1, 4))]
    turns = st.builds(
        lambda start, length, speaker: Turn(start, start + length, speaker),
        _TIMES,
        st.sampled_from([0.0, 0.2, 5.0]),
        st.sampled_from(labels),
    )
    return Transcript(
        session_id=draw(st.sampled_from(["standup", "my meeting", "", "会议", ";x"])),
        utterances=tuple(draw(st.lists(utterances(labels, words), max_size=6))),
        turns=tuple(draw(st.lists(turns, max_size=3))),
        language=draw(st.sampled_from(["", "en", "zh"])),
        duration=draw(_TIMES),
        names=draw(st.dictionaries(st.sampled_from(labels), names, max_size=4)),
        provenance=draw(
            st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4))
        ),
        warnings=tuple(draw(st.lists(st.text(max_size=20), max_size=2))),
    )


def letters(text: str) -> str:
    """Give what must be conserved of a text: all but spaces and what cannot be printed."""
    return "".join(
        char
        for char in text
        if not char.isspace()
        and char != "\ufeff"
        and unicodedata.category(char) not in {"Cc", "Zl", "Zp"}
    )


def spoken(utterance: Utterance) -> str:
    """Give the text of an utterance, or that of its words where it has none."""
    return (
        utterance.text if letters(utterance.text) else join_words(w.text for w in utterance.words)
    )


def letters_said(texts: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Count the letters of every speaker, from pairs of name and text."""
    counts: dict[str, Counter[str]] = {}
    for name, text in texts:
        counts.setdefault(name, Counter()).update(letters(text))
    return {name: count for name, count in counts.items() if count}


def words_said(texts: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Count the words of every speaker; characters of unspaced scripts are words of their own."""
    counts: dict[str, Counter[str]] = {}
    for name, text in texts:
        parts = "".join(f" {char} " if is_unspaced(char) else char for char in text).split()
        counts.setdefault(name, Counter()).update(parts)
    return {name: count for name, count in counts.items() if count}


def everything_said(transcript: Transcript) -> list[tuple[str, str]]:
    """Give pairs of shown name and text, as a reader of an export should find them."""
    return [
        (tidy(transcript.name_of(utterance.speaker)) or tidy(utterance.speaker), spoken(utterance))
        for utterance in transcript.utterances
    ]


def tidy(text: str) -> str:
    """Put a name on one line."""
    text = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text.replace("\ufeff", ""))
    return " ".join(text.split())
