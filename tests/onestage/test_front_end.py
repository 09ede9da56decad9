"""One recording to what the recogniser of each speaker hears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from meetscribe.errors import AudioError, ConfigError, NameNotFoundError
from meetscribe.onestage.adapter_settings import FrontEndSettings
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.front_end import FrontEnd, Hearing
from meetscribe.spatial.embedding_inputs import SpatialEmbSettings, SpatialPlanes, to_bands
from meetscribe.spatial.phase import FEATURE_STFT, channel_pairs, ipd
from meetscribe.spatial.solo import SoloSettings, profile_of, solo_features
from meetscribe.spatial.stft import StftSettings, stft
from meetscribe.types import Segment, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
BANDS = SpatialEmbSettings(width=8, num_bands=16, num_competitors=2)
REGION = Segment(6.0, 9.0)
TURNS = [Turn(0.0, 2.0, "ann"), Turn(2.0, 4.0, "ben"), Turn(6.0, 7.5, "ann"), Turn(7.0, 9.0, "ben")]


@dataclass(frozen=True)
class InMemory:
    """Samples of a few channels."""

    samples_cn: NDArray[np.float32]

    @property
    def duration(self) -> float:
        return self.samples_cn.shape[1] / RATE_HZ

    def read_cn(self, start: float, end: float) -> NDArray[np.float32]:
        return self.samples_cn[:, round(start * RATE_HZ) : round(end * RATE_HZ)]


def meeting(
    *,
    lags: dict[str, tuple[int, ...]] | None = None,
    gains: dict[str, tuple[float, ...]] | None = None,
) -> InMemory:
    """Noise bursts of everybody in his turns, later at some microphones than at others."""
    lags = lags or {"ann": (0, 3, 1, 5), "ben": (6, 1, 4, 0)}
    rng = np.random.default_rng(0)
    num = len(lags["ann"])
    samples_cn = 1e-3 * rng.standard_normal((num, 9 * RATE_HZ))
    for turn in TURNS:
        first, last = round(turn.start * RATE_HZ), round(turn.end * RATE_HZ)
        dry_n = 0.1 * rng.standard_normal(last - first)
        for channel, lag in enumerate(lags[turn.speaker]):
            gain = gains[turn.speaker][channel] if gains else 1.0
            heard_n = gain * dry_n[: len(dry_n) - lag]
            samples_cn[channel, first + lag : last] += heard_n
    return InMemory(samples_cn.astype(np.float32))


def front_end(reader: InMemory, turns: list[Turn] | None = None, **settings: object) -> FrontEnd:
    return FrontEnd(
        reader, TURNS if turns is None else turns, FrontEndSettings(**settings), BANDS,  # type: ignore[arg-type]
        trailing_s=0.5,
    )  # fmt: skip


def planes_of(one: Hearing) -> torch.Tensor:
    assert one.planes.target_bctf is not None
    return one.planes.target_bctf[0]


@pytest.mark.parametrize("extra", [0, 1, 159, 160, 319])
def test_planes_and_mel_have_the_same_frames(extra: int) -> None:
    region = Segment(6.0, 6.0 + (3200 + extra) / RATE_HZ)
    reader = meeting()
    (one,) = front_end(reader).hear(region, ["ann"])
    num_frames = 2 * -(-(3200 + extra) // 320)
    assert one.planes.spectral_bctf.shape == (1, 4, num_frames, 16)
    assert one.mel_ft.shape == (80, num_frames + 50)
    samples_n = reader.read_cn(region.start, region.end)[one.channel]
    assert torch.equal(one.mel_ft, log_mel(samples_n, trailing_s=0.5))
    one.planes.check(BANDS)


def test_a_channel_has_the_mean_over_all_its_pairs() -> None:
    reader = meeting()
    (one,) = front_end(reader).hear(REGION, ["ann"])
    mixture = stft(torch.from_numpy(reader.read_cn(6.0, 9.0)), FEATURE_STFT)[..., :300]
    profiles = front_end(reader).profiles
    expected = []
    for channel in range(4):
        pairs = [(channel, other) for other in range(4) if other != channel]
        expected.append(solo_features(mixture, [profiles["ann"]], pairs).feature_ktf)
    log_power = mixture.abs().square().mT.clamp(min=1e-10).log()[None]
    banded = to_bands(SpatialPlanes(log_power, target_bctf=torch.stack(expected, dim=1)), 16)
    assert banded.target_bctf is not None
    torch.testing.assert_close(planes_of(one), banded.target_bctf[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(one.planes.spectral_bctf, banded.spectral_bctf)


def test_or_that_of_the_pair_with_the_first_channel() -> None:
    reader = meeting()
    (one,) = front_end(reader, pairs="reference").hear(REGION, ["ben"])
    mixture = stft(torch.from_numpy(reader.read_cn(6.0, 9.0)), FEATURE_STFT)[..., :300]
    profile = front_end(reader).profiles["ben"]
    found = solo_features(mixture, [profile], channel_pairs(4), planes=True).feature_ktf
    log_power = mixture.abs().square().mT.clamp(min=1e-10).log()[None]
    banded = to_bands(SpatialPlanes(log_power, target_bctf=found), 16).target_bctf
    assert banded is not None
    torch.testing.assert_close(planes_of(one), banded[0], atol=2e-5, rtol=0)


def test_who_talks_is_seen() -> None:
    ann, ben = front_end(meeting()).hear(REGION, ["ann", "ben"])
    only_ann, only_ben = slice(10, 90), slice(170, 290)
    for one, talks, silent in ((ann, only_ann, only_ben), (ben, only_ben, only_ann)):
        mean_t = planes_of(one).mean(dim=(0, 2))
        assert mean_t[talks].mean() > 0.8
        assert mean_t[silent].mean() < 0.4
    assert ann.planes.competitors_bkctf is not None
    torch.testing.assert_close(ann.planes.competitors_bkctf[0, 0], planes_of(ben))
    assert ann.planes.has_competitors_bk is not None
    assert ann.planes.has_competitors_bk.tolist() == [[True, False]]


def test_the_order_of_microphones_only_orders_the_planes() -> None:
    reader = meeting()
    order = [2, 0, 3, 1]
    (one,) = front_end(reader).hear(REGION, ["ann"])
    (other,) = front_end(InMemory(reader.samples_cn[order])).hear(REGION, ["ann"])
    torch.testing.assert_close(planes_of(other), planes_of(one)[order], atol=1e-5, rtol=0)


def test_without_a_solo_segment_nothing_is_borrowed() -> None:
    turns = [turn for turn in TURNS if turn.end != 2.0]
    ann, ben = front_end(meeting(), [*turns, Turn(7.6, 9.0, "ann")]).hear(REGION, ["ann", "ben"])
    assert not ann.has_place
    assert not planes_of(ann).any()
    assert ben.has_place
    assert ben.planes.has_competitors_bk is not None
    assert not ben.planes.has_competitors_bk.any()


def test_the_channel_is_the_one_in_which_the_target_stands_out() -> None:
    gains = {"ann": (0.3, 1.0, 0.9, 0.2), "ben": (0.9, 1.0, 0.2, 0.5)}
    reader = meeting(gains=gains)
    ann, ben = front_end(reader).hear(REGION, ["ann", "ben"])
    assert (ann.channel, ben.channel) == (2, 0)
    louder = InMemory(reader.samples_cn * np.float32([[9.0], [1.0], [1.0], [3.0]]))
    assert [one.channel for one in front_end(louder).hear(REGION, ["ann", "ben"])] == [2, 0]


def test_phases_are_given_where_they_are_asked_for() -> None:
    reader = meeting()
    wanted = BANDS.model_copy(update={"phase_differences": True})
    (one,) = FrontEnd(reader, TURNS, FrontEndSettings(), wanted).hear(REGION, ["ann"])
    one.planes.check(wanted)
    mixture = stft(torch.from_numpy(reader.read_cn(6.0, 9.0)), FEATURE_STFT)[..., :300]
    cos, _ = ipd(mixture, channel_pairs(4)).chunk(2)
    log_power = mixture.abs().square().mT.clamp(min=1e-10).log()[None]
    banded = to_bands(SpatialPlanes(log_power, phase_cos_bctf=cos[None]), 16)
    assert one.planes.phase_cos_bctf is not None
    torch.testing.assert_close(one.planes.phase_cos_bctf, banded.phase_cos_bctf)


def test_places_known_from_before_are_used() -> None:
    reader = meeting()
    known = {"ann": profile_of(stft(torch.from_numpy(reader.read_cn(0, 2)), FEATURE_STFT))}
    given = FrontEnd(reader, [], FrontEndSettings(), BANDS, profiles=known)
    assert given.profiles is known
    assert given.hear(REGION, ["ann"])[0].has_place


def test_what_cannot_be_is_refused() -> None:
    reader = meeting()
    with pytest.raises(NameNotFoundError, match="'eve'"):
        front_end(reader).hear(REGION, ["eve"])
    with pytest.raises(AudioError, match="1 channels"):
        front_end(InMemory(reader.samples_cn[:1])).hear(REGION, ["ann"])
    with pytest.raises(AudioError, match="0 samples"):
        front_end(reader).hear(Segment(20.0, 21.0), ["ann"])
    with pytest.raises(ConfigError, match="spectrum"):
        front_end(reader, solo=SoloSettings(stft=StftSettings()))
