"""Pieces of a recording and the attempts to decode them: putting together, cutting in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.recognize import guard
from meetscribe.recognize.model import Decoded
from meetscribe.recognize.vad import FRAME_S
from meetscribe.types import Segment, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the recording with its sound and the speech probability of 32 ms frames."""

    region: Segment
    samples: NDArray[np.float32]
    speech_t: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One decoding of a piece."""

    decoded: Decoded
    verdict: guard.Verdict
    words: tuple[Word, ...]
    skipped_s: float

    @property
    def order(self) -> tuple[float, ...]:
        """Lower is better."""
        return (self.verdict.badness, round(self.skipped_s), -self.decoded.avg_logprob)


def joined(parts: Sequence[Attempt]) -> Attempt:
    """Make one attempt of those at the parts of a piece."""
    weights = [max(1, len(part.decoded.tokens)) for part in parts]
    logprobs = [part.decoded.avg_logprob for part in parts]
    decoded = Decoded(
        tokens=tuple(token for part in parts for token in part.decoded.tokens),
        text=" ".join(part.decoded.text for part in parts),
        avg_logprob=float(np.average(logprobs, weights=weights)),
        no_speech=min(part.decoded.no_speech for part in parts),
    )
    worst = max((part.verdict for part in parts), key=lambda verdict: verdict.badness)
    return Attempt(
        decoded,
        replace(worst, silent=all(part.verdict.silent for part in parts)),
        tuple(word for part in parts for word in part.words),
        sum(part.skipped_s for part in parts),
    )


def in_two(piece: Piece) -> tuple[Piece, Piece]:
    """Cut a piece where speech is least likely, in its middle half."""
    frames = len(piece.speech_t)
    low, high = frames // 4, max(frames // 4 + 1, 3 * frames // 4)
    smooth = np.convolve(piece.speech_t, np.ones(7) / 7, mode="same")
    frame = low + int(np.argmin(smooth[low:high]))
    at, sample = frame * FRAME_S, int(frame * FRAME_S * 16_000)
    middle = min(piece.region.start + at, piece.region.end)
    return (
        Piece(Segment(piece.region.start, middle), piece.samples[:sample], piece.speech_t[:frame]),
        Piece(Segment(middle, piece.region.end), piece.samples[sample:], piece.speech_t[frame:]),
    )
