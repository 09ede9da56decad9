"""PyanNet: the network that says which of three local speakers are active, frame by frame.

Its own small loader, because importing pyannote.audio takes longer than diarizing a short clip.
Axes: B batch, N samples, C channel, T frame (16.875 ms), P powerset class, K local speaker.

Notes
-----
Bredin 2023, "pyannote.audio 2.1 speaker diarization pipeline"; Plaquet and Bredin 2023, "Powerset
multi-class cross entropy loss for neural speaker diarization", arXiv 2310.13025. The first layer
is Ravanelli and Bengio's SincNet (arXiv 1808.00158) with even and odd filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.errors import WeightsError

FRAME_STEP_SAMPLES = 270
FRAME_FIELD_SAMPLES = 991
NUM_SPEAKERS = 3
POWERSET = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
"""Local speakers active in each of the seven classes."""

_SAMPLE_RATE_HZ = 16_000
_KERNEL = 251
_MIN_HZ = 50.0


def num_frames(num_samples: int) -> int:
    """Give the number of frames the network makes of so many samples.

    >>> num_frames(160_000)
    589
    """
    if num_samples < FRAME_FIELD_SAMPLES:
        return 0
    return 1 + (num_samples - FRAME_FIELD_SAMPLES) // FRAME_STEP_SAMPLES


class PyanNet(nn.Module):
    """SincNet, four bidirectional LSTM layers, two linear ones, seven powerset classes."""

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = _SincNet()
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, len(POWERSET))

    def forward(self, samples_bn: Tensor) -> Tensor:
        """Give log-probabilities, shape (B, T, 7), of 16 kHz samples, shape (B, N)."""
        x: Tensor = self.sincnet(samples_bn.unsqueeze(1))
        x, _ = self.lstm(x.transpose(1, 2))
        for layer in self.linear:
            x = F.leaky_relu(layer(x))
        return F.log_softmax(self.classifier(x), dim=-1)


def load(state: Mapping[str, Tensor], *, where: str) -> PyanNet:
    """Make the network in evaluation mode from the published tensors.

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or has another shape.
    """
    network = PyanNet()
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: not the segmentation-3.0 checkpoint that was expected",
            hint="run `meetscribe models verify`",
        ) from error
    network.sincnet.freeze()
    return network.eval()


class _SincFilters(nn.Module):
    """Forty learned band-passes, each with an even (cosine) and an odd (sine) kernel."""

    low_hz_: Tensor
    band_hz_: Tensor
    window_: Tensor
    n_: Tensor

    def __init__(self) -> None:
        super().__init__()
        half = _KERNEL // 2
        self.low_hz_ = nn.Parameter(torch.zeros(40, 1))
        self.band_hz_ = nn.Parameter(torch.zeros(40, 1))
        self.register_buffer("window_", torch.ones(half))
        self.register_buffer("n_", torch.ones(1, half))

    def kernels(self) -> Tensor:
        """Give the convolution kernels, shape (80, 1, 251)."""
        low = _MIN_HZ + self.low_hz_.abs()
        high = (low + _MIN_HZ + self.band_hz_.abs()).clamp(_MIN_HZ, _SAMPLE_RATE_HZ / 2)
        band = high - low
        scale = self.window_ / (self.n_ / 2) / (2 * band)
        even = ((high @ self.n_).sin() - (low @ self.n_).sin()) * scale
        odd = ((low @ self.n_).cos() - (high @ self.n_).cos()) * scale
        middle = torch.ones_like(band)
        even = torch.cat([even, middle, even.flip(1)], dim=1)
        odd = torch.cat([odd, torch.zeros_like(middle), -odd.flip(1)], dim=1)
        return torch.cat([even, odd]).unsqueeze(1)


class _FirstConv(nn.Module):
    """Holds the filters under the checkpoint's name, and their kernels once they are fixed."""

    fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.filterbank = _SincFilters()
        self.register_buffer("fixed", torch.empty(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.fixed if self.fixed.numel() else self.filterbank.kernels()
        return F.conv1d(x, kernels, stride=10)


class _SincNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([_FirstConv(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)])

    def freeze(self) -> None:
        """Compute the sinc kernels once and for all."""
        first = cast("_FirstConv", self.conv1d[0])
        first.fixed = first.filterbank.kernels().detach()

    def forward(self, samples_bcn: Tensor) -> Tensor:
        x = self.wav_norm1d(samples_bcn)
        for index, (conv, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            x = conv(x)
            if index == 0:
                x = x.abs()
            x = F.leaky_relu(norm(F.max_pool1d(x, 3)))
        return cast("Tensor", x)
