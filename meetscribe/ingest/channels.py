"""All channels of a recording, decoded once to a scratch file and read in any order.

What works on several microphones at once reads pieces of all channels; see ``mono`` for why they
lie on disk. 16 bits a sample: the noise that adds is far below that of any microphone.

Axes: C channel, N sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meetscribe.ingest.decode import Decoder, nothing_decoded
from meetscribe.ingest.scratch import OnDisk, ScratchFile, samples_between
from meetscribe.ingest.source import Samples
from meetscribe.types import Progress, Recording, no_progress

STAGE = "channels"

_BLOCK_S = 10.0
_BYTES = 2
_SCALE = 32768.0
_MB_PER_HOUR = 115
"""Of one channel."""


class ChannelAudio(OnDisk):
    """The channels of a recording at 16 kHz, on disk; made by ``open_channels``.

    Attributes
    ----------
    num_channels, num_samples : as really decoded, at 16 kHz
    """

    def __init__(self, file: ScratchFile, num_channels: int, num_samples: int) -> None:
        super().__init__(file, num_samples)
        self.num_channels = num_channels

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
        """
        first, last = samples_between(start, end)
        samples_cn = np.zeros((self.num_channels, last - first), np.float32)
        low, high = max(0, first), min(self.num_samples, last)
        if low < high:
            inside_nc = np.empty((high - low, self.num_channels), np.int16)
            self._file.read_into(inside_nc, low * self.num_channels * _BYTES)
            samples_cn[:, low - first : high - first] = inside_nc.T
            samples_cn /= _SCALE
        return samples_cn


def open_channels(
    recording: Recording,
    channels: Sequence[int] | None = None,
    *,
    progress: Progress = no_progress,
    scratch_dir: Path | None = None,
) -> ChannelAudio:
    """Decode channels of a recording so that any piece of them can be read.

    Parameters
    ----------
    recording : made by ``probe``
    channels : which, in order; None takes all
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
    """
    wanted = tuple(range(recording.num_channels)) if channels is None else tuple(channels)
    file = ScratchFile(scratch_dir, mb_per_hour=_MB_PER_HOUR * len(wanted))
    try:
        num_samples = _decode_to(file, recording, wanted, progress)
    except BaseException:
        file.close()
        raise
    return ChannelAudio(file, len(wanted), num_samples)


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
