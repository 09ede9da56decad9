"""Masks: against the formulas of the EM algorithm, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meetscribe.errors import ShapeError
from meetscribe.spatial.mixture import MixtureSettings, fit_mixture


def written_out(
    y_ct: np.ndarray, active_kt: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cACGMM of one bin: posteriors (K, T), weights (K,), matrices (K, C, C)."""
    channels, frames = y_ct.shape
    classes = len(active_kt)
    y_ct = y_ct / np.maximum(np.linalg.norm(y_ct, axis=0), 1e-300)
    gamma = np.where(active_kt, 1.0, 1e-10)
    gamma /= gamma.sum(axis=0)
    form = np.ones((classes, frames))
    for iteration in range(iterations):
        weight = gamma.mean(axis=1)
        matrices = np.zeros((classes, channels, channels), complex)
        for k in range(classes):
            for t in range(frames):
                outer = np.outer(y_ct[:, t], y_ct[:, t].conj())
                matrices[k] += channels * gamma[k, t] / form[k, t] * outer
            matrices[k] /= gamma[k].sum()
            values, vectors = np.linalg.eigh((matrices[k] + matrices[k].conj().T) / 2)
            values = np.maximum(values / values.max(), 1e-10)
            matrices[k] = vectors @ np.diag(values) @ vectors.conj().T
        log_p = np.zeros((classes, frames))
        for k in range(classes):
            inverse = np.linalg.inv(matrices[k])
            for t in range(frames):
                value = y_ct[:, t].conj() @ inverse @ y_ct[:, t]
                form[k, t] = max(value.real, 1e-300)
            log_p[k] = -channels * np.log(form[k]) - np.linalg.slogdet(matrices[k])[1]
        p = weight[:, None] * np.exp(log_p - log_p.max(axis=0))
        last = iteration == iterations - 1
        if not last:
            p = p * active_kt
        gamma = p / np.maximum(p.sum(axis=0), 1e-300)
        if not last:
            gamma = np.clip(gamma, 1e-10, 1 - 1e-10)
    return gamma, weight, matrices


def scene(
    channels: int = 4, bins: int = 3, frames: int = 240, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sparse speakers from two directions, and noise: spectrum, activity, true dominance."""
    rng = np.random.default_rng(seed)

    def gaussian(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    active_kt = np.ones((3, frames), bool)
    active_kt[0, 2 * frames // 3 :] = False
    active_kt[1, : frames // 3] = False
    sparse = rng.random((2, bins, frames)) > 0.5
    source_kft = gaussian(2, bins, frames) * sparse * active_kt[:2, None]
    mixing_ckf = gaussian(channels, 2, bins)
    noise_cft = 0.05 * gaussian(channels, bins, frames)
    image_kcft = np.einsum("ckf,kft->kcft", mixing_ckf, source_kft)
    power_kft = (np.abs(np.concatenate([image_kcft, noise_cft[None]])) ** 2).sum(axis=1)
    return image_kcft.sum(axis=0) + noise_cft, active_kt, power_kft.argmax(axis=0)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_masks_are_the_written_out_ones(iterations: int) -> None:
    y_cft, active_kt, _ = scene()
    found = fit_mixture(
        torch.from_numpy(y_cft), torch.from_numpy(active_kt), MixtureSettings(iterations=iterations)
    )
    for f in range(y_cft.shape[1]):
        gamma, weight, matrices = written_out(y_cft[:, f], active_kt, iterations)
        np.testing.assert_allclose(found.mask_kft[:, f].numpy(), gamma, atol=2e-3)
        np.testing.assert_allclose(found.weight_fk[f].numpy(), weight, atol=1e-4)
        vectors, values = found.eigenvectors_fkcc[f], found.eigenvalues_fkc[f]
        made = (vectors * values[:, None].to(vectors.dtype)) @ vectors.mH
        np.testing.assert_allclose(made.numpy(), matrices, atol=1e-3)


def test_masks_sum_to_one_and_find_who_dominates() -> None:
    y_cft, active_kt, dominant_ft = scene(frames=600)
    mask_kft = fit_mixture(torch.from_numpy(y_cft), torch.from_numpy(active_kt)).mask_kft.numpy()
    np.testing.assert_allclose(mask_kft.sum(axis=0), 1.0, atol=1e-5)
    assert (mask_kft.argmax(axis=0) == dominant_ft).mean() > 0.9


def test_the_last_step_mends_wrong_activity() -> None:
    y_cft, active_kt, dominant_ft = scene(frames=600)
    wrong_kt = active_kt.copy()
    wrong_kt[0, 100:140] = False
    mask_kft = fit_mixture(torch.from_numpy(y_cft), torch.from_numpy(wrong_kt)).mask_kft.numpy()
    missed_ft = dominant_ft[:, 100:140] == 0
    assert mask_kft[0, :, 100:140][missed_ft].mean() > 0.8


def test_memory_for_work_and_order_of_bins_change_nothing() -> None:
    y_cft, active_kt, _ = scene(bins=6)
    stft_cft, activity_kt = torch.from_numpy(y_cft), torch.from_numpy(active_kt)
    small = fit_mixture(stft_cft, activity_kt, MixtureSettings(work_mb=1e-6)).mask_kft
    large = fit_mixture(stft_cft.flip(1), activity_kt).mask_kft.flip(1)
    torch.testing.assert_close(small, large, atol=1e-4, rtol=0)


def test_loudness_of_frames_does_not_matter() -> None:
    y_cft, active_kt, _ = scene()
    activity_kt = torch.from_numpy(active_kt)
    gain_t = 10 ** np.random.default_rng(1).uniform(-6, 6, y_cft.shape[2])
    one = fit_mixture(torch.from_numpy(y_cft), activity_kt).mask_kft
    other = fit_mixture(torch.from_numpy(y_cft * gain_t), activity_kt).mask_kft
    torch.testing.assert_close(one, other, atol=1e-3, rtol=0)


@pytest.mark.parametrize("trouble", ["silence", "nobody", "absent", "duplicate", "dead", "mono"])
def test_trouble_gives_finite_masks(trouble: str) -> None:
    y_cft, active_kt, _ = scene()
    if trouble == "silence":
        y_cft[..., 50:150] = 0
        y_cft[:, 1] = 0
    elif trouble == "nobody":
        active_kt[:, 60:90] = False
    elif trouble == "absent":
        active_kt[0] = False
    elif trouble == "duplicate":
        y_cft[1] = y_cft[0]
    elif trouble == "dead":
        y_cft[2] = 0
    else:
        y_cft = y_cft[:1]
    found = fit_mixture(torch.from_numpy(y_cft), torch.from_numpy(active_kt))
    assert torch.isfinite(found.mask_kft).all()
    assert found.mask_kft.min() >= 0
    assert found.mask_kft.max() <= 1 + 1e-5


def test_a_coherent_pair_of_channels_does_not_break_single_precision() -> None:
    # channels 1e-4 apart: the class matrices have eigenvalues of 1e-8
    y_cft, active_kt, _ = scene(channels=2)
    rng = np.random.default_rng(5)
    noise_ft = rng.standard_normal(y_cft.shape[1:]) + 1j * rng.standard_normal(y_cft.shape[1:])
    y_cft[1] = y_cft[0] + 1e-4 * noise_ft
    found = fit_mixture(torch.from_numpy(y_cft), torch.from_numpy(active_kt))
    for f in range(y_cft.shape[1]):
        gamma, _, _ = written_out(y_cft[:, f], active_kt, 10)
        difference = np.abs(found.mask_kft[:, f].numpy() - gamma)
        assert difference.mean() < 0.02


def test_progress_rises_to_one() -> None:
    y_cft, active_kt, _ = scene()
    seen: list[float] = []
    fit_mixture(
        torch.from_numpy(y_cft),
        torch.from_numpy(active_kt),
        MixtureSettings(work_mb=1e-6),
        progress=seen.append,
    )
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_wrong_shapes_are_refused() -> None:
    spectrum = torch.zeros(2, 3, 4, dtype=torch.complex64)
    with pytest.raises(ShapeError, match="mixture"):
        fit_mixture(spectrum[0], torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"\(K, 4\)"):
        fit_mixture(spectrum, torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ShapeError, match="at least 1"):
        fit_mixture(spectrum, torch.ones(0, 4, dtype=torch.bool))
