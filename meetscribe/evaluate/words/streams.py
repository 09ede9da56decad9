"""Segments of tokens, and the streams of numbered, timed tokens that edit distances are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenSegment:
    """What one speaker says in one stretch, normalised and cut into tokens.

    ``start`` and ``end`` are seconds. ``tokens`` are words, characters or a mixture, none of them
    empty; a segment without any stands for speech whose text vanished, and its speaker counts.
    """

    speaker: str
    start: float
    end: float
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens in the order in which they are said.

    Parameters
    ----------
    ids : a number per token, equal for equal tokens
    times_n2 : seconds, shape (N, 2), from where to where each token counts as said
    """

    ids: list[int]
    times_n2: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, stop: int) -> Stream:
        """Give the tokens from ``start`` up to ``stop``."""
        return Stream(self.ids[start:stop], self.times_n2[start:stop])

    @property
    def centres_n(self) -> NDArray[np.float64]:
        """Middle of each token's time in seconds, shape (N,)."""
        centres: NDArray[np.float64] = (self.times_n2[:, 1] + self.times_n2[:, 0]) / 2
        return centres

    def widened(self, collar: float) -> Stream:
        """Keep only the middle of each token's time, and ``collar`` seconds on both sides."""
        centres = self.centres_n
        return Stream(self.ids, np.stack([centres - collar, centres + collar], axis=1))

    @classmethod
    def joined(cls, streams: Iterable[Stream]) -> Stream:
        """Put streams one after another."""
        streams = list(streams)
        times = [np.empty((0, 2)), *(stream.times_n2 for stream in streams)]
        return cls([token for stream in streams for token in stream.ids], np.concatenate(times))


class Numbering:
    """Numbers for tokens, in order of first appearance; one numbering for both sides of a score."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def stream(self, segments: Iterable[TokenSegment]) -> Stream:
        """Join the segments in the order given; each divides its time among its tokens."""
        segments = list(segments)
        known = self._known
        ids = [
            known.setdefault(token, len(known)) for segment in segments for token in segment.tokens
        ]
        times = list(chain.from_iterable(map(_token_times, segments)))
        return Stream(ids, np.asarray(times, dtype=np.float64).reshape(-1, 2))

    def by_speaker(self, segments: Iterable[TokenSegment]) -> dict[str, Stream]:
        """Give each speaker's segments joined in order of start, speakers as they appear."""
        own: dict[str, list[TokenSegment]] = {}
        for segment in in_order(segments):
            own.setdefault(segment.speaker, []).append(segment)
        return {speaker: self.stream(spoken) for speaker, spoken in own.items()}


def in_order(segments: Iterable[TokenSegment]) -> list[TokenSegment]:
    """Sort by start; segments that start together stay as they were given."""
    return sorted(segments, key=lambda segment: segment.start)


def _token_times(segment: TokenSegment) -> Sequence[tuple[float, float]]:
    """Divide a segment's span among its tokens by their lengths in code points."""
    lengths = [len(token) for token in segment.tokens]
    if len(lengths) <= 1:
        return [(segment.start, segment.end)] * len(lengths)
    unit = (segment.end - segment.start) / sum(lengths)
    edges = [segment.start + unit * before for before in accumulate(lengths, initial=0)]
    return list(pairwise(edges))
