"""Utterances as runs of pieces for subtitles, and what is done where runs of speakers overlap."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from meetscribe.formats.layout import INSIDE_WORD, Piece, Ruler
from meetscribe.formats.timeline import span_ms
from meetscribe.formats.tokens import Token, shown_name, tokens_of
from meetscribe.types import Transcript

Run = list[Piece]
"""The pieces of an utterance, or of a part of it between long pauses, in order; never empty."""

_LONG_PAUSE_MS = 1500
_TURN_CHANGE_MS = 600
_SENTENCE_END = tuple(".?!…。？！｡")
_CLAUSE_END = tuple(",;:，、；：—")
_AFTER_END = "\"'”’」』）)]》"


def runs_of(transcript: Transcript, ruler: Ruler, room: Mapping[str, int]) -> list[Run]:
    """Cut a transcript into runs, by start.

    Parameters
    ----------
    room : for each speaker's shown name, how wide a piece may be
    """
    runs: list[Run] = []
    for utterance in transcript.utterances:
        name = shown_name(transcript, utterance.speaker)
        run: Run = []
        for token in tokens_of(utterance):
            for piece in _fit(token, name, ruler, room[name]):
                if run and piece.start - run[-1].end >= _LONG_PAUSE_MS:
                    runs.append(run)
                    run = []
                run.append(_not_before(piece, run[-1]) if run else piece)
        if run:
            runs.append(run)
    runs.sort(key=lambda run: run[0].start)
    return [_finished(run, number) for number, run in enumerate(runs)]


def _fit(token: Token, name: str, ruler: Ruler, room: int) -> Iterator[Piece]:
    """Make a token a piece, or several if it is too wide."""
    start, end = span_ms(token.start, token.end)
    length, rest, done = len(token.text), token.text, 0
    while rest:
        text = ruler.cut(rest, room)
        rest = rest[len(text) :]
        yield Piece(
            text=text,
            start=start + (end - start) * done // length,
            end=start + (end - start) * (done + len(text)) // length,
            speaker=name,
            run=0,
            spaced=token.spaced and not done,
            width=ruler.width(text),
            cut_cost=INSIDE_WORD if rest else 0.0,
        )
        done += len(text)


def _not_before(piece: Piece, before: Piece) -> Piece:
    if piece.start >= before.start and piece.end >= before.end:
        return piece
    return replace(piece, start=max(piece.start, before.start), end=max(piece.end, before.end))


def _finished(run: Run, number: int) -> Run:
    """Give a run its number and its pieces what cuts after them cost."""
    following = [*run[1:], None]
    return [
        replace(piece, run=number, cut_cost=_cut_cost(piece, after))
        for piece, after in zip(run, following, strict=True)
    ]


def _cut_cost(piece: Piece, after: Piece | None) -> float:
    if after is None:
        return 0.0
    pause = after.start - piece.end
    text = piece.text.rstrip(_AFTER_END)
    if piece.cut_cost == INSIDE_WORD:
        cost = INSIDE_WORD
    elif text.endswith(_SENTENCE_END):
        cost = 0.2
    elif pause >= 500:  # noqa: PLR2004 - ms, longer than between words
        cost = 0.3
    elif text.endswith(_CLAUSE_END) or pause >= 250:  # noqa: PLR2004
        cost = 1.0
    else:
        cost = 3.0
    return cost


def stacking_order(runs: Sequence[Run]) -> list[Piece]:
    """Put the pieces of all speakers in one order by the middle of their time.

    The order of one speaker's pieces is kept. A speaker who starts while another is about to end
    comes after that one, so that an ordinary change of turns is no overlap.
    """
    keyed: list[tuple[float, Piece]] = []
    reached: dict[str, float] = {}
    active: list[Run] = []
    for run in runs:  # by start
        start, end = run[0].start, run[-1].end
        active = [other for other in active if other[-1].end > start]
        leaving = [
            other[-1].end
            for other in active
            if other[0].start < start
            and other[-1].end - start <= _TURN_CHANGE_MS
            and other[-1].end < end
            and other[0].speaker != run[0].speaker
        ]
        key = max([reached.get(run[0].speaker, 0.0), *leaving])
        for piece in run:
            key = max(key, (piece.start + piece.end) / 2)
            keyed.append((key, piece))
        reached[run[0].speaker] = key
        active.append(run)
    return [piece for _, piece in sorted(keyed, key=lambda entry: entry[0])]


def keep_dominant(runs: Sequence[Run]) -> list[Run]:
    """Where several speakers speak at once, drop the words of all but the one with most there.

    A place is a stretch in which at least two are speaking all the time. Of equals the one who
    started first stays.
    """
    marks, crowd = _crowds(runs)
    spoken: dict[int, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for piece in run:
            spoken[_crowd_at(marks, crowd, piece)][piece.speaker] += 1
    stays = {number: max(count, key=count.__getitem__) for number, count in spoken.items()}
    kept: list[Run] = []
    for run in runs:
        hole = True
        for piece in run:
            number = _crowd_at(marks, crowd, piece)
            if number and stays[number] != piece.speaker:
                hole = True
                continue
            if hole:
                kept.append([])
            kept[-1].append(piece)
            hole = False
    kept.sort(key=lambda run: run[0].start)
    return [_renumbered(run, number) for number, run in enumerate(kept)]


def _renumbered(run: Run, number: int) -> Run:
    pieces = [replace(piece, run=number) for piece in run]
    return [*pieces[:-1], replace(pieces[-1], cut_cost=0.0)]


def _crowd_at(marks: Sequence[int], crowd: Sequence[int], piece: Piece) -> int:
    """Give the number of the crowd in which the middle of a piece lies, 0 for none."""
    return crowd[max(bisect_right(marks, (piece.start + piece.end) / 2) - 1, 0)]


def _crowds(runs: Sequence[Run]) -> tuple[list[int], list[int]]:
    """Part the time wherever somebody starts or ends, and number the stretches of overlap.

    Returns
    -------
    the starts of the parts in ms, and for each 0 or the number of the stretch it belongs to
    """
    changes = sorted(
        change
        for run in runs
        for change in ((run[0].start, 1, run[0].speaker), (run[-1].end, -1, run[0].speaker))
    )
    marks, crowd = [0], [0]
    active: Counter[str] = Counter()
    number = 0
    for mark, group in groupby(changes, key=lambda change: change[0]):
        for _, step, speaker in group:
            active[speaker] += step
        crowded = sum(count > 0 for count in active.values()) > 1
        number += crowded and not crowd[-1]
        marks.append(mark)
        crowd.append(number if crowded else 0)
    return marks, crowd
