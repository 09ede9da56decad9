"""Spectra: against a transform written out, and the exact inverse for any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from meetscribe.errors import ShapeError
from meetscribe.spatial.stft import StftSettings, istft, stft

FORMS = [
    StftSettings(),
    StftSettings(window_samples=400, hop_samples=160, window="hann"),
    StftSettings(window_samples=512, hop_samples=256, window="sqrt-hann"),
    StftSettings(window_samples=15, hop_samples=4, window="blackman"),
]


def written_out(samples_n: np.ndarray, form: StftSettings) -> np.ndarray:
    """Frame by frame, bin by bin, as the formula says."""
    size, hop = form.window_samples, form.hop_samples
    n = np.arange(size)
    window = {
        "blackman": 0.42 - 0.5 * np.cos(2 * np.pi * n / size) + 0.08 * np.cos(4 * np.pi * n / size),
        "hann": np.sin(np.pi * n / size) ** 2,
        "sqrt-hann": np.sin(np.pi * n / size),
    }[form.window]
    frames = []
    start = -(size - hop)
    while start + size < len(samples_n) + (size - hop) + hop:
        frame = [
            samples_n[i] if 0 <= i < len(samples_n) else 0.0 for i in range(start, start + size)
        ]
        frames.append(np.array(frame) * window)
        start += hop
    bins = np.arange(size // 2 + 1)
    return np.array(frames) @ np.exp(-2j * np.pi * np.outer(n, bins) / size)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.window}-{form.window_samples}")
@pytest.mark.parametrize("num_samples", [1, 300, 1023, 1024, 2000])
def test_spectrum_is_the_written_out_one(form: StftSettings, num_samples: int) -> None:
    samples_n = np.random.default_rng(num_samples).standard_normal(num_samples)
    expected_tf = written_out(samples_n, form)
    spectrum_ft = stft(torch.from_numpy(samples_n), form)
    assert spectrum_ft.shape == (form.num_bins, form.num_frames(num_samples))
    np.testing.assert_allclose(spectrum_ft.numpy().T, expected_tf, atol=1e-10)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.window}-{form.window_samples}")
@given(num_samples=st.integers(0, 3000), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_inverse_is_exact_for_any_length(form: StftSettings, num_samples: int, seed: int) -> None:
    torch.manual_seed(seed)
    samples_cn = 2 * torch.rand(2, num_samples) - 1
    back_cn = istft(stft(samples_cn, form), num_samples, form)
    assert back_cn.dtype == torch.float32
    torch.testing.assert_close(back_cn, samples_cn, atol=1e-6, rtol=0)


def test_inverse_of_double_precision_is_exact_to_double_precision() -> None:
    samples_n = torch.randn(5000, dtype=torch.float64)
    torch.testing.assert_close(istft(stft(samples_n), 5000), samples_n, atol=1e-13, rtol=0)


def test_a_later_arrival_has_a_more_negative_phase() -> None:
    samples_n = torch.randn(8000, dtype=torch.float64)
    late_n = torch.roll(samples_n, 2)
    early_ft, late_ft = stft(samples_n)[:, 8:20], stft(late_n)[:, 8:20]
    phase_f = (late_ft * early_ft.conj()).sum(dim=1).angle()
    expected_f = -2 * np.pi * 2 * np.arange(513) / 1024
    np.testing.assert_allclose(phase_f[10:200], expected_f[10:200], atol=0.05)


def test_only_frames_within_the_span_hear_a_click() -> None:
    form = StftSettings()
    samples_n = torch.zeros(6000)
    samples_n[2500] = 1.0
    heard = [t for t, power in enumerate(stft(samples_n).abs().sum(dim=0)) if power > 1e-4]
    spans = [form.frame_span(frame) for frame in range(form.num_frames(6000))]
    assert heard == [t for t, (first, last) in enumerate(spans) if first <= 2500 < last]


def test_bins_have_their_frequencies() -> None:
    hz_f = StftSettings().bin_hz()
    assert len(hz_f) == 513
    assert hz_f[-1] == 8000
    tone_n = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    assert hz_f[int(stft(tone_n).abs()[:, 30].argmax())] == 1000


@pytest.mark.parametrize(
    ("window", "size", "hop"), [("blackman", 512, 512), ("hann", 400, 500), ("hann", 64, 64)]
)
def test_a_hop_without_an_inverse_is_refused(window: str, size: int, hop: int) -> None:
    with pytest.raises(ValidationError, match="hop_samples"):
        StftSettings(window=window, window_samples=size, hop_samples=hop)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="floating"):
        stft(torch.zeros(100, dtype=torch.int16))
    with pytest.raises(ShapeError, match=r"\(\.\.\., 513, 7\)"):
        istft(torch.zeros(513, 9, dtype=torch.complex64), 1000)
