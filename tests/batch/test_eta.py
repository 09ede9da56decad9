"""The time left follows from lengths that are known and sizes where they are not."""

from __future__ import annotations

import pytest

from meetscribe.batch import eta
from meetscribe.batch.eta import Estimate
from meetscribe.batch.tasks import Session


def test_sizes_stand_for_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(eta.time, "monotonic", lambda: now[0])
    wavs = [Session((f"{number}.wav",), str(number), 1000) for number in range(4)]
    mp3 = Session(("m.mp3",), "m", 100)
    estimate = Estimate([*wavs, mp3])
    assert (estimate.left_s({}), estimate.speed) == (None, 0.0)
    estimate.opened(wavs[0], 60.0)
    now[0] += 15.0
    # half of the first minute is done: two recorded seconds a second
    assert estimate.left_s({"0": 0.5}) == pytest.approx((30 + 3 * 60 + 6) / 2)
    estimate.ended(wavs[0], worked=True)
    now[0] += 15.0
    assert estimate.speed == pytest.approx(2.0)
    estimate.opened(mp3, 600.0)
    assert estimate.left_s({}) == pytest.approx((3 * 60 + 600) / 2)
    estimate.ended(mp3, worked=False)
    for session in wavs[1:]:
        estimate.ended(session, worked=False)
    assert estimate.left_s({}) == 0.0
