"""The way from any state of the grammar to its end, so that what it costs can be counted.

It is one way of many: the text part ends at once (or after the words that must be), and the
speaker part names as few speakers as can be. Whoever follows it sees, from every state in
between, the rest of it as the way to the end: so whoever once had tokens enough still has.
"""

from __future__ import annotations

from collections.abc import Sequence

from meetscribe.joint.grammar import (
    AFTER_GENDER,
    FOOT,
    HEAD,
    SHUT,
    TURN_OVER,
    Grammar,
    Mode,
    Span,
    State,
    breaks,
    matching,
    opening,
    with_char,
    with_line,
)
from meetscribe.joint.serialise import Order
from meetscribe.joint.spelling import completion, seconds, smallest


def closing(grammar: Grammar, state: State) -> list[bytes] | None:
    r"""Give a way to the end, in pieces; None if there is none (no room for words that must be).

    The pieces are short and come again and again, so that what each costs can be remembered.

    Examples
    --------
    >>> grammar = Grammar(duration=2.0)
    >>> state = grammar.run(State(), b"<text>\n0.5")
    >>> b"".join(closing(grammar, state)).decode().split("\n")[0]
    '0-0.51>a'
    """
    if state.mode <= Mode.WORDS:
        return _close_text(grammar, state)
    return _close_speakers(grammar, state)


def _close_text(grammar: Grammar, state: State) -> list[bytes] | None:
    pieces = [HEAD[len(state.typed) :]] if state.mode is Mode.HEAD else []
    if state.mode in {Mode.HEAD, Mode.LINE} and not grammar.missing_words(state):
        return [*pieces, TURN_OVER, *_from_first_speaker(grammar, state.lines)]
    if state.mode is Mode.WORDS:
        if state.partial:
            pieces.append(completion(state.partial) or b"")
            state = with_char(state, "a")
    else:
        line = _shortest_line(grammar, state)
        if line is None:
            return None
        written = state.typed if state.mode in {Mode.START, Mode.END} else b""
        if state.mode is Mode.END:
            written = seconds(state.start).encode() + b"-" + written
        pieces.append(line.written[len(written) :] + b">")
        state = state._replace(lines=(*state.lines, line), has_word=False, in_word=False)
    needed = max(grammar.missing_words(state), 0 if state.has_word else 1)
    if needed:
        pieces += [b" a" if state.in_word else b"a", *([b" a"] * (needed - 1))]
    return [*pieces, b"\n" + TURN_OVER, *_from_first_speaker(grammar, state.lines)]


def _shortest_line(grammar: Grammar, state: State) -> Span | None:
    """Give the line that the times being written become: the earliest of all."""
    start: int | None = state.start
    typed = state.typed
    if state.mode is not Mode.END:
        start = smallest(typed if state.mode is Mode.START else b"", *grammar.starts(state.lines))
        typed = b""
    if start is None:
        return None
    end = smallest(typed, *grammar.ends(state.lines, start))
    return None if end is None else Span(start, end)


def _from_first_speaker(grammar: Grammar, lines: Sequence[Span]) -> list[bytes]:
    return _from_speaker(grammar, lines, range(len(lines)), 1)


def _from_speaker(
    grammar: Grammar, lines: Sequence[Span], unused: Sequence[int], speaker: int
) -> list[bytes]:
    """Give the speaker part from a speaker's tag on."""
    pieces: list[bytes] = []
    for position, index in enumerate(unused):
        if position == 0:
            pieces += [_tag(speaker), lines[index].written]
        elif grammar.order is Order.SPEAKER and breaks(lines, index):
            speaker += 1
            pieces += [SHUT, _tag(speaker), lines[index].written]
        else:
            pieces.append(b"," + lines[index].written)
    return [*pieces, SHUT, FOOT] if pieces else [FOOT]


def _tag(speaker: int) -> bytes:
    return opening(speaker) + b"u" + AFTER_GENDER


def _close_speakers(grammar: Grammar, state: State) -> list[bytes]:
    lines, unused, typed = state.lines, state.unused, len(state.typed)
    if state.mode is Mode.DONE:
        return []
    if state.mode is Mode.FOOT:
        return [FOOT[typed:]]
    if state.mode is Mode.TURN_OVER:
        return [TURN_OVER[typed:], *_from_first_speaker(grammar, lines)]
    if state.mode is Mode.SHUT:
        return [SHUT[typed:], *_from_speaker(grammar, lines, unused, state.speaker + 1)]
    if state.mode in {Mode.OPENING, Mode.GENDER, Mode.AFTER_GENDER}:
        tag = _tag(state.speaker)
        written = {
            Mode.OPENING: typed,
            Mode.GENDER: len(tag) - len(AFTER_GENDER) - 1,
            Mode.AFTER_GENDER: len(tag) - len(AFTER_GENDER) + typed,
        }[state.mode]
        return [tag[written:], *_from_speaker(grammar, lines, unused, state.speaker)[1:]]
    return _close_range(grammar, state)


def _close_range(grammar: Grammar, state: State) -> list[bytes]:
    """Give the present speaker all lines that they may have, and the rest to those after."""
    lines = state.lines
    pieces: list[bytes] = []
    if state.mode is Mode.RANGE:
        index = matching(grammar, state)[0]
        pieces.append(lines[index].written[len(state.typed) :])
        state = with_line(state, index)
    later = [index for index in state.unused if index > state.last]
    if grammar.order is Order.SPEAKER:
        later = later[: next((i for i, index in enumerate(later) if breaks(lines, index)), None)]
    pieces += [b"," + lines[index].written for index in later]
    unused = [index for index in state.unused if index not in later]
    return [*pieces, SHUT, *_from_speaker(grammar, lines, unused, state.speaker + 1)]
