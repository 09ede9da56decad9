"""The signal of one speaker out of his own close microphone, without the others that bleed into it.

While he speaks the others are far below him and do no harm; where he pauses they are heard alone,
and a recogniser would write down what they say. So his channel is turned down outside his turns.

Axes: C channel, N sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from meetscribe.config import Settings
from meetscribe.types import SAMPLE_RATE_HZ, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.streams import ChannelReader

_FADE_S = 0.02


class BleedSettings(Settings):
    """How other people are removed from the channel of a speaker."""

    margin_s: float = Field(
        0.2, ge=0, le=2, description="what is left of a channel around its speaker's turns"
    )
    mute_db: float = Field(60.0, ge=0, description="how far the rest is turned down")
    target_db: float | None = Field(
        -26.0, le=0, description="level that a speaker is brought to, of full scale; None: his own"
    )


@dataclass(frozen=True, slots=True)
class OwnSignal:
    """One channel in the turns of its speaker, as an ``AudioReader``.

    Attributes
    ----------
    starts_s, ends_s : of the stretches that are heard, ascending and apart
    inside, outside : gains there and elsewhere
    """

    channels: ChannelReader
    channel: int
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    inside: float = 1.0
    outside: float = 0.0

    @classmethod
    def of(
        cls,
        channels: ChannelReader,
        channel: int,
        turns: Iterable[Turn],
        settings: BleedSettings,
        *,
        level_db: float,
    ) -> Self:
        """Make the signal of the speaker whose turns these are.

        Parameters
        ----------
        channel : the one he speaks into
        level_db : of his speech there, dB of full scale
        """
        spans: list[tuple[float, float]] = []
        for turn in sorted(turns):
            start, end = max(0.0, turn.start - settings.margin_s), turn.end + settings.margin_s
            if spans and start <= spans[-1][1]:
                start, end = spans[-1][0], max(end, spans.pop()[1])
            spans.append((start, end))
        gain_db = 0.0 if settings.target_db is None else settings.target_db - level_db
        return cls(
            channels,
            channel,
            tuple(start for start, _ in spans),
            tuple(end for _, end in spans),
            10 ** (gain_db / 20),
            10 ** ((gain_db - settings.mute_db) / 20),
        )

    @property
    def duration(self) -> float:
        """Length in seconds, of the whole recording."""
        return self.channels.duration

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        """Give the samples from ``start`` to ``end`` in seconds: float32, (N,), in [-1, 1]."""
        samples_n = self.channels.read_cn(start, end)[self.channel]
        first = round(start * SAMPLE_RATE_HZ)
        time_n = np.arange(first, first + len(samples_n)) / SAMPLE_RATE_HZ
        gain_n = self.outside + (self.inside - self.outside) * self._heard(time_n)
        return np.asarray(np.clip(samples_n * gain_n, -1, 1), np.float32)

    def _heard(self, time_n: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give 1 inside the stretches and 0 outside, with slopes of 20 ms outside."""
        if not self.starts_s:
            return np.zeros(len(time_n))
        starts, ends = np.array(self.starts_s), np.array(self.ends_s)
        # of the stretches on both sides of a moment only the nearest of each counts
        before_n = np.clip(np.searchsorted(starts, time_n, side="right") - 1, 0, None)
        after_n = np.clip(before_n + 1, None, len(starts) - 1)
        away_n = np.full(len(time_n), np.inf)
        for index_n in (before_n, after_n):
            gap_n = np.maximum(starts[index_n] - time_n, time_n - ends[index_n])
            away_n = np.minimum(away_n, np.maximum(gap_n, 0.0))
        return np.asarray(np.clip(1 - away_n / _FADE_S, 0, 1))
