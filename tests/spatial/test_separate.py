"""Separation of one block: speakers that were mixed come out apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.errors import ShapeError
from meetscribe.spatial import SeparationSettings, separate
from meetscribe.spatial.mixture import MixtureSettings
from meetscribe.spatial.separate import Separation, frame_activity, frame_range
from meetscribe.spatial.stft import StftSettings
from tests.spatial.scenes import RATE, Scene, make_scene, si_sdr_db

FAST = SeparationSettings(dereverb=None, mixture=MixtureSettings(iterations=5))


def written_out(spans: list[tuple[int, int]], num_samples: int, form: StftSettings) -> np.ndarray:
    """A frame is active if any sample under its window is; the window sees the padding too."""
    active_n = np.zeros(num_samples, bool)
    for first, last in spans:
        active_n[max(0, first) : max(0, last)] = True
    pad = form.window_samples - form.hop_samples
    padded_n = np.pad(active_n, (pad, form.window_samples + pad))
    return np.array(
        [
            padded_n[t * form.hop_samples :][: form.window_samples].any()
            for t in range(form.num_frames(num_samples))
        ]
    )


@given(
    num_samples=st.integers(1, 3000),
    spans=st.lists(st.tuples(st.integers(-50, 3100), st.integers(-50, 3100)), max_size=4),
    form=st.sampled_from([StftSettings(), StftSettings(window_samples=400, hop_samples=160)]),
)
def test_frame_activity_is_the_written_out_one(
    num_samples: int, spans: list[tuple[int, int]], form: StftSettings
) -> None:
    spans = [(min(span), max(span)) for span in spans]
    made_kt = frame_activity([spans], num_samples, form, noise_class=True).numpy()
    assert (made_kt[0] == written_out(spans, num_samples, form)).all()
    assert made_kt[1].all()


@given(first=st.integers(0, 30_000), length=st.integers(0, 5000))
def test_frames_of_a_span_exist_and_lie_inside_it(first: int, length: int) -> None:
    form, num_samples = StftSettings(), 32_000
    last = min(num_samples, first + length)
    begin, end = frame_range((first, last), num_samples, form)
    assert 0 <= begin < end <= form.num_frames(num_samples)
    if length >= 2048 and last < num_samples:
        assert form.frame_span(begin)[0] >= first
        assert form.frame_span(end - 1)[1] <= last + form.window_samples


def gain_db(separation: Separation, scene: Scene, *, turn_by_turn: bool = True) -> float:
    """How much nearer the streams are to what channel 0 hears of each speaker alone, on average."""
    gains = []
    for source, spans in enumerate(scene.activity):
        for span in spans:
            used = [span] if turn_by_turn else spans
            beamformer = separation.beamformer(source, used, reference=0)
            made_n = separation.filtered(beamformer, span).numpy()
            image_n = scene.images_kn[source, span[0] : span[1]]
            before_db = si_sdr_db(scene.samples_cn[0, span[0] : span[1]], image_n)
            gains.append(si_sdr_db(made_n, image_n) - before_db)
    return float(np.mean(gains))


@pytest.mark.parametrize("turn_by_turn", [True, False])
def test_overlapped_speakers_come_out_apart(turn_by_turn: bool) -> None:
    scene = make_scene()
    separation = separate(torch.from_numpy(scene.samples_cn), scene.activity)
    assert gain_db(separation, scene, turn_by_turn=turn_by_turn) > 4


def test_any_stretch_of_a_filtered_signal_is_the_same_signal() -> None:
    scene = make_scene()
    separation = separate(torch.from_numpy(scene.samples_cn), scene.activity, FAST)
    beamformer = separation.beamformer(0, scene.activity[0])
    whole_n = separation.filtered(beamformer, (0, scene.num_samples))
    for first, last in ((0, 5), (1000, 1001), (4321, 20_000), (30_000, scene.num_samples)):
        part_n = separation.filtered(beamformer, (first, last))
        torch.testing.assert_close(part_n, whole_n[first:last], atol=1e-5, rtol=0)


@pytest.mark.parametrize("trouble", ["dead", "copy", "flipped", "clipped", "late", "nan"])
def test_a_bad_channel_does_not_break_it(trouble: str) -> None:
    scene = make_scene()
    samples_cn = scene.samples_cn.copy()
    if trouble == "dead":
        samples_cn[2] = 0
    elif trouble == "copy":
        samples_cn[2] = samples_cn[1]
    elif trouble == "flipped":
        samples_cn[2] *= -1
    elif trouble == "clipped":
        samples_cn[2] = np.clip(samples_cn[2], -0.02, 0.02)
    elif trouble == "late":
        samples_cn[2] = np.roll(samples_cn[2], 800)
    else:
        samples_cn[2, 5000:5100] = np.nan
    separation = separate(torch.from_numpy(samples_cn), scene.activity, FAST)
    assert gain_db(separation, scene) > 3


def test_one_channel_gives_the_channel_back() -> None:
    scene = make_scene()
    separation = separate(torch.from_numpy(scene.samples_cn[:1]), scene.activity, FAST)
    beamformer = separation.beamformer(1, scene.activity[1])
    made_n = separation.filtered(beamformer, (0, scene.num_samples)).numpy()
    np.testing.assert_allclose(made_n, scene.samples_cn[0], atol=1e-4)


@pytest.mark.parametrize("noise_class", [True, False])
def test_a_single_speaker_is_heard(noise_class: bool) -> None:
    scene = make_scene()
    settings = FAST.model_copy(update={"mixture": MixtureSettings(noise_class=noise_class)})
    first, last = scene.activity[0][0]
    separation = separate(torch.from_numpy(scene.images_kcn[0]), [[(first, last)]], settings)
    made_n = separation.filtered(separation.beamformer(0, [(first, last)]), (first, last)).numpy()
    # the channel it is heard at is the beamformer's choice: compare the loudness
    expected = np.std(scene.images_kcn[0][:, first:last])
    assert 0.3 < np.std(made_n) / expected < 3


def test_digital_silence_stays_silent() -> None:
    separation = separate(torch.zeros(3, RATE), [[(0, 8000)]])
    made_n = separation.filtered(separation.beamformer(0, [(0, 8000)]), (0, 8000))
    assert not made_n.any()


def test_a_block_of_a_few_samples_is_no_trouble() -> None:
    samples_cn = torch.randn(2, 10)
    separation = separate(samples_cn, [[(0, 10)]])
    made_n = separation.filtered(separation.beamformer(0, [(0, 10)]), (0, 10))
    assert made_n.shape == (10,)
    assert torch.isfinite(made_n).all()


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    separate(torch.randn(2, RATE), [[(0, 8000)]], progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(C, N\)"):
        separate(torch.zeros(100), [[(0, 50)]])
    with pytest.raises(ShapeError, match="at least one speaker"):
        separate(torch.zeros(2, 100), [])
    separation = separate(torch.randn(2, 3000), [[(0, 3000)]], FAST)
    with pytest.raises(ShapeError, match="source 5"):
        separation.beamformer(5, [(0, 3000)])
    with pytest.raises(ShapeError, match="0 spans"):
        separation.beamformer(0, [])
