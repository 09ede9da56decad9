"""Every part of the front-end gives on a GPU what it gives on the CPU.

Where there is no GPU, a pretended device still tells whether tensors of two devices meet: windows,
masks and indices that were made without ``device=`` are found on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from meetscribe.spatial import SeparatedStreams, SeparationSettings, separate
from meetscribe.spatial.beamform import apply, covariance, souden_mvdr
from meetscribe.spatial.dereverb import DereverbSettings, dereverberate
from meetscribe.spatial.geometry import point_tpd, spatial_feature
from meetscribe.spatial.mixture import MixtureSettings, fit_mixture
from meetscribe.spatial.phase import (
    FEATURE_STFT,
    choose_pairs,
    gcc_phat,
    ipd,
    match_planes,
    pair_delays,
    pair_phases,
)
from meetscribe.spatial.rir import rir_feature, rir_spectra
from meetscribe.spatial.separate import frame_activity
from meetscribe.spatial.solo import (
    against_others,
    profile_of,
    solo_features,
    solo_profile,
    strongest_others,
)
from meetscribe.spatial.stft import StftSettings, istft, stft
from meetscribe.types import Segment, Turn
from tests.spatial.scenes import RATE, Scene, make_scene, si_sdr_db

FAR = torch.device("meta")
LAZY = {
    torch.ops.aten._conj.default: torch.ops.aten._conj_physical.default,
    torch.ops.aten._neg_view.default: torch.ops.aten.neg.default,
}
"""Marks on a tensor that are not seen any more where these calls arrive."""
MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
PAIRS = choose_pairs(4)
SETTINGS = SeparationSettings(
    dereverb=DereverbSettings(taps=4, iterations=2),
    mixture=MixtureSettings(iterations=4),
    block_s=5.0,
    context_s=1.0,
)


class Far(torch.Tensor):
    """A tensor that says it is somewhere else; its values are here."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=FAR,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Inside, tensors that are made on or moved to the device ``meta`` become ``Far``."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # in inference mode, calls that are made of others arrive whole
        with self:
            made = func.decompose(*args, **(kwargs or {}))
        return compute(func, args, kwargs or {}) if made is NotImplemented else made


def compute(func, args, kwargs):
    """Compute here what was called for elsewhere; refuse what a GPU would refuse, and more."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    far = any(isinstance(tensor, Far) for tensor in tensors)
    near = any(not isinstance(tensor, Far) and tensor.ndim > 0 for tensor in tensors)
    if far and near and func not in MOVES:
        raise RuntimeError(f"{func}: tensors on two devices")
    if kwargs.get("device") is not None:
        far = torch.device(kwargs["device"]) == FAR
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner = tree_map(lambda x: x.here if isinstance(x, Far) else x, (args, kwargs))
    made = LAZY.get(func, func)(*inner[0], **inner[1])
    if func._schema.name.endswith("_") or "out" in kwargs:
        return kwargs.get("out", args[0])
    return tree_map(lambda x: Far(x) if far and isinstance(x, torch.Tensor) else x, made)


@contextmanager
def device_named(name: str, *, single: bool = True) -> Iterator[str]:
    """Give the device, or skip; ``single`` is whether single precision is enough."""
    if name == "pretended":
        with Elsewhere():
            yield "meta"
    elif torch.cuda.is_available():
        yield "cuda"
    elif not torch.backends.mps.is_available():
        pytest.skip("no GPU here (cuda or mps)")
    elif not single:
        pytest.skip("this part counts in double precision, which mps has not")
    else:
        try:
            yield "mps"
        except NotImplementedError as error:
            pytest.skip(f"not on mps: {error}")


@dataclass
class Given:
    """What every part may start from, the same on all devices."""

    scene: Scene
    samples_cn: torch.Tensor
    long_cft: torch.Tensor
    short_cft: torch.Tensor
    mask_ft: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.samples_cn.device

    def to(self, device: str) -> Given:
        moved = (
            t.to(device) for t in (self.samples_cn, self.long_cft, self.short_cft, self.mask_ft)
        )
        return Given(self.scene, *moved)

    def read_cn(self, start: float, end: float) -> np.ndarray:
        return self.scene.samples_cn[:, round(start * RATE) : round(end * RATE)]

    @property
    def duration(self) -> float:
        return self.scene.num_samples / RATE


@pytest.fixture(scope="module")
def given() -> Given:
    scene = make_scene(channels=4, seconds=4.0, seed=2)
    samples_cn = torch.from_numpy(scene.samples_cn)
    long_cft = stft(samples_cn)
    own_ft, other_ft = (stft(torch.from_numpy(image_n)).abs() for image_n in scene.images_kn)
    mask_ft = own_ft / (own_ft + other_ft).clamp(min=1e-6)
    return Given(scene, samples_cn, long_cft, stft(samples_cn, FEATURE_STFT), mask_ft)


def beamformed(given: Given) -> torch.Tensor:
    target_fcc = covariance(given.long_cft, given.mask_ft)
    made = souden_mvdr(target_fcc, covariance(given.long_cft, 1 - given.mask_ft), reference=1)
    return apply(made.weight_fc, given.long_cft)


def masks(given: Given) -> torch.Tensor:
    activity_kt = frame_activity(
        given.scene.activity, given.scene.num_samples, StftSettings(), noise_class=True
    ).to(given.device)
    return fit_mixture(given.long_cft, activity_kt, SETTINGS.mixture).mask_kft


def solo(given: Given) -> torch.Tensor:
    spans = ([Segment(0.1, 0.8)], [], [Segment(1.0, 1.4), Segment(2.8, 3.8)])
    profiles = [
        solo_profile(given, segments, device=str(given.device)) if segments else None
        for segments in spans
    ]
    made = solo_features(given.short_cft, profiles, PAIRS)
    others = strongest_others(made, 0, 2)
    assert made.present_k.device == others.present_k.device == given.device
    return torch.cat(
        [
            made.feature_ktf,
            against_others(made),
            against_others(made, "softmax"),
            others.feature_ktf,
        ]
    )


def solo_planes(given: Given) -> torch.Tensor:
    forms = ("power", "phat", "mean-cosine", "power-reliability")
    profiles = [profile_of(given.short_cft[..., 10:80], form) for form in forms]
    return solo_features(given.short_cft, profiles, PAIRS, planes=True).feature_ktf


def from_geometry(given: Given) -> torch.Tensor:
    places = np.random.default_rng(0).uniform(-1, 1, (6, 3))
    tpd_kpf = point_tpd(places[:2], places[2:], PAIRS)
    return spatial_feature(given.short_cft, tpd_kpf, PAIRS)


def from_responses(given: Given) -> torch.Tensor:
    rir_kcfk = rir_spectra(given.samples_cn.reshape(2, 2, -1).repeat(1, 2, 1)[..., :4000])
    return rir_feature(given.short_cft, rir_kcfk, PAIRS, average=True)


DOUBLE = {"dereverberate", "masks", "beamformed"}
"""Parts that count in double precision, which Apple's GPU has not."""
PARTS: dict[str, tuple[Callable[[Given], torch.Tensor], float]] = {
    "stft": (lambda given: stft(given.samples_cn), 1e-4),
    "stft of features": (lambda given: stft(given.samples_cn, FEATURE_STFT), 1e-4),
    "istft": (lambda given: istft(given.long_cft, given.scene.num_samples), 1e-5),
    "dereverberate": (lambda given: dereverberate(given.long_cft, SETTINGS.dereverb), 1e-4),
    "masks": (masks, 0.01),
    "beamformed": (beamformed, 1e-4),
    "pair phases": (lambda given: pair_phases(given.short_cft, PAIRS), 1e-4),
    "phase differences": (lambda given: ipd(given.short_cft, PAIRS), 1e-4),
    "match planes": (
        lambda given: match_planes(
            given.short_cft, pair_phases(given.short_cft, PAIRS)[..., 9], PAIRS
        ),
        1e-4,
    ),
    "correlation": (
        lambda given: gcc_phat(
            given.short_cft, PAIRS, max_delay_s=0.001, settings=FEATURE_STFT, interpolation=2
        ),
        1e-4,
    ),
    "delays": (
        lambda given: (
            pair_delays(given.long_cft, PAIRS, max_delay_s=0.002).in_samples().to(given.device)
        ),
        1e-2,
    ),
    "solo": (solo, 1e-3),
    "solo planes": (solo_planes, 1e-3),
    "geometry": (from_geometry, 1e-3),
    "responses": (from_responses, 1e-2),
}
"""What is computed, and by how much the worst cell in a thousand may differ."""


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["pretended", "gpu"])
def test_a_part_gives_the_same_on_every_device(given: Given, name: str, part: str) -> None:
    function, tolerance = PARTS[part]
    expected = function(given)
    with device_named(name, single=part not in DOUBLE) as device:
        found = function(given.to(device))
        assert found.device.type == torch.device(device).type
        found = found.cpu()
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    # phases of cells that are nearly silent may turn with the last bit of a transform
    apart = (found - expected).abs().flatten().double().numpy()
    assert np.quantile(apart, 0.999) <= tolerance


@pytest.mark.parametrize("name", ["pretended", "gpu"])
def test_separation_gives_the_same_on_every_device(given: Given, name: str) -> None:
    expected = separate(given.samples_cn, given.scene.activity, SETTINGS)
    span = given.scene.activity[0][0]
    expected_n = expected.filtered(expected.beamformer(0, [span], reference=0), span)
    with device_named(name, single=False) as device:
        found = separate(given.samples_cn.to(device), given.scene.activity, SETTINGS)
        assert found.mask_kft.device.type == torch.device(device).type
        found_n = found.filtered(found.beamformer(0, [span], reference=0), span).cpu()
    assert si_sdr_db(found_n.numpy(), expected_n.numpy()) > 35


@pytest.mark.parametrize("name", ["pretended", "gpu"])
def test_streams_give_the_same_on_every_device(given: Given, name: str) -> None:
    turns = [
        Turn(first / RATE, last / RATE, "AB"[source])
        for source, spans in enumerate(given.scene.activity)
        for first, last in spans
    ]
    settings = SETTINGS.model_copy(update={"reference": 0})
    with SeparatedStreams(given, turns, settings) as streams:
        expected_n = streams.read("A", 0.0, 4.0)
    with (
        device_named(name) as device,
        SeparatedStreams(given, turns, settings, device=device) as streams,
    ):
        found_n = streams.read("A", 0.0, 4.0)
    assert si_sdr_db(found_n, expected_n) > 35


def test_the_pretended_device_tells_what_a_gpu_would() -> None:
    with Elsewhere():
        far_n = torch.arange(4.0).to("meta")
        with pytest.raises(RuntimeError, match="two devices"):
            far_n + torch.ones(4)
        with pytest.raises(RuntimeError, match="two devices"):
            far_n[torch.tensor([1, 2])]
        assert (far_n * 2 + torch.ones(4, device="meta")).cpu().tolist() == [1, 3, 5, 7]
