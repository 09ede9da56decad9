"""Guess what the channels of a recording are: an array, one per speaker, or a stereo mix.

What separates them is how much the difference in level between two channels moves while people
talk. Between microphones that hear everybody it hardly moves; between close microphones of two
people it swings from one side to the other as they take turns, whatever their gains are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meetscribe.ingest.alignment import find_late
from meetscribe.ingest.excerpts import FRAME_S, ChannelSurvey, survey
from meetscribe.ingest.faults import SAME_OF_MANY, find_deaf
from meetscribe.ingest.lags import SHARP
from meetscribe.types import Layout, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray


SAME_CORRELATION = 0.98
"""Two channels from here on are copies, also after lossy coding."""
_SWING_DB = 20.0
"""Simulated rooms: arrays 1 to 6 dB, far microphones over a table 11 to 17, panned stereo up to
17; lapels 30 to 39, headsets 48 and more, 21 where one person does nearly all the talking."""
_STEREO = 2
_LEAD_DB = 9.0
_LEAD_SHARE = 0.01
_SHARED_SHARE = 0.9
_SMOOTH = (0.25, 0.5, 0.25)


def guess_layout(recording: Recording) -> tuple[Layout, str]:
    """Guess the layout from excerpts, and say in one line what the guess rests on.

    Returns
    -------
    layout : MONO for one channel; MIX or PER_SPEAKER for two; any but MONO for more
    reason : one line for the person who reads the output

    Raises
    ------
    AudioError
        If a file cannot be read.
    """
    if recording.num_channels == 1:
        return Layout.MONO, "one channel"
    return _guess(recording.num_channels, survey(recording))


def _guess(num: int, heard: ChannelSurvey) -> tuple[Layout, str]:
    alive = np.flatnonzero(heard.alive_c)
    many = Layout.ARRAY if num > _STEREO else Layout.MIX
    if not alive.size or not heard.active_t.any():
        return many, f"{num} channels without sound; nothing to tell them by"
    if alive.size == 1:
        return Layout.MIX, f"only channel {alive[0]} of {num} carries sound"
    if _all_copies(heard.correlation_cc[np.ix_(alive, alive)], num):
        return Layout.MIX, f"{num} channels are copies of one signal"
    # a channel of noise alone swings against all the others
    hearing = np.setdiff1d(alive, find_deaf(heard))
    level_db_ct = _levels_in_line(heard)[hearing][:, heard.active_t]
    level_db_ct = level_db_ct[:, np.isfinite(level_db_ct).all(axis=0)]
    if not level_db_ct.size:
        return many, f"{num} channels too far apart in time to be compared"
    swing_db = _swing_db(level_db_ct)
    leads = int(np.count_nonzero(_lead_share_c(level_db_ct) >= _LEAD_SHARE))
    found = (
        f"level differences move by {swing_db:.0f} dB, coherence between channels "
        f"{heard.coherence:.2f}"
    )
    # far microphones of a large room swing too where one or two stand close to somebody
    few = leads < hearing.size / 2 and _hear_the_same(heard, hearing)
    if swing_db >= _SWING_DB and leads > 1 and not few:
        return Layout.PER_SPEAKER, f"{leads} of {num} channels lead in turns ({found})"
    who = "both" if many is Layout.MIX else f"{hearing.size} of {num}"
    return many, f"{who} channels hear everybody ({found})"


def _hear_the_same(heard: ChannelSurvey, channels: NDArray[np.int64]) -> bool:
    sharp_ec = heard.sharpness_ec[:, channels] >= SHARP
    return bool(len(sharp_ec)) and float(sharp_ec.mean(axis=0).min()) >= _SHARED_SHARE


def _levels_in_line(heard: ChannelSurvey) -> NDArray[np.float64]:
    """Give the levels with late channels moved back, shape (C, T); NaN where that is outside.

    A microphone that was started a little later would else seem to hear somebody else.
    """
    level_db_ct = heard.level_db_ct
    late_s = find_late(heard, [int(channel) for channel in np.flatnonzero(heard.alive_c)])
    if not late_s:
        return level_db_ct
    moved_ct = level_db_ct.copy()
    time_t = np.arange(level_db_ct.shape[1], dtype=np.float64)
    for excerpt in np.unique(heard.excerpt_t):
        own_t = heard.excerpt_t == excerpt
        for channel, level_db_t in enumerate(level_db_ct[:, own_t]):
            # whole frames cannot be moved by parts of one: all are smoothed to hide the rest
            smooth_t = np.convolve(np.pad(level_db_t, 1, mode="edge"), _SMOOTH, mode="valid")
            at_t = time_t[own_t] + late_s.get(channel, 0.0) / FRAME_S
            moved_ct[channel, own_t] = np.interp(
                at_t, time_t[own_t], smooth_t, left=np.nan, right=np.nan
            )
    return moved_ct


def _all_copies(correlation_cc: NDArray[np.float64], num_channels: int) -> bool:
    # a channel wired the other way round is a copy too
    least = float(np.abs(correlation_cc).min())
    return least >= (SAME_CORRELATION if num_channels == _STEREO else SAME_OF_MANY)


def _swing_db(level_db_ct: NDArray[np.float64]) -> float:
    """Give the swing of a typical channel against the channel it swings against most.

    The swing of two channels is the 5th to 95th percentile of their difference in level.
    """
    largest = [
        max(
            float(np.subtract(*np.percentile(one_t - other_t, (95, 5))))
            for position, other_t in enumerate(level_db_ct)
            if position != index
        )
        for index, one_t in enumerate(level_db_ct)
    ]
    return float(np.median(largest))


def _lead_share_c(level_db_ct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the share of frames in which each channel stands clear of the others, shape (C,).

    Levels count from each channel's own loud frames, so gains do not matter.
    """
    own_ct = level_db_ct - np.percentile(level_db_ct, 95, axis=1, keepdims=True)
    ordered_ct = np.sort(own_ct, axis=0)
    clear_t = ordered_ct[-1] - np.median(ordered_ct[:-1], axis=0) > _LEAD_DB
    top_t = np.argmax(own_ct, axis=0)
    counts_c = np.bincount(top_t[clear_t], minlength=len(own_ct))
    return np.asarray(counts_c / max(1, top_t.size))
