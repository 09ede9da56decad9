"""The whole chain against the reference implementation's results on one simulated meeting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from meetscribe.spatial.dereverb import dereverberate
from meetscribe.spatial.mixture import Mixture, MixtureSettings, fit_mixture
from meetscribe.spatial.separate import Separation, Span, frame_activity, frame_range
from meetscribe.spatial.stft import StftSettings, stft
from tests.conftest import DATA

GOLDENS = DATA.parent / "goldens" / "gss"
STORED_GAIN = 0.5
"""The enhanced files are stored at half amplitude."""

pytestmark = pytest.mark.skipif(
    not GOLDENS.is_dir(), reason="no goldens here (MEETSCRIBE_TEST_DATA)"
)


@dataclass
class Meeting:
    """The simulated meeting, and what each stage makes of it."""

    speakers: list[str]
    segments: list[tuple[str, Span]]
    stft_cft: torch.Tensor
    wpe_cft: torch.Tensor
    activity_kt: torch.Tensor
    mixture: Mixture
    num_samples: int

    @property
    def separation(self) -> Separation:
        return self.separation_of(self.wpe_cft, self.mixture)

    def separation_of(self, stft_cft: torch.Tensor, mixture: Mixture) -> Separation:
        return Separation(stft_cft, mixture.mask_kft, self.num_samples, StftSettings())


@pytest.fixture(scope="module")
def meeting() -> Meeting:
    known = json.loads((GOLDENS / "activities.json").read_text(encoding="utf-8"))
    samples_nc, _ = soundfile.read(GOLDENS / "mixture.flac", dtype="float32")
    stft_cft = stft(torch.from_numpy(samples_nc.T.copy()))
    wpe_cft = dereverberate(stft_cft)
    segments = [
        (segment["speaker"], (segment["start_sample"], segment["end_sample"]))
        for segment in known["segments"]
    ]
    activity = [
        [span for speaker, span in segments if speaker == name] for name in known["speakers"]
    ]
    activity_kt = frame_activity(activity, len(samples_nc), StftSettings(), noise_class=True)
    mixture = fit_mixture(wpe_cft, activity_kt)
    return Meeting(
        known["speakers"], segments, stft_cft, wpe_cft, activity_kt, mixture, len(samples_nc)
    )


def probe(name: str) -> Any:
    return np.load(GOLDENS / f"{name}.npz")


def relative_error(made: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(made - expected).max() / np.abs(expected).max())


def si_sdr_db(made: np.ndarray, expected: np.ndarray) -> float:
    made, expected = made.astype(np.float64), expected.astype(np.float64)
    target = expected * (made @ expected) / (expected @ expected)
    return float(10 * np.log10((target @ target) / np.sum((made - target) ** 2)))


def read(name: str, span: Span) -> np.ndarray:
    samples_n, _ = soundfile.read(GOLDENS / f"{name}.flac", start=span[0], stop=span[1])
    return np.asarray(samples_n)


def enhanced(meeting: Meeting, separation: Separation, index: int, reference: int | None) -> Any:
    speaker, span = meeting.segments[index]
    source = meeting.speakers.index(speaker)
    beamformer = separation.beamformer(source, [span], reference=reference)
    return beamformer, separation.filtered(beamformer, span).numpy()


def test_spectra_agree(meeting: Meeting) -> None:
    golden = probe("probe_stft_wpe")
    bins, frames = golden["bins"], golden["stft_all_bins_frames"]
    for made_cft, name in ((meeting.stft_cft, "stft"), (meeting.wpe_cft, "wpe")):
        at_bins = made_cft[:, bins].numpy().transpose(0, 2, 1)
        for index in range(len(bins)):
            assert relative_error(at_bins[..., index], golden[name][..., index]) < 1e-5
        at_frames = made_cft[0][:, frames].numpy().T
        assert relative_error(at_frames, golden[f"{name}_frames_ch0"]) < 1e-5


def test_frame_activity_and_ranges_are_equal(meeting: Meeting) -> None:
    assert (meeting.activity_kt.numpy() == probe("probe_em_10it")["frame_activity"]).all()
    for (_, span), expected in zip(
        meeting.segments, probe("probe_beamformer_10it")["frame_range"], strict=True
    ):
        assert frame_range(span, meeting.num_samples, StftSettings()) == tuple(expected)


def test_masks_agree(meeting: Meeting) -> None:
    golden_ktf = probe("masks_10it_f16")["masks"].astype(np.float32)
    difference = np.abs(meeting.mixture.mask_kft.numpy() - golden_ktf.transpose(0, 2, 1))
    assert difference.mean() < 1e-3
    assert (difference > 0.05).mean() < 0.01


def test_class_weights_and_shapes_agree(meeting: Meeting) -> None:
    golden = probe("probe_em_10it")
    assert np.abs(meeting.mixture.weight_fk.numpy() - golden["class_weight"]).max() < 1e-3
    values = meeting.mixture.eigenvalues_fkc.numpy()
    np.testing.assert_allclose(values, golden["shape_eigenvalues"], atol=1e-3)


def test_twenty_iterations_are_not_ten(meeting: Meeting) -> None:
    mixture = fit_mixture(meeting.wpe_cft, meeting.activity_kt, MixtureSettings(iterations=20))
    golden_ktf = probe("masks_20it_f16")["masks"].astype(np.float32)
    made_ktf = mixture.mask_kft.numpy().transpose(0, 2, 1)
    assert np.abs(made_ktf - golden_ktf).mean() < 1e-3
    assert (np.abs(made_ktf - golden_ktf) > 0.05).mean() < 0.01
    assert np.abs(made_ktf - meeting.mixture.mask_kft.numpy().transpose(0, 2, 1)).mean() > 3e-3


@pytest.mark.parametrize("index", range(6))
def test_enhanced_signals_agree(meeting: Meeting, index: int) -> None:
    golden = probe("probe_beamformer_10it")
    speaker, span = meeting.segments[index]
    for run, reference in (
        ("meeting_10it", int(golden["ref_channel"][index])),
        ("meeting_10it_refch0", 0),
    ):
        beamformer, made_n = enhanced(meeting, meeting.separation, index, reference)
        expected_n = read(f"enhanced_{run}_{speaker}", span) / STORED_GAIN
        assert si_sdr_db(made_n, expected_n) > 60
        # also the level: nothing is scaled away
        assert abs(20 * np.log10(np.std(made_n) / np.std(expected_n))) < 0.01
    found_db = 10 * np.log10(beamformer.snr_c.numpy())
    np.testing.assert_allclose(found_db, golden["snr_db_per_candidate"][index], atol=0.005)


def test_quality_is_that_of_the_reference(meeting: Meeting) -> None:
    """Mean SI-SDR to the image and to its first 50 ms, at the reference's channels."""
    table = json.loads((GOLDENS / "quality.json").read_text(encoding="utf-8"))["table"]
    channels = probe("probe_beamformer_10it")["ref_channel"]
    for system, stft_cft in (
        ("gss10_meeting", meeting.wpe_cft),
        ("gss10_meeting_no_wpe", meeting.stft_cft),
    ):
        mixture = meeting.mixture
        if stft_cft is not meeting.wpe_cft:
            mixture = fit_mixture(stft_cft, meeting.activity_kt)
        separation = meeting.separation_of(stft_cft, mixture)
        scores: dict[str, list[float]] = {"image": [], "early50": []}
        for index, (speaker, span) in enumerate(meeting.segments):
            _, made_n = enhanced(meeting, separation, index, int(channels[index]))
            for kind, values in scores.items():
                values.append(si_sdr_db(made_n, read(f"{kind}_refch_{speaker}", span)))
        expected = table[system]["mean"]
        assert np.mean(scores["image"]) > expected["si_sdr_image"] - 0.05
        assert np.mean(scores["early50"]) > expected["si_sdr_early"] - 0.05


def test_goldens_are_where_they_were() -> None:
    assert {path.name for path in Path(GOLDENS).glob("probe_*.npz")} == {
        "probe_stft_wpe.npz",
        "probe_em_10it.npz",
        "probe_beamformer_10it.npz",
    }
