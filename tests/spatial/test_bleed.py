"""A speaker's own signal: his turns as they are, the rest of his channel turned down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from meetscribe.spatial.bleed import BleedSettings, OwnSignal
from meetscribe.types import SAMPLE_RATE_HZ, Turn

TURNS = (Turn(1.0, 2.0, "a"), Turn(2.3, 3.0, "a"), Turn(5.0, 6.0, "a"))
AS_IT_IS = BleedSettings(margin_s=0.2, target_db=None)


@dataclass
class Channels:
    """Channel c, sample n holds a value that tells both."""

    duration: float = 8.0

    def read_cn(self, start, end):
        at_n = np.arange(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ))
        return np.stack([(c + 1) * 0.1 + at_n * 1e-7 for c in range(3)]).astype(np.float32)


def own(settings=AS_IT_IS, turns=TURNS, level_db=-26.0):
    return OwnSignal.of(Channels(), 1, turns, settings, level_db=level_db)


def test_turns_are_as_they_are_and_the_rest_is_muted():
    made_n = own().read(0.0, 8.0)
    channel_n = Channels().read_cn(0.0, 8.0)[1]
    assert made_n.dtype == np.float32
    assert own().duration == 8.0
    heard_n = made_n / channel_n
    for start, end in ((0.8, 3.2), (4.8, 6.2)):  # a pause of 0.3 s lies within both margins
        assert heard_n[round(start * 16_000) : round(end * 16_000)] == pytest.approx(1.0)
    for start, end in ((0.0, 0.77), (3.23, 4.77), (6.23, 8.0)):
        assert heard_n[round(start * 16_000) : round(end * 16_000)] == pytest.approx(1e-3, rel=0.01)
    assert np.abs(np.diff(heard_n)).max() < 0.004  # 20 ms from one to the other


def test_pieces_are_parts_of_the_whole():
    whole_n = own().read(0.0, 8.0)
    pieces = [own().read(a, b) for a, b in ((0.0, 0.79), (0.79, 3.21), (3.21, 8.0))]
    assert np.concatenate(pieces) == pytest.approx(whole_n, abs=1e-6)


def test_a_quiet_speaker_is_brought_to_the_level_of_others_without_clipping():
    soft = own(BleedSettings(target_db=-26.0), level_db=-46.0).read(1.2, 1.8)
    assert soft == pytest.approx(np.minimum(10 * Channels().read_cn(1.2, 1.8)[1], 1.0))


def test_who_has_no_turns_is_muted_throughout():
    assert np.abs(own(turns=()).read(0.0, 8.0)).max() < 1e-3
