"""The beamformer: against the formulas bin by bin, and what must hold for any covariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meetscribe.errors import ShapeError
from meetscribe.spatial.beamform import apply, covariance, souden_mvdr

RNG = np.random.default_rng


def gaussian(seed: int, *shape: int) -> np.ndarray:
    rng = RNG(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def positive(seed: int, bins: int, channels: int) -> np.ndarray:
    root = gaussian(seed, bins, channels, channels)
    return root @ root.conj().transpose(0, 2, 1)


def written_out(target: np.ndarray, noise: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Reference channel, filters with BAN (F, C), power ratio per candidate (C,)."""
    bins, channels = target.shape[:2]
    filters = np.zeros((bins, channels, channels), complex)
    for f in range(bins):
        ratio = np.linalg.inv(noise[f]) @ target[f]
        filters[f] = ratio / max(np.trace(ratio).real, 1e-10)
    kept, left = np.zeros(channels), np.zeros(channels)
    for r in range(channels):
        for f in range(bins):
            w = filters[f][:, r]
            kept[r] += (w.conj() @ target[f] @ w).real
            left[r] += (w.conj() @ noise[f] @ w).real
    reference = int(np.argmax(kept / left))
    weights = np.zeros((bins, channels), complex)
    for f in range(bins):
        w = filters[f][:, reference]
        up = np.sqrt((w.conj() @ noise[f] @ noise[f] @ w).real)
        weights[f] = w * up / abs(w.conj() @ noise[f] @ w)
    return reference, weights, kept / left


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_filter_is_the_written_out_one(channels: int) -> None:
    target, noise = positive(1, 7, channels), positive(2, 7, channels)
    reference, weights, ratios = written_out(target, noise)
    made = souden_mvdr(torch.from_numpy(target), torch.from_numpy(noise))
    assert made.reference == reference
    np.testing.assert_allclose(made.weight_fc.numpy(), weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(made.snr_c.numpy(), ratios, rtol=1e-6)


def test_covariance_is_the_written_out_sum() -> None:
    y_cft, mask_ft = gaussian(3, 3, 4, 50), RNG(4).random((4, 50))
    made_fcc = covariance(torch.from_numpy(y_cft), torch.from_numpy(mask_ft)).numpy()
    for f in range(4):
        expected = np.zeros((3, 3), complex)
        for t in range(50):
            expected += mask_ft[f, t] * np.outer(y_cft[:, f, t], y_cft[:, f, t].conj())
        np.testing.assert_allclose(made_fcc[f], expected / mask_ft[f].sum(), atol=1e-10)


def test_one_source_passes_undistorted_to_the_reference_channel() -> None:
    steering_fc = gaussian(5, 6, 4)
    target = np.einsum("fc,fd->fcd", steering_fc, steering_fc.conj())
    made = souden_mvdr(
        torch.from_numpy(target), torch.from_numpy(positive(6, 6, 4)), reference=2, ban=False
    )
    passed_f = (made.weight_fc.numpy().conj() * steering_fc).sum(axis=1)
    np.testing.assert_allclose(passed_f, steering_fc[:, 2], rtol=1e-6)


def test_an_interferer_is_removed() -> None:
    steering_fc, other_fc = gaussian(7, 6, 4), gaussian(8, 6, 4)
    target = np.einsum("fc,fd->fcd", steering_fc, steering_fc.conj())
    noise = np.einsum("fc,fd->fcd", other_fc, other_fc.conj()) + 1e-4 * np.eye(4)
    made = souden_mvdr(torch.from_numpy(target), torch.from_numpy(noise))
    y_cft = np.einsum("fc,ft->cft", other_fc, gaussian(9, 6, 30))
    out_ft = apply(made.weight_fc, torch.from_numpy(y_cft)).numpy()
    assert np.abs(out_ft).max() < 1e-3 * np.abs(y_cft).max()


def test_blind_normalisation_takes_the_scale_of_the_filter_away() -> None:
    target, noise = positive(10, 5, 3), positive(11, 5, 3)
    gain = np.array([1e-3, 1.0, 7.0, 50.0, 1e3])[:, None, None]
    one = souden_mvdr(torch.from_numpy(target), torch.from_numpy(noise), reference=0)
    other = souden_mvdr(torch.from_numpy(target * gain), torch.from_numpy(noise), reference=0)
    torch.testing.assert_close(one.weight_fc, other.weight_fc, rtol=1e-6, atol=1e-9)


def test_dead_channels_are_neither_used_nor_chosen() -> None:
    target, noise = positive(12, 5, 4), positive(13, 5, 4)
    for matrix in (target, noise):
        matrix[:, 1], matrix[:, :, 1] = 0, 0
    made = souden_mvdr(torch.from_numpy(target), torch.from_numpy(noise))
    living = [0, 2, 3]
    alone = souden_mvdr(
        torch.from_numpy(target[:, living][:, :, living].copy()),
        torch.from_numpy(noise[:, living][:, :, living].copy()),
    )
    assert made.reference == living[alone.reference]
    assert not made.weight_fc[:, 1].any()
    torch.testing.assert_close(made.weight_fc[:, living], alone.weight_fc, rtol=1e-6, atol=1e-9)


def test_copies_of_a_channel_share_its_weight() -> None:
    y_cft = gaussian(14, 3, 5, 200)
    twice_cft = y_cft[[0, 1, 2, 0]]
    mask_ft = RNG(15).random((5, 200))

    def output(spectrum_cft: np.ndarray) -> np.ndarray:
        stft_cft = torch.from_numpy(spectrum_cft)
        mask = torch.from_numpy(mask_ft)
        made = souden_mvdr(
            covariance(stft_cft, mask), covariance(stft_cft, 1 - mask), reference=1, ban=False
        )
        return apply(made.weight_fc, stft_cft).numpy()

    single, double = output(y_cft), output(twice_cft)
    # the trace counts the copy twice: the output may be weaker, but is the same signal
    for f in range(5):
        similarity = abs(np.vdot(single[f], double[f])) / (
            np.linalg.norm(single[f]) * np.linalg.norm(double[f])
        )
        assert similarity > 0.9


def test_without_any_noise_the_target_passes() -> None:
    target = torch.from_numpy(positive(16, 4, 3))
    made = souden_mvdr(target, torch.zeros_like(target))
    assert torch.isfinite(made.weight_fc.abs()).all()
    assert (torch.linalg.vector_norm(made.weight_fc, dim=1) > 0.1).all()


def test_without_any_target_there_is_silence() -> None:
    noise = torch.from_numpy(positive(17, 4, 3))
    made = souden_mvdr(torch.zeros_like(noise), noise)
    assert not made.weight_fc.any()


def test_wrong_shapes_and_channels_are_refused() -> None:
    matrix = torch.zeros(2, 3, 3, dtype=torch.complex128)
    with pytest.raises(ShapeError, match="reference channel 3, expected 0 to 2"):
        souden_mvdr(matrix, matrix, reference=3)
    with pytest.raises(ShapeError, match=r"\(F, C, C\)"):
        souden_mvdr(matrix, matrix[:, :2, :2])
    with pytest.raises(ShapeError, match="mask"):
        covariance(torch.zeros(2, 3, 4, dtype=torch.complex64), torch.zeros(3, 5))
