"""Close microphones that hear each other: levels in, turns of the right people out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.activity.crosstalk import CrosstalkSettings, Wearers, channel_power, decide, leaks
from meetscribe.activity.segmentation import FRAME_STEP_S, count_frames
from meetscribe.types import SAMPLE_RATE_HZ

SECONDS = 60.0
T = round(SECONDS / FRAME_STEP_S)
LEAK_DB = np.array([[0, -20, -26, -24], [-18, 0, -22, -27], [-25, -21, 0, -19], [-28, -23, -18, 0]])
SPOKEN = (
    [(1, 6), (20, 26), (40, 44)],
    [(7, 12), (24, 30)],
    [(13, 19), (42, 50)],
    [(31, 39), (51, 58)],
)
"""Who speaks when, in seconds: the first and second overlap at 24, the first and third at 42."""


def heard(spoken=SPOKEN, *, gains_db=(0, 0, 0, 0), floor_db=-75.0, seed=0):
    """Give power (C, T) and speech probability (C, T) of people who speak at -35 dB.

    Speech is syllables that come and go; every microphone hears everybody, reverberated.
    """
    rng = np.random.default_rng(seed)
    num = len(LEAK_DB)
    speech_kt = np.zeros((num, T))
    for row, spans in enumerate(spoken):
        for start, end in spans:
            first, last = round(start / FRAME_STEP_S), round(end / FRAME_STEP_S)
            bumps_t = np.sin(np.pi * np.arange(last - first) / 12) ** 2
            speech_kt[row, first:last] = 10**-3.5 * (0.05 + bumps_t) * rng.gamma(4, 0.25)
    tail_t = 10 ** (-np.arange(30) * 12 * FRAME_STEP_S)
    late_kt = np.array([np.convolve(row_t, tail_t)[:T] for row_t in speech_kt]) * 0.3
    leak_cc = 10 ** (LEAK_DB / 10) - np.eye(num)
    power_ct = speech_kt + leak_cc @ (speech_kt * 0.7 + late_kt)
    power_ct *= rng.gamma(8, 1 / 8, power_ct.shape)
    power_ct += 10 ** (floor_db / 10) * rng.gamma(8, 1 / 8, power_ct.shape)
    power_ct *= 10 ** (np.array(gains_db)[:, None] / 10)
    # somebody can be heard to speak in every channel
    speech_ct = np.tile(speech_kt.max(axis=0) > 0, (num, 1)) * 0.9
    return power_ct.astype(np.float32), speech_ct.astype(np.float32)


def found(power_ct, speech_ct) -> Wearers:
    return decide(power_ct, speech_ct, SECONDS, CrosstalkSettings())


def spans_of(wearers, channel):
    """Give the turns of the speaker of a channel."""
    return [
        (turn.start, turn.end)
        for turn in wearers.activity.turns
        if wearers.channel_of[turn.speaker] == channel and turn.speaker != wearers.unknown
    ]


def test_everybody_has_his_turns_and_nobody_elses():
    wearers = found(*heard())
    assert sorted(wearers.channel_of.values()) == [0, 1, 2, 3]
    assert wearers.unknown == ""
    for channel, spans in enumerate(SPOKEN):
        assert spans_of(wearers, channel) == [pytest.approx(span, abs=0.15) for span in spans]
    # labels by first appearance: that is the order of the channels here
    assert list(wearers.channel_of) == [f"Speaker {number}" for number in range(1, 5)]
    exclusive = wearers.activity.exclusive
    assert all(one.end <= two.start for one, two in itertools.pairwise(exclusive))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-15, 15), min_size=4, max_size=4), st.permutations(range(4)))
def test_gains_and_the_order_of_channels_do_not_matter(gains_db, order):
    plain = found(*heard())
    power_ct, speech_ct = heard(gains_db=gains_db)
    other = found(power_ct[order], speech_ct[order])
    for channel in range(4):
        assert spans_of(other, order.index(channel)) == spans_of(plain, channel)


def test_a_microphone_that_nobody_wears_has_no_speaker():
    wearers = found(*heard((SPOKEN[0], SPOKEN[1], [], SPOKEN[3]), gains_db=(0, 0, 10, 0)))
    assert wearers.unused == (2,)
    assert sorted(wearers.channel_of.values()) == [0, 1, 3]


def test_a_whisper_under_a_loud_voice_is_kept():
    power_ct, speech_ct = heard()
    first, last = round(33.0 / FRAME_STEP_S), round(33.8 / FRAME_STEP_S)
    # the first speaker says yes, 10 dB softer than usual, while the fourth speaks
    power_ct[0, first:last] += 10**-4.5
    wearers = found(power_ct, speech_ct)
    assert any(start < 33.2 and 33.6 < end < 34.2 for start, end in spans_of(wearers, 0))


def test_somebody_whose_microphone_is_dead_is_not_given_to_the_others():
    power_ct, speech_ct = heard()
    power_ct[3], speech_ct[3] = 0.0, 0.0
    wearers = found(power_ct, speech_ct)
    assert wearers.unused == (3,)
    assert wearers.unknown
    lost = [turn for turn in wearers.activity.turns if turn.speaker == wearers.unknown]
    assert 10 < sum(turn.duration for turn in lost) < 16
    for channel, spans in enumerate(SPOKEN[:3]):
        assert len(spans_of(wearers, channel)) == len(spans)


def test_two_channels_of_one_person_are_one_speaker():
    power_ct, speech_ct = heard((*SPOKEN[:3], []))
    power_ct[3] = power_ct[2] * 0.5
    wearers = found(power_ct, speech_ct)
    assert sorted(wearers.channel_of.values()) in ([0, 1, 2], [0, 1, 3])
    assert wearers.unknown == ""


def test_where_nobody_speaks_nobody_is_found():
    power_ct, _ = heard(([], [], [], []))
    wearers = found(power_ct, np.zeros_like(power_ct))
    assert wearers.activity.turns == ()
    assert wearers.unused == (0, 1, 2, 3)


def test_sounds_that_are_no_speech_are_no_turns():
    power_ct, speech_ct = heard()
    first, last = round(46.0 / FRAME_STEP_S), round(50.0 / FRAME_STEP_S)
    power_ct[1, first:last] += 10**-3.5  # typing beside the second microphone
    speech_ct[1, first:last] = 0.1
    assert len(spans_of(found(power_ct, speech_ct), 1)) == len(SPOKEN[1])


def test_leaks_are_those_of_the_room():
    power_ct, _ = heard()
    level_ct = 10 * np.log10(power_ct)
    rise_ct = level_ct - np.percentile(level_ct, 10, axis=1, keepdims=True)
    leak_cc = leaks(power_ct, level_ct, rise_ct, np.ones(T, bool))
    apart = ~np.eye(4, dtype=bool)
    assert 10 * np.log10(leak_cc[apart]) == pytest.approx(LEAK_DB[apart], abs=4.0)


class _Array:
    """Samples in memory as a ``ChannelReader``."""

    def __init__(self, samples_cn):
        self.samples_cn = samples_cn
        self.duration = samples_cn.shape[1] / SAMPLE_RATE_HZ

    def read_cn(self, start, end):
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        made_cn = np.zeros((len(self.samples_cn), last - first), np.float32)
        inside_cn = self.samples_cn[:, max(0, first) : last]
        made_cn[:, : inside_cn.shape[1]] = inside_cn
        return made_cn


def test_power_is_measured_where_the_frames_of_the_segmentation_are():
    num = 70 * SAMPLE_RATE_HZ  # more than a block
    samples_cn = np.zeros((2, num), np.float32)
    tone_n = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    for channel, second in ((0, 5), (1, 60)):
        begin = second * SAMPLE_RATE_HZ
        samples_cn[channel, begin : begin + SAMPLE_RATE_HZ] = 0.1 * tone_n
    power_ct = channel_power(_Array(samples_cn), 2)
    assert power_ct.shape == (2, count_frames(num))
    for channel, second in ((0, 5), (1, 60)):
        loud = np.flatnonzero(power_ct[channel] > power_ct[channel].max() / 2)
        assert loud[0] * FRAME_STEP_S == pytest.approx(second, abs=0.05)
        assert loud[-1] * FRAME_STEP_S == pytest.approx(second + 1, abs=0.05)
    assert power_ct[0].max() == pytest.approx(power_ct[1].max(), rel=0.05)


def test_a_recording_of_an_instant_is_no_error():
    assert channel_power(_Array(np.zeros((2, 10), np.float32)), 2).shape == (2, 1)
