"""Find the channels of an array that are broken, and say what to do about each.

Several microphones that hear the same room agree on much: when it gets loud, how much later one
hears than another, and which way the pressure goes. A channel that stands apart from the others
has something wrong. What is found is left out, moved back into line or turned round; a channel
is only called faulty where no room explains what is heard.

Axes: C channel, E excerpt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from meetscribe.ingest.alignment import Alignment
from meetscribe.ingest.excerpts import CLIPPED_SHARE, ChannelSurvey, survey
from meetscribe.ingest.lags import SHARP
from meetscribe.types import Recording

SAME_OF_MANY = 0.9995
"""Microphones two centimetres apart reach 0.98: of three or more, copies must be closer."""

_SAME_HIGH = 0.99
_LEAST_EXCERPTS = 3
_DEAF_SHARE = 0.05
_HEARD_SHARE = 0.5


class Fault(StrEnum):
    """What can be wrong with a channel."""

    SILENT = "silent"
    DEAF = "deaf"
    """It sounds, but of what the others hear there is nothing in it."""
    COPY = "copy"
    CLIPPED = "clipped"
    LATE = "late"
    """Or early, by more than the way of sound through a room."""
    FLIPPED = "flipped"
    DRIFTING = "drifting"


@dataclass(frozen=True, slots=True)
class ChannelFault:
    """A fault of one channel; ``note`` says it, and what is done about it, in one line."""

    channel: int
    fault: Fault
    note: str


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """Which channels of an array to use, and what to correct in them.

    Parameters
    ----------
    channels : in order
    delays_s : of each of them, how much later than the others it was recorded
    signs : of each of them, -1 where its polarity is reversed, else 1
    faults : of any channel, in order of channels
    """

    channels: tuple[int, ...]
    delays_s: tuple[float, ...]
    signs: tuple[int, ...]
    faults: tuple[ChannelFault, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """One line per fault for the person who reads the output."""
        return tuple(fault.note for fault in self.faults)


def plan_channels(recording: Recording, channels: Sequence[int] | None = None) -> ChannelPlan:
    """Choose the channels of an array that can be used together.

    Parameters
    ----------
    recording : whose channels all hear everybody
    channels : use these, whatever is wrong with them; None leaves out silent, deaf and clipped
        channels and copies

    Raises
    ------
    AudioError
        If a file cannot be read.
    """
    if recording.num_channels == 1:
        return ChannelPlan((0,), (0.0,), (1,))
    return plan_surveyed(survey(recording), channels)


def plan_surveyed(heard: ChannelSurvey, channels: Sequence[int] | None = None) -> ChannelPlan:
    """Choose as ``plan_channels`` does, from a survey."""
    faults = [] if channels is not None else find_useless(heard)
    left_out = {fault.channel for fault in faults}
    used = [c for c in range(heard.num_channels) if c not in left_out]
    used = used if channels is None else list(channels)
    lags = Alignment.of(heard, used)
    if channels is None:
        clipped, used = _clipped(heard, used)
        faults += clipped
    faults += [fault for fault in _misplaced(lags) if fault.channel in used]
    return ChannelPlan(
        channels=tuple(used),
        delays_s=tuple(lags.late_s(channel) for channel in used),
        signs=tuple(-1 if lags.is_flipped(channel) else 1 for channel in used),
        faults=tuple(sorted(faults, key=lambda fault: fault.channel)),
    )


def find_useless(heard: ChannelSurvey) -> list[ChannelFault]:
    """Find channels in which there is nothing to hear, or nothing of their own."""
    faults = [
        ChannelFault(int(channel), Fault.SILENT, f"channel {channel} is silent: left out")
        for channel in np.flatnonzero(~heard.alive_c)
    ]
    live = [int(channel) for channel in np.flatnonzero(heard.alive_c)]
    deaf = find_deaf(heard)
    faults += [
        ChannelFault(
            channel, Fault.DEAF, f"channel {channel} hears nothing of what others hear: left out"
        )
        for channel in deaf
    ]
    originals: list[int] = []
    for channel in (channel for channel in live if channel not in deaf):
        same = next((other for other in originals if _is_copy(heard, channel, other)), None)
        if same is None:
            originals.append(channel)
        else:
            note = f"channel {channel} repeats channel {same}: left out"
            faults.append(ChannelFault(channel, Fault.COPY, note))
    return faults


def _is_copy(heard: ChannelSurvey, one: int, other: int) -> bool:
    # a channel wired the other way round is a copy too
    return (
        abs(float(heard.correlation_cc[one, other])) >= SAME_OF_MANY
        and abs(float(heard.high_correlation_cc[one, other])) >= _SAME_HIGH
    )


def find_deaf(heard: ChannelSurvey) -> list[int]:
    """Give the channels that never agree with the others on a lag while those do."""
    live = np.flatnonzero(heard.alive_c)
    sharp_ec = heard.sharpness_ec[:, live] >= SHARP
    told_e = sharp_ec.mean(axis=1) > _HEARD_SHARE if live.size else np.zeros(0, bool)
    if live.size <= 2 or np.count_nonzero(told_e) < _LEAST_EXCERPTS:  # noqa: PLR2004
        return []
    return [int(c) for c in live[sharp_ec[told_e].mean(axis=0) <= _DEAF_SHARE]]


def _clipped(heard: ChannelSurvey, used: list[int]) -> tuple[list[ChannelFault], list[int]]:
    """Leave out clipped channels where at least two, and half of all, are whole."""
    share_c = heard.clipped_share_c
    clipped = [channel for channel in used if share_c[channel] >= CLIPPED_SHARE]
    whole = [channel for channel in used if channel not in clipped]
    enough = len(whole) >= max(2, len(used) / 2)
    done = "left out" if enough else "used, for want of better ones"
    faults = [
        ChannelFault(
            channel,
            Fault.CLIPPED,
            f"channel {channel} is clipped ({100 * share_c[channel]:.1f} % of the samples): {done}",
        )
        for channel in clipped
    ]
    return faults, whole if enough else used


def _misplaced(lags: Alignment) -> list[ChannelFault]:
    faults = []
    for channel in lags.channels:
        late_s, drift_s = lags.late_s(channel), lags.drift_s(channel)
        if late_s:
            how = "late" if late_s > 0 else "early"
            note = f"channel {channel} is {1000 * abs(late_s):.0f} ms {how}: moved"
            faults.append(ChannelFault(channel, Fault.LATE, note))
        if lags.is_flipped(channel):
            note = f"channel {channel} has its polarity reversed: turned back"
            faults.append(ChannelFault(channel, Fault.FLIPPED, note))
        if drift_s:
            how = "falls behind" if drift_s > 0 else "gets ahead"
            note = (
                f"channel {channel} {how} by {1000 * abs(drift_s):.0f} ms over the recording: "
                "its clock is off"
            )
            faults.append(ChannelFault(channel, Fault.DRIFTING, note))
    return faults
