"""An utterance group: a clip, and everything that is said in it.

Axes: C channel, N sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meetscribe.types import SAMPLE_RATE_HZ, Utterance

Samples = NDArray[np.float32]

_MARGIN_S = 0.1
"""Around both halves of a group that is split, where the pause has that much."""


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """A clip to learn from.

    Parameters
    ----------
    samples_n : float32, shape (N,), 16 kHz: what a model of one channel hears
    utterances : sorted by start, in seconds from the start of the clip and inside it; each with
        words and a speaker, whose name means nothing outside of the group
    samples_cn : float32, shape (C, N): all microphones, None where one is all there is
    alone : for arrays: speakers and a moment in which each is heard alone elsewhere in the
        meeting, shape (C, N) each; of none where that is not known
    source : "simulated", or the name of a corpus
    """

    samples_n: Samples
    utterances: tuple[Utterance, ...]
    samples_cn: Samples | None = None
    alone: tuple[tuple[str, Samples], ...] = ()
    source: str = "simulated"

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples_n) / SAMPLE_RATE_HZ

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names in order of first appearance."""
        return tuple(dict.fromkeys(one.speaker for one in self.utterances))

    def part(self, start: float, end: float) -> Group:
        """Give the clip between two times that no utterance crosses."""
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        begin, length = first / SAMPLE_RATE_HZ, (last - first) / SAMPLE_RATE_HZ
        return Group(
            self.samples_n[first:last],
            tuple(
                # a time may be half a sample outside
                replace(
                    one,
                    start=max(0.0, one.start - begin),
                    end=min(length, one.end - begin),
                    words=(),
                )
                for one in self.utterances
                if start <= one.start and one.end <= end
            ),
            None if self.samples_cn is None else self.samples_cn[:, first:last],
            self.alone,
            self.source,
        )


def split(group: Group) -> tuple[Group, Group] | None:
    """Cut a group in its longest pause, None where somebody always speaks.

    Nothing that is said is lost: an utterance is in one of the two as a whole.
    """
    end, best = 0.0, (0.0, 0.0, 0.0)
    for number, one in enumerate(group.utterances):
        if number and one.start - end > best[0]:
            best = (one.start - end, end, one.start)
        end = max(end, one.end)
    pause_s, before, after = best
    if not pause_s:
        return None
    margin_s = min(_MARGIN_S, pause_s / 2)
    return group.part(0.0, before + margin_s), group.part(after - margin_s, group.duration)
