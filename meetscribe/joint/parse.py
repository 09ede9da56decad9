"""The text that a joint model wrote -> turns, whatever it wrote, and what had to be repaired.

Nothing raises: a text that is cut off, mixed up or no transcript at all gives the turns that can
be told, and a list of faults. A text of the grammar (``meetscribe.joint.grammar``) gives none.
Every turn that a strict reading finds is found with the same time, speaker and words; words that
a strict reading loses (``&``, ``<``, times that differ by a hundredth, a missing tag) are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from meetscribe.joint.parsed import UNKNOWN, Fault, Parsed, Repair
from meetscribe.joint.serialise import SPECIAL_TOKEN, decode_entities, drop_control_characters
from meetscribe.types import Utterance

MIN_LIKENESS = 0.5
"""Intersection over union from which a time of the speaker part means a line of nearly the same."""

_NUMBER = r"[+-]?[\d.]+(?:[eE][+-]?\d+)?"
_LINE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})\s*>(.*)")
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})")
_STRICT_RANGE = re.compile(r"(?:0|[1-9][0-9]*)\.[0-9]{2}-(?:0|[1-9][0-9]*)\.[0-9]{2}")
_NUMBER_START = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_TAG = re.compile(r"<(/?)(text|speaker|spk)\b[^<>]*>?", re.IGNORECASE)
_SPK = re.compile(r"<spk\b([^<]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([A-Za-z]+)\s*=\s*(?:"([^"]*)("|$)|'([^']*)('|$)|([^\s"'<>/]+))""")
_HALF_TOKEN = re.compile(r"<\|[^|<>]*\|?$")
_CLOSING_TAGS = ("</text>", "<speaker>")
_GENDERS = ("m", "f", "u")


@dataclass(frozen=True, slots=True)
class _Sections:
    """The two parts of a text, without their tags; ``text_cut``: the text ends inside it."""

    text: str
    speakers: str
    text_cut: bool
    speakers_cut: bool


@dataclass(slots=True)
class _Line:
    """A turn of the text part: its times, as numbers and as written, and its words."""

    start: float
    end: float
    written: str
    words: str
    place: str
    taken: bool = False


@dataclass(slots=True)
class _Claim:
    """A range of the speaker part: somebody says that this time is theirs.

    ``fragment`` is what was written of the range if the text ends inside it.
    """

    start: float
    end: float
    speaker: str
    gender: str
    place: str
    fragment: str | None = None
    line: _Line | None = None


def parse(text: str) -> Parsed:
    r"""Read turns from the text of a joint model; never raises.

    Notes
    -----
    Where the text can be read as the original reads it, the turns are the same: words and
    speakers are joined by equal times, a later line of the same times overwrites, only the first
    section of a kind counts. Beyond that, in this order: a range cut off at the end of the text
    is the one line that it can have become; a range is joined to the line that it overlaps most,
    from ``MIN_LIKENESS`` on; lines left over are kept for an unknown speaker.

    Examples
    --------
    >>> parsed = parse('<text>\n0.00-1.21>R&D\n</text>\n<speaker>\n<spk id="1" g="f" t="0.00-1.')
    >>> [(turn.speaker, turn.end, turn.text) for turn in parsed.utterances]
    [('1', 1.21, 'R&D')]
    >>> [f"{repair.fault}: {repair.place}" for repair in parsed.repairs]
    ['missing-tag: </speaker>', 'bad-speaker: speaker 1', 'cut-off: speaker 1']
    """
    repairs: list[Repair] = []
    sections = _find_sections(_cleaned(text, repairs), repairs)
    lines = _read_lines(sections, repairs)
    claims = _read_claims(sections, repairs)
    _join_equal(claims, lines, repairs)
    claims = _complete_fragment(claims, lines, repairs)
    _join_near(claims, lines, repairs)
    turns = []
    for claim in claims:
        words = claim.line.words if claim.line else ""
        turns.append((Utterance(claim.speaker, claim.start, claim.end, words), claim.gender))
        if claim.line is None:
            repairs.append(Repair(Fault.NO_WORDS, claim.place))
    for line in lines:
        if not line.taken and line.words:
            turns.append((Utterance(UNKNOWN, line.start, line.end, line.words), "u"))
            repairs.append(Repair(Fault.NO_SPEAKER, line.place))
    inverted = [f"{turn.start:.2f}" for turn, _ in turns if turn.end <= turn.start]
    repairs += [Repair(Fault.INVERTED_TIMES, place) for place in inverted]
    if not turns and repairs:
        repairs.append(Repair(Fault.NO_TURNS, ""))
    return Parsed.of(turns, repairs)


def _cleaned(text: str, repairs: list[Repair]) -> str:
    plain = SPECIAL_TOKEN.sub("", text)
    if plain != text:
        repairs.append(Repair(Fault.SPECIAL_TOKEN, ""))
    cleaned = drop_control_characters(plain)
    if cleaned != plain.replace("\t", " "):
        repairs.append(Repair(Fault.CONTROL_CHARACTER, ""))
    return cleaned.strip()


def _find_sections(source: str, repairs: list[Repair]) -> _Sections:
    tags = list(_TAG.finditer(source))
    text = _span_of(source, tags, "text", repairs)
    speakers = _span_of(source, tags, "speaker", repairs)
    if speakers is None:
        first = next((tag.start() for tag in tags if _name(tag) == "spk"), len(source))
        speakers = first, _next_tag(source, tags, first, apart_from="spk")
    if text is None:
        # lines without a tag before them stand before the speakers, or else after them
        begin = 0
        if not source[: _next_tag(source, tags, 0)].strip():
            closing = (tag.end() for tag in tags if tag.start() == speakers[1])
            begin = next(closing, speakers[1])
        text = begin, _next_tag(source, tags, begin)
    _note_outside(source, [*(tag.span() for tag in tags), text, speakers], repairs)
    return _Sections(
        source[slice(*text)],
        source[slice(*speakers)],
        text_cut=text[1] == len(source),
        speakers_cut=speakers[1] == len(source),
    )


def _span_of(
    source: str, tags: Sequence[re.Match[str]], name: str, repairs: list[Repair]
) -> tuple[int, int] | None:
    """Give where the inside of the first section of a name begins and ends, if it is opened."""
    openings = [tag for tag in tags if _name(tag) == name and not tag[1]]
    if len(openings) > 1:
        repairs.append(Repair(Fault.REPEATED_SECTION, f"<{name}>"))
    if not openings:
        repairs.append(Repair(Fault.MISSING_TAG, f"<{name}>"))
        return None
    begin = openings[0].end()
    if openings[0].group().endswith("/>"):
        return begin, begin
    end = _next_tag(source, tags, begin, apart_from="spk" if name == "speaker" else "")
    closing = next((tag for tag in tags if tag.start() == end), None)
    if closing is None or not closing[1] or _name(closing) != name:
        repairs.append(Repair(Fault.MISSING_TAG, f"</{name}>"))
    elif not closing.group().endswith(">"):
        repairs.append(Repair(Fault.CUT_OFF, f"</{name}>"))
    return begin, end


def _next_tag(
    source: str, tags: Iterable[re.Match[str]], begin: int, *, apart_from: str = ""
) -> int:
    later = (tag.start() for tag in tags if tag.start() >= begin and _name(tag) != apart_from)
    return next(later, len(source))


def _name(tag: re.Match[str]) -> str:
    return tag[2].lower()


def _note_outside(source: str, spans: list[tuple[int, int]], repairs: list[Repair]) -> None:
    position = 0
    for begin, end in [*sorted(spans), (len(source), len(source))]:
        if source[position:begin].strip():
            repairs.append(Repair(Fault.STRAY_TEXT, "outside the sections"))
            return
        position = max(position, end)


def _read_lines(sections: _Sections, repairs: list[Repair]) -> list[_Line]:
    lines: list[_Line] = []
    raw_lines = [raw.strip() for raw in _LINE_END.split(sections.text)]
    raw_lines = [raw for raw in raw_lines if raw]
    if sections.text_cut and raw_lines:
        repairs.append(Repair(Fault.CUT_OFF, f"line {len(raw_lines)}"))
        raw_lines[-1] = _without_half_tag(raw_lines[-1])
    for number, raw in enumerate(raw_lines, start=1):
        place = f"line {number}"
        match = _LINE.match(raw)
        if match is None:
            repairs.append(Repair(Fault.BAD_LINE, place))
            continue
        times = _times(match[1], match[2], raw[: match.start(3) - 1], place, repairs)
        if times is not None:
            words = " ".join(decode_entities(match[3]).splitlines()).strip()
            lines.append(_Line(*times, f"{match[1]}-{match[2]}", words, place))
    return lines


def _without_half_tag(line: str) -> str:
    line = _HALF_TOKEN.sub("", line)
    for tag in _CLOSING_TAGS:
        for length in range(len(tag) - 1, 0, -1):
            if line.endswith(tag[:length]):
                return line[:-length]
    return line


def _times(
    first: str, second: str, written: str, place: str, repairs: list[Repair]
) -> tuple[float, float] | None:
    """Read a range; None (and a fault) where one of its times is no number at all."""
    start, end = _seconds(first), _seconds(second)
    if start is None or end is None:
        repairs.append(Repair(Fault.BAD_TIMES, place))
        return None
    if not _STRICT_RANGE.fullmatch(written):
        repairs.append(Repair(Fault.TIME_FORMAT, place))
    return start, end


def _seconds(written: str) -> float | None:
    try:
        value = float(written)
    except ValueError:  # 1.2.3: as far as it is a number
        match = _NUMBER_START.match(written)
        if match is None:
            return None
        value = float(match.group())
    return value if math.isfinite(value) else None


def _read_claims(sections: _Sections, repairs: list[Repair]) -> list[_Claim]:
    claims: list[_Claim] = []
    seen: set[str] = set()
    for number, tag in enumerate(_SPK.finditer(sections.speakers), start=1):
        place = f"speaker {number}"
        cut = sections.speakers_cut and tag.end() == len(sections.speakers)
        attributes, open_value = _attributes(tag[1])
        speaker, gender = attributes.get("id", UNKNOWN), attributes.get("g", "u")
        faultless = attributes.keys() == {"id", "g", "t"} and gender in _GENDERS
        closed = "/>" in tag[1] or sections.speakers.startswith("</spk", tag.end())
        if not (faultless and closed) or open_value or speaker in seen:
            repairs.append(Repair(Fault.BAD_SPEAKER, place))
        seen.add(speaker)
        pieces = [piece.strip() for piece in attributes.get("t", "").split(",")]
        fragment = pieces.pop() if cut and open_value == "t" else None
        claims += _ranges(pieces, speaker, gender, place, repairs)
        if fragment is not None:
            claims.append(_Claim(math.nan, math.nan, speaker, gender, place, fragment))
    return claims


def _attributes(inside: str) -> tuple[dict[str, str], str]:
    """Give a tag's attributes, the first of a name, and the name of one that is not closed.

    A name that comes twice is in the result with a second key, so that it is not overlooked.
    """
    found: dict[str, str] = {}
    open_value = ""
    for match in _ATTRIBUTE.finditer(inside):
        name, value = match[1].lower(), match[2] or match[4] or match[6] or ""
        closed = match[3] or match[5] or match[6]
        if not closed:
            open_value = name
            value = value.rstrip().removesuffix(">").removesuffix("/")
        found[f"{name} again" if name in found else name] = decode_entities(value)
    return found, open_value


def _ranges(
    pieces: Iterable[str], speaker: str, gender: str, place: str, repairs: list[Repair]
) -> list[_Claim]:
    claims = []
    for piece in filter(None, pieces):
        match = _RANGE.fullmatch(piece)
        if match is None:
            repairs.append(Repair(Fault.BAD_TIMES, place))
            continue
        times = _times(match[1], match[2], piece, place, repairs)
        if times is not None:
            claims.append(_Claim(*times, speaker, gender, place))
    return claims


def _join_equal(claims: list[_Claim], lines: list[_Line], repairs: list[Repair]) -> None:
    by_times: dict[tuple[float, float], _Line] = {}
    for line in lines:
        if (line.start, line.end) in by_times:
            repairs.append(Repair(Fault.SHARED_TIMES, line.place))
        by_times[line.start, line.end] = line
    for claim in claims:
        claim.line = by_times.get((claim.start, claim.end))
        if claim.line is None:
            continue
        if claim.line.taken:
            repairs.append(Repair(Fault.SHARED_TIMES, claim.place))
        for line in lines:
            # lines that another of the same times overwrote are spoken for, too
            line.taken |= (line.start, line.end) == (claim.start, claim.end)


def _complete_fragment(
    claims: list[_Claim], lines: list[_Line], repairs: list[Repair]
) -> list[_Claim]:
    """Give a range that the text's end cut off the times of the only line left that fits."""
    done = []
    for claim in claims:
        if claim.fragment is None:
            done.append(claim)
            continue
        repairs.append(Repair(Fault.CUT_OFF, claim.place))
        fragment = "".join(claim.fragment.split())
        fitting = [line for line in lines if not line.taken and line.written.startswith(fragment)]
        if len(fitting) == 1:
            line = fitting[0]
            line.taken = True
            done.append(replace(claim, start=line.start, end=line.end, line=line))
        else:
            done += _ranges([claim.fragment], claim.speaker, claim.gender, claim.place, repairs)
    return done


def _join_near(claims: list[_Claim], lines: list[_Line], repairs: list[Repair]) -> None:
    pairs = [
        (_likeness(claim, line), claim, line)
        for claim in claims
        for line in lines
        if claim.line is None and not line.taken
    ]
    for likeness, claim, line in sorted(pairs, key=lambda pair: -pair[0]):
        if likeness >= MIN_LIKENESS and claim.line is None and not line.taken:
            claim.line, line.taken = line, True
            repairs.append(Repair(Fault.NEAR_TIMES, claim.place))


def _likeness(claim: _Claim, line: _Line) -> float:
    """Intersection over union of two times; 0 where one of them is empty or inverted."""
    if claim.end <= claim.start or line.end <= line.start:
        return 0.0
    shared = min(claim.end, line.end) - max(claim.start, line.start)
    return max(0.0, shared) / (max(claim.end, line.end) - min(claim.start, line.start))
