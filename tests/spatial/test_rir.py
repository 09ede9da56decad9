"""Features from room impulse responses: against the formula, and in rooms that reverberate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import ShapeError
from meetscribe.spatial.geometry import spatial_feature
from meetscribe.spatial.phase import FEATURE_STFT, choose_pairs, match_phases
from meetscribe.spatial.rir import rir_feature, rir_spectra, rir_steering
from meetscribe.spatial.stft import StftSettings, stft

RATE = 16_000


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def written_out(y_cft: np.ndarray, r_cfk: np.ndarray, pairs: list, taps: int) -> np.ndarray:
    """RIR-SF frame by frame, bin by bin, pair by pair, shape (T, F)."""
    _, bins, frames = y_cft.shape
    made = np.zeros((frames, bins))
    for t in range(frames):
        for f in range(bins):
            for first, second in pairs:
                angle = []
                for m in (first, second):
                    total = 0j
                    for n in range(taps):
                        if t + n < frames:
                            total += y_cft[m, f, t + n] * np.conj(r_cfk[m, f, n])
                    angle.append(np.angle(total))
                made[t, f] += np.cos(angle[0] - angle[1])
    return made


def room(seed: int, channels: int = 4, rt60_s: float = 0.4) -> np.ndarray:
    """Responses of one place: a direct sound with a delay per channel, and a decaying tail."""
    rng = np.random.default_rng(seed)
    num = round(rt60_s * RATE)
    tail_cn = rng.standard_normal((channels, num)) * np.exp(-6.9 * np.arange(num) / num)
    made_cn = np.zeros((channels, num + 100))
    delay_c = 60 + rng.integers(0, 12, channels)
    for channel in range(channels):
        made_cn[channel, delay_c[channel]] = 1.0
        made_cn[channel, 100:] += 0.06 * tail_cn[channel]
    return made_cn


@given(seed=st.integers(0, 99), taps=st.integers(1, 4), frames=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_feature_is_the_written_out_one(seed: int, taps: int, frames: int) -> None:
    y_cft, r_cfk = gaussian(seed, 3, 2, frames), gaussian(seed + 1, 3, 2, 4)
    pairs = choose_pairs(3)
    made_tf = rir_feature(y_cft, r_cfk, pairs, taps=taps)
    expected_tf = written_out(y_cft.numpy(), r_cfk.numpy(), list(pairs), taps)
    np.testing.assert_allclose(made_tf, expected_tf, atol=1e-10)
    average_tf = rir_feature(y_cft, r_cfk, pairs, taps=taps, average=True)
    torch.testing.assert_close(average_tf * len(pairs), made_tf)
    assert average_tf.abs().max() <= 1.0


@given(seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_one_tap_is_sf_with_the_phases_of_the_direct_sound(seed: int) -> None:
    y_cft, r_cfk = gaussian(seed, 4, 3, 5), gaussian(seed + 1, 4, 3, 6)
    pairs = choose_pairs(4, "adjacent")
    made_tf = rir_feature(y_cft, r_cfk, pairs, taps=1)
    steering_pf = rir_steering(r_cfk, pairs)
    torch.testing.assert_close(made_tf, match_phases(y_cft, steering_pf, pairs, average=False))
    torch.testing.assert_close(made_tf, spatial_feature(y_cft, steering_pf.angle(), pairs))


@given(seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_order_of_channels_and_loudness_do_not_matter(seed: int, scale: float) -> None:
    y_cft, r_cfk, pairs = gaussian(seed, 4, 3, 5), gaussian(seed + 1, 4, 3, 2), choose_pairs(4)
    made_tf = rir_feature(y_cft, r_cfk, pairs)
    gain_c11 = 1 + torch.rand(4, 1, 1)
    torch.testing.assert_close(rir_feature(scale * gain_c11 * y_cft, r_cfk, pairs), made_tf)
    torch.testing.assert_close(rir_feature(y_cft.flip(0), r_cfk.flip(0), pairs), made_tf)


def test_sources_and_spectra_broadcast() -> None:
    y_cft, r_kcfk, pairs = gaussian(0, 3, 4, 5), gaussian(1, 2, 3, 4, 2), choose_pairs(3)
    made_ktf = rir_feature(y_cft, r_kcfk, pairs)
    assert made_ktf.shape == (2, 5, 4)
    torch.testing.assert_close(made_ktf[1], rir_feature(y_cft, r_kcfk[1], pairs))


@pytest.mark.parametrize(
    "form", [FEATURE_STFT, StftSettings(), StftSettings(window_samples=15, hop_samples=4)]
)
@pytest.mark.parametrize("at", [0, 37, 3000])
def test_the_direct_sound_is_in_the_middle_of_frame_0(form: StftSettings, at: int) -> None:
    rir_cn = torch.zeros(2, at + 1200, dtype=torch.float64)
    rir_cn[0, at], rir_cn[1, at + 2] = 1.0, -1.0
    rir_cn[1, at + 2 * form.hop_samples] = 0.25
    spectra_cfk = rir_spectra(rir_cn, form, taps=4)
    assert spectra_cfk.shape == (2, form.num_bins, 4)
    # the window is 1 in the middle; frames further on hear the same impulse earlier and weaker
    half = form.window_samples // 2
    turn_f = np.exp(-2j * np.pi * np.arange(form.num_bins) * half / form.window_samples)
    np.testing.assert_allclose(spectra_cfk[0, :, 0], turn_f, atol=0.02)
    steering_f = rir_steering(spectra_cfk[:, 1:-1], [(0, 1)])[0]
    assert steering_f.abs().min() > 0.99
    if form.window_samples > 100:
        # channel 1 hears 2 samples later, upside down; its echo is out of this window's middle
        late_f = -np.exp(4j * np.pi * np.arange(1, form.num_bins - 1) / form.window_samples)
        assert np.real(steering_f.numpy() * late_f.conj()).min() > 0.9
    silent = rir_spectra(torch.zeros(2, 50), form, taps=3)
    assert (silent == 0).all()
    torch.testing.assert_close(
        rir_spectra(torch.stack([rir_cn, 2 * rir_cn]), form, taps=4)[1], 2 * spectra_cfk
    )


def test_reverberation_hurts_one_tap_and_helps_many() -> None:
    rng = np.random.default_rng(0)
    rir_cn, other_cn = room(1), room(2)
    dry_n = rng.standard_normal(2 * RATE) * np.repeat(rng.random(400) ** 4, 80)
    wet_cn = np.stack([np.convolve(dry_n, rir_n) for rir_n in rir_cn])
    spectrum_cft = stft(torch.from_numpy(wet_cn), FEATURE_STFT)
    responses = torch.from_numpy(np.stack([rir_cn, other_cn]))
    rir_kcfk, pairs = rir_spectra(responses, taps=20), choose_pairs(4)
    means = {
        taps: rir_feature(spectrum_cft, rir_kcfk, pairs, taps=taps, average=True).mean(dim=(1, 2))
        for taps in (1, 10, 20)
    }
    assert means[10][0] > means[1][0] + 0.05
    assert means[20][0] > means[1][0] + 0.05
    assert all(float(own) > float(other) + 0.2 for own, other in means.values())


def test_one_sound_in_a_known_room_fits_perfectly() -> None:
    r_cfk, pairs = gaussian(0, 4, 3, 6), choose_pairs(4)
    dry_ft = torch.zeros(3, 20, dtype=torch.complex128)
    dry_ft[:, [4, 12]] = gaussian(1, 3, 2)
    y_cft = torch.zeros(4, 3, 20, dtype=torch.complex128)
    for tap in range(6):
        y_cft[..., tap:] += r_cfk[..., tap : tap + 1] * dry_ft[..., : 20 - tap]
    made_tf = rir_feature(y_cft, r_cfk, pairs)
    np.testing.assert_allclose(made_tf[[4, 12]], len(pairs), atol=1e-9)
    assert made_tf[[5, 6, 8, 9]].max() < len(pairs) - 1e-3


def test_what_does_not_fit_is_refused() -> None:
    y_cft, r_cfk = gaussian(0, 3, 4, 5), gaussian(1, 3, 4, 2)
    with pytest.raises(ShapeError, match="3 taps"):
        rir_feature(y_cft, r_cfk, [(0, 1)], taps=3)
    with pytest.raises(ShapeError, match="responses"):
        rir_feature(y_cft, r_cfk[:2], [(0, 1)])
    with pytest.raises(ShapeError, match="channels below 3"):
        rir_feature(y_cft, r_cfk, [(0, 3)])
    with pytest.raises(ShapeError, match="real responses"):
        rir_spectra(torch.zeros(10))
    with pytest.raises(ShapeError, match="0 taps"):
        rir_spectra(torch.zeros(2, 10), taps=0)
