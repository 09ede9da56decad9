"""The voice stream: frames of CAM++, several as one, brought to the width of Whisper's decoder.

Axes: N sample, B batch, S frame of CAM++ (20 ms), P projected frame, D feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.encoders_campplus import CampplusFrames
from meetscribe.joint.projector import Projector


class VoiceStream(nn.Module):
    """Who sounds how, some times a second.

    Parameters
    ----------
    encoder : stays as it is; every clip goes through it alone
    width : of Whisper's decoder
    stack : frames of 20 ms that become one
    """

    def __init__(self, encoder: CampplusFrames, width: int, *, stack: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(requires_grad=False).eval()
        self.projector = Projector(encoder.dim, width, stack=stack)

    def forward(self, clips: Sequence[Tensor]) -> Padded:
        """Give projected frames, shape (B, P, D), P = ceil(S / stack).

        Parameters
        ----------
        clips : float32, shape (N,), 16 kHz in [-1, 1]
        """
        with torch.no_grad():
            rows_sd = self.encoder(self.encoder.features(clips)).rows()
        made: Padded = self.projector(pad([self._whole_stacks(row_sd) for row_sd in rows_sd]))
        return made

    def _whole_stacks(self, frames_sd: Tensor) -> Tensor:
        """Repeat the last frame, so that the projector drops none."""
        missing = -len(frames_sd) % self.projector.stack
        return torch.cat([frames_sd, frames_sd[-1:].expand(missing, -1)])
