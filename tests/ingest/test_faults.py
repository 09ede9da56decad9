"""Broken channels of an array are found, said and mended; whole ones are left alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe.ingest import Fault, open_channels, plan_channels, plan_mono, probe
from meetscribe.types import SAMPLE_RATE_HZ, Layout

RADIUS_M = 0.05
SECONDS = 20.0


def response(microphones_c3, angle, rng, *, echoes=60, num=8_192):
    """Give impulse responses (C, N): the direct sound, and a tail of echoes from all sides."""
    delay_s = np.append(0.0, rng.uniform(0.004, 0.25, echoes))
    gain = np.where(delay_s > 0, 0.25 * np.exp(-6.9 * delay_s / 0.4), 1.0)
    way_3 = rng.standard_normal((echoes + 1, 3))
    way_3[0] = np.cos(angle), np.sin(angle), 0.3
    way_3 /= np.linalg.norm(way_3, axis=1, keepdims=True)
    # all of it a little later, so that nothing comes before the start
    arrival_ce = 0.1 + delay_s - microphones_c3 @ way_3.T / 343
    hz = np.fft.rfftfreq(num, 1 / SAMPLE_RATE_HZ)
    spectra_cf = np.exp(-2j * np.pi * arrival_ce[:, :, None] * hz).transpose(0, 2, 1) @ gain
    return np.fft.irfft(spectra_cf, num)


def heard_by(microphones_c3, voices_kn, rng, *, noise_db=-55.0):
    """People around a table in a room with some noise; shape (C, N)."""
    num = voices_kn.shape[1] + 16_000
    heard_cf = 0
    for speaker, voice_n in enumerate(voices_kn):
        angle = 2 * np.pi * (speaker + 0.3) / len(voices_kn)
        response_cf = np.fft.rfft(response(microphones_c3, angle, rng), num)
        heard_cf = heard_cf + response_cf * np.fft.rfft(voice_n, num)
    heard_cn = np.fft.irfft(heard_cf, num)[:, : voices_kn.shape[1]]
    heard_cn *= 0.1 / heard_cn.std()
    return heard_cn + 10 ** (noise_db / 20) * rng.standard_normal(heard_cn.shape)


@functools.cache
def clean_array(num_channels=8, seed=0):
    from tests.ingest.conftest import talk

    angle_c = 2 * np.pi * np.arange(num_channels) / num_channels
    places_c3 = RADIUS_M * np.stack([np.cos(angle_c), np.sin(angle_c), 0 * angle_c], axis=1)
    rng = np.random.default_rng(seed)
    return heard_by(places_c3, talk(3, SECONDS, seed=seed), rng).astype(np.float32)


def late(samples_n, seconds):
    shift = round(abs(seconds) * SAMPLE_RATE_HZ)
    quiet_n = np.zeros(shift, np.float32)
    joined_n = (quiet_n, samples_n[:-shift]) if seconds > 0 else (samples_n[shift:], quiet_n)
    return np.concatenate(joined_n) if shift else samples_n


def clipped(samples_n, share):
    return np.clip(samples_n / np.quantile(np.abs(samples_n), 1 - share), -1, 1)


def recording_of(tmp_path, make, samples_cn, layout=Layout.ARRAY):
    return probe([make.write(tmp_path / "a.wav", samples_cn, subtype="PCM_16")], layout=layout)


def faulty_array():
    samples_cn = clean_array().copy()
    samples_cn[1] = 0.0
    samples_cn[3] = 0.5 * samples_cn[2]
    samples_cn[4] = clipped(samples_cn[4], 0.02)
    samples_cn[6] = late(samples_cn[6], 0.25)
    samples_cn[7] *= -1
    return samples_cn


def test_five_faults_of_eight_channels_are_said_and_mended(tmp_path, make):
    recording = recording_of(tmp_path, make, faulty_array(), layout=None)
    assert recording.layout is Layout.ARRAY, recording.layout_reason
    plan = plan_channels(recording)
    assert plan.notes == (
        "channel 1 is silent: left out",
        "channel 3 repeats channel 2: left out",
        "channel 4 is clipped (1.2 % of the samples): left out",
        "channel 6 is 250 ms late: moved",
        "channel 7 has its polarity reversed: turned back",
    )
    assert plan.channels == (0, 2, 5, 6, 7)
    assert plan.delays_s == pytest.approx((0, 0, 0, 0.25, 0), abs=0.001)
    assert plan.signs == (1, 1, 1, 1, -1)
    with open_channels(
        recording, plan.channels, delays_s=plan.delays_s, signs=plan.signs
    ) as channels:
        mended_cn = channels.read_cn(5.0, 6.0)
    whole_cn = clean_array()[list(plan.channels), 5 * SAMPLE_RATE_HZ : 6 * SAMPLE_RATE_HZ]
    exact = [0, 1, 2, 4]
    np.testing.assert_allclose(mended_cn[exact], whole_cn[exact], atol=1e-4)
    # the lag is known to an eighth of a millisecond, and by people who sit at different places
    products = np.correlate(mended_cn[3], whole_cn[3], "full")
    assert abs(int(np.argmax(np.abs(products))) - whole_cn.shape[1] + 1) <= 16


def test_the_mono_signal_is_of_a_channel_without_fault(tmp_path, make):
    samples_cn = faulty_array()
    rng = np.random.default_rng(5)
    samples_cn[[0, 2, 5, 7]] += 0.002 * rng.standard_normal((4, samples_cn.shape[1]))
    plan = plan_mono(recording_of(tmp_path, make, samples_cn.astype(np.float32)))
    assert plan.channels[0] in {0, 2, 5, 7}  # and not 6, which is clearer but late


@pytest.mark.parametrize("num_channels", [2, 3, 8])
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_wrong_with_whole_arrays(tmp_path, make, num_channels, seed):
    gains_c1 = 10 ** (np.random.default_rng(seed).normal(0, 5, (num_channels, 1)) / 20)
    samples_cn = (clean_array(num_channels, seed) * gains_c1 / 2).astype(np.float32)
    plan = plan_channels(recording_of(tmp_path, make, samples_cn))
    assert plan.notes == ()
    assert plan.channels == tuple(range(num_channels))
    assert set(plan.delays_s) == {0.0}
    assert set(plan.signs) == {1}


def test_the_way_of_sound_through_a_hall_is_no_delay(tmp_path, make):
    """Microphones up to 9 m apart: one voice comes up to 26 ms later to some."""
    rng = np.random.default_rng(2)
    places_c3 = np.array([[x, y, 0.0] for x in (-4.5, 0.0, 4.5) for y in (-1.0, 1.0)])
    heard_cn = heard_by(places_c3, make.talk(3, SECONDS), rng).astype(np.float32)
    assert plan_channels(recording_of(tmp_path, make, heard_cn)).notes == ()


def noise_alone(rng, num):
    return 0.1 * rng.standard_normal(num)


def hum_with_noise(rng, num):
    return 0.2 * np.sin(2 * np.pi * 250 * np.arange(num) / 16_000) + 0.001 * noise_alone(rng, num)


@pytest.mark.parametrize("broken", [noise_alone, hum_with_noise])
def test_a_channel_that_hears_something_else_is_left_out(tmp_path, make, broken):
    samples_cn = clean_array(4).copy()
    samples_cn[2] = broken(np.random.default_rng(99), samples_cn.shape[1])
    recording = recording_of(tmp_path, make, samples_cn, layout=None)
    assert recording.layout is Layout.ARRAY, recording.layout_reason
    plan = plan_channels(recording)
    assert [(found.channel, found.fault) for found in plan.faults] == [(2, Fault.DEAF)]
    assert plan.channels == (0, 1, 3)


def test_clipped_channels_are_used_where_too_few_are_whole(tmp_path, make):
    samples_cn = clean_array(4).copy()
    for channel in (0, 1, 3):
        samples_cn[channel] = clipped(samples_cn[channel], 0.02)
    plan = plan_channels(recording_of(tmp_path, make, samples_cn))
    assert [found.fault for found in plan.faults] == [Fault.CLIPPED] * 3
    assert plan.channels == (0, 1, 2, 3)
    assert all("for want of better ones" in note for note in plan.notes)


def test_a_channel_turned_up_until_it_clips_does_not_silence_quiet_ones(tmp_path, make):
    samples_cn = clean_array(4).copy() * 0.02
    samples_cn[0] = clipped(samples_cn[0], 0.05)
    recording = recording_of(tmp_path, make, samples_cn, layout=None)
    assert recording.layout is Layout.ARRAY
    assert plan_channels(recording).channels == (1, 2, 3)


def test_clipping_that_was_turned_down_later_is_found(tmp_path, make):
    samples_cn = clean_array(4).copy()
    samples_cn[3] = 0.4 * clipped(samples_cn[3], 0.02)
    assert plan_channels(recording_of(tmp_path, make, samples_cn)).channels == (0, 1, 2)


def test_listed_channels_are_all_used_but_mended(tmp_path, make):
    recording = recording_of(tmp_path, make, faulty_array())
    plan = plan_channels(recording, (6, 2, 3, 0))
    assert plan.channels == (6, 2, 3, 0)
    assert plan.delays_s == pytest.approx((0.25, 0, 0, 0), abs=0.001)
    assert plan.notes == ("channel 6 is 250 ms late: moved",)


def test_a_drifting_clock_is_said(tmp_path, make):
    rate, seconds = 250e-6, 240.0
    voices_kn = make.talk(2, seconds)
    samples_cn = np.stack([voices_kn.sum(0), 0.7 * voices_kn.sum(0)] * 2)
    samples_cn += 0.01 * np.random.default_rng(0).standard_normal(samples_cn.shape)
    time_n = np.arange(samples_cn.shape[1])
    samples_cn[3] = np.interp(time_n * (1 - rate), time_n, samples_cn[3])
    recording = recording_of(tmp_path, make, samples_cn.astype(np.float32))
    notes = ("channel 3 falls behind by 59 ms over the recording: its clock is off",)
    assert plan_channels(recording).notes == notes
    assert plan_channels(recording, (0, 3)).notes == notes


def test_one_channel_is_as_it_is(tmp_path, make):
    plan = plan_channels(recording_of(tmp_path, make, make.tones(1, 1.0, 16_000), layout=None))
    assert (plan.channels, plan.delays_s, plan.signs, plan.notes) == ((0,), (0.0,), (1,), ())


def test_silence_has_no_channels(tmp_path, make):
    plan = plan_channels(recording_of(tmp_path, make, np.zeros((3, 20_000), np.float32)))
    assert plan.channels == ()
    assert len(plan.notes) == 3


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    channel=st.integers(0, 3),
    late_ms=st.one_of(st.integers(60, 1900), st.integers(-1900, -60)),
    gain_db=st.floats(-20, 3),
)
def test_any_delay_is_found_to_a_millisecond(tmp_path_factory, channel, late_ms, gain_db):
    from tests.ingest import conftest as make

    samples_cn = clean_array(4).copy()
    samples_cn[channel] = 10 ** (gain_db / 20) * late(samples_cn[channel], late_ms / 1000)
    plan = plan_channels(recording_of(tmp_path_factory.mktemp("late"), make, samples_cn))
    assert [(found.channel, found.fault) for found in plan.faults] == [(channel, Fault.LATE)]
    assert plan.delays_s[channel] == pytest.approx(late_ms / 1000, abs=0.001)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(range(8)))
def test_faults_go_with_their_channels(tmp_path_factory, order):
    """The order of the channels does not matter, but that of two copies the first is kept."""
    from tests.ingest import conftest as make

    path = tmp_path_factory.mktemp("order")
    plan = plan_channels(recording_of(path, make, faulty_array()[list(order)]))
    found = {order[fault.channel]: fault.fault for fault in plan.faults}
    copy = max((2, 3), key=order.index)
    assert found == {
        1: Fault.SILENT, copy: Fault.COPY, 4: Fault.CLIPPED, 6: Fault.LATE, 7: Fault.FLIPPED,
    }  # fmt: skip
