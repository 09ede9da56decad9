"""Plain text for reading: a short header, then paragraphs of one speaker each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.timeline import short_clock, to_ms
from meetscribe.formats.tokens import clean, shown_name, text_of
from meetscribe.types import Transcript, Utterance, join_words

_MAX_PAUSE_S = 3.0
"""A longer silence begins a new paragraph, so that its time is told."""

_TURN_CHANGE_S = 0.3
"""So much overlap is in every change of turns, and not worth a mark."""

_MAX_PARAGRAPH_S = 60.0
_SENTENCE_END = tuple(".?!…。？！")


@dataclass(slots=True)
class _Paragraph:
    name: str
    start: float
    end: float
    unclear: bool
    texts: list[str] = field(default_factory=list)
    overlaps: bool = False

    def takes(self, utterance: Utterance, name: str) -> bool:
        """Tell whether an utterance goes on with this paragraph."""
        long = utterance.end - self.start > _MAX_PARAGRAPH_S
        return (
            name == self.name
            and _is_unclear(utterance) == self.unclear
            and utterance.start - self.end <= _MAX_PAUSE_S
            and not (long and self.texts[-1].endswith(_SENTENCE_END))
        )


def render(transcript: Transcript, options: RenderOptions = DEFAULT) -> str:
    """Write ``[00:01:02] Name: text``, a paragraph for what a speaker says without being left off.

    ``(overlapping)`` after a name says that somebody else is still speaking, ``(unclear)`` that
    the recogniser was unsure.
    """
    blocks = [_header(transcript)]
    blocks += [_line(paragraph, options) for paragraph in _paragraphs(transcript)]
    if len(blocks) == 1:
        blocks.append("(no words were recognised)")
    return "\n\n".join(blocks) + "\n"


def _header(transcript: Transcript) -> str:
    names = dict.fromkeys(shown_name(transcript, speaker) for speaker in transcript.speakers)
    rows = [
        ("Session", [clean(transcript.session_id)] if transcript.session_id else []),
        ("Duration", [short_clock(to_ms(transcript.duration))]),
        ("Language", [transcript.language] if transcript.language else []),
        ("Speakers", [", ".join(names) or "none"]),
        ("Warning", [clean(warning) for warning in transcript.warnings]),
    ]
    return "\n".join(f"{title + ':':<10}{value}" for title, values in rows for value in values)


def _paragraphs(transcript: Transcript) -> Iterable[_Paragraph]:
    paragraphs: list[_Paragraph] = []
    ends: dict[str, float] = {}
    for utterance in transcript.utterances:
        text = text_of(utterance)
        if not text:
            continue
        name = shown_name(transcript, utterance.speaker)
        if not (paragraphs and paragraphs[-1].takes(utterance, name)):
            paragraph = _Paragraph(name, utterance.start, utterance.end, _is_unclear(utterance))
            others = (end for other, end in ends.items() if other != name)
            paragraph.overlaps = utterance.start < max(others, default=0.0) - _TURN_CHANGE_S
            paragraphs.append(paragraph)
        paragraphs[-1].texts.append(text)
        paragraphs[-1].end = max(paragraphs[-1].end, utterance.end)
        ends[name] = max(ends.get(name, 0.0), utterance.end)
    return paragraphs


def _is_unclear(utterance: Utterance) -> bool:
    return "unclear" in utterance.flags


def _line(paragraph: _Paragraph, options: RenderOptions) -> str:
    marks = [
        mark
        for mark, is_so in (("overlapping", paragraph.overlaps), ("unclear", paragraph.unclear))
        if is_so
    ]
    head = [paragraph.name] if options.speaker_labels else []
    head += [f"({', '.join(marks)})"] if marks else []
    name = f"{' '.join(head)}: " if head else ""
    return f"[{short_clock(to_ms(paragraph.start))}] {name}{join_words(paragraph.texts)}"
