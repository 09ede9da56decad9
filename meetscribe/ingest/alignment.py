"""How the channels of a recording lie against each other in time, over all excerpts together.

Excerpts differ, because people sit at different places and because a short stretch may mislead;
what the recorder does to a channel is the same in all of them.

Axes: C channel, E excerpt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.excerpts import ChannelSurvey
from meetscribe.ingest.lags import SHARP

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LATE_S = 0.035
"""Sound needs this long for 12 m: no two microphones that hear the same people lie that far."""
_STEADY_S = 0.030
_STEADY_SHARE = 0.7
_LEAST_EXCERPTS = 3
_UPSIDE_DOWN = 0.7
_UPSIDE_DOWN_SHARE = 0.9
_DRIFT_S = 0.040
_DRIFT_EXCERPTS = 8
_DRIFT_RESIDUAL = 0.2
_DRIFT_MOST = 3e-4
"""Clocks differ by 200 millionths at the very most; faster is people taking turns."""
_ROUNDS = 3


@dataclass(frozen=True)
class Alignment:
    """Lags of some channels against the one in the middle, excerpt by excerpt.

    ``lag_s_ec`` is NaN where an excerpt does not say; ``low_correlation_ec`` has the sign that
    most channels agree on.
    """

    channels: tuple[int, ...]
    start_e: NDArray[np.float64]
    lag_s_ec: NDArray[np.float64]
    low_correlation_ec: NDArray[np.float64]

    @classmethod
    def of(cls, heard: ChannelSurvey, channels: Sequence[int]) -> Alignment:
        """Compare some channels of a recording with one another."""
        columns = list(channels)
        sharp_ec = heard.sharpness_ec[:, columns] >= SHARP
        lag_s_ec = np.where(sharp_ec, heard.lag_s_ec[:, columns], np.nan)
        told = sharp_ec.sum(axis=1) >= 2 if columns else np.zeros(0, bool)  # noqa: PLR2004
        low_ec = np.where(sharp_ec, heard.low_correlation_ec[:, columns], 0.0)[told]
        sign_e1 = np.where(np.sign(low_ec).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        return cls(
            channels=tuple(channels),
            start_e=heard.start_e[told],
            lag_s_ec=_against_middle(lag_s_ec[told]),
            low_correlation_ec=low_ec * sign_e1,
        )

    def late_s(self, channel: int) -> float:
        """Give how late a channel is, 0 unless that is a fault; below 0 is early."""
        lag_s_e = self._told(channel)
        if not lag_s_e.size:
            return 0.0
        middle = float(np.median(lag_s_e))
        steady = np.abs(lag_s_e - middle) <= _STEADY_S
        few = np.count_nonzero(steady) < min(_LEAST_EXCERPTS, len(self.start_e))
        if few or steady.mean() < _STEADY_SHARE or abs(middle) < _LATE_S:
            return 0.0
        return float(np.median(lag_s_e[steady]))

    def is_flipped(self, channel: int) -> bool:
        """Tell whether a channel of a compact array is certainly the other way round."""
        if len(self.channels) <= 2 or len(self.start_e) < _LEAST_EXCERPTS:  # noqa: PLR2004
            return False
        middle_c = np.median(self.low_correlation_ec, axis=0)
        if np.median(np.abs(middle_c)) < _UPSIDE_DOWN:
            return False  # not a compact array: microphones apart differ as if they were turned
        column = self.channels.index(channel)
        down = float(np.mean(self.low_correlation_ec[:, column] < 0))
        return bool(middle_c[column] <= -_UPSIDE_DOWN) and down >= _UPSIDE_DOWN_SHARE

    def drift_s(self, channel: int) -> float:
        """Give by how much a channel gets later over the recording, 0 unless that is sure."""
        column = self.channels.index(channel)
        told_e = np.isfinite(self.lag_s_ec[:, column])
        if np.count_nonzero(told_e) < _DRIFT_EXCERPTS:
            return 0.0
        start_e, lag_s_e = self.start_e[told_e], self.lag_s_ec[told_e, column]
        slope = _slope(start_e, lag_s_e)
        drift_s = float(slope * (start_e[-1] - start_e[0]))
        rest_e = lag_s_e - slope * start_e
        rest_s = float(np.median(np.abs(rest_e - np.median(rest_e))))
        sure = abs(slope) <= _DRIFT_MOST and rest_s <= _DRIFT_RESIDUAL * abs(drift_s)
        return drift_s if sure and abs(drift_s) >= _DRIFT_S else 0.0

    def _told(self, channel: int) -> NDArray[np.float64]:
        lag_s_e = self.lag_s_ec[:, self.channels.index(channel)]
        return np.asarray(lag_s_e[np.isfinite(lag_s_e)])


def _against_middle(lag_s_ec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count lags from the channel in the middle, of two channels from the first.

    Excerpts have references of their own, and not all channels have a lag in each. So every
    excerpt is moved to where its channels agree best with what they say in the others.
    """
    if lag_s_ec.shape[1] == 2:  # noqa: PLR2004 - nobody says which of two has moved
        return np.asarray(lag_s_ec - lag_s_ec[:, :1])
    own_c = np.zeros(lag_s_ec.shape[1])
    for _ in range(_ROUNDS):
        moved_e = _medians(lag_s_ec - own_c)
        own_c = _medians((lag_s_ec - moved_e[:, None]).T)
    known = np.isfinite(lag_s_ec).any(axis=0)
    ordered = np.sort(own_c[known])
    middle = ordered[(ordered.size - 1) // 2] if ordered.size else 0.0
    return np.asarray(lag_s_ec - moved_e[:, None] - middle)


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the median of what is known of each row, 0 where nothing is."""
    known = (row[np.isfinite(row)] for row in rows)
    return np.array([np.median(row) if row.size else 0.0 for row in known])


def _slope(x_n: NDArray[np.float64], y_n: NDArray[np.float64]) -> float:
    """Give the median of the slopes between all pairs of points (Theil and Sen)."""
    one, other = np.triu_indices(len(x_n), 1)
    return float(np.median((y_n[other] - y_n[one]) / np.maximum(x_n[other] - x_n[one], 1e-9)))


def find_late(heard: ChannelSurvey, channels: Sequence[int]) -> dict[int, float]:
    """Give the seconds by which channels are late, below 0 for early; only of those that are."""
    lags = Alignment.of(heard, channels)
    late = ((channel, lags.late_s(channel)) for channel in channels)
    return {channel: late_s for channel, late_s in late if late_s}
