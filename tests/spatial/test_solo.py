"""Solo-SF: segments in which one speaker is alone, the formulas, and a speaker found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from meetscribe.config import build
from meetscribe.errors import AudioError, ConfigError, ShapeError
from meetscribe.spatial.phase import FEATURE_STFT, channel_pairs, choose_pairs, match_phases
from meetscribe.spatial.solo import (
    SoloFeatures,
    SoloProfile,
    against_others,
    find_places,
    profile_of,
    solo_features,
    solo_profile,
    solo_profiles,
    strongest_others,
)
from meetscribe.spatial.solo_segments import (
    SoloForm,
    SoloPick,
    SoloSettings,
    choose_solo,
    solo_runs,
)
from meetscribe.spatial.stft import stft
from meetscribe.types import Segment, Turn
from tests.spatial.scenes import RATE, make_scene

FORMS: list[SoloForm] = ["power", "phat", "mean-cosine", "power-reliability"]


class Reader:
    """Samples in memory as a reader of channels; remembers what was asked for."""

    def __init__(self, samples_cn: np.ndarray) -> None:
        self.samples_cn = samples_cn
        self.duration = samples_cn.shape[1] / RATE
        self.asked: list[tuple[float, float]] = []

    def read_cn(self, start: float, end: float) -> np.ndarray:
        self.asked.append((start, end))
        return self.samples_cn[:, round(start * RATE) : round(end * RATE)]


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def features(*values: float | None, frames: int = 6) -> SoloFeatures:
    """One value per speaker, everywhere; None for a speaker without a solo segment."""
    feature_ktf = torch.stack([torch.full((frames, 2), value or 0.0) for value in values])
    return SoloFeatures(feature_ktf, torch.tensor([value is not None for value in values]))


def written_out_target(z_cft: np.ndarray, pair: tuple[int, int], f: int, form: str) -> complex:
    """Weight and angle of one pair in one bin, frame by frame."""
    total, weight = 0j, 0.0
    for tau in range(z_cft.shape[2]):
        product = z_cft[pair[0], f, tau] * np.conj(z_cft[pair[1], f, tau])
        if form in {"phat", "mean-cosine"}:
            product /= abs(product)
        total += product
        weight += abs(product)
    if form in {"power", "phat"}:
        return np.exp(1j * np.angle(total))
    return total / weight


turns = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start / 4, (start + length) / 4, speaker),
        st.integers(0, 40),
        st.integers(0, 12),
        st.sampled_from("ABC"),
    ),
    max_size=8,
)


@given(turns=turns)
def test_runs_are_those_of_a_search_instant_by_instant(turns: list[Turn]) -> None:
    runs = solo_runs(turns)
    assert set(runs) == {turn.speaker for turn in turns if turn.end > turn.start}
    for speaker, own in runs.items():
        alone = [False] * 60
        for step in range(60):
            middle = step / 4 + 0.125
            alone[step] = {t.speaker for t in turns if t.start < middle < t.end} == {speaker}
        expected, start = [], None
        for step, is_alone in enumerate([*alone, False]):
            if is_alone and start is None:
                start = step / 4
            elif not is_alone and start is not None:
                expected.append(Segment(start, step / 4))
                start = None
        assert list(own) == expected


@given(turns=turns, trim_s=st.floats(0, 1))
def test_trimmed_runs_lie_inside_the_whole_ones(turns: list[Turn], trim_s: float) -> None:
    whole, trimmed = solo_runs(turns), solo_runs(turns, trim_s=trim_s)
    for speaker, own in trimmed.items():
        long = [run for run in whole[speaker] if run.duration > 2 * trim_s]
        assert len(long) == len(own)
        for run, part in zip(long, own, strict=True):
            assert part.start == pytest.approx(run.start + trim_s)
            assert part.end == pytest.approx(run.end - trim_s)


MEETING = [
    Turn(0.0, 4.0, "A"),
    Turn(3.0, 8.0, "B"),
    Turn(10.0, 16.0, "A"),
    Turn(20.0, 22.5, "A"),
    Turn(30.0, 30.9, "C"),
    Turn(31.0, 31.8, "C"),
    Turn(40.0, 41.0, "D"),
]


def chosen(pick: SoloPick, **options: object) -> dict[str, tuple[Segment, ...]]:
    near, reader = options.pop("near", None), options.pop("reader", None)
    form = SoloSettings(pick=pick, trim_s=0.0, **options)
    return choose_solo(MEETING, form, near=near, reader=reader)


def test_the_longest_run_is_chosen_and_too_short_ones_are_not() -> None:
    found = chosen("longest")
    assert found == {
        "A": (Segment(10.0, 16.0),),
        "B": (Segment(4.0, 8.0),),
        "C": (),
        "D": (Segment(40.0, 41.0),),
    }
    assert chosen("longest", at_most_s=2.0)["A"] == (Segment(12.0, 14.0),)


def test_several_runs_are_put_together_where_one_is_not_enough() -> None:
    found = chosen("concatenated")
    assert found["C"] == (Segment(30.0, 30.9), Segment(31.0, 31.8))
    # 6 s and the middle 2 s of 3 s are the most
    assert found["A"] == (Segment(0.5, 2.5), Segment(10.0, 16.0))
    assert sum(part.duration for part in found["A"]) == 8.0


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        (Segment(23.0, 24.0), Segment(20.0, 22.5)),
        (Segment(8.0, 9.5), Segment(10.0, 16.0)),
        (Segment(0.0, 1.0), Segment(0.0, 3.0)),
    ],
)
def test_the_nearest_run_is_chosen(near: Segment, expected: Segment) -> None:
    assert chosen("nearest", near=near)["A"] == (expected,)


def test_the_nearest_part_of_a_long_run_is_chosen() -> None:
    near = Segment(17.0, 18.0)
    assert chosen("nearest", near=near, at_most_s=2.0)["A"] == (Segment(14.0, 16.0),)
    assert chosen("nearest", near=Segment(12.5, 13.5), at_most_s=2.0)["A"] == (Segment(12, 14),)


def test_the_loudest_run_is_chosen_among_those_long_enough() -> None:
    samples_cn = 0.1 * np.ones((2, 42 * RATE), np.float32)
    samples_cn[:, 20 * RATE : 23 * RATE] = 0.5
    reader = Reader(samples_cn)
    assert chosen("loudest", reader=reader)["A"] == (Segment(20.0, 22.5),)
    assert chosen("loudest", reader=reader, wanted_s=2.8)["A"] == (Segment(10.0, 16.0),)
    samples_cn[:] = np.nan
    assert chosen("loudest", reader=reader)["A"] == (Segment(10.0, 16.0),)


def test_what_a_choice_needs_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="time of an utterance"):
        chosen("nearest")
    with pytest.raises(ConfigError, match="the recording"):
        chosen("loudest")
    assert chosen("longest") == chosen("longest", near=Segment(0, 1))


def test_settings_come_from_yaml_and_must_make_sense() -> None:
    form = build(SoloSettings, {"pick": "nearest", "pairs": [[0, 1]]}, where="x")
    assert form.pick == "nearest"
    assert form.stft == FEATURE_STFT
    assert form.stft.num_bins == 201
    with pytest.raises(ValidationError, match="ascend"):
        SoloSettings(shortest_s=3.0, wanted_s=2.0)


@pytest.mark.parametrize("form", FORMS)
def test_the_feature_is_the_written_out_one(form: SoloForm) -> None:
    y_cft, z_cft = gaussian(0, 4, 3, 5), gaussian(1, 4, 3, 7)
    pairs = choose_pairs(4)
    made = solo_features(y_cft, [profile_of(z_cft, form)], pairs)
    planes = solo_features(y_cft, [profile_of(z_cft, form)], pairs, planes=True)
    assert planes.feature_ktf.shape == (1, 6, 5, 3)
    for t in range(5):
        for f in range(3):
            cosines = []
            for first, second in pairs:
                target = written_out_target(z_cft.numpy(), (first, second), f, form)
                ipd = np.angle(y_cft[first, f, t]) - np.angle(y_cft[second, f, t])
                cosines.append(abs(target) * math.cos(ipd - np.angle(target)))
            np.testing.assert_allclose(planes.feature_ktf[0, :, t, f], cosines, atol=1e-10)
            assert float(made.feature_ktf[0, t, f]) == pytest.approx(np.mean(cosines), abs=1e-10)


def test_mean_of_cosines_is_what_its_name_says() -> None:
    y_cft, z_cft = gaussian(2, 2, 3, 5), gaussian(3, 2, 3, 7)
    made_tf = solo_features(y_cft, [profile_of(z_cft, "mean-cosine")], [(0, 1)]).feature_ktf[0]
    y, z = np.angle(y_cft.numpy()), np.angle(z_cft.numpy())
    solo_ft, mixed_ft = z[0] - z[1], y[0] - y[1]
    expected_ft = np.cos(mixed_ft[:, :, None] - solo_ft[:, None]).mean(axis=2)
    np.testing.assert_allclose(made_tf.T, expected_ft, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 99), order=st.permutations(range(4)), scale=st.floats(1e-3, 1e3))
@settings(max_examples=10, deadline=None)
def test_order_of_channels_and_loudness_do_not_matter(
    form: SoloForm, seed: int, order: list[int], scale: float
) -> None:
    y_cft, z_cft, pairs = gaussian(seed, 4, 3, 5), gaussian(seed + 1, 4, 3, 7), choose_pairs(4)
    made = solo_features(y_cft, [profile_of(z_cft, form)], pairs).feature_ktf
    assert made.abs().max() <= 1.0
    moved = profile_of(scale * z_cft[list(order)], form)
    again = solo_features(y_cft[list(order)] / scale, [moved], pairs).feature_ktf
    torch.testing.assert_close(again, made)


@pytest.mark.parametrize("form", FORMS)
def test_profiles_add_up(form: SoloForm) -> None:
    z_cft = gaussian(0, 3, 4, 9)
    whole, pairs = profile_of(z_cft, form), choose_pairs(3)
    parts = profile_of(z_cft[..., :4], form) + profile_of(z_cft[..., 4:], form)
    assert parts.frames == whole.frames == 9
    torch.testing.assert_close(parts.steering(pairs), whole.steering(pairs))
    with pytest.raises(ShapeError, match="pooled"):
        whole + profile_of(z_cft[:2], form)


def test_defects_and_silence_in_a_solo_segment_do_not_spoil_it() -> None:
    z_cft, pairs = gaussian(0, 3, 4, 9), choose_pairs(3)
    broken_cft = torch.cat([z_cft, torch.full((3, 4, 1), complex("nan"))], dim=2)
    torch.testing.assert_close(
        profile_of(broken_cft).steering(pairs), profile_of(z_cft).steering(pairs)
    )
    z_cft[1] = 0
    for form in FORMS:
        steering_pf = profile_of(z_cft, form).steering(pairs)
        assert (steering_pf[[0, 2]] == 0).all()
        assert (steering_pf[1] != 0).all()


def test_a_plane_for_every_channel() -> None:
    y_cft, profile = gaussian(0, 3, 4, 5), profile_of(gaussian(1, 3, 4, 9))
    made = solo_features(y_cft, [profile], channel_pairs(3, 1), planes=True).feature_ktf[0]
    assert made.shape == (3, 5, 4)
    torch.testing.assert_close(made[1], torch.ones(5, 4, dtype=torch.float64))
    alone = solo_features(y_cft, [profile], [(1, 2)]).feature_ktf[0]
    torch.testing.assert_close(made[2], alone)


def test_a_speaker_without_a_solo_segment_has_zeros_and_a_flag() -> None:
    y_cft, profile = gaussian(0, 3, 4, 5), profile_of(gaussian(1, 3, 4, 9))
    made = solo_features(y_cft, {"A": profile, "B": None}, choose_pairs(3))
    assert made.present_k.tolist() == [True, False]
    assert (made.feature_ktf[1] == 0).all()
    assert (made.feature_ktf[0] != 0).all()
    for form in ("difference", "softmax"):
        against_ktf = against_others(made, form)
        assert (against_ktf[1] == 0).all()
    torch.testing.assert_close(against_others(made)[0], made.feature_ktf[0])
    torch.testing.assert_close(against_others(made, "softmax")[0], torch.ones_like(against_ktf[0]))
    nobody = solo_features(y_cft, [None, None], choose_pairs(3))
    assert (against_others(nobody, "softmax") == 0).all()
    assert (against_others(nobody) == 0).all()


def test_target_against_others_is_written_out() -> None:
    made = features(0.5, 0.2, None, -0.1)
    difference = against_others(made)[:, 0, 0].tolist()
    assert difference == pytest.approx([0.3, -0.3, 0.0, -0.6])
    odds = [math.exp(10 * value) for value in (0.5, 0.2, -0.1)]
    softmax = against_others(made, "softmax")[:, 0, 0].tolist()
    share = [odd / sum(odds) for odd in odds]
    assert softmax == pytest.approx([share[0], share[1], 0.0, share[2]], rel=1e-5)


def test_the_strongest_others_come_first_whoever_they_are() -> None:
    made = features(0.5, 0.2, None, -0.1, 0.4)
    strongest = strongest_others(made, 0, 4)
    assert strongest.feature_ktf[:, 0, 0].tolist() == pytest.approx([0.4, 0.2, -0.1, 0.0])
    assert strongest.present_k.tolist() == [True, True, True, False]
    order = [4, 3, 2, 1, 0]
    moved = SoloFeatures(made.feature_ktf[order], made.present_k[order])
    torch.testing.assert_close(strongest_others(moved, 4, 4).feature_ktf, strongest.feature_ktf)
    assert strongest_others(made, 2, 1).feature_ktf[0, 0, 0] == 0.5
    assert strongest_others(made, 0, 0).feature_ktf.shape == (0, 6, 2)


@pytest.mark.parametrize("planes", [False, True])
def test_who_is_strongest_is_told_by_the_frames_around(planes: bool) -> None:
    # speaker 1 talks in the first half, speaker 2 in the second, with cells that say otherwise
    value_ktf = torch.full((3, 40, 4), -0.2)
    value_ktf[1, :20] = value_ktf[2, 20:] = 0.6
    value_ktf[2, 5, 1] = 0.9
    if planes:
        value_ktf = value_ktf[:, None].expand(3, 2, 40, 4)
    made = SoloFeatures(value_ktf, torch.ones(3, dtype=torch.bool))
    strongest = strongest_others(made, 0, 1, window_frames=9).feature_ktf[0]
    assert strongest.shape == value_ktf.shape[1:]
    assert (strongest == 0.6).all()
    whole = strongest_others(made, 0, 1, window_frames=999).feature_ktf[0]
    assert len(whole.unique()) > 1


def turns_of(activity: list[list[tuple[int, int]]]) -> list[Turn]:
    return [
        Turn(first / RATE, last / RATE, "AB"[source])
        for source, spans in enumerate(activity)
        for first, last in spans
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pick", ["longest", "concatenated"])
def test_speakers_are_found_again_in_a_mixture(form: SoloForm, pick: SoloPick) -> None:
    scene = make_scene(channels=4, seconds=12.0, seed=1)
    reader = Reader(scene.samples_cn)
    options = SoloSettings(form=form, pick=pick, trim_s=0.1)
    profiles = solo_profiles(reader, turns_of(scene.activity), options)
    assert list(profiles) == ["A", "B"]
    pairs = choose_pairs(4)
    mixture_cft = stft(torch.from_numpy(scene.samples_cn), FEATURE_STFT)
    made = solo_features(mixture_cft, profiles, pairs)
    assert made.feature_ktf.dtype == torch.float32
    image_ktf = stft(torch.from_numpy(scene.images_kn), FEATURE_STFT).abs().mT
    both_tf = (image_ktf > 0.02 * image_ktf.amax()).any(dim=0)
    both_tf &= (image_ktf.amax(dim=(0, 2)) > 0)[:, None]
    right_tf = against_others(made)[0] > 0
    assert (right_tf == (image_ktf[0] > image_ktf[1]))[both_tf].float().mean() > 0.9


def test_who_is_never_alone_for_long_is_learnt_from_short_moments() -> None:
    turns = [Turn(0.0, 4.0, "ann"), Turn(10.0, 12.0, "dee"), Turn(10.0, 12.0, "ann")]
    turns += [Turn(5.0 + at, 5.7 + at, "ben") for at in (0.0, 1.0, 2.0)]
    noise_cn = np.random.default_rng(3).standard_normal((3, 20 * RATE)).astype(np.float32)
    assert solo_profiles(Reader(noise_cn), turns)["ben"] is None
    places = find_places(Reader(noise_cn), turns)
    assert list(places) == ["ann", "ben", "dee"]
    assert [place is not None for place in places.values()] == [True, True, False]


def test_only_the_chosen_seconds_are_read() -> None:
    scene = make_scene(channels=2, seconds=6.0)
    reader = Reader(scene.samples_cn)
    spans = [Segment(0.2, 1.4), Segment(3.0, 3.5)]
    profile = solo_profile(reader, spans, SoloSettings())
    assert reader.asked == [(0.2, 1.4), (3.0, 3.5)]
    assert isinstance(profile, SoloProfile)
    assert profile.frames == pytest.approx(170, abs=4)
    parts = [
        profile_of(stft(torch.from_numpy(reader.read_cn(s.start, s.end)), FEATURE_STFT)[..., 2:-2])
        for s in spans
    ]
    torch.testing.assert_close(
        profile.steering([(0, 1)])[:, 5:], (parts[0] + parts[1]).steering([(0, 1)])[:, 5:]
    )


def test_nothing_is_made_of_nothing() -> None:
    reader = Reader(np.zeros((2, 4 * RATE), np.float32))
    assert solo_profile(reader, []) is None
    assert solo_profile(reader, [Segment(0.0, 2.0)]) is None
    # turns may end after the recording does
    assert solo_profile(reader, [Segment(3.0, 9.0), Segment(7.0, 9.0)]) is None
    assert solo_runs([]) == {}
    assert choose_solo([]) == {}


def test_what_does_not_fit_is_refused() -> None:
    y_cft, profile = gaussian(0, 3, 4, 5), profile_of(gaussian(1, 4, 4, 9))
    with pytest.raises(ShapeError, match="4 channels"):
        solo_features(y_cft, [profile], choose_pairs(3))
    with pytest.raises(ShapeError, match="channels below 4"):
        profile.steering([(0, 4)])
    with pytest.raises(ShapeError, match="complex"):
        profile_of(y_cft.real)
    with pytest.raises(ShapeError, match="target 2 of 2"):
        strongest_others(features(0.1, 0.2), 2, 1)
    with pytest.raises(AudioError, match=r"\(channels, samples\)"):
        solo_profile(Reader(np.zeros((1, RATE))[:0]), [Segment(0.0, 1.0)])


def test_steering_is_what_a_match_takes() -> None:
    y_cft, profile, pairs = gaussian(0, 3, 4, 5), profile_of(gaussian(1, 3, 4, 9)), [(2, 0)]
    torch.testing.assert_close(
        solo_features(y_cft, [profile], pairs).feature_ktf[0],
        match_phases(y_cft, profile.steering(pairs), pairs),
    )
