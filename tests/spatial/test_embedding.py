"""SpatialEmb: what it must not depend on, what it must, and what it costs."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from meetscribe.config import build
from meetscribe.errors import ConfigError, ShapeError
from meetscribe.spatial.embedding import SpatialEmb, cost
from meetscribe.spatial.embedding_inputs import (
    ConvSettings,
    SpatialEmbSettings,
    SpatialPlanes,
    drop_channels,
    join,
    to_bands,
)

BANDS = 16
WB = ("weight", "bias")
ARBITRARY = ("mean", "tac", "dac", "dac-last")
PLANES = {
    "spectral": {"target": False, "num_competitors": 0},
    "target": {"num_competitors": 0},
    "competitors": {},
    "phases": {"phase_differences": True},
}


def small(topology: str = "dac", **options: object) -> SpatialEmbSettings:
    values: dict[str, object] = {
        "topology": topology,
        "num_bands": BANDS,
        "convolutions": (
            ConvSettings(maps=8, time_stride=2),
            ConvSettings(maps=12),
            ConvSettings(maps=10),
        ),
        "trunk_width": 24,
        "trunk_kernel": 5,
        "width": 20,
    }
    if topology == "fixed":
        values["num_channels"] = 4
    return SpatialEmbSettings.model_validate(values | options)


def network(chosen: SpatialEmbSettings, seed: int = 0) -> SpatialEmb:
    """Give a network whose every parameter matters, also those that start at 0."""
    torch.manual_seed(seed)
    made = SpatialEmb(chosen).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def heard(
    channels: int = 4, frames: int = 30, seed: int = 0, items: int = 1, others: int = 2
) -> SpatialPlanes:
    rng = torch.Generator().manual_seed(seed)
    shape = (items, channels, frames, BANDS)

    def match(*lead: int) -> Tensor:
        return torch.rand((items, *lead, *shape[1:]), generator=rng) * 2 - 1

    return SpatialPlanes(
        3 * torch.randn(shape, generator=rng) - 8,
        target_bctf=match(),
        competitors_bkctf=match(others),
        phase_cos_bctf=match(),
        phase_sin_bctf=match(),
    )


def picked(planes: SpatialPlanes, channels: list[int]) -> SpatialPlanes:
    """Give planes with these channels in this order."""
    changed = {
        field.name: value[..., channels, :, :]
        for field in fields(planes)
        if (value := getattr(planes, field.name)) is not None and field.name.endswith("ctf")
    }
    return replace(planes, **changed)


def embedded(net: SpatialEmb, planes: SpatialPlanes) -> Tensor:
    with torch.no_grad():
        return net(planes)


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-5


def assert_different(found: Tensor, other: Tensor) -> None:
    assert float((found - other).abs().max()) > 1e-3


@pytest.mark.parametrize("topology", ARBITRARY)
def test_order_of_microphones_does_not_matter(topology: str) -> None:
    net, planes = network(small(topology, phase_differences=True)), heard(6)
    assert_same(embedded(net, picked(planes, [3, 0, 5, 1, 4, 2])), embedded(net, planes))


@pytest.mark.parametrize("topology", ARBITRARY)
@pytest.mark.parametrize("times", [2, 4])
def test_number_of_microphones_does_not_matter(topology: str, times: int) -> None:
    net, planes = network(small(topology)), heard(4)
    assert_same(embedded(net, picked(planes, [0, 1, 2, 3] * times)), embedded(net, planes))


@pytest.mark.parametrize("topology", ARBITRARY)
def test_every_microphone_matters(topology: str) -> None:
    net, planes = network(small(topology)), heard(4)
    assert_different(embedded(net, picked(planes, [0, 1, 2])), embedded(net, planes))


def test_fixed_topology_knows_the_order() -> None:
    net, planes = network(small("fixed")), heard(4)
    assert_different(embedded(net, picked(planes, [1, 0, 2, 3])), embedded(net, planes))


@pytest.mark.parametrize("topology", ["fixed", *ARBITRARY])
@pytest.mark.parametrize("planes", PLANES)
def test_every_ablation_is_a_matter_of_settings(topology: str, planes: str) -> None:
    net, given_planes = network(small(topology, **PLANES[planes])), heard(4)
    made = embedded(net, given_planes)
    assert made.shape == (1, 15, 20)
    without = replace(given_planes, target_bctf=-given_planes.target_bctf)
    changes = float((embedded(net, without) - made).abs().max()) > 1e-3
    assert changes == (planes != "spectral")


@pytest.mark.parametrize("topology", ARBITRARY)
def test_two_to_sixteen_channels_in_one_batch_are_as_alone(topology: str) -> None:
    net = network(small(topology, phase_differences=True))
    items = [
        heard(channels, 12 + 5 * channels % 23, seed=channels, others=channels % 4)
        for channels in range(2, 17)
    ]
    together = embedded(net, join(items))
    for row, item in zip(together, items, strict=True):
        alone = embedded(net, item)[0]
        assert_same(row[: len(alone)], alone)
        assert not row[len(alone) :].any()


def test_fixed_topology_is_alone_as_in_batch() -> None:
    net = network(small("fixed"))
    items = [heard(4, frames, seed=frames) for frames in (9, 40, 22)]
    for row, item in zip(embedded(net, join(items)), items, strict=True):
        alone = embedded(net, item)[0]
        assert_same(row[: len(alone)], alone)


@settings(max_examples=25, deadline=None)
@given(
    topology=st.sampled_from(ARBITRARY),
    channels=st.integers(1, 5),
    frames=st.integers(1, 25),
    more_channels=st.integers(0, 3),
    more_frames=st.integers(0, 9),
    strides=st.sampled_from([(2, 1, 1), (2, 2, 1), (1, 1, 2)]),
)
def test_padding_never_matters_whatever_it_holds(
    *,
    topology: str,
    channels: int,
    frames: int,
    more_channels: int,
    more_frames: int,
    strides: tuple[int, int, int],
) -> None:
    convolutions = tuple(ConvSettings(maps=8, time_stride=stride) for stride in strides)
    net = network(small(topology, convolutions=convolutions))
    item = heard(channels, frames)
    # a longer partner makes the padding, which is then filled with what spreads
    longer = heard(channels + more_channels, frames + more_frames, seed=1)
    both = join([item, longer])
    both.spectral_bctf[0, channels:] = torch.nan
    both.target_bctf[0, :, frames:] = torch.nan
    both.competitors_bkctf[0, :, :, frames:] = torch.inf
    row = embedded(net, both)[0]
    alone = embedded(net, item)[0]
    assert_same(row[: len(alone)], alone)
    there = net.frames(both.frames_bt)[0]
    assert int(there.sum()) == len(alone) == net.settings.num_frames(frames)
    assert not row[~there].any()


def test_gradients_survive_nan_in_padding_and_absent_planes() -> None:
    net = network(small("tac")).train()
    both = join([heard(2, 8), heard(5, 20, seed=1)])
    both.spectral_bctf[0, :, 8:] = torch.nan
    both.target_bctf[0] = torch.nan
    both.competitors_bkctf[0, ..., 8:, :] = torch.nan
    both = replace(both, has_target_b=torch.tensor([False, True]))
    net(both).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_loudness_does_not_matter_but_level_differences_between_channels_do() -> None:
    net, planes = network(small()), heard(4)
    louder = replace(planes, spectral_bctf=planes.spectral_bctf + 2.5)
    assert_same(embedded(net, louder), embedded(net, planes))
    nearer = planes.spectral_bctf.clone()
    nearer[:, 0] += 2.5
    assert_different(embedded(net, replace(planes, spectral_bctf=nearer)), embedded(net, planes))


def test_silence_gives_something_finite() -> None:
    zeros = torch.zeros((1, 3, 10, BANDS))
    planes = SpatialPlanes(zeros, target_bctf=zeros, has_target_b=torch.tensor([False]))
    assert bool(embedded(network(small()), planes).isfinite().all())


def test_target_and_competitor_are_not_exchangeable() -> None:
    net, planes = network(small(num_competitors=1)), heard(4)
    turned = replace(
        planes,
        target_bctf=planes.competitors_bkctf[:, 0],
        competitors_bkctf=planes.target_bctf[:, None],
    )
    assert_different(embedded(net, turned), embedded(net, planes))


def test_absent_competitor_is_absent_in_any_way_of_saying_so() -> None:
    net, planes = network(small()), heard(4)
    flagged = replace(planes, has_competitors_bk=torch.tensor([[True, False]]))
    shorter = replace(planes, competitors_bkctf=planes.competitors_bkctf[:, :1])
    assert_same(embedded(net, flagged), embedded(net, shorter))
    none_there = torch.zeros((1, 2), dtype=torch.bool)
    nobody = embedded(net, replace(planes, has_competitors_bk=none_there))
    assert_same(embedded(net, replace(planes, competitors_bkctf=None)), nobody)


@pytest.mark.parametrize("which", ["target", "competitor"])
def test_absent_is_told_from_a_plane_of_zeros(which: str) -> None:
    net, planes = network(small()), heard(4)
    if which == "target":
        zero = replace(planes, target_bctf=torch.zeros_like(planes.target_bctf))
        absent = replace(zero, has_target_b=torch.tensor([False]))
    else:
        zero = replace(planes, competitors_bkctf=torch.zeros_like(planes.competitors_bkctf))
        absent = replace(zero, has_competitors_bk=torch.tensor([[False, False]]))
    assert_different(embedded(net, absent), embedded(net, zero))


def test_divide_average_concatenate_is_what_its_name_says() -> None:
    chosen = small("dac", convolutions=(ConvSettings(maps=8), ConvSettings(maps=6)))
    net = network(chosen)
    layer = net.convolutions[1]
    x_cthf = torch.randn(3, 10, 8, 8)
    seen = []
    layer.conv.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs))
    with torch.no_grad():
        own, shared = x_cthf.permute(0, 3, 1, 2).chunk(2, dim=1)
        whole = torch.cat([own, shared.mean(0, keepdim=True).expand_as(shared)], dim=1)
        expected = functional.silu(layer.norm(layer.conv(whole).permute(0, 2, 3, 1)))
        rows = _rows(num_channels=3)
        assert_same(layer(x_cthf, rows, None), expected)
    assert len(seen) == 1  # the oracle's own call


def test_transform_average_concatenate_is_what_its_name_says() -> None:
    net = network(small("tac"))
    mix = net.convolutions[1].mix
    x_ctfh = torch.randn(3, 5, 4, 8)
    with torch.no_grad():
        own = mix.transform_slope(mix.transform(x_ctfh))
        mean = mix.average_slope(mix.average(own.mean(0, keepdim=True))).expand_as(own)
        both = mix.concatenate_slope(mix.concatenate(torch.cat([own, mean], dim=-1)))
        assert_same(mix(x_ctfh, _rows(num_channels=3)), x_ctfh + mix.norm(both))


def _rows(num_channels: int) -> object:
    from meetscribe.spatial.embedding import _Rows

    return _Rows(1, num_channels, None, None)


def test_rate_follows_the_time_strides() -> None:
    halves = (ConvSettings(maps=8, time_stride=2), ConvSettings(maps=8, time_stride=2))
    assert embedded(network(small()), heard(2, 31)).shape[1] == 16
    slower = small(convolutions=halves)
    assert slower.frame_step == 4
    assert embedded(network(slower), heard(2, 31)).shape[1] == slower.num_frames(31) == 8


def test_mixed_precision_stays_near() -> None:
    net, both = network(small("tac")), join([heard(2, 20), heard(5, 30, seed=1)])
    exact = embedded(net, both)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = embedded(net, both)
    assert float((rough.float() - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_same_seed_same_network_and_readable_names() -> None:
    torch.manual_seed(3)
    one = SpatialEmb(small()).state_dict()
    torch.manual_seed(3)
    other = SpatialEmb(small()).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    layer = [f"convolutions.{i}.{m}.{w}" for i in range(3) for m in ("conv", "norm") for w in WB]
    parts = ("depthwise", "norm", "widen", "narrow")
    trunk = [f"trunk.{i}.{m}.{w}" for i in range(2) for m in parts for w in WB]
    ends = [f"{m}.{w}" for m in ("flatten", "norm", "output") for w in WB]
    planes = [f"planes.{name}" for name in ("scale", "shift", "absent")]
    assert sorted(one) == sorted(layer + trunk + ends + planes)


def test_dropping_keeps_two_to_all_and_nothing_that_was_padding() -> None:
    there = torch.tensor([[True] * 8, [True] * 3 + [False] * 5, [True] + [False] * 7])
    planes = replace(heard(8, 2, items=3), channels_bc=there)
    generator = torch.Generator().manual_seed(0)
    masks = [drop_channels(planes, generator).channels_bc for _ in range(400)]
    assert not any(bool((mask & ~there).any()) for mask in masks)
    counts = torch.stack(masks).sum(dim=2)
    assert set(counts[:, 0].tolist()) == set(range(2, 9))
    assert set(counts[:, 1].tolist()) == {2, 3}
    assert set(counts[:, 2].tolist()) == {1}
    # numbers alike likely, and channels too
    assert np.bincount(counts[:, 0])[2:].min() > 400 / 7 / 2
    kept = torch.stack(masks)[:, 0].float().mean(dim=0)
    assert float(kept.max() - kept.min()) < 0.15


def test_dropping_resumes_from_the_state_of_its_generator() -> None:
    planes, generator = heard(8, 2, items=4), torch.Generator().manual_seed(5)
    drop_channels(planes, generator)
    state = generator.get_state()
    torch.manual_seed(1)
    before = [drop_channels(planes, generator).channels_bc for _ in range(3)]
    torch.manual_seed(2)
    resumed = torch.Generator()
    resumed.set_state(state)
    after = [drop_channels(planes, resumed).channels_bc for _ in range(3)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_dropped_channels_are_as_if_they_had_not_been_recorded() -> None:
    net, planes = network(small()), heard(6)
    dropped = drop_channels(planes, torch.Generator().manual_seed(1))
    kept = dropped.channels_bc[0].nonzero()[:, 0].tolist()
    assert 2 <= len(kept) < 6
    assert_same(embedded(net, dropped), embedded(net, picked(planes, kept)))


def test_cost_is_that_of_the_sum_by_hand() -> None:
    chosen = SpatialEmbSettings(topology="mean", num_competitors=1)
    frames = 50
    per_channel = 9 * frames * (3 * 16 * 32 + 16 * 32 * 16 + 32 * 64 * 8 + 64 * 128 * 4)
    once = frames * (512 * 256 + 2 * (15 * 256 + 8 * 256 * 256) + 256 * 512)
    for channels in (2, 8):
        assert cost(chosen, channels).multiply_adds_per_s == channels * per_channel + once
    own = SpatialEmb(chosen)
    assert cost(chosen, 2).parameters == sum(value.numel() for value in own.state_dict().values())


def test_cost_of_the_default_is_moderate_and_counting_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    found = cost(SpatialEmbSettings(), 8)
    assert 1e6 < found.parameters < 2e6
    assert found.multiply_adds_per_s < 250e6
    mean = cost(SpatialEmbSettings(topology="mean"), 8)
    assert found.parameters == mean.parameters
    assert found.multiply_adds_per_s < mean.multiply_adds_per_s
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"topology": "fixed"}, "expected a number for 'fixed'"),
        ({"num_channels": 8}, "none for the others"),
        ({"target": False}, "num_competitors 2 without target"),
        ({"trunk_kernel": 4}, "trunk_kernel 4 is even"),
        ({"convolutions": [{"maps": 9}, {"maps": 8}]}, "9 maps cannot be divided"),
        ({"topologie": "dac"}, "unknown key 'topologie'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(SpatialEmbSettings, wrong, where="train.yaml")


def test_planes_that_do_not_fit_are_refused() -> None:
    net, planes = network(small(phase_differences=True)), heard(4, 30)
    wrong = {
        "target_bctf": [None, planes.target_bctf[:, :3]],
        "phase_sin_bctf": [None],
        "competitors_bkctf": [planes.target_bctf],
        "has_competitors_bk": [torch.ones((1, 3), dtype=torch.bool)],
        "channels_bc": [
            torch.ones((1, 5), dtype=torch.bool),
            torch.zeros((1, 4), dtype=torch.bool),
        ],
        "frames_bt": [torch.ones((1, 15), dtype=torch.bool)],
        "spectral_bctf": [planes.spectral_bctf[..., :9], planes.spectral_bctf[0]],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ShapeError, match=name):
                net(replace(planes, **{name: value}))
    with pytest.raises(ShapeError, match="5 channels, expected 4"):
        network(small("fixed"))(heard(5))


def test_joining_some_with_and_some_without_a_plane_is_refused() -> None:
    with pytest.raises(ShapeError, match="only some items have target_bctf"):
        join([heard(), replace(heard(), target_bctf=None)])
    with pytest.raises(ShapeError, match="no items"):
        join([])


def test_bands_hold_the_power_and_the_loudest_bins_phases() -> None:
    power = torch.full((1, 2, 3, 201), 1e-6)
    power[..., 100] = 4.0
    match = torch.zeros_like(power)
    match[..., 100] = 0.8
    made = to_bands(
        SpatialPlanes(power.log(), target_bctf=match, competitors_bkctf=match[:, None]), 40
    )
    assert made.spectral_bctf.shape == (1, 2, 3, 40)
    # 4 kHz falls into two overlapping triangles, whose weights there add up to 1
    assert float(made.spectral_bctf.exp().sum(dim=-1)[0, 0, 0]) == pytest.approx(4.0, rel=1e-3)
    loud = made.spectral_bctf[0, 0, 0].exp() > 0.1
    assert 1 <= int(loud.sum()) <= 2
    assert float((made.target_bctf[0, 0, 0][loud] - 0.8).abs().max()) < 0.03
    assert float(made.target_bctf[0, 0, 0][~loud].abs().max()) == 0.0
    torch.testing.assert_close(made.competitors_bkctf[:, 0], made.target_bctf)


def test_bands_of_a_plane_of_one_value_have_that_value() -> None:
    spectrum = torch.randn(1, 2, 5, 201)
    plane = torch.full_like(spectrum, -0.3)
    made = to_bands(SpatialPlanes(spectrum, plane, phase_cos_bctf=plane), 64)
    torch.testing.assert_close(made.target_bctf, torch.full((1, 2, 5, 64), -0.3))
    torch.testing.assert_close(made.phase_cos_bctf, torch.full((1, 2, 5, 64), -0.3))
    assert made.competitors_bkctf is None


def test_bands_of_digital_silence_are_finite() -> None:
    silent = torch.full((1, 2, 4, 201), -torch.inf)
    made = to_bands(SpatialPlanes(silent, torch.zeros_like(silent)), 64)
    assert bool(made.spectral_bctf.isfinite().all())
    assert not made.target_bctf.any()


def test_more_bands_than_bins_can_fill_are_refused() -> None:
    with pytest.raises(ConfigError, match="hold no bin"):
        to_bands(SpatialPlanes(torch.zeros(1, 2, 3, 201)), 160)
