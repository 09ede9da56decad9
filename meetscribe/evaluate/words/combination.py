"""Which hypothesis stream each reference utterance goes to, for ORC-WER (meeteval searches).

The best combination of references is the one with the fewest errors summed over streams (T. von
Neumann et al., "On Word Error Rate Definitions and their Efficient Computation for Multi-Speaker
Speech Recognition Systems", ICASSP 2023). Finding it costs the product of the streams' lengths;
the greedy search moves one utterance at a time and gives an upper bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from meetscribe.evaluate.words.alignment import meeteval
from meetscribe.evaluate.words.streams import Stream

MAX_UPDATES = 2_000_000_000
"""Cells that the exact search may update: 2 to 4 ns each, so under ten seconds."""
MAX_STATES = 60_000_000
"""Cells that it may keep, 16 bytes each: about 1 GB."""
PIECE_TOKENS = 5000
"""The greedy search takes this many reference tokens at a time; its cost is their square."""


def exact_is_feasible(utterances: Sequence[Stream], streams: Sequence[Stream]) -> bool:
    """Tell whether the exact search takes seconds and fits into memory."""
    updates, states = _size(utterances, streams)
    return updates <= MAX_UPDATES and states <= MAX_STATES


def describe_size(utterances: Sequence[Stream], streams: Sequence[Stream]) -> str:
    """Say how large the exact search would be."""
    updates, states = _size(utterances, streams)
    lengths = "+".join(str(len(stream)) for stream in streams)
    return f"{len(streams)} streams of {lengths} tokens: {updates:.0e} steps, {16 * states:.0e} B"


def fewest_possible(utterances: Sequence[Stream], streams: Sequence[Stream]) -> int:
    """Give a bound that no combination is below: tokens without a partner, order left aside."""
    ours = Counter(token for utterance in utterances for token in utterance.ids)
    theirs = Counter(token for stream in streams for token in stream.ids)
    return max(ours.total(), theirs.total()) - (ours & theirs).total()


def exact(utterances: Sequence[Stream], streams: Sequence[Stream]) -> list[int]:
    """Give the stream of every utterance, with the fewest errors there are.

    Neither side nor any utterance may be empty.
    """
    matching = meeteval("mimo_matching")
    _, assignment = matching.mimo_matching(
        [[utterance.ids for utterance in utterances]], [stream.ids for stream in streams]
    )
    return [int(stream) for _, stream in assignment]


def greedy(
    utterances: Sequence[Stream],
    streams: Sequence[Stream],
    initial: Sequence[int],
    *,
    timed: bool = False,
) -> list[int]:
    """Give a stream for every utterance, starting from ``initial`` and moving one at a time.

    Long sessions are searched in pieces, so that time and memory grow with the length and not
    with its square. An utterance then competes with those of its own piece only; the errors of
    the assignment stay an upper bound. Neither side nor any utterance may be empty.
    """
    matching = meeteval("greedy_combination_matching")
    search = (
        matching.greedy_time_constrained_combination_matching
        if timed
        else matching.greedy_combination_matching
    )
    made: list[int] = []
    for first, stop, cut in _pieces(utterances, streams):
        _, assignment = search(
            [_tokens(utterance, timed) for utterance in utterances[first:stop]],
            [_tokens(stream, timed) for stream in cut],
            initial_assignment=list(initial[first:stop]),
        )
        made += map(int, assignment)
    return made


def _size(utterances: Sequence[Stream], streams: Sequence[Stream]) -> tuple[int, int]:
    states = math.prod(len(stream) + 1 for stream in streams)
    tokens = sum(map(len, utterances))
    return states * tokens * len(streams), states * (len(utterances) + 1)


def _tokens(stream: Stream, timed: bool) -> list[int] | list[tuple[int, float, float]]:
    if not timed:
        return stream.ids
    times = stream.times_n2.tolist()
    return [(token, start, end) for token, (start, end) in zip(stream.ids, times, strict=True)]


def _pieces(
    utterances: Sequence[Stream], streams: Sequence[Stream]
) -> Iterator[tuple[int, int, list[Stream]]]:
    """Cut a session where an utterance begins: (first utterance, after the last, streams)."""
    ends = [0]
    tokens = 0
    for number, utterance in enumerate(utterances):
        tokens += len(utterance)
        if tokens >= PIECE_TOKENS:
            ends.append(number + 1)
            tokens = 0
    if ends[-1] < len(utterances):
        ends.append(len(utterances))
    done = [0] * len(streams)
    for first, stop in pairwise(ends):
        upto = [len(stream) for stream in streams]
        if stop < len(utterances):
            begin = utterances[stop].times_n2[0, 0]
            upto = [int(np.count_nonzero(stream.centres_n < begin)) for stream in streams]
        yield first, stop, [s.part(a, b) for s, a, b in zip(streams, done, upto, strict=True)]
        done = upto
