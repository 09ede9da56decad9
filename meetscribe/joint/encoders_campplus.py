"""CAM++'s frames before its pooling as an encoder of a joint model: it knows voices.

Axes: B batch, N sample, T frame (10 ms), F mel bin, S frame (20 ms), D channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import ConfigDict
from torch import Tensor, nn

from meetscribe.activity.campplus import CamPlusPlus
from meetscribe.activity.fbank import fbank
from meetscribe.config import Settings
from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.fbank import mirrored
from meetscribe.models.kaldi_fbank import FRAME_SAMPLES, HOP_SAMPLES

_STEP_SAMPLES = 2 * HOP_SAMPLES


class CampplusConfig(Settings):
    """CAM++ has one size."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["campplus"] = "campplus"
    weights: str | None = None


def features(clips_n: Sequence[Tensor]) -> Padded:
    """Give what CAM++ hears of clips: Kaldi mel energies without their mean, shape (B, T, 80).

    As for voiceprints, of a clip that is followed by up to 35 ms of its mirror image, so that
    there are two frames for each 20 ms of the clip, the last ones included.

    Raises
    ------
    ShapeError
        If a clip is not one-dimensional or has no sample.
    """
    rows = []
    for clip_n in clips_n:
        if clip_n.ndim != 1 or not len(clip_n):
            raise ShapeError(f"campplus: expected (N,), N above 0, found {tuple(clip_n.shape)}")
        frames = 2 * -(-len(clip_n) // _STEP_SAMPLES)
        row_tf = fbank(mirrored(clip_n, 0, (frames - 1) * HOP_SAMPLES + FRAME_SAMPLES))
        rows.append(row_tf - row_tf.mean(dim=0))
    return pad(rows)


class CampplusFrames(nn.Module):
    """Mel energies to frames at 50 Hz, as many as the clip is long.

    CAM++ averages over all frames that it is given and knows no padding, so clips go through it
    one at a time: in a batch a clip gets exactly what it gets alone.
    """

    dim = 512
    features = staticmethod(features)
    """What this encoder hears of clips."""

    def __init__(self) -> None:
        super().__init__()
        self.campplus = CamPlusPlus()

    def forward(self, features: Padded) -> Padded:
        """Give frames, shape (B, S, 512), S = ceil(N / 320) of the longest clip."""
        return pad([self.campplus.frames(row[None])[0].T for row in features.rows()])

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - torch's own
        """Stay in evaluation: the averages of its normalisation are published weights."""
        return super().train(mode=False)
