"""Phase differences, correlations and delays: against the formulas, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.config import Settings, build
from meetscribe.errors import AudioError, ConfigError, ShapeError
from meetscribe.spatial.phase import (
    FEATURE_STFT,
    PairChoice,
    channel_pairs,
    choose_pairs,
    delay_grid_s,
    gcc_phat,
    ipd,
    match_phases,
    match_planes,
    pair_delays,
    pair_phases,
    unit_phases,
)
from meetscribe.spatial.stft import StftSettings, stft

RATE = 16_000
SMALL = StftSettings(window_samples=16, hop_samples=4, window="hann")
ODD = StftSettings(window_samples=15, hop_samples=4, window="hann")


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def written_out_match(y_cft: np.ndarray, steering_pf: np.ndarray, pairs: list) -> np.ndarray:
    """Mean over the pairs of |steering| cos(IPD - angle steering), shape (T, F)."""
    _, bins, frames = y_cft.shape
    made = np.zeros((frames, bins))
    for t in range(frames):
        for f in range(bins):
            for p, (first, second) in enumerate(pairs):
                difference = np.angle(y_cft[first, f, t]) - np.angle(y_cft[second, f, t])
                value = steering_pf[p, f]
                made[t, f] += abs(value) * math.cos(difference - np.angle(value)) / len(pairs)
    return made


@pytest.mark.parametrize(
    ("num_channels", "choice", "expected"),
    [
        (2, "all", [(0, 1)]),
        (2, "adjacent", [(0, 1)]),
        (2, "diametric", [(0, 1)]),
        (3, "adjacent", [(0, 1), (1, 2), (2, 0)]),
        (4, "all", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
        (5, "diametric", [(0, 2), (1, 3), (2, 4), (3, 0), (4, 1)]),
        (8, "diametric", [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (3, "reference", [(0, 1), (0, 2)]),
        (3, ((2, 0), (1, 0)), [(2, 0), (1, 0)]),
    ],
)
def test_pairs_are_chosen(num_channels: int, choice: PairChoice, expected: list) -> None:
    assert list(choose_pairs(num_channels, choice)) == expected


@given(num_channels=st.integers(2, 12), choice=st.sampled_from(["all", "adjacent", "diametric"]))
def test_no_pair_is_chosen_twice_and_every_channel_is_used(num_channels: int, choice: str) -> None:
    pairs = choose_pairs(num_channels, choice)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert {channel for pair in pairs for channel in pair} == set(range(num_channels))
    if choice == "all":
        assert len(pairs) == num_channels * (num_channels - 1) // 2


def test_pairs_that_cannot_be_are_refused() -> None:
    with pytest.raises(AudioError, match="at least 2"):
        choose_pairs(1)
    with pytest.raises(ConfigError, match=r"pair \(0, 4\)"):
        choose_pairs(4, ((0, 1), (0, 4)))
    with pytest.raises(ConfigError, match=r"pair \(2, 2\)"):
        choose_pairs(4, ((2, 2),))
    with pytest.raises(ConfigError, match="none"):
        choose_pairs(4, ())
    with pytest.raises(ConfigError, match=r"pair \(4, 1\)"):
        choose_pairs(4, "reference", reference=4)
    with pytest.raises(ConfigError, match="reference channel 3"):
        channel_pairs(3, 3)


def test_pairs_can_be_written_in_yaml() -> None:
    class Options(Settings):
        pairs: PairChoice = "all"

    assert build(Options, {"pairs": "adjacent"}, where="x").pairs == "adjacent"
    assert build(Options, {"pairs": [[0, 4], [1, 5]]}, where="x").pairs == ((0, 4), (1, 5))
    with pytest.raises(ConfigError):
        build(Options, {"pairs": "opposite"}, where="x")


def test_phase_differences_are_the_written_out_ones() -> None:
    y_cft = gaussian(0, 3, 4, 5)
    pairs = choose_pairs(3)
    made_ptf = ipd(y_cft, pairs)
    assert made_ptf.shape == (2 * len(pairs), 5, 4)
    for p, (first, second) in enumerate(pairs):
        angle_ft = np.angle(y_cft[first].numpy()) - np.angle(y_cft[second].numpy())
        np.testing.assert_allclose(made_ptf[p].T, np.cos(angle_ft), atol=1e-12)
        np.testing.assert_allclose(made_ptf[len(pairs) + p].T, np.sin(angle_ft), atol=1e-12)


def test_silence_defects_and_tiny_sounds_have_phases_that_are_numbers() -> None:
    values = torch.tensor([0, 1e-40 + 1e-41j, 3e-28 + 4e-28j, 3e30 + 4e30j], dtype=torch.complex64)
    torch.testing.assert_close(
        unit_phases(values), torch.tensor([0, 0, 0.6 + 0.8j, 0.6 + 0.8j], dtype=torch.complex64)
    )
    defects = torch.tensor([complex("nan"), complex("inf")], dtype=torch.complex64)
    assert (unit_phases(defects) == 0).all()


@given(seed=st.integers(0, 99), batch=st.sampled_from([(), (2,), (2, 3)]))
@settings(max_examples=20, deadline=None)
def test_a_match_is_the_written_out_one_for_any_axes_before(
    seed: int, batch: tuple[int, ...]
) -> None:
    y_cft = gaussian(seed, *batch, 4, 3, 5)
    pairs = [(0, 1), (3, 0), (2, 1), (2, 1), (1, 1)]
    steering_pf = gaussian(seed + 1, len(pairs), 3)
    steering_pf = steering_pf / (1 + steering_pf.abs())
    made_tf = match_phases(y_cft, steering_pf, pairs)
    assert made_tf.shape == (*batch, 5, 3)
    planes_ptf = match_planes(y_cft, steering_pf, pairs)
    torch.testing.assert_close(planes_ptf.mean(dim=-3), made_tf)
    torch.testing.assert_close(match_phases(y_cft, steering_pf, pairs, average=False), 5 * made_tf)
    for index in np.ndindex(*batch):
        expected_tf = written_out_match(y_cft[index].numpy(), steering_pf.numpy(), pairs)
        np.testing.assert_allclose(made_tf[index], expected_tf, atol=1e-12)


def test_places_broadcast_with_spectra() -> None:
    y_cft, steering_kpf = gaussian(0, 3, 4, 5), unit_phases(gaussian(1, 2, 3, 4))
    pairs = choose_pairs(3)
    made_ktf = match_phases(y_cft, steering_kpf, pairs)
    planes_kptf = match_planes(y_cft, steering_kpf, pairs)
    for k in range(2):
        torch.testing.assert_close(made_ktf[k], match_phases(y_cft, steering_kpf[k], pairs))
        torch.testing.assert_close(planes_kptf[k], match_planes(y_cft, steering_kpf[k], pairs))


@given(seed=st.integers(0, 999), scale=st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_loudness_does_not_matter_and_values_are_bounded(seed: int, scale: float) -> None:
    y_cft = gaussian(seed, 4, 3, 6).to(torch.complex64)
    pairs = choose_pairs(4)
    own_pf = pair_phases(y_cft[..., :1], pairs)[..., 0]
    made_tf = match_phases(y_cft, own_pf, pairs)
    assert made_tf.abs().max() <= 1.0
    torch.testing.assert_close(made_tf[0], torch.ones(3), atol=1e-5, rtol=0)
    gain_c11 = scale * torch.rand(4, 1, 1).add(0.1)
    torch.testing.assert_close(
        match_phases(gain_c11 * y_cft, own_pf, pairs), made_tf, atol=1e-5, rtol=0
    )
    assert ipd(y_cft, pairs).abs().max() <= 1.0 + 1e-6
    assert match_planes(y_cft, own_pf, pairs).abs().max() <= 1.0


@given(order=st.permutations(range(5)), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_channels_may_come_in_any_order(order: list[int], seed: int) -> None:
    y_cft, pairs = gaussian(seed, 5, 3, 6), choose_pairs(5)
    steering_pf = unit_phases(gaussian(seed + 1, len(pairs), 3))
    place = {channel: position for position, channel in enumerate(order)}
    moved = [(place[first], place[second]) for first, second in pairs]
    for function in (match_phases, match_planes):
        torch.testing.assert_close(
            function(y_cft[list(order)], steering_pf, moved), function(y_cft, steering_pf, pairs)
        )
    torch.testing.assert_close(ipd(y_cft[list(order)], moved), ipd(y_cft, pairs))


def test_a_dead_channel_leaves_the_other_pairs_alone() -> None:
    y_cft = gaussian(3, 3, 4, 5)
    y_cft[1] = 0
    pairs = choose_pairs(3)
    made_ptf = ipd(y_cft, pairs)
    assert (made_ptf[[0, 2, 3, 5]] == 0).all()
    torch.testing.assert_close(made_ptf[[1, 4]], ipd(y_cft[[0, 2]], [(0, 1)]))


@pytest.mark.parametrize("form", [SMALL, ODD], ids=["even", "odd"])
def test_a_correlation_is_the_written_out_one(form: StftSettings) -> None:
    size = form.window_samples
    y_cft = gaussian(4, 2, form.num_bins, 3)
    if size % 2 == 0:
        y_cft[:, -1] = y_cft[:, -1].real.to(y_cft.dtype)
    y_cft[:, 0] = y_cft[:, 0].real.to(y_cft.dtype)
    made_dt = gcc_phat(y_cft, [(0, 1)], max_delay_s=4 / RATE, settings=form)[0]
    assert made_dt.shape == (9, 3)
    for t in range(3):
        # the whole transform, where a delay is a circular shift
        cross_f = (y_cft[0, :, t] * y_cft[1, :, t].conj()).numpy()
        cross = np.fft.irfft(np.conj(cross_f / np.abs(cross_f)), size)
        expected_d = [cross[delay % size] for delay in range(-4, 5)]
        np.testing.assert_allclose(made_dt[:, t], expected_d, atol=1e-12)


@given(seed=st.integers(0, 99), interpolation=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_more_delays_contain_the_fewer(seed: int, interpolation: int) -> None:
    y_cft = gaussian(seed, 2, 9, 4)
    coarse_pdt = gcc_phat(y_cft, [(0, 1)], max_delay_s=3 / RATE, settings=SMALL)
    fine_pdt = gcc_phat(
        y_cft, [(0, 1)], max_delay_s=3 / RATE, settings=SMALL, interpolation=interpolation
    )
    torch.testing.assert_close(fine_pdt[:, ::interpolation], coarse_pdt)
    assert fine_pdt.abs().max() <= 1.0
    pooled_pd = gcc_phat(
        y_cft,
        [(0, 1)],
        max_delay_s=3 / RATE,
        settings=SMALL,
        interpolation=interpolation,
        pooled=True,
    )
    torch.testing.assert_close(pooled_pd, fine_pdt.mean(dim=-1))


def delayed(samples_n: np.ndarray, delay_samples: float) -> np.ndarray:
    """Delay a signal by any number of samples, around its end."""
    turn_f = np.exp(-2j * np.pi * np.fft.rfftfreq(len(samples_n)) * delay_samples)
    return np.fft.irfft(np.fft.rfft(samples_n) * turn_f, len(samples_n))


@pytest.mark.parametrize("interpolation", [1, 4])
@pytest.mark.parametrize("form", [StftSettings(), FEATURE_STFT], ids=["long", "short"])
def test_delays_are_found_with_their_fractions(form: StftSettings, interpolation: int) -> None:
    rng = np.random.default_rng(5)
    source_n = rng.standard_normal(2 * RATE)
    true_c = [0.0, 3.0, -2.4, 7.7]
    samples_cn = np.stack([delayed(source_n, delay) for delay in true_c])
    samples_cn += 0.1 * rng.standard_normal(samples_cn.shape)
    spectrum_cft = stft(torch.from_numpy(samples_cn.astype(np.float32)), form)
    pairs = choose_pairs(4, "reference")
    found = pair_delays(
        spectrum_cft, pairs, max_delay_s=0.001, settings=form, interpolation=interpolation
    )
    tolerance = 0.1 if interpolation == 4 else 0.3
    np.testing.assert_allclose(found.in_samples(), true_c[1:], atol=tolerance)
    np.testing.assert_allclose(found.delay_s_p * RATE, found.in_samples())
    assert (found.peak_p > 0.5).all()
    back = pair_delays(
        spectrum_cft, [(1, 0)], max_delay_s=0.001, settings=form, interpolation=interpolation
    )
    torch.testing.assert_close(back.delay_s_p[0], -found.delay_s_p[0])


def test_delays_beyond_the_grid_and_of_silence_stay_inside() -> None:
    samples_cn = torch.zeros(3, RATE)
    torch.manual_seed(0)
    samples_cn[0] = torch.randn(RATE)
    samples_cn[1] = samples_cn[0].roll(40)
    found = pair_delays(stft(samples_cn), [(0, 1), (0, 2)], max_delay_s=0.001)
    assert abs(float(found.delay_s_p[0])) <= 0.001 + 1e-9
    assert float(found.delay_s_p[1]) == 0.0
    assert float(found.peak_p[1]) == 0.0


def test_a_grid_of_delays_is_even_and_ascends() -> None:
    grid = np.array(delay_grid_s(3 / RATE, interpolation=2))
    np.testing.assert_allclose(grid * RATE, np.arange(-6, 7) / 2)
    assert delay_grid_s(0.0) == [0.0]


def test_what_does_not_fit_is_refused() -> None:
    y_cft = gaussian(0, 2, 9, 4)
    with pytest.raises(ShapeError, match="channels below 2"):
        ipd(y_cft, [(0, 2)])
    with pytest.raises(ShapeError, match="complex"):
        ipd(y_cft.real, [(0, 1)])
    with pytest.raises(ShapeError, match="steering"):
        match_phases(y_cft, torch.ones(1, 8, dtype=torch.complex64), [(0, 1)])
    with pytest.raises(ShapeError, match="513"):
        gcc_phat(y_cft, [(0, 1)], max_delay_s=0.001)
    for max_delay_s, interpolation in ((-0.1, 1), (math.nan, 1), (0.1, 0)):
        with pytest.raises(ConfigError, match="delays"):
            delay_grid_s(max_delay_s, interpolation=interpolation)
