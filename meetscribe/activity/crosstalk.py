"""Who speaks into his own microphone, where everybody wears one and hears the others in it, too.

A voice is loud in the microphone of its speaker and comes to the others weaker, by an amount that
depends on the pair and the gains alone. These leaks are measured where one channel leads; what a
channel has beyond the leaks of all others is its own speaker's, also while others speak.

segmentation of each channel, levels -> leaks -> own frames -> turns per channel

Only power is compared, no phase: recorders whose clocks drift by some 50 ms do no harm.
Axes: C channel, T frame of the segmentation's grid, N sample.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from meetscribe.activity import segmentation
from meetscribe.activity.segmentation import FRAME_FIELD_SAMPLES, FRAME_STEP_S, FRAME_STEP_SAMPLES
from meetscribe.activity.turns import active_runs, as_turns, bridged, exclusive_turns
from meetscribe.config import Settings
from meetscribe.spatial.bleed import BleedSettings
from meetscribe.types import (
    SAMPLE_RATE_HZ,
    Activity,
    Parts,
    Progress,
    Turn,
    all_at_once,
    no_progress,
)

if TYPE_CHECKING:
    from meetscribe.activity.segmentation import SegmentationNetwork
    from meetscribe.spatial.streams import ChannelReader

log = logging.getLogger(__name__)

Frames = NDArray[np.float32]
Marks = NDArray[np.bool_]

_WINDOW = 512
_BAND_HZ = (200.0, 4000.0)
_BLOCK_S = 60.0
_SILENCE = 1e-12
"""Power below anything that a microphone gives; keeps logarithms finite."""
_SMOOTH_FRAMES = 3
_AHEAD_FRAMES = 3
"""A voice may reach another channel this much earlier than its own: clocks of recorders drift."""
_LEAD_DB = 6.0
_LOUD_DB = 15.0
_FEWEST_FRAMES = 6
_TWIN_SHARE = 0.6
"""Two channels that are active together this much, over their union, hear one person."""


class CrosstalkSettings(Settings):
    """How turns are found where every speaker has a microphone of his own."""

    step_s: float = Field(
        5.0,
        gt=0,
        le=5,
        description="between the starts of the 10 s windows in which speech is told",
    )
    speech: float = Field(0.3, gt=0, lt=1, description="probability from which on it is speech")
    margin_db: float = Field(
        5.0, ge=0, description="own speech is so much louder than crosstalk and noise together"
    )
    decay_db_per_s: float = Field(
        100.0, gt=0, description="how fast crosstalk dies away in the room"
    )
    pause_s: float = Field(0.35, ge=0, description="shorter pauses inside a turn are bridged")
    shortest_s: float = Field(0.1, ge=0, description="shorter turns are dropped")
    far_db: float = Field(
        -12.0,
        le=0,
        description="a voice that several channels hear, and none so loud beside its own speaker, "
        "belongs to nobody who has a microphone",
    )
    faintest_db: float = Field(
        -16.0, le=0, description="a turn that never gets so loud beside its speaker is none"
    )
    unknown_s: float = Field(
        1.0, ge=0, description="so much speech without a microphone makes a speaker of its own"
    )
    bleed: BleedSettings = BleedSettings()
    """How the others are removed from a channel before it is recognised."""


@dataclass(frozen=True, slots=True)
class Wearers:
    """Who speaks when, and through which channel.

    Attributes
    ----------
    activity : turns of "Speaker 1", ... by first appearance, which may overlap
    channel_of : speaker -> index of the channel to hear him in
    level_db_of : speaker -> level of his speech there, dB of full scale in the speech band
    unknown : label of the speech of those who wear no microphone, "" if there is none
    unused : channels into which nobody speaks
    """

    activity: Activity
    channel_of: Mapping[str, int] = field(default_factory=dict)
    level_db_of: Mapping[str, float] = field(default_factory=dict)
    unknown: str = ""
    unused: tuple[int, ...] = ()


def find_wearers(
    channels: ChannelReader,
    num_channels: int,
    network: SegmentationNetwork,
    settings: CrosstalkSettings,
    *,
    device: str = "cpu",
    progress: Progress = no_progress,
    keep: Parts[NDArray[np.float16]] = all_at_once,
) -> Wearers:
    """Say who speaks when into which of several close microphones.

    Parameters
    ----------
    channels : one close microphone per speaker; read in pieces of a minute
    network : segmentation-3.0, which tells speech from other sounds in each channel
    progress : called with ``activity``
    keep : keeps what was heard in every few hundred windows of a channel
    """
    duration = channels.duration
    power_ct = channel_power(channels, num_channels)
    speech_ct = np.zeros_like(power_ct)
    for channel in range(num_channels):
        windows = segmentation.segment(
            _Channel(channels, channel),
            network,
            step_frames=max(1, round(settings.step_s / FRAME_STEP_S)),
            device=device,
            progress=lambda _, done, before=channel: progress(  # type: ignore[misc]
                "activity", (before + done) / num_channels
            ),
            keep=partial(_loudest, keep, channel),
        )
        speech_ct[channel] = _speech(windows, power_ct.shape[1])
    return decide(power_ct, speech_ct, duration, settings)


def _loudest(
    keep: Parts[NDArray[np.float16]],
    channel: int,
    name: object,
    make: Callable[[], NDArray[np.float16]],
) -> NDArray[np.float16]:
    """Keep only whether anybody speaks: all that is asked here, and a third of the room."""
    return keep((channel, name), lambda: make().max(axis=2, keepdims=True))


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel as an ``AudioReader``."""

    channels: ChannelReader
    channel: int

    @property
    def duration(self) -> float:
        return self.channels.duration

    def read(self, start: float, end: float) -> Frames:
        return np.asarray(self.channels.read_cn(start, end)[self.channel])


def _speech(windows: segmentation.Windows, num_frames: int) -> Frames:
    """Give the probability that anybody speaks, the mean over windows; shape (T,)."""
    length = max(num_frames, windows.num_frames)
    sum_t, votes_t = np.zeros((2, length), np.float32)
    for start, activity_tk in zip(windows.starts_w, windows.activity_wtk, strict=True):
        sum_t[start : start + len(activity_tk)] += activity_tk.max(axis=1)
        votes_t[start : start + len(activity_tk)] += 1
    return np.asarray((sum_t / np.maximum(votes_t, 1))[:num_frames], np.float32)


def channel_power(channels: ChannelReader, num_channels: int) -> Frames:
    """Measure the power of each channel in the speech band around each frame, shape (C, T)."""
    num_samples = round(channels.duration * SAMPLE_RATE_HZ)
    num_frames = max(1, segmentation.count_frames(num_samples))
    window_n = np.hanning(_WINDOW).astype(np.float32)
    low, high = (round(edge * _WINDOW / SAMPLE_RATE_HZ) for edge in _BAND_HZ)
    power_ct = np.zeros((num_channels, num_frames), np.float32)
    block = round(_BLOCK_S / FRAME_STEP_S)
    for begin in range(0, num_frames, block):
        count = min(block, num_frames - begin)
        first = begin * FRAME_STEP_SAMPLES + (FRAME_FIELD_SAMPLES - _WINDOW) // 2
        last = first + (count - 1) * FRAME_STEP_SAMPLES + _WINDOW
        samples_cn = channels.read_cn(first / SAMPLE_RATE_HZ, last / SAMPLE_RATE_HZ)
        for power_t, samples_n in zip(power_ct, samples_cn, strict=True):
            frames_tn = np.lib.stride_tricks.sliding_window_view(samples_n, _WINDOW)
            spectrum_tf = np.fft.rfft(frames_tn[::FRAME_STEP_SAMPLES] * window_n, axis=1)
            band_tf = np.abs(spectrum_tf[:count, low:high]) / (_WINDOW / 2)
            power_t[begin : begin + count] = np.square(band_tf).sum(axis=1)
    return power_ct


def decide(
    power_ct: Frames, speech_ct: Frames, duration: float, settings: CrosstalkSettings
) -> Wearers:
    """Find the turns of every channel's speaker; everything after the network.

    Parameters
    ----------
    power_ct : power of each channel in the speech band, shape (C, T)
    speech_ct : probability that anybody speaks in it, shape (C, T)
    duration : seconds
    """
    from scipy.ndimage import uniform_filter1d

    num_channels = len(power_ct)
    active_t = speech_ct.max(axis=0) > 0.5  # noqa: PLR2004 - likelier than not
    if not active_t.any():
        return Wearers(Activity(()), unused=tuple(range(num_channels)))
    power_ct = uniform_filter1d(power_ct, _SMOOTH_FRAMES, axis=1, mode="nearest") + _SILENCE
    level_ct = 10 * np.log10(power_ct)
    rise_ct = level_ct - np.percentile(level_ct[:, active_t], 10, axis=1, keepdims=True)
    leak_cc = leaks(power_ct, level_ct, rise_ct, active_t)
    beyond_ct = _beyond_leaks(power_ct, level_ct, leak_cc, settings.decay_db_per_s)
    own_ct = (beyond_ct > settings.margin_db) & (speech_ct > settings.speech)
    loud_db_c = _own_levels(level_ct, rise_ct, own_ct)
    near_ct = _peaks(level_ct - loud_db_c[:, None])
    far_t = _far(own_ct, near_ct, settings.far_db)
    own_ct &= ~far_t
    for channel, own_t in enumerate(own_ct):
        own_ct[channel] = _as_runs(own_t, settings.pause_s, settings.shortest_s)
        _drop_faint(own_ct[channel], near_ct[channel], settings.faintest_db)
    _drop_twins(own_ct, rise_ct)
    far_t &= active_t & ~own_ct.any(axis=0)
    far_t = _as_runs(far_t, settings.pause_s, settings.pause_s)
    return _labelled(own_ct, far_t, level_ct, loud_db_c, duration, settings)


def leaks(power_ct: Frames, level_ct: Frames, rise_ct: Frames, active_t: Marks) -> Frames:
    """Measure how much of each channel's speech the others hear, as a ratio of powers.

    Measured where a channel leads: it has risen above its usual level by more than any other
    has. The median tells, as the others' own speech there is the exception.

    Returns
    -------
    float32, shape (C, C)
        From the second channel to the first; 0 where it was not to be measured.
    """
    num_channels = len(power_ct)
    leak_cc = np.zeros((num_channels, num_channels), np.float32)
    first_t = np.argmax(rise_ct, axis=0)
    ordered_ct = np.sort(rise_ct, axis=0)
    lead_t = active_t & (ordered_ct[-1] - ordered_ct[-2] > _LEAD_DB)
    for source in range(num_channels):
        loud_db = np.percentile(level_ct[source, active_t], 98)
        leads_t = lead_t & (first_t == source) & (level_ct[source] > loud_db - _LOUD_DB)
        if np.count_nonzero(leads_t) >= _FEWEST_FRAMES:
            ratio_ct = power_ct[:, leads_t] / power_ct[source, leads_t]
            leak_cc[:, source] = np.median(ratio_ct, axis=1)
    np.fill_diagonal(leak_cc, 0.0)
    return leak_cc


def _beyond_leaks(
    power_ct: Frames, level_ct: Frames, leak_cc: Frames, decay_db_per_s: float
) -> Frames:
    """Give how far each channel is above its noise and the leaks of the others, in dB."""
    from scipy.ndimage import maximum_filter1d

    # what dies away slower than the decay is the falling line through an earlier frame
    fall_t = np.arange(power_ct.shape[1]) * decay_db_per_s * FRAME_STEP_S
    expected_ct = np.percentile(power_ct, 10, axis=1, keepdims=True).repeat(len(fall_t), axis=1)
    for source, level_t in enumerate(level_ct):
        peak_t = maximum_filter1d(level_t, 2 * _AHEAD_FRAMES + 1)
        heard_t = np.maximum.accumulate(peak_t + fall_t) - fall_t
        expected_ct += leak_cc[:, [source]] * 10 ** (heard_t / 10)
    return np.asarray(level_ct - 10 * np.log10(expected_ct), np.float32)


def _own_levels(level_ct: Frames, rise_ct: Frames, own_ct: Marks) -> Frames:
    """Give the level of each channel's speaker, shape (C,); infinite where there is none.

    That of his loud frames: most of what is taken for his own may yet be a voice from further away.
    """
    first_t = np.argmax(rise_ct, axis=0)
    levels = []
    for channel, own_t in enumerate(own_ct):
        alone_t = own_t & (first_t == channel)
        enough_t = alone_t if np.count_nonzero(alone_t) >= _FEWEST_FRAMES else own_t
        levels.append(np.percentile(level_ct[channel, enough_t], 95) if enough_t.any() else np.inf)
    return np.array(levels, np.float32)


def _peaks(level_ct: Frames) -> Frames:
    """Give the highest level within a quarter of a second: speech has holes."""
    from scipy.ndimage import maximum_filter1d

    reach = round(0.25 / FRAME_STEP_S)
    return np.asarray(maximum_filter1d(level_ct, 2 * reach + 1, axis=1), np.float32)


def _far(own_ct: Marks, near_ct: Frames, far_db: float) -> Marks:
    """Mark the frames of a voice that several channels hear and that is near to none of them."""
    from scipy.ndimage import maximum_filter1d

    reach = round(0.1 / FRAME_STEP_S)
    heard_ct = maximum_filter1d(own_ct.astype(np.int8), 2 * reach + 1, axis=1)
    several_t = heard_ct.sum(axis=0) > 1
    return np.asarray(several_t & (near_ct.max(axis=0) < far_db))


def _as_runs(marks_t: Marks, pause_s: float, shortest_s: float) -> Marks:
    """Bridge short pauses and drop short runs."""
    made_t = np.zeros_like(marks_t)
    shortest = shortest_s / FRAME_STEP_S
    for first, last in bridged(active_runs(marks_t), round(pause_s / FRAME_STEP_S)):
        made_t[first:last] = last - first >= shortest
    return made_t


def _drop_faint(own_t: Marks, near_t: Frames, faintest_db: float) -> None:
    for first, last in active_runs(own_t):
        if near_t[first:last].max() < faintest_db:
            own_t[first:last] = False


def _drop_twins(own_ct: Marks, rise_ct: Frames) -> None:
    """Of two channels that hear one person keep the one that rises more."""
    for one in range(len(own_ct)):
        for other in range(one):
            both_t = own_ct[one] & own_ct[other]
            union = np.count_nonzero(own_ct[one] | own_ct[other])
            if union and np.count_nonzero(both_t) >= _TWIN_SHARE * union:
                weaker = (
                    one if rise_ct[one, both_t].mean() < rise_ct[other, both_t].mean() else other
                )
                own_ct[weaker] = False


def _labelled(  # noqa: PLR0917 - what was found out, one value each
    own_ct: Marks,
    far_t: Marks,
    level_ct: Frames,
    loud_db_c: Frames,
    duration: float,
    settings: CrosstalkSettings,
) -> Wearers:
    """Give the turns their speakers' labels, by first appearance."""
    wearing = [channel for channel in range(len(own_ct)) if own_ct[channel].any()]
    rows = [(own_ct[channel], channel, float(loud_db_c[channel])) for channel in wearing]
    unknown_row = None
    if np.count_nonzero(far_t) * FRAME_STEP_S >= settings.unknown_s:
        usual_c = np.percentile(level_ct, 10, axis=1)
        heard_c = np.median(level_ct[:, far_t], axis=1)
        clearest = int(np.argmax(heard_c - usual_c))
        rows.append((far_t, clearest, float(np.percentile(level_ct[clearest, far_t], 95))))
        unknown_row = far_t
    if not rows:
        return Wearers(Activity(()), unused=tuple(range(len(own_ct))))
    rows.sort(key=lambda row: int(np.argmax(row[0])))
    labels = [f"Speaker {number}" for number in range(1, len(rows) + 1)]
    turns: list[Turn] = []
    for label, (marks_t, _, _) in zip(labels, rows, strict=True):
        turns += as_turns(active_runs(marks_t), label, len(far_t), duration)
    log.info("%d turns of %d speakers in %d channels", len(turns), len(rows), len(own_ct))
    return Wearers(
        Activity(tuple(sorted(turns)), tuple(_exclusive(rows, level_ct, turns, labels, duration))),
        {label: channel for label, (_, channel, _) in zip(labels, rows, strict=True)},
        {label: level_db for label, (_, _, level_db) in zip(labels, rows, strict=True)},
        next((label for label, row in zip(labels, rows, strict=True) if row[0] is unknown_row), ""),
        tuple(channel for channel in range(len(own_ct)) if channel not in wearing),
    )


def _exclusive(
    rows: Sequence[tuple[Marks, int, float]],
    level_ct: Frames,
    turns: Sequence[Turn],
    labels: Sequence[str],
    duration: float,
) -> list[Turn]:
    """Give the same with one speaker at a time: the one who is loudest, by his own measure."""
    beside_gs = np.stack(
        [
            marks_t * np.minimum(10 ** ((level_ct[channel] - level_db) / 20), 1.0)
            for marks_t, channel, level_db in rows
        ],
        axis=1,
    )
    return exclusive_turns(beside_gs.astype(np.float32), turns, labels, duration)
