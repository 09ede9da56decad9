"""How long an hour of meeting takes on this machine, from half a minute of work.

The two costs of the cascade are measured with the real models on a made-up signal: speaker
activity, which costs the same whatever is heard, and one pass of the recogniser's encoder. How
much decoding follows an encoder pass depends on what is said; the ratio is that of real meetings.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meetscribe.activity import Diarizer
from meetscribe.engines.device import check_present
from meetscribe.engines.settings import CascadeSettings
from meetscribe.models import fetch, resolve_whisper
from meetscribe.recognize.model import WhisperModel
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECODING_PER_ENCODING = 3.0
"""Recognition takes so many times as long as its encoder passes (`benchmarks/RESULTS.md`)."""


class _Buzz:
    """A hum with the rhythm of speech, as an ``AudioReader``."""

    def __init__(self, seconds: float) -> None:
        import numpy as np

        self.duration = seconds
        time_n = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        voice = sum(np.sin(2 * np.pi * 120 * k * time_n) / k for k in range(1, 20))
        rhythm = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time_n)
        self._samples_n = (0.05 * voice * rhythm).astype(np.float32)

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        """Give samples, zeros beyond the end."""
        import numpy as np

        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        made = np.zeros(max(0, last - first), dtype=np.float32)
        piece = self._samples_n[max(0, first) : last]
        made[: len(piece)] = piece
        return made


def measure(*, device: str, threads: int, seconds: float) -> float:
    """Give the expected real-time factor of the default pipeline.

    Raises
    ------
    ModelError
        If a model is missing or does not run.
    ConfigError
        If there is no such device.
    """
    check_present(device)
    settings = CascadeSettings()
    audio = _Buzz(seconds)
    diarizer = Diarizer(
        settings.activity,
        segmentation=fetch("segmentation-3.0", offline=True),
        voiceprint=fetch("campplus-zh-en", offline=True),
        device=device,
    )
    whisper = WhisperModel(
        resolve_whisper(settings.recognizer.model, offline=True),
        device=device,
        compute_type=settings.recognizer.compute_type,
        threads=threads,
    )
    # a first short pass, so that loading and warming up are not measured
    diarizer.diarize(_Buzz(1.0))
    whisper.encode([audio.read(0.0, 1.0)])
    began = time.monotonic()
    diarizer.diarize(audio)
    activity_s = time.monotonic() - began
    began = time.monotonic()
    whisper.encode([audio.read(0.0, seconds)])
    encoding_s = time.monotonic() - began
    return (activity_s + DECODING_PER_ENCODING * encoding_s) / seconds
