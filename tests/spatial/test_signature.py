"""Spatial signatures: pieces from one place agree, pieces from two places do not."""

from __future__ import annotations

import numpy as np
import pytest

from meetscribe.spatial.signature import signatures

RATE_HZ = 16_000


class Room:
    """Sources that reach the channels with delays of their own, one after the other, in noise."""

    def __init__(self, places: list[int], num_channels: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        delays_sc = np.outer(np.arange(max(places) + 1), 2 * np.arange(1, num_channels + 1)) % 13
        self.num_channels = num_channels
        self.duration = float(len(places))
        pieces = []
        for place in places:
            source_n = random.standard_normal(RATE_HZ + 16)
            heard_cn = np.stack([source_n[d : d + RATE_HZ] for d in delays_sc[place]])
            pieces.append(heard_cn + 0.3 * random.standard_normal(heard_cn.shape))
        self.samples_cn = np.concatenate(pieces, axis=1).astype(np.float32)

    def read_cn(self, start: float, end: float) -> np.ndarray:
        return self.samples_cn[:, round(start * RATE_HZ) : round(end * RATE_HZ)]


@pytest.mark.parametrize("num_channels", [2, 3, 8, 12])
def test_one_place_agrees_and_two_places_do_not(num_channels: int) -> None:
    places = [0, 1, 0, 2, 1, 2, 0, 1]
    room = Room(places, num_channels)
    made_ud = signatures(room, [(float(at), at + 1.0) for at in range(len(places))])
    np.testing.assert_allclose(np.linalg.norm(made_ud, axis=1), 1.0, atol=1e-5)
    cosine_uu = made_ud @ made_ud.T
    same_uu = np.equal.outer(places, places)
    assert cosine_uu[same_uu].min() > 0.5
    assert cosine_uu[~same_uu].max() < 0.2


def test_order_and_loudness_of_channels_do_not_matter() -> None:
    room = Room([0, 1, 0, 1], 4)
    spans = [(float(at), at + 1.0) for at in range(4)]
    before_uu = signatures(room, spans) @ signatures(room, spans).T
    room.samples_cn = room.samples_cn[::-1] * np.array([[0.1], [1.0], [3.0], [0.5]], np.float32)
    after_uu = signatures(room, spans) @ signatures(room, spans).T
    np.testing.assert_allclose(before_uu, after_uu, atol=0.05)


def test_silence_short_pieces_and_nothing_are_no_errors() -> None:
    room = Room([0, 1], 3)
    room.samples_cn[:, :RATE_HZ] = 0.0
    made_ud = signatures(room, [(0.0, 0.5), (0.2, 0.201), (1.0, 1.5), (1.5, 2.0)])
    assert np.isfinite(made_ud).all()
    assert signatures(room, []).shape[0] == 0
