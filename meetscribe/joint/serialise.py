"""Turns -> the text that a joint model learns to write (serialised output training).

    <text>
    0.00-1.21>first utterance
    0.96-2.13>second utterance
    </text>
    <speaker>
    <spk id="1" g="f" t="0.00-1.21"/>
    <spk id="2" g="u" t="0.96-2.13"/>
    </speaker>

The way back is ``meetscribe.joint.parse``. Lines stand in order of their starts, or speaker after
speaker (first in, first out). Nothing is escaped, as in the original; what would not come back
is taken out of the words instead (``clean_words``).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from enum import StrEnum

from meetscribe.errors import FormatError, ShapeError
from meetscribe.joint.spelling import seconds
from meetscribe.types import Utterance

_GENDERS = {"M": "m", "F": "f"}
_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_SURROGATES = range(0xD800, 0xE000)
_OWN_TAG = re.compile(r"</?(?:text|speaker|spk)\b[^<>\n]*>?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")

SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,60}\|>")
"""How language models of every family write the tokens that are no text."""

SPEAKER_CHANGE = "<sc>"
"""What stands between turns in plain serialised text."""


class Order(StrEnum):
    """In which order the turns of a group are written."""

    START = "start"
    """By start time; equal starts keep the order given."""
    SPEAKER = "speaker"
    """All turns of one speaker, then of the next; speakers by their first start (FIFO)."""


def serialise(
    utterances: Sequence[Utterance],
    *,
    order: Order = Order.START,
    genders: Sequence[str | None] = (),
) -> str:
    r"""Write the turns of a group as the target text of TagSpeech.

    Parameters
    ----------
    utterances : with times in seconds from the start of the group
        Speakers are numbered from 1 in order of the start of their first turn listed (by speaker:
        of their earliest turn); ties keep the order of the list.
    order : of the lines
    genders : of the speakers of ``utterances``, one each, or none at all
        "M" and "F" are written m and f, all else u, as in the original. The first turn of a
        speaker that is listed decides.

    Returns
    -------
    str, without a newline at its end
        Times have two decimals. Two turns with the same start and end would be told apart by
        nothing, so the end of the later one is moved by 0.01 s.

    Raises
    ------
    FormatError
        If a time is infinite or not a number.
    ShapeError
        If there are ``genders``, but not one for each utterance.

    Notes
    -----
    Huo, Shao and Zhang 2026, arXiv:2601.06896; the target of its published code.

    Examples
    --------
    >>> serialise([Utterance("ann", 0.0, 1.21, "hello")]).split("\n")[1:5]
    ['0.00-1.21>hello', '</text>', '<speaker>', '<spk id="1" g="u" t="0.00-1.21"/>']
    """
    if genders and len(genders) != len(utterances):
        raise ShapeError(f"genders: found {len(genders)}, expected {len(utterances)}")
    listed = [
        (utterance, genders[index] if genders else None)
        for index, utterance in enumerate(utterances)
    ]
    if order is Order.SPEAKER:
        listed.sort(key=lambda item: item[0].start)
    speakers = _numbered([utterance for utterance, _ in listed])
    lines = _ordered([utterance for utterance, _ in listed], speakers, order)
    ranges: dict[str, list[tuple[float, str]]] = {speaker: [] for speaker in speakers}
    text = ["<text>"]
    for utterance, span in zip(lines, _distinct_spans(lines), strict=True):
        text.append(f"{span}>{clean_words(utterance.text)}")
        ranges[utterance.speaker].append((utterance.start, span))
    text += ["</text>", "<speaker>"]
    for number, speaker in enumerate(speakers, start=1):
        times = ",".join(span for _, span in sorted(ranges[speaker], key=lambda item: item[0]))
        first = next(gender for utterance, gender in listed if utterance.speaker == speaker)
        text.append(f'<spk id="{number}" g="{_GENDERS.get(first or "", "u")}" t="{times}"/>')
    return "\n".join([*text, "</speaker>"])


def serialise_words(
    utterances: Sequence[Utterance],
    *,
    order: Order = Order.START,
    change: str = SPEAKER_CHANGE,
) -> str:
    """Write the words alone, with a mark between turns: the target of an encoder's SOT training.

    By start there is a mark between any two turns, by speaker one between any two speakers.

    Notes
    -----
    Kanda et al. 2020, arXiv:2003.12687, serialised output training; by speaker as in Shi et al.
    2024, arXiv:2408.17431.

    Examples
    --------
    >>> group = [Utterance("a", 0, 2, "so"), Utterance("b", 1, 2, "yes")]
    >>> group.append(Utterance("a", 3, 4, "ok"))
    >>> serialise_words(group)
    'so <sc> yes <sc> ok'
    >>> serialise_words(group, order=Order.SPEAKER)
    'so ok <sc> yes'
    """
    parts: list[str] = []
    before: str | None = None
    by_start = sorted(utterances, key=lambda utterance: utterance.start)
    for utterance in _ordered(by_start, _numbered(by_start), order):
        words = clean_words(utterance.text).replace(change, " ").strip()
        if not words:
            continue
        if before is not None and (order is Order.START or utterance.speaker != before):
            parts.append(change)
        parts.append(words)
        before = utterance.speaker
    return " ".join(parts)


def clean_words(text: str) -> str:
    r"""Give words as a line can carry them, so that reading them back gives the same words.

    Line breaks become spaces; control characters, the tags of the format and special tokens go;
    entities of XML are decoded. Space around the words goes, all else stays as it is.

    Examples
    --------
    >>> clean_words("R&amp;D <x>, said\nshe </text>")
    'R&D <x>, said she'
    """
    before = None
    while text != before:  # what is taken out may join its neighbours to another tag
        before = text
        text = " ".join(decode_entities(text).splitlines())
        text = _OWN_TAG.sub("", SPECIAL_TOKEN.sub("", drop_control_characters(text))).strip()
    return text


def decode_entities(text: str) -> str:
    """Decode the five named entities of XML and numeric ones; all else stays.

    Examples
    --------
    >>> decode_entities("R&amp;D &#233; &copy;")
    'R&D é &copy;'
    """
    return _ENTITY.sub(_decoded, text) if "&" in text else text


def drop_control_characters(text: str) -> str:
    """Take out what no line of text has, other than line ends; a tab becomes a space."""
    return _CONTROL.sub("", text.replace("\t", " "))


def _decoded(match: re.Match[str]) -> str:
    if match[1]:
        return _NAMED[match[1]]
    code = int(match[2]) if match[2] else int(match[3], 16)
    return "" if code == 0 or code > sys.maxunicode or code in _SURROGATES else chr(code)


def _numbered(utterances: Sequence[Utterance]) -> list[str]:
    """Give speakers by the start of the first turn listed, as the original counts them."""
    first: dict[str, float] = {}
    for utterance in utterances:
        if not (math.isfinite(utterance.start) and math.isfinite(utterance.end)):
            raise FormatError(
                f"utterance of '{utterance.speaker}': expected times in seconds, found "
                f"{utterance.start} to {utterance.end}"
            )
        first.setdefault(utterance.speaker, utterance.start)
    return sorted(first, key=lambda speaker: first[speaker])


def _ordered(
    utterances: Sequence[Utterance], speakers: Sequence[str], order: Order
) -> list[Utterance]:
    by_start = sorted(utterances, key=lambda utterance: utterance.start)
    if order is Order.START:
        return by_start
    rank = {speaker: position for position, speaker in enumerate(speakers)}
    return sorted(by_start, key=lambda utterance: rank[utterance.speaker])


def _distinct_spans(utterances: Sequence[Utterance]) -> list[str]:
    spans: list[str] = []
    taken: set[str] = set()
    for utterance in utterances:
        span = f"{utterance.start:.2f}-{utterance.end:.2f}"
        moved = round(float(f"{utterance.end:.2f}") * 100)
        while span in taken:
            moved += 1
            span = f"{utterance.start:.2f}-{seconds(moved)}"
        taken.add(span)
        spans.append(span)
    return spans
