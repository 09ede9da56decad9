"""CAM++: the network that turns speech into a voiceprint, with the published names of its parts.

Axes: B batch, C channel, F mel bin, T frame (10 ms at the input, 20 ms after the TDNN).

Notes
-----
Wang et al. 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", arXiv 2303.00332. Written from the description, for the 3D-Speaker
checkpoint "zh-en advanced". Pooling is apart from the frames, so that one pass over a stretch of
audio serves any number of masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.errors import WeightsError

VOICEPRINT_SIZE = 192
_BINS = 80
_GROWTH = 32
_BOTTLENECK = 128
_SEGMENT_FRAMES = 100
_BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each dense block."""


class CamPlusPlus(nn.Module):
    """The network: ``frames`` up to the pooling, ``pool`` from there to the voiceprint."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        self.xvector = _XVector()

    def frames(self, fbank_btf: Tensor) -> Tensor:
        """Give frame features, shape (B, 512, ceil(T / 2)), of mean-normalised (B, T, 80)."""
        return cast("Tensor", self.xvector(self.head(fbank_btf.transpose(1, 2))))

    def pool(self, frames_bct: Tensor, weights_bt: Tensor | None = None) -> Tensor:
        """Give voiceprints, shape (B, 192), not normalised, of weighted frames.

        ``weights_bt`` are non-negative, with at least two frames above zero per row; None weighs
        all frames alike, as the published network does.
        """
        return self.xvector.project(_statistics(frames_bct, weights_bt))

    def forward(self, fbank_btf: Tensor) -> Tensor:
        """Give voiceprints, shape (B, 192), of mean-normalised fbank features (B, T, 80)."""
        return self.pool(self.frames(fbank_btf))


def load(state: Mapping[str, Tensor], *, where: str) -> CamPlusPlus:
    """Make the network in evaluation mode from the published tensors.

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or has another shape.
    """
    network = CamPlusPlus()
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: not the CAM++ checkpoint that was expected",
            hint="run `meetscribe models verify`",
        ) from error
    return network.eval()


def _statistics(frames_bct: Tensor, weights_bt: Tensor | None) -> Tensor:
    """Give mean and unbiased standard deviation over time, shape (B, 2C)."""
    if weights_bt is None:
        return torch.cat([frames_bct.mean(dim=2), frames_bct.std(dim=2)], dim=1)
    weights = weights_bt.unsqueeze(1)
    total = weights.sum(dim=2)
    mean = (frames_bct * weights).sum(dim=2) / total
    squares = ((frames_bct - mean.unsqueeze(2)).square() * weights).sum(dim=2)
    unbiased = (total - weights.square().sum(dim=2) / total).clamp(min=1e-6)
    return torch.cat([mean, (squares / unbiased).sqrt()], dim=1)


class _Head(nn.Module):
    """2-D convolutions over frequency and time that leave a tenth of the bins."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(_Residual(2), _Residual(1))
        self.layer2 = nn.Sequential(_Residual(2), _Residual(1))
        self.conv2 = nn.Conv2d(32, 32, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)

    def forward(self, fbank_bft: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(fbank_bft.unsqueeze(1))))
        x = self.layer2(self.layer1(x))
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class _Residual(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(32, 32, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(32, 32, 1, stride=(stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(32))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class _Nonlinear(nn.Module):
    """Batch normalisation and ReLU, under the name the checkpoint gives them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.batchnorm(x))


class _Tdnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv1d(32 * _BINS // 8, 128, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _Nonlinear(128)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.nonlinear(self.linear(x)))


class _ContextMask(nn.Module):
    """A convolution whose output is masked by what its surroundings sound like."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            _BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        # the context is constant within a segment: the mask is made once per segment
        segments = F.avg_pool1d(x, _SEGMENT_FRAMES, ceil_mode=True)
        context = x.mean(dim=2, keepdim=True) + segments
        mask = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))
        mask = mask.repeat_interleave(_SEGMENT_FRAMES, dim=2)[..., : x.shape[2]]
        return cast("Tensor", self.linear_local(x) * mask)


class _DenseLayer(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _Nonlinear(channels)
        self.linear1 = nn.Conv1d(channels, _BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _Nonlinear(_BOTTLENECK)
        self.cam_layer = _ContextMask(dilation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return torch.cat([x, y], dim=1)


class _Transit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = _Nonlinear(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.linear(self.nonlinear(x)))


class _Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv1d(1024, VOICEPRINT_SIZE, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(VOICEPRINT_SIZE, affine=False)})

    def forward(self, statistics: Tensor) -> Tensor:
        projected = self.linear(statistics.unsqueeze(2)).squeeze(2)
        return cast("Tensor", self.nonlinear["batchnorm"](projected))


class _XVector(nn.Module):
    """The time-delay network: three densely connected blocks, each halved by a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.tdnn = _Tdnn()
        channels = 128
        for index, (layers, dilation) in enumerate(_BLOCKS, start=1):
            block = nn.Sequential()
            for layer in range(1, layers + 1):
                block.add_module(f"tdnnd{layer}", _DenseLayer(channels, dilation))
                channels += _GROWTH
            self.add_module(f"block{index}", block)
            self.add_module(f"transit{index}", _Transit(channels))
            channels //= 2
        self.out_nonlinear = _Nonlinear(channels)
        self.dense = _Dense()

    def forward(self, x: Tensor) -> Tensor:
        x = self.tdnn(x)
        for index in range(1, len(_BLOCKS) + 1):
            x = self.get_submodule(f"block{index}")(x)
            x = self.get_submodule(f"transit{index}")(x)
        return cast("Tensor", self.out_nonlinear(x))

    def project(self, statistics: Tensor) -> Tensor:
        return cast("Tensor", self.dense(statistics))
