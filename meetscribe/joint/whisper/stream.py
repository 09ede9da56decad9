"""Streams beside Whisper's encodings: frames, several as one, brought to its decoder's width.

Axes: B batch, S frame of the encoder of the stream (20 ms), P projected frame, D feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.encoders_campplus import CampplusFrames
from meetscribe.joint.model import FrameEncoder
from meetscribe.joint.projector import Projector
from meetscribe.joint.spatial_stream import Clip, SpatialFrames


class FrameStream(nn.Module):
    """Who sounds how, or whose place the sound fits, some times a second.

    Parameters
    ----------
    encoder : stays as it is; every clip goes through it alone
    width : of Whisper's decoder
    stack : frames of 20 ms that become one
    """

    def __init__(self, encoder: CampplusFrames | SpatialFrames, width: int, *, stack: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(requires_grad=False).eval()
        self.projector = Projector(encoder.dim, width, stack=stack)

    def forward(self, clips: Sequence[Clip]) -> Padded:
        """Give projected frames, shape (B, P, D), P = ceil(S / stack).

        Parameters
        ----------
        clips : as the encoder takes them
        """
        encoder = cast("FrameEncoder", self.encoder)
        with torch.no_grad():
            rows_sd = encoder(encoder.features(clips)).rows()
        made: Padded = self.projector(pad([self._whole_stacks(row_sd) for row_sd in rows_sd]))
        return made

    def _whole_stacks(self, frames_sd: Tensor) -> Tensor:
        """Repeat the last frame, so that the projector drops none."""
        missing = -len(frames_sd) % self.projector.stack
        return torch.cat([frames_sd, frames_sd[-1:].expand(missing, -1)])
