"""All channels of a recording, decoded once to a scratch file and read in any order.

What works on several microphones at once reads pieces of all channels; see ``mono`` for why they
lie on disk. 16 bits a sample: the noise that adds is far below that of any microphone.

Axes: C channel, N sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from meetscribe.ingest.decode import Decoder, nothing_decoded
from meetscribe.ingest.scratch import OnDisk, ScratchFile, samples_between
from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ, Progress, Recording, no_progress

STAGE = "channels"

_BLOCK_S = 10.0
_BYTES = 2
_SCALE = 32768.0
_MB_PER_HOUR = 115
"""Of one channel."""


class ChannelAudio:
    """The channels of a recording at 16 kHz, on disk; made by ``open_channels``.

    Nothing is decoded before it is needed: what is kept from an earlier run may be enough.
    A context manager that deletes what is on disk.
    """

    def __init__(self, decode: Callable[[], OnDisk], corrections: Sequence[Correction]) -> None:
        self._decode = decode
        self._corrections = tuple(corrections)
        self._decoded: OnDisk | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the scratch file, if there is one."""
        if self._decoded is not None:
            self._decoded.close()

    @property
    def num_channels(self) -> int:
        """Channels that are read."""
        return len(self._corrections)

    @property
    def num_samples(self) -> int:
        """Samples per channel at 16 kHz, as really decoded: asking for it decodes."""
        return self._on_disk().num_samples

    @property
    def duration(self) -> float:
        """Length in seconds, as really decoded: asking for it decodes."""
        return self._on_disk().duration

    def read_cn(self, start: float, end: float) -> Samples:
        """Give the samples from ``start`` to ``end`` in seconds, both rounded to a sample.

        Returns
        -------
        float32, shape (C, N), in [-1, 1]
            Before the start and beyond the end of the recording there is silence.

        Raises
        ------
        ValueError
            If ``end`` is before ``start``.
        AudioError, OutputError
            If this is the first time that samples are needed, as ``open_channels`` says.
        """
        first, last = samples_between(start, end)
        late = [correction.delay_samples for correction in self._corrections]
        # what a late channel has at this time lies further on in its file
        earliest, latest = min(late), max(late)
        wide_cn = self._read(first + earliest, last + latest)
        if earliest == latest == 0 and all(part.sign == 1 for part in self._corrections):
            return wide_cn
        num = last - first
        return np.stack(
            [
                part.sign * wide_n[part.delay_samples - earliest :][:num]
                for part, wide_n in zip(self._corrections, wide_cn, strict=True)
            ]
        )

    def _read(self, first: int, last: int) -> Samples:
        """Give the samples [first, last) as they are on disk."""
        on_disk = self._on_disk()
        samples_cn = np.zeros((self.num_channels, last - first), np.float32)
        low, high = max(0, first), min(on_disk.num_samples, last)
        if low < high:
            inside_nc = np.empty((high - low, self.num_channels), np.int16)
            on_disk.read_into(inside_nc, low * self.num_channels * _BYTES)
            samples_cn[:, low - first : high - first] = inside_nc.T
            samples_cn /= _SCALE
        return samples_cn

    def _on_disk(self) -> OnDisk:
        with self._lock:
            if self._decoded is None:
                self._decoded = self._decode()
            return self._decoded


@dataclass(frozen=True, slots=True)
class Correction:
    """What reading does to a channel: move it earlier by its delay, and turn it round or not."""

    delay_samples: int = 0
    sign: int = 1


def open_channels(
    recording: Recording,
    channels: Sequence[int] | None = None,
    *,
    delays_s: Sequence[float] = (),
    signs: Sequence[int] = (),
    progress: Progress = no_progress,
    scratch_dir: Path | None = None,
) -> ChannelAudio:
    """Give channels of a recording so that any piece of them can be read.

    They are decoded when samples, or their number, are first needed; what can go wrong then is
    below.

    Parameters
    ----------
    recording : made by ``probe``
    channels : which, in order; None takes all
    delays_s, signs : of each, as ``plan_channels`` gives them; reading moves channels back into
        line and turns them round. Empty leaves all as they are
    progress : called with "channels" and the share that is done
    scratch_dir : where they are kept, 115 MB per hour and channel; None takes the system's folder
        for temporary files, which ``TMPDIR`` names

    Returns
    -------
    ChannelAudio
        Close it, or use it in a ``with``: that deletes the scratch file.

    Raises
    ------
    AudioError
        If a file cannot be read, or nothing in it can be decoded.
    OutputError
        If the scratch file cannot be written, for instance because the disk is full.
    ValueError
        If there are not as many delays or signs as channels; at once.
    """
    wanted = tuple(range(recording.num_channels)) if channels is None else tuple(channels)
    corrections = [
        Correction(round(delay_s * SAMPLE_RATE_HZ), sign)
        for delay_s, sign in zip(
            delays_s or (0.0,) * len(wanted), signs or (1,) * len(wanted), strict=True
        )
    ]

    def decode() -> OnDisk:
        file = ScratchFile(scratch_dir, mb_per_hour=_MB_PER_HOUR * len(wanted))
        try:
            return OnDisk(file, _decode_to(file, recording, wanted, progress))
        except BaseException:
            file.close()
            raise

    return ChannelAudio(decode, corrections)


def _decode_to(
    file: ScratchFile, recording: Recording, channels: Sequence[int], progress: Progress
) -> int:
    num_samples = 0
    progress(STAGE, 0.0)
    with Decoder(recording, channels) as decoder:
        for block_cn in decoder.blocks(_BLOCK_S):
            scaled_nc = np.clip(np.rint(block_cn.T * _SCALE), -_SCALE, _SCALE - 1)
            file.append(np.ascontiguousarray(scaled_nc, np.int16))
            num_samples += block_cn.shape[1]
            progress(STAGE, decoder.share_done)
    if not num_samples:
        raise nothing_decoded(recording)
    progress(STAGE, 1.0)
    return num_samples
