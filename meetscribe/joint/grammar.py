r"""The grammar of a joint model's text, byte by byte: what may come next.

    output   = "<text>\n" line* "</text>\n<speaker>\n" speaker* "</speaker>"
    line     = time "-" time ">" words "\n"
    speaker  = '<spk id="' number '" g="' [mfu] '" t="' range ("," range)* '"/>\n'

Beyond that: a line ends after it starts and inside the clip, no two lines have the same times,
starts do not go back (by speaker: only where the next speaker begins); speakers are numbered
from 1 by their first line, each range of the text part belongs to exactly one of them, in order.
Words are printable UTF-8 without ``<`` and ``&``, so that even a strict XML reader reads them.

The automaton knows no tokens and no model. ``meetscribe.joint.closing`` has the way to the end,
``meetscribe.joint.constrain`` walks both with the tokens of a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from itertools import pairwise
from typing import NamedTuple

from meetscribe.errors import ConfigError
from meetscribe.joint.serialise import Order
from meetscribe.joint.spelling import seconds, smallest, spell

HEAD = b"<text>\n"
TURN_OVER = b"</text>\n<speaker>\n"
AFTER_GENDER = b'" t="'
SHUT = b'"/>\n'
FOOT = b"</speaker>"
GENDERS = b"mfu"

_DIGITS = b"0123456789"
_NEWLINE = 0x0A
_DECIMALS = 2


class Mode(IntEnum):
    """Where in the text a state is."""

    HEAD = auto()
    LINE = auto()
    """At the start of a line: another turn, or the end of the text part."""
    START = auto()
    END = auto()
    WORDS = auto()
    TURN_OVER = auto()
    """Between the text part and the speaker part."""
    OPENING = auto()
    """Of a speaker's tag."""
    GENDER = auto()
    AFTER_GENDER = auto()
    RANGE = auto()
    AFTER_RANGE = auto()
    SHUT = auto()
    FOOT = auto()
    DONE = auto()


class Span(NamedTuple):
    """A line's times, in hundredths of a second."""

    start: int
    end: int

    @property
    def written(self) -> bytes:
        """The range as it stands in the text."""
        return f"{seconds(self.start)}-{seconds(self.end)}".encode()


class State(NamedTuple):
    """All that decides what may follow."""

    mode: Mode = Mode.HEAD
    typed: bytes = b""
    """What is written of the present element (a tag, a time, a range)."""
    lines: tuple[Span, ...] = ()
    start: int = 0
    """The present line's start, while its end is written."""
    words: int = 0
    """Begun so far, in all lines."""
    partial: bytes = b""
    """Of a character of several bytes: those that are there."""
    has_word: bool = False
    """Whether the present line has one."""
    in_word: bool = False
    speaker: int = 0
    unused: tuple[int, ...] = ()
    """Lines that no speaker has yet."""
    last: int = -1
    """The present speaker's last line; -1 if there is none yet."""


Limits = tuple[int, int, Collection[int]]
"""Lowest and highest time, and times in between that are not allowed; hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What may be written about one clip.

    Parameters
    ----------
    duration : seconds of the clip, all times are within
    order : of the lines
    max_speakers : ids are 1 to this
    min_words : the text part is not left before this many are begun (words are what spaces
        separate); 0 lets it stay empty

    Raises
    ------
    ConfigError
        If ``max_speakers`` is not positive, or the clip is too short to hold words that must be.
    """

    duration: float
    order: Order = Order.START
    max_speakers: int = 20
    min_words: int = 0
    limit: int = field(init=False, repr=False)
    """The last hundredth of a second that is inside the clip."""

    def __post_init__(self) -> None:
        # the small number keeps 0.29 s from being 28 hundredths
        object.__setattr__(self, "limit", int(self.duration * 100 + 1e-6))
        if self.max_speakers < 1:
            raise ConfigError(f"max_speakers: found {self.max_speakers}, expected at least 1")
        if self.min_words > 0 and self.limit < 1:
            raise ConfigError(
                f"min_words: found {self.min_words}, but a clip of {self.duration} s holds no turn"
            )

    def step(self, state: State, byte: int) -> State | None:
        """Give the state after one more byte; None where the grammar does not let it through."""
        return _STEPS[state.mode](self, state, byte)

    def run(self, state: State, text: bytes) -> State | None:
        """Give the state after some bytes; None where the grammar stops them."""
        after: State | None = state
        for byte in text:
            if after is None:
                return None
            after = self.step(after, byte)
        return after

    def choices(self, state: State) -> bytes:
        """Give bytes among which are all that may follow; none for words, where most may."""
        if state.mode is Mode.RANGE:
            position = len(state.typed)
            return bytes({state.lines[index].written[position] for index in matching(self, state)})
        if state.mode in _CHOICES:
            return _CHOICES[state.mode]
        return _literal(state)[len(state.typed) :][:1]

    def missing_words(self, state: State) -> int:
        """Count the words that must still come before the text part may end."""
        return max(0, self.min_words - state.words)

    def starts(self, lines: Sequence[Span]) -> Limits:
        """Give the limits of the next line's start."""
        low = lines[-1].start if lines else 0
        if lines and self.order is Order.SPEAKER:
            drops = [two.start for one, two in pairwise(lines) if two.start < one.start]
            if len(drops) + 1 < self.max_speakers:  # one more speaker may begin
                low = drops[-1] if drops else lines[0].start
        used = Counter(line.start for line in lines if line.start >= low)
        full = {start for start, count in used.items() if count >= self.limit - start}
        return low, self.limit - 1, full

    def ends(self, lines: Sequence[Span], start: int) -> Limits:
        """Give the limits of a line's end."""
        taken = {line.end for line in lines if line.start == start}
        return start + 1, self.limit, taken

    def candidates(self, state: State) -> Sequence[int]:
        """Give the lines that may be the present speaker's next."""
        if state.last < 0:
            return state.unused[:1]  # speakers are numbered by their first line
        if self.order is Order.SPEAKER:
            return () if breaks(state.lines, state.last + 1) else (state.last + 1,)
        later = [index for index in state.unused if index > state.last]
        # whoever is the last may not pass over a line: nobody would be left to have it
        return later[:1] if state.speaker >= self.max_speakers else later

    def may_shut(self, state: State) -> bool:
        """Tell whether the present speaker may have no more lines."""
        if not state.unused:
            return True
        if self.order is Order.START:
            return state.speaker < self.max_speakers
        if breaks(state.lines, state.last + 1):
            return True
        starts = [line.start for line in state.lines[state.last + 1 :]]
        drops = sum(two < one for one, two in pairwise(starts))
        # the next speaker must be the next by first start, and all others must still fit
        return starts[0] == min(starts) and state.speaker + 1 + drops <= self.max_speakers


def breaks(lines: Sequence[Span], index: int) -> bool:
    """Tell whether a line, by speaker, cannot be of the same speaker as the one before it."""
    return index >= len(lines) or lines[index].start < lines[index - 1].start


def matching(grammar: Grammar, state: State) -> list[int]:
    """Give the lines that the range being written can become."""
    lines = state.lines
    return [
        index for index in grammar.candidates(state) if lines[index].written.startswith(state.typed)
    ]


def opening(speaker: int) -> bytes:
    """Give a speaker's tag up to the gender."""
    return f'<spk id="{speaker}" g="'.encode()


def _literal(state: State) -> bytes:
    return opening(state.speaker) if state.mode is Mode.OPENING else _LITERALS[state.mode]


def _step_literal(_: Grammar, state: State, byte: int) -> State | None:
    literal = _literal(state)
    if byte != literal[len(state.typed)]:
        return None
    typed = state.typed + bytes((byte,))
    if len(typed) < len(literal):
        return state._replace(typed=typed)
    if state.mode in {Mode.TURN_OVER, Mode.SHUT}:
        return _next_speaker(state)
    return state._replace(mode=_FOLLOWING[state.mode], typed=b"")


def _next_speaker(state: State) -> State:
    unused = state.unused
    if state.mode is Mode.TURN_OVER:
        unused = tuple(range(len(state.lines)))
    if not unused:
        return state._replace(mode=Mode.FOOT, typed=b"")
    speaker = state.speaker + 1
    return state._replace(mode=Mode.OPENING, typed=b"", unused=unused, speaker=speaker, last=-1)


def _step_line(grammar: Grammar, state: State, byte: int) -> State | None:
    if byte == TURN_OVER[0]:
        if grammar.missing_words(state):
            return None
        return state._replace(mode=Mode.TURN_OVER, typed=TURN_OVER[:1])
    return _step_start(grammar, state._replace(mode=Mode.START, typed=b""), byte)


def _step_start(grammar: Grammar, state: State, byte: int) -> State | None:
    if byte != ord("-"):
        return _step_time(state, byte, grammar.starts(state.lines))
    start = _finished(state.typed)
    return None if start is None else state._replace(mode=Mode.END, typed=b"", start=start)


def _step_end(grammar: Grammar, state: State, byte: int) -> State | None:
    if byte != ord(">"):
        return _step_time(state, byte, grammar.ends(state.lines, state.start))
    end = _finished(state.typed)
    if end is None:
        return None
    lines = (*state.lines, Span(state.start, end))
    return state._replace(mode=Mode.WORDS, typed=b"", lines=lines, has_word=False, in_word=False)


def _step_time(state: State, byte: int, limits: Limits) -> State | None:
    typed = state.typed + bytes((byte,))
    return None if smallest(typed, *limits) is None else state._replace(typed=typed)


def _finished(typed: bytes) -> int | None:
    """Read a time; None if it has not all its decimals."""
    whole, _, decimals = typed.partition(b".")
    return int(whole + decimals) if len(decimals) == _DECIMALS else None


def _step_words(_: Grammar, state: State, byte: int) -> State | None:
    if byte == _NEWLINE:
        ends = state.has_word and not state.partial
        return state._replace(mode=Mode.LINE) if ends else None
    spelled = spell(state.partial, bytes((byte,)))
    if spelled is None:
        return None
    char, partial = spelled
    return state._replace(partial=partial) if not char else with_char(state, char)


def with_char(state: State, char: str) -> State:
    """Give the state after a whole character of a line's words."""
    word = char != " "
    return state._replace(
        partial=b"",
        words=state.words + (word and not state.in_word),
        has_word=state.has_word or word,
        in_word=word,
    )


def _step_gender(_: Grammar, state: State, byte: int) -> State | None:
    return state._replace(mode=Mode.AFTER_GENDER) if byte in GENDERS else None


def _step_range(grammar: Grammar, state: State, byte: int) -> State | None:
    longer = state._replace(typed=state.typed + bytes((byte,)))
    fitting = matching(grammar, longer)
    if not fitting:
        return None
    if len(longer.typed) < len(state.lines[fitting[0]].written):
        return longer
    return with_line(state._replace(mode=Mode.AFTER_RANGE, typed=b""), fitting[0])


def with_line(state: State, index: int) -> State:
    """Give the state after a range of the present speaker."""
    unused = tuple(other for other in state.unused if other != index)
    return state._replace(last=index, unused=unused)


def _step_after_range(grammar: Grammar, state: State, byte: int) -> State | None:
    if byte == ord(","):
        return state._replace(mode=Mode.RANGE) if grammar.candidates(state) else None
    if byte == SHUT[0] and grammar.may_shut(state):
        return state._replace(mode=Mode.SHUT, typed=SHUT[:1])
    return None


def _step_done(_: Grammar, __: State, ___: int) -> State | None:
    return None


_LITERALS = {
    Mode.HEAD: HEAD,
    Mode.TURN_OVER: TURN_OVER,
    Mode.AFTER_GENDER: AFTER_GENDER,
    Mode.SHUT: SHUT,
    Mode.FOOT: FOOT,
}
_FOLLOWING = {
    Mode.HEAD: Mode.LINE,
    Mode.OPENING: Mode.GENDER,
    Mode.AFTER_GENDER: Mode.RANGE,
    Mode.FOOT: Mode.DONE,
}
_CHOICES = {
    Mode.LINE: _DIGITS + TURN_OVER[:1],
    Mode.START: _DIGITS + b".-",
    Mode.END: _DIGITS + b".>",
    Mode.WORDS: b"",
    Mode.GENDER: GENDERS,
    Mode.AFTER_RANGE: b"," + SHUT[:1],
    Mode.DONE: b"",
}
_STEPS: dict[Mode, Callable[[Grammar, State, int], State | None]] = {
    **dict.fromkeys((*_LITERALS, Mode.OPENING), _step_literal),
    Mode.LINE: _step_line,
    Mode.START: _step_start,
    Mode.END: _step_end,
    Mode.WORDS: _step_words,
    Mode.GENDER: _step_gender,
    Mode.RANGE: _step_range,
    Mode.AFTER_RANGE: _step_after_range,
    Mode.DONE: _step_done,
}
