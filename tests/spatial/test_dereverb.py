"""Dereverberation: against the formulas, one bin and one frame at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meetscribe.errors import ShapeError
from meetscribe.spatial.dereverb import DereverbSettings, dereverberate


def written_out(
    y_ct: np.ndarray, taps: int, delay: int, iterations: int, context: int
) -> np.ndarray:
    """WPE of one bin as in the paper: a sum over frames, then one linear system."""
    channels, frames = y_ct.shape
    past = np.zeros((frames, taps * channels), complex)
    for t in range(frames):
        for k in range(taps):
            if t - delay - k >= 0:
                past[t, k * channels : (k + 1) * channels] = y_ct[:, t - delay - k]
    x_ct = y_ct
    for _ in range(iterations):
        power = (np.abs(x_ct) ** 2).mean(axis=0)
        power = np.array(
            [power[max(0, t - context) : t + context + 1].mean() for t in range(frames)]
        )
        power = np.maximum(power, 1e-10 * power.max())
        matrix = np.zeros((taps * channels, taps * channels), complex)
        vectors = np.zeros((taps * channels, channels), complex)
        for t in range(frames):
            matrix += np.outer(past[t], past[t].conj()) / power[t]
            vectors += np.outer(past[t], y_ct[:, t].conj()) / power[t]
        filters = np.linalg.solve(matrix, vectors)
        x_ct = y_ct - (past @ filters.conj()).T
    return x_ct


def reverberant(channels: int, bins: int, frames: int, seed: int = 0) -> np.ndarray:
    """Sources with pauses through decaying random filters, plus a little noise: (C, F, T)."""
    rng = np.random.default_rng(seed)
    shape = (channels, bins, frames)
    source = rng.standard_normal((2, bins, frames)) + 1j * rng.standard_normal((2, bins, frames))
    source *= np.repeat(rng.random((2, 1, -(-frames // 10))) > 0.4, 10, axis=2)[..., :frames]
    heard = 0.01 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    for lag in range(8):
        mixing = rng.standard_normal((channels, 2, bins)) + 1j * rng.standard_normal(
            (channels, 2, bins)
        )
        heard[..., lag:] += 0.7**lag * np.einsum(
            "csf,sft->cft", mixing, source[..., : frames - lag]
        )
    return heard


@pytest.mark.parametrize(
    ("channels", "taps", "delay", "iterations", "context"),
    [(3, 4, 2, 3, 0), (2, 5, 3, 1, 0), (1, 3, 1, 2, 0), (2, 3, 2, 2, 2), (2, 1, 1, 1, 1)],
)
def test_spectrum_is_the_written_out_one(
    channels: int, taps: int, delay: int, iterations: int, context: int
) -> None:
    y_cft = reverberant(channels, 3, 150)
    options = DereverbSettings(taps=taps, delay=delay, iterations=iterations, psd_context=context)
    made_cft = dereverberate(torch.from_numpy(y_cft), options).numpy()
    for f in range(3):
        expected_ct = written_out(y_cft[:, f], taps, delay, iterations, context)
        np.testing.assert_allclose(made_cft[:, f], expected_ct, atol=1e-6)


def test_long_blocks_go_through_in_pieces_unchanged() -> None:
    y_cft = reverberant(2, 3, 1300)
    options = DereverbSettings(taps=3, iterations=2)
    made_cft = dereverberate(torch.from_numpy(y_cft), options).numpy()
    expected_ct = written_out(y_cft[:, 1], 3, 2, 2, 0)
    np.testing.assert_allclose(made_cft[:, 1], expected_ct, atol=1e-6)


def test_memory_for_work_changes_nothing() -> None:
    y_cft = torch.from_numpy(reverberant(2, 7, 60))
    one, all_bins = (
        dereverberate(y_cft, DereverbSettings(work_mb=size)) for size in (1e-6, 1000.0)
    )
    torch.testing.assert_close(one, all_bins, atol=2e-6, rtol=0)


def test_what_is_learned_from_some_frames_is_subtracted_from_all() -> None:
    y_cft = reverberant(2, 2, 300)
    options = DereverbSettings(taps=3, iterations=2)
    made_cft = dereverberate(torch.from_numpy(y_cft), options, statistics=(0, 200)).numpy()
    for f in range(2):
        expected_ct = written_out(y_cft[:, f, :200], 3, 2, 2, 0)
        np.testing.assert_allclose(made_cft[:, f, :200], expected_ct, atol=1e-6)
    power = [np.sum(np.abs(spectrum[..., 200:]) ** 2) for spectrum in (made_cft, y_cft)]
    assert 0 < power[0] < 0.97 * power[1]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_number_of_threads_changes_nothing(threads: int) -> None:
    y_cft = torch.from_numpy(reverberant(2, 7, 60))
    before = torch.get_num_threads()
    options = DereverbSettings(work_mb=1e-6)
    made = dereverberate(y_cft, options, threads=threads)
    torch.testing.assert_close(made, dereverberate(y_cft), atol=2e-6, rtol=0)
    assert torch.get_num_threads() == before


def test_scale_of_the_recording_does_not_matter() -> None:
    y_cft = torch.from_numpy(reverberant(2, 2, 100)).to(torch.complex64)
    quiet_cft = dereverberate(1e-6 * y_cft)
    torch.testing.assert_close(1e6 * quiet_cft, dereverberate(y_cft), atol=1e-4, rtol=1e-4)


def test_late_echoes_go_and_the_direct_sound_stays() -> None:
    rng = np.random.default_rng(3)
    direct = rng.standard_normal((1, 1, 600)) + 1j * rng.standard_normal((1, 1, 600))
    direct *= np.repeat(rng.random(60) > 0.5, 10)
    mixing = np.exp(2j * np.pi * rng.random((4, 1, 1)))
    clean_cft = mixing * direct
    wet_cft = clean_cft.copy()
    for lag in range(3, 9):
        echo = np.exp(2j * np.pi * rng.random((4, 1, 1)))
        wet_cft[..., lag:] += 0.7**lag * 2 * echo * direct[..., :-lag]
    made_cft = dereverberate(torch.from_numpy(wet_cft)).numpy()
    before = np.sum(np.abs(wet_cft - clean_cft) ** 2)
    after = np.sum(np.abs(made_cft - clean_cft) ** 2)
    assert 10 * np.log10(before / after) > 10


@pytest.mark.parametrize("frames", [0, 1, 2, 5])
def test_hardly_any_frames_are_no_trouble(frames: int) -> None:
    y_cft = torch.from_numpy(reverberant(3, 2, 20))[..., :frames].to(torch.complex64)
    made_cft = dereverberate(y_cft)
    assert made_cft.shape == y_cft.shape
    assert torch.isfinite(made_cft.abs()).all()
    # nothing before the first frames: they stay as they are
    torch.testing.assert_close(made_cft[..., :2], y_cft[..., :2])


def test_dead_and_duplicated_channels_and_silent_bins_are_no_trouble() -> None:
    y_cft = reverberant(4, 3, 200)
    y_cft[1] = 0
    y_cft[3] = y_cft[0]
    y_cft[:, 2] = 0
    made_cft = dereverberate(torch.from_numpy(y_cft)).numpy()
    assert np.isfinite(made_cft).all()
    assert not made_cft[1].any()
    assert not made_cft[:, 2].any()
    np.testing.assert_allclose(made_cft[3], made_cft[0], atol=1e-6)
    # the copy and the dead channel bring nothing new: as without them
    alone_cft = dereverberate(torch.from_numpy(y_cft[[0, 2]])).numpy()
    power = np.abs(alone_cft[0, :2]).max()
    assert np.abs(made_cft[0, :2] - alone_cft[0, :2]).max() < 0.5 * power


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    options = DereverbSettings(work_mb=1e-6)
    dereverberate(torch.from_numpy(reverberant(1, 4, 30)), options, progress=seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="dereverberate"):
        dereverberate(torch.zeros(3, 4, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="float32"):
        dereverberate(torch.zeros(3, 4, 5))
