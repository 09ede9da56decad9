"""How long an hour of meeting takes on this machine, from half a minute of work.

The two costs of the cascade are measured with the real models on a made-up signal: speaker
activity, which costs the same whatever is heard, and one pass of the recogniser's encoder. How
much decoding follows an encoder pass depends on what is said; the ratio is that of real meetings.
"""

from __future__ import annotations

import time

from meetscribe.activity import Diarizer
from meetscribe.engines.device import check_present
from meetscribe.engines.meeting_settings import SEGMENTATION, VOICEPRINT
from meetscribe.engines.settings import CascadeSettings
from meetscribe.ingest import InMemory
from meetscribe.models import fetch, resolve_whisper
from meetscribe.recognize.model import WhisperModel
from meetscribe.types import SAMPLE_RATE_HZ

DECODING_PER_ENCODING = 3.0
"""Recognition takes so many times as long as its encoder passes (`benchmarks/RESULTS.md`)."""


def _buzz(seconds: float) -> InMemory:
    """Give a hum with the rhythm of speech."""
    import numpy as np

    time_n = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    voice = sum(np.sin(2 * np.pi * 120 * k * time_n) / k for k in range(1, 20))
    rhythm = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time_n)
    return InMemory((0.05 * voice * rhythm).astype(np.float32))


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
    audio = _buzz(seconds)
    diarizer = Diarizer(
        settings.activity,
        segmentation=fetch(SEGMENTATION, offline=True),
        voiceprint=fetch(VOICEPRINT, offline=True),
        device=device,
    )
    whisper = WhisperModel(
        resolve_whisper(settings.recognizer.model, offline=True),
        device=device,
        compute_type=settings.recognizer.compute_type,
        threads=threads,
    )
    # a first short pass, so that loading and warming up are not measured
    diarizer.diarize(_buzz(1.0))
    whisper.encode([audio.read(0.0, 1.0)])
    began = time.monotonic()
    diarizer.diarize(audio)
    activity_s = time.monotonic() - began
    began = time.monotonic()
    whisper.encode([audio.read(0.0, seconds)])
    encoding_s = time.monotonic() - began
    return (activity_s + DECODING_PER_ENCODING * encoding_s) / seconds
