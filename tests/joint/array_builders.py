"""Four microphones and people who speak in turn, each from a place of his own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from meetscribe.types import Turn

RATE_HZ = 16_000
LAGS = {"ann": (0, 3, 1, 5), "ben": (6, 1, 4, 0), "cid": (2, 0, 7, 3)}
TURNS = [Turn(2.0, 4.0, "ben"), Turn(0.0, 2.0, "ann"), Turn(4.0, 4.8, "cid")]


def meeting(turns: Sequence[Turn] = TURNS, *, seconds: float = 4.8, seed: int = 0) -> torch.Tensor:
    """Give noise of everybody in his turns, later at some microphones than at others: (C, N)."""
    rng = np.random.default_rng(seed)
    samples_cn = 1e-4 * rng.standard_normal((4, round(seconds * RATE_HZ)))
    for turn in turns:
        first, last = round(turn.start * RATE_HZ), round(turn.end * RATE_HZ)
        dry_n = 0.1 * rng.standard_normal(last - first)
        for channel, lag in enumerate(LAGS[turn.speaker]):
            samples_cn[channel, first + lag : last] += dry_n[: len(dry_n) - lag]
    return torch.from_numpy(samples_cn.astype(np.float32))
