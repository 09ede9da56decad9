"""The small parts of a Zipformer. Axes: B batch, T time, D channel.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, sections 3.2 to 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit


def swoosh_l(x: Tensor) -> Tensor:
    """Activate; nearly off for small input: softplus(x - 4) - 0.08 x - 0.035."""
    return F.softplus(x - 4.0) - 0.08 * x - 0.035


def swoosh_r(x: Tensor) -> Tensor:
    """Activate, through the origin: softplus(x - 1) - 0.08 x - 0.313261687."""
    return F.softplus(x - 1.0) - 0.08 * x - 0.313261687


def scaled_linear(
    size_in: int, size_out: int, *, scale: float = 1.0, bias: bool = True
) -> nn.Linear:
    """Make a linear map whose first values are ``scale`` times torch's, the bias smaller still."""
    linear = nn.Linear(size_in, size_out, bias=bias)
    with torch.no_grad():
        linear.weight *= scale
        if bias:
            linear.bias.uniform_(-0.1 * scale, 0.1 * scale)
    return linear


class BiasNorm(nn.Module):
    """Scale each frame to a learned size: x e^log_scale / rms(x - bias), rms over channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(1e-4 * torch.randn(dim))

    def forward(self, x_btd: Tensor) -> Tensor:
        """Give the same shape."""
        power_bt1 = (x_btd - self.bias).square().mean(dim=-1, keepdim=True)
        return x_btd * (power_bt1.rsqrt() * self.log_scale.exp())


class Bypass(nn.Module):
    """Mix what came before a module with what came after it, channel by channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, before_btd: Tensor, after_btd: Tensor) -> Tensor:
        """Give ``before`` where the scale is 0, ``after`` where it is 1."""
        return before_btd + (after_btd - before_btd) * self.bypass_scale


class Downsample(nn.Module):
    """Average ``factor`` frames into one, with learned weights that all channels share."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x_btd: Tensor) -> Tensor:
        """Give ceil(T / factor) frames; the last one is repeated to fill the last block."""
        batch, time, dim = x_btd.shape
        missing = -time % self.factor
        if missing:
            x_btd = torch.cat([x_btd, x_btd[:, -1:].expand(batch, missing, dim)], dim=1)
        blocks = x_btd.reshape(batch, -1, self.factor, dim)
        return (blocks * self.bias.softmax(dim=0)[:, None]).sum(dim=2)


def upsample(x_btd: Tensor, factor: int, num_frames: int) -> Tensor:
    """Repeat each frame ``factor`` times and cut to ``num_frames``."""
    return x_btd.repeat_interleave(factor, dim=1)[:, :num_frames]


def with_channels(x_btd: Tensor, dim: int) -> Tensor:
    """Cut channels off, or add channels of zeros."""
    return x_btd[..., :dim] if dim <= x_btd.shape[-1] else F.pad(x_btd, (0, dim - x_btd.shape[-1]))


def all_channels(outputs_btd: list[Tensor]) -> Tensor:
    """Give the widest output there is: each channel from the last stack that has it."""
    pieces = [outputs_btd[-1]]
    width = outputs_btd[-1].shape[-1]
    for output in reversed(outputs_btd[:-1]):
        if output.shape[-1] > width:
            pieces.append(output[..., width:])
            width = output.shape[-1]
    return torch.cat(pieces, dim=-1)
