"""Features from geometry: a source where it is said to be fits everywhere, others do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import ShapeError
from meetscribe.spatial.geometry import (
    SPEED_OF_SOUND_M_S,
    plane_tpd,
    point_tpd,
    spatial_feature,
)
from meetscribe.spatial.phase import FEATURE_STFT, choose_pairs, pair_delays
from meetscribe.spatial.stft import StftSettings, stft

RATE = 16_000
FORMS = [FEATURE_STFT, StftSettings(), StftSettings(window_samples=15, hop_samples=4)]


def circle(num: int = 8, radius: float = 0.05) -> np.ndarray:
    angle = 2 * np.pi * np.arange(num) / num
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(num)], axis=1)


def anechoic(source_3: np.ndarray, microphones_c3: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two seconds of noise at every microphone, delayed exactly, in a room without echo."""
    rng = np.random.default_rng(seed)
    spectrum_f = np.fft.rfft(rng.standard_normal(2 * RATE))
    hz_f = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    away_c = np.linalg.norm(microphones_c3 - source_3, axis=1)
    turn_cf = np.exp(-2j * np.pi * hz_f * away_c[:, None] / SPEED_OF_SOUND_M_S)
    return np.fft.irfft(spectrum_f * turn_cf, 2 * RATE)


@pytest.mark.parametrize("form", FORMS, ids=["400", "1024", "15"])
def test_phases_of_a_point_are_the_written_out_ones(form: StftSettings) -> None:
    microphones, source = circle(4), np.array([0.7, -1.1, 0.4])
    pairs = choose_pairs(4)
    made_pf = point_tpd(source, microphones, pairs, form)
    for p, (first, second) in enumerate(pairs):
        for k in range(form.num_bins):
            w = 2 * math.pi * k * RATE / form.window_samples
            d1, d2 = math.dist(source, microphones[first]), math.dist(source, microphones[second])
            assert float(made_pf[p, k]) == pytest.approx(-w * (d1 - d2) / 343.0, abs=1e-9)


@given(seed=st.integers(0, 999), num=st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_one_source_fits_with_every_pair_in_every_bin(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    microphones, source = rng.uniform(-0.5, 0.5, (num, 3)), rng.uniform(-3, 3, 3)
    away_c = np.linalg.norm(microphones - source, axis=1)
    w_f = 2 * np.pi * FEATURE_STFT.bin_hz()
    dry_ft = rng.standard_normal((201, 4)) + 1j * rng.standard_normal((201, 4))
    y_cft = dry_ft * np.exp(-1j * w_f * away_c[:, None] / SPEED_OF_SOUND_M_S)[..., None]
    pairs = choose_pairs(num)
    tpd_pf = point_tpd(source, microphones, pairs)
    made_tf = spatial_feature(torch.from_numpy(y_cft), tpd_pf, pairs)
    np.testing.assert_allclose(made_tf, len(pairs), rtol=1e-9)
    single_tf = spatial_feature(torch.from_numpy(y_cft).to(torch.complex64), tpd_pf, pairs)
    np.testing.assert_allclose(single_tf, len(pairs), rtol=1e-5)


def test_a_heard_source_fits_its_place_and_no_other() -> None:
    microphones, source = circle(), np.array([0.9, 0.8, 0.3])
    spectrum_cft = stft(torch.from_numpy(anechoic(source, microphones)), FEATURE_STFT)[..., 4:-4]
    pairs = choose_pairs(8)
    elsewhere = source * np.array([-1.0, 1.0, 1.0])
    tpd_kpf = point_tpd(np.stack([source, elsewhere]), microphones, pairs)
    made_ktf = spatial_feature(spectrum_cft, tpd_kpf, pairs, average=True)
    # at half the sample rate a spectrum is real, whatever the delay, and the window lets the bin
    # below hear that; cells that are nearly empty carry what leaks from others
    level_tf = spectrum_cft[0, :-2].abs().T
    loud_tf = level_tf > level_tf.quantile(0.2)
    assert made_ktf[0, :, :-2][loud_tf].min() > 0.95
    assert made_ktf[0, :, :-2].mean() > 0.99
    assert made_ktf[1][:, 40:160].mean() < 0.4


def test_the_feature_is_the_written_out_sum() -> None:
    rng = np.random.default_rng(1)
    y_cft = rng.standard_normal((3, 4, 5)) + 1j * rng.standard_normal((3, 4, 5))
    pairs = [(0, 1), (2, 1)]
    tpd_pf = 20 * rng.standard_normal((2, 4))
    made_tf = spatial_feature(torch.from_numpy(y_cft), torch.from_numpy(tpd_pf), pairs)
    for t in range(5):
        for f in range(4):
            expected = sum(
                math.cos(np.angle(y_cft[a, f, t]) - np.angle(y_cft[b, f, t]) - tpd_pf[p, f])
                for p, (a, b) in enumerate(pairs)
            )
            assert float(made_tf[t, f]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("degrees", [0, 35, 90, 150, 180])
def test_far_away_a_point_is_a_direction(degrees: float) -> None:
    pair_c3 = np.array([[0.05, 0.0, 0.0], [-0.05, 0.0, 0.0]])
    angle = math.radians(degrees)
    source = 1000 * np.array([math.cos(angle), math.sin(angle), 0.0])
    plane_pf = plane_tpd([0.1], angle)
    assert plane_pf.shape == (1, 201)
    np.testing.assert_allclose(plane_pf, point_tpd(source, pair_c3, [(0, 1)]), atol=1e-3)
    top = 2 * math.pi * 8000 * 0.1 * math.cos(angle) / 343
    assert float(plane_pf[0, -1]) == pytest.approx(top)


def test_the_sign_is_that_of_delays() -> None:
    microphones = np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]])
    source = np.array([2.0, 0.3, 0.0])
    samples_cn = torch.from_numpy(anechoic(source, microphones))
    found = pair_delays(stft(samples_cn), [(0, 1)], max_delay_s=0.001)
    d1, d2 = (math.dist(source, place) for place in microphones)
    assert float(found.delay_s_p) == pytest.approx((d2 - d1) / 343, abs=0.1 / RATE)
    tpd_pf = point_tpd(source, microphones, [(0, 1)], StftSettings())
    slope = float(tpd_pf[0, 1]) / (2 * math.pi * RATE / 1024)
    assert slope == pytest.approx(float(found.delay_s_p), abs=0.1 / RATE)


def test_positions_that_are_none_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(C, 3\)"):
        point_tpd([1.0, 2.0], circle(), [(0, 1)])
    with pytest.raises(ShapeError, match=r"\(C, 3\)"):
        point_tpd([1.0, 2.0, 0.0], circle()[:, :2], [(0, 1)])
    with pytest.raises(ShapeError, match="below 8"):
        point_tpd([1.0, 2.0, 0.0], circle(), [(0, 8)])
