"""From features at 100 Hz to frames at 50 Hz. Axes: B batch, C channel, T time, F frequency.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, section 3.1 (Conv-Embed); the residual block is Liu et al.
2022, "A ConvNet for the 2020s", arXiv 2201.03545.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from meetscribe.joint.zipformer.elements import BiasNorm, swoosh_l, swoosh_r

MIN_FRAMES = 9
"""Fewer features than this make no frame."""

_WIDTHS = (8, 32, 128)


def num_frames(num_features: int) -> int:
    """Give the frames made of so many features.

    >>> num_frames(320), num_frames(8)
    (156, 0)
    """
    return max((num_features - 7) // 2, 0)


class FrontEnd(nn.Module):
    """Three convolutions, a residual block and a linear map; padding is not masked in here."""

    def __init__(self, num_bins: int, dim: int) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        # the names are those of published files
        self.conv = nn.ModuleDict(
            {
                "0": nn.Conv2d(1, first, 3, padding=(0, 1)),
                "4": nn.Conv2d(first, second, 3, stride=2),
                "7": nn.Conv2d(second, third, 3, stride=(1, 2)),
            }
        )
        self.convnext = ConvNeXt(third)
        bins_left = ((num_bins - 1) // 2 - 1) // 2
        self.out = nn.Linear(third * bins_left, dim)
        self.out_norm = BiasNorm(dim)

    def forward(self, features_btf: Tensor) -> Tensor:
        """Give frames, shape (B, (T - 7) // 2, D)."""
        x_bctf = features_btf.unsqueeze(1)
        for conv in self.conv.values():
            x_bctf = swoosh_r(conv(x_bctf))
        x_bctf = self.convnext(x_bctf)
        return cast("Tensor", self.out_norm(self.out(x_bctf.transpose(1, 2).flatten(2))))


class ConvNeXt(nn.Module):
    """A residual block: 7 x 7 a channel, then two maps over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pointwise_conv1 = nn.Conv2d(channels, 3 * channels, 1)
        self.pointwise_conv2 = nn.Conv2d(3 * channels, channels, 1)
        with torch.no_grad():
            self.pointwise_conv2.weight *= 0.01
            nn.init.uniform_(cast("Tensor", self.pointwise_conv2.bias), -1e-3, 1e-3)

    def forward(self, x_bctf: Tensor) -> Tensor:
        """Give the same shape."""
        hidden = swoosh_l(self.pointwise_conv1(self.depthwise_conv(x_bctf)))
        return cast("Tensor", x_bctf + self.pointwise_conv2(hidden))
