"""Uncompressed sound files, read by libsndfile.

Axes: C channel, N sample.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from meetscribe.ingest import headers
from meetscribe.ingest.source import Samples, Source, SourceInfo


def _native_name(path: Path) -> str | bytes:
    # names that are not valid Unicode reach the C library as the bytes they are
    return str(path) if os.name == "nt" else os.fsencode(path)


def open_pcm(path: Path) -> Source | None:
    """Open with libsndfile, or give None where FFmpeg should try."""
    import soundfile

    if path.suffix.lower() == ".raw":
        return None  # soundfile takes this suffix for a file without a header
    try:
        file = soundfile.SoundFile(_native_name(path))
    except (soundfile.LibsndfileError, TypeError):
        return None
    if file.frames <= 0 or file.subtype.startswith("MPEG"):
        file.close()
        return None
    return _SoundfileSource(path, file)


class _SoundfileSource:
    """An uncompressed file read by libsndfile."""

    def __init__(self, path: Path, file: Any) -> None:  # noqa: ANN401 - soundfile is untyped
        self._file = file
        self.problems: list[str] = []
        self.info = SourceInfo(
            codec=f"{file.format}/{file.subtype}".lower(),
            sample_rate_hz=int(file.samplerate),
            num_channels=int(file.channels),
            num_samples=int(file.frames),
            promised_samples=headers.wav_promised_samples(path),
        )

    def read(self, num_samples: int) -> Samples:
        """Give the next samples, shape (C, n)."""
        import soundfile

        try:
            samples_nc = self._file.read(num_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self.problems.append(f"reading stopped: {error.error_string}")
            samples_nc = np.zeros((0, self.info.num_channels), np.float32)
        samples_cn: Samples = samples_nc.T
        return samples_cn

    def seek(self, sample: int) -> None:
        """Continue reading at this sample."""
        self._file.seek(min(sample, self.info.num_samples))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
