"""Word error rates of meetings: single stream, cp, tcp, ORC and tcORC, on tokens of any kind.

Tokens come normalised; with characters for tokens cpWER is cpCER. All metrics order segments by
their start (those that start together stay as given), so starts must be numbers even where they
say no more than the order. A speaker may overlap himself: his segments are still joined in order
of start. Segments without tokens add no errors, but their speakers count. Sums over sessions are
sums of the counts given here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from meetscribe.errors import ConfigError, FormatError
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words import combination
from meetscribe.evaluate.words.alignment import (
    distance,
    edits,
    has_meeteval,
    timed_distance,
    timed_edits,
)
from meetscribe.evaluate.words.streams import Numbering, Stream, TokenSegment, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CpErrors",
    "TokenSegment",
    "cp",
    "has_meeteval",
    "orc",
    "single_stream",
    "tcorc",
    "tcp",
]

_Tokens = TypeVar("_Tokens", bound=Sized)

_BETWEEN = "\0"
"""What no token contains, for jiwer, which takes a line and cuts it itself."""


@dataclass(frozen=True, slots=True)
class CpErrors:
    """Errors under the best one-to-one pairing of speakers.

    ``assignment`` gives every reference speaker's hypothesis speaker, None where there are too
    few. Where pairings cost the same, another correct program may choose another.
    """

    errors: WordErrors
    assignment: Mapping[str, str | None]
    missed_speakers: int
    falarm_speakers: int
    scored_speakers: int


def single_stream(
    reference: Sequence[TokenSegment], hypothesis: Sequence[TokenSegment]
) -> WordErrors:
    """Count errors with the speakers left aside: all segments of a side joined by start (jiwer).

    It charges for the order in which overlapping speech is written down; ``orc`` does not.
    """
    import jiwer

    cut = jiwer.ReduceToListOfListOfWords(_BETWEEN)
    found = jiwer.process_words(_joined(reference), _joined(hypothesis), cut, cut)
    return WordErrors(
        found.substitutions + found.deletions + found.insertions,
        found.hits + found.substitutions + found.deletions,
        found.substitutions,
        found.deletions,
        found.insertions,
    )


def cp(reference: Sequence[TokenSegment], hypothesis: Sequence[TokenSegment]) -> CpErrors:
    """Count errors per speaker under the best pairing of speakers (cpWER).

    A missed speaker is all deletions, an extra one all insertions (S. Watanabe et al., "CHiME-6
    Challenge", 2020). Equal to meeteval's cpWER, but without its limit of 20 speakers: the pairing
    is found in polynomial time, however many there are.
    """
    numbering = Numbering()
    ours, theirs = numbering.by_speaker(reference), numbering.by_speaker(hypothesis)
    return _pair(ours, theirs, distance, edits)


def tcp(
    reference: Sequence[TokenSegment], hypothesis: Sequence[TokenSegment], *, collar: float
) -> CpErrors:
    """Count errors as cp does, but pair only tokens said at about the same time (tcpWER).

    A segment's span is divided among its tokens by their lengths in code points. A reference
    token owns its piece; a hypothesis token keeps only the middle of its piece, ``collar``
    seconds wide on both sides. So segments of one word each carry real word times. There is no
    limit on the number of speakers.

    Raises
    ------
    DependencyError
        If meeteval is missing.
    FormatError
        If a segment has no times, or ends before it starts.
    ConfigError
        If ``collar`` is negative.
    """
    _check_times(reference, hypothesis, collar)
    numbering = Numbering()
    ours, theirs = numbering.by_speaker(reference), numbering.by_speaker(hypothesis)
    theirs = {speaker: stream.widened(collar) for speaker, stream in theirs.items()}
    return _pair(ours, theirs, timed_distance, timed_edits)


def orc(
    reference: Sequence[TokenSegment],
    hypothesis: Sequence[TokenSegment],
    *,
    exact: bool | None = None,
) -> WordErrors:
    """Count errors with every reference segment given to the stream where it fits (ORC-WER).

    Reference segments stay whole and in order; who said them does not matter. ``WordErrors.exact``
    says whether the count is proven to be the smallest or an upper bound.

    Parameters
    ----------
    exact : True searches for the smallest count, False only greedily (upper bound, any number of
        streams); None takes the exact search where it needs seconds, else the greedy one

    Raises
    ------
    DependencyError
        If meeteval is missing.
    ConfigError
        If ``exact`` is True and the search too large.
    """
    utterances, speakers, streams = _utterances_and_streams(reference, hypothesis)
    length = sum(map(len, utterances))
    if len(streams) <= 1 or not utterances:  # nothing to choose
        return _summed(utterances, streams, [0] * len(utterances), edits)
    initial = _initial(utterances, speakers, streams, distance)
    assignment = combination.greedy(utterances, streams, initial)
    found = _summed(utterances, streams, assignment, edits)
    if found.errors == combination.fewest_possible(utterances, streams):
        return found
    if exact is not False and combination.exact_is_feasible(utterances, streams):
        return _summed(utterances, streams, combination.exact(utterances, streams), edits)
    if exact:
        raise ConfigError(
            f"exact ORC-WER of {length} tokens against "
            f"{combination.describe_size(utterances, streams)}: too large",
            hint="exact=None takes the greedy upper bound where the exact search is too large",
        )
    return _bound(found)


def tcorc(
    reference: Sequence[TokenSegment], hypothesis: Sequence[TokenSegment], *, collar: float
) -> WordErrors:
    """Count errors as orc does, greedily, pairing only tokens said at about the same time.

    Times and ``collar`` as in tcp. The count is an upper bound.

    Raises
    ------
    DependencyError, FormatError, ConfigError
        As tcp.
    """
    _check_times(reference, hypothesis, collar)
    utterances, speakers, streams = _utterances_and_streams(reference, hypothesis)
    streams = [stream.widened(collar) for stream in streams]
    if len(streams) <= 1 or not utterances:
        return _summed(utterances, streams, [0] * len(utterances), timed_edits)
    initial = _initial(utterances, speakers, streams, timed_distance)
    assignment = combination.greedy(utterances, streams, initial, timed=True)
    found = _summed(utterances, streams, assignment, timed_edits)
    if found.errors == combination.fewest_possible(utterances, streams):
        return found
    return _bound(found)


def _pair(
    reference: Mapping[str, _Tokens],
    hypothesis: Mapping[str, _Tokens],
    measure: Callable[[_Tokens, _Tokens], int],
    explain: Callable[[_Tokens, _Tokens], WordErrors],
) -> CpErrors:
    """Pair speakers so that the errors are fewest, then split those into kinds."""
    ours, theirs = list(reference), list(hypothesis)
    rows, columns = _assign(_costs(reference, hypothesis, measure), reference, hypothesis)
    pairs = {ours[row]: theirs[column] for row, column in zip(rows, columns, strict=True)}
    errors = WordErrors()
    for speaker, said in reference.items():
        if speaker in pairs:
            errors += explain(said, hypothesis[pairs[speaker]])
        else:
            errors += WordErrors(len(said), len(said), deletions=len(said))
    paired = set(pairs.values())
    for speaker, said in hypothesis.items():
        if speaker not in paired:
            errors += WordErrors(len(said), 0, insertions=len(said))
    return CpErrors(
        errors=errors,
        assignment={speaker: pairs.get(speaker) for speaker in ours},
        missed_speakers=max(0, len(ours) - len(theirs)),
        falarm_speakers=max(0, len(theirs) - len(ours)),
        scored_speakers=len(ours),
    )


def _costs(
    reference: Mapping[str, _Tokens],
    hypothesis: Mapping[str, _Tokens],
    measure: Callable[[_Tokens, _Tokens], int],
) -> NDArray[np.int64]:
    """Give the distance of every pair of speakers, shape (reference, hypothesis)."""
    rows = [[measure(said, heard) for heard in hypothesis.values()] for said in reference.values()]
    return np.asarray(rows, dtype=np.int64).reshape(len(reference), len(hypothesis))


def _assign(
    costs: NDArray[np.int64],
    reference: Mapping[str, Sized],
    hypothesis: Mapping[str, Sized],
) -> tuple[list[int], list[int]]:
    """Give the pairs (row, column) of the best pairing; as many as the smaller side has."""
    from scipy.optimize import linear_sum_assignment

    # What a pair saves against leaving both alone is never negative, so all who can are paired.
    ours = np.asarray([len(said) for said in reference.values()], dtype=np.int64)
    theirs = np.asarray([len(said) for said in hypothesis.values()], dtype=np.int64)
    rows, columns = linear_sum_assignment(costs - ours[:, None] - theirs[None, :])
    return rows.tolist(), columns.tolist()


def _utterances_and_streams(
    reference: Iterable[TokenSegment], hypothesis: Iterable[TokenSegment]
) -> tuple[list[Stream], list[str], list[Stream]]:
    """Give the reference utterances in order, who says each, and the hypothesis streams.

    What has no tokens is left out: it costs nothing wherever it goes.
    """
    numbering = Numbering()
    spoken = [segment for segment in in_order(reference) if segment.tokens]
    utterances = [numbering.stream([segment]) for segment in spoken]
    heard = numbering.by_speaker(segment for segment in hypothesis if segment.tokens)
    return utterances, [segment.speaker for segment in spoken], list(heard.values())


def _initial(
    utterances: Sequence[Stream],
    speakers: Sequence[str],
    streams: Sequence[Stream],
    measure: Callable[[Stream, Stream], int],
) -> list[int]:
    """Give the stream of every utterance by the best pairing of speakers, or else the nearest."""
    own: dict[str, list[Stream]] = {}
    for speaker, utterance in zip(speakers, utterances, strict=True):
        own.setdefault(speaker, []).append(utterance)
    ours = {speaker: Stream.joined(parts) for speaker, parts in own.items()}
    theirs = {str(number): stream for number, stream in enumerate(streams)}
    costs = _costs(ours, theirs, measure)
    rows, columns = _assign(costs, ours, theirs)
    chosen = dict(zip(rows, columns, strict=True))
    by_speaker = {
        speaker: chosen.get(row, int(costs[row].argmin())) for row, speaker in enumerate(ours)
    }
    return [by_speaker[speaker] for speaker in speakers]


def _summed(
    utterances: Sequence[Stream],
    streams: Sequence[Stream],
    assignment: Sequence[int],
    explain: Callable[[Stream, Stream], WordErrors],
) -> WordErrors:
    """Sum the errors of all streams, given which utterances each of them gets."""
    heard = streams or [Stream.joined([])]  # nothing heard is one silent stream
    own: list[list[Stream]] = [[] for _ in heard]
    for stream, utterance in zip(assignment, utterances, strict=True):
        own[stream].append(utterance)
    explained = (explain(Stream.joined(a), b) for a, b in zip(own, heard, strict=True))
    return sum(explained, WordErrors())


def _bound(found: WordErrors) -> WordErrors:
    return WordErrors(
        found.errors,
        found.length,
        found.substitutions,
        found.deletions,
        found.insertions,
        exact=False,
    )


def _joined(segments: Iterable[TokenSegment]) -> str:
    return _BETWEEN.join(token for segment in in_order(segments) for token in segment.tokens)


def _check_times(
    reference: Iterable[TokenSegment], hypothesis: Iterable[TokenSegment], collar: float
) -> None:
    if not collar >= 0:
        raise ConfigError(f"collar of {collar} s: expected 0 or more")
    for side, segments in (("reference", reference), ("hypothesis", hypothesis)):
        for segment in segments:
            start, end = segment.start, segment.end
            if not (math.isfinite(start) and math.isfinite(end) and start <= end):
                raise FormatError(
                    f"{side}, speaker {segment.speaker}: segment from {start} to {end} s; "
                    "a time-constrained metric needs both times, the start first",
                    hint="leave out tcp and tcorc, or give the segments times",
                )
