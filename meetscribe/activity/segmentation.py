"""Sliding-window segmentation: how likely each local speaker of each window is active, per frame.

All windows share one frame grid: global frame ``g`` lies ``g * 16.875 ms`` after the start, and a
window begins at a whole number of frames, so that windows add up without interpolation.
Axes: W window, T frame within a window, K local speaker, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from meetscribe.types import (
    SAMPLE_RATE_HZ,
    AudioReader,
    Parts,
    Progress,
    all_at_once,
    no_progress,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FRAME_STEP_SAMPLES = 270
FRAME_FIELD_SAMPLES = 991
FRAME_STEP_S = FRAME_STEP_SAMPLES / SAMPLE_RATE_HZ
FRAME_CENTRE_S = FRAME_FIELD_SAMPLES / 2 / SAMPLE_RATE_HZ
"""Centre of frame 0: what a frame says is about ``FRAME_CENTRE_S + frame * FRAME_STEP_S``."""
WINDOW_FRAMES = 589
WINDOW_SAMPLES = 160_000
NUM_LOCAL = 3
_PART_WINDOWS = 600
"""Windows that are kept together as a part of a long signal: ten minutes of it by default."""
_SHORTEST_SAMPLES = 4_000
"""Shorter signals are padded with zeros to this length: the network needs a few frames."""


class SegmentationNetwork(Protocol):
    """Samples (B, N) to log-probabilities (B, T, 7) of the powerset classes."""

    def __call__(self, samples_bn: Tensor) -> Tensor:
        """Run the network."""
        ...


@dataclass(frozen=True)
class Windows:
    """Local speaker activity of every window.

    Parameters
    ----------
    starts_w : int64, shape (W,)
        First global frame of each window, ascending.
    activity_wtk : float16, shape (W, T, 3)
        Probability that local speaker k is active; speakers of different windows are unrelated.
    num_frames : frames of the whole signal
    """

    starts_w: NDArray[np.int64]
    activity_wtk: NDArray[np.float16]
    num_frames: int


def frame_time(frame: float) -> float:
    """Give the time in seconds that a global frame is about.

    >>> round(frame_time(0), 4), round(frame_time(100), 4)
    (0.031, 1.7185)
    """
    return FRAME_CENTRE_S + frame * FRAME_STEP_S


def count_frames(num_samples: int) -> int:
    """Give the number of whole frames in so many samples."""
    if num_samples < FRAME_FIELD_SAMPLES:
        return 0
    return 1 + (num_samples - FRAME_FIELD_SAMPLES) // FRAME_STEP_SAMPLES


def window_starts(num_samples: int, step_frames: int) -> list[int]:
    """Give the first frame of each window; the last window ends where the signal does.

    >>> window_starts(16_000 * 12, 59)
    [0, 59, 118]
    >>> window_starts(16_000 * 3, 59)
    [0]
    """
    spare = (num_samples - WINDOW_SAMPLES) // FRAME_STEP_SAMPLES
    if spare <= 0:
        return [0]
    starts = list(range(0, spare + 1, step_frames))
    if starts[-1] != spare:
        starts.append(spare)
    return starts


def segment(
    audio: AudioReader,
    network: SegmentationNetwork,
    *,
    step_frames: int,
    batch_size: int = 8,
    device: str = "cpu",
    progress: Progress = no_progress,
    keep: Parts[NDArray[np.float16]] = all_at_once,
) -> Windows:
    """Run the network over the whole signal, holding one batch of windows at a time.

    Parameters
    ----------
    step_frames : frames between the starts of consecutive windows
    keep : keeps what was heard in every few hundred windows of a long signal

    Notes
    -----
    Every window is brought to unit level first: the network normalises as well, but its epsilon
    would drown a very quiet recording. Signals under 10 s are one window of their own length.
    """
    num_samples = max(round(audio.duration * SAMPLE_RATE_HZ), _SHORTEST_SAMPLES)
    starts = window_starts(num_samples, step_frames)
    length = min(num_samples, WINDOW_SAMPLES)
    # whole batches, so that what goes through the network together is always the same
    per_part = max(1, _PART_WINDOWS // batch_size) * batch_size
    if len(starts) <= per_part:
        keep = all_at_once

    def heard(first: int) -> NDArray[np.float16]:
        made = []
        for batch in _batches(audio, starts[first : first + per_part], length, batch_size):
            made.append(_run(network, batch, device))
            progress("segmentation", min((first + len(made) * batch_size) / len(starts), 1.0))
        return np.concatenate(made)

    parts = []
    for first in range(0, len(starts), per_part):
        parts.append(keep(("windows", first), partial(heard, first)))
        progress("segmentation", min((first + per_part) / len(starts), 1.0))
    activity_wtk = np.concatenate(parts)
    return Windows(
        np.asarray(starts, dtype=np.int64), activity_wtk, starts[-1] + activity_wtk.shape[1]
    )


def load(folder: Path, device: str) -> SegmentationNetwork:
    """Load segmentation-3.0 from the folder that ``models.fetch`` gives."""
    from meetscribe.activity import pyannet
    from meetscribe.models.unpickle import load_checkpoint

    path = folder / "pytorch_model.bin"
    checkpoint = load_checkpoint(path)
    return pyannet.load(checkpoint["state_dict"], where=str(path)).to(device)


def _batches(
    audio: AudioReader, starts: list[int], length: int, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Give windows of unit level, shape (B, N)."""
    for first in range(0, len(starts), batch_size):
        rows = []
        for frame in starts[first : first + batch_size]:
            begin = frame * FRAME_STEP_SAMPLES / SAMPLE_RATE_HZ
            samples_n = audio.read(begin, begin + length / SAMPLE_RATE_HZ)
            row = np.zeros(length, dtype=np.float32)
            row[: min(length, len(samples_n))] = samples_n[:length]
            row -= row.mean()
            rows.append(row / max(float(row.std()), 1e-8))
        yield np.stack(rows)


def _run(
    network: SegmentationNetwork, batch_bn: NDArray[np.float32], device: str
) -> NDArray[np.float16]:
    import torch

    from meetscribe.activity.pyannet import POWERSET

    member_pk = np.zeros((len(POWERSET), NUM_LOCAL), dtype=np.float32)
    for row, members in enumerate(POWERSET):
        member_pk[row, list(members)] = 1.0
    with torch.inference_mode():
        classes_btp = network(torch.from_numpy(batch_bn).to(device)).exp()
        activity_btk = classes_btp @ torch.from_numpy(member_pk).to(device)
    return activity_btk.cpu().numpy().astype(np.float16)
