"""Speech probability by Silero VAD, which the faster-whisper package carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / 16_000


def speech_probability(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the probability of speech for every 32 ms.

    Parameters
    ----------
    samples : float32, shape (N,), 16 kHz mono

    Returns
    -------
    float32, shape (ceil(N / 512),), in [0, 1]
        Empty for an empty signal. A signal that is zero throughout gives zeros.

    Notes
    -----
    Silero VAD 6 (https://github.com/snakers4/silero-vad, MIT).
    """
    frames = -(-len(samples) // FRAME_SAMPLES)
    if frames == 0 or not np.any(samples):
        return np.zeros(frames, dtype=np.float32)
    from faster_whisper.vad import get_vad_model

    padded = np.zeros(frames * FRAME_SAMPLES, dtype=np.float32)
    padded[: len(samples)] = samples
    return np.asarray(get_vad_model()(padded), dtype=np.float32).reshape(-1)[:frames]
