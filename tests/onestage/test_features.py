"""Features are those that Whisper learnt from, for signals of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.onestage.features import STEP_SAMPLES, log_mel


def noise(count: int) -> np.ndarray:
    envelope = np.linspace(0.001, 0.5, count)
    return (np.random.default_rng(count).normal(0, 1, count) * envelope).astype(np.float32)


@pytest.mark.parametrize("num_bins", [80, 128])
@pytest.mark.parametrize("count", [3 * 16_000, 2 * STEP_SAMPLES])
def test_equal_to_the_cascade_s_features(count: int, num_bins: int) -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    theirs = FeatureExtractor(feature_size=num_bins)(noise(count), padding=0)
    ours = log_mel(noise(count), num_bins=num_bins).numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=5e-5)


@given(st.integers(0, 5 * STEP_SAMPLES))
def test_a_whole_number_of_encoder_frames(count: int) -> None:
    features = log_mel(noise(count))
    assert features.shape == (80, 2 * max(1, -(-count // STEP_SAMPLES)))
    assert features.isfinite().all()
    assert features.max() - features.min() <= 2.0 + 1e-6


def test_silence_after_a_signal_changes_no_frame_before_its_end() -> None:
    short = log_mel(noise(16_000))
    padded = log_mel(np.pad(noise(16_000), (0, 16_000)))
    # the last windows see the end: mirrored, or followed by silence
    np.testing.assert_array_equal(short[:, :98], padded[:, :98])
