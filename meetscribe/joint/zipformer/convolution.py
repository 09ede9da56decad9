"""The convolution module of a layer, and its variant that looks no further ahead than its chunk.

Axes: B batch, T time, D channel, K kernel.

Notes
-----
Yao et al. 2024, arXiv 2310.11230, section 3.2; after Gulati et al. 2020, "Conformer",
arXiv 2005.08100.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.joint.zipformer.config import StackShape
from meetscribe.joint.zipformer.elements import scaled_linear, swoosh_r


class ConvolutionModule(nn.Module):
    """Gate, convolve each channel over time, activate."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        dim, kernel = shape.dim, shape.kernel
        self.in_proj = scaled_linear(dim, 2 * dim)
        self.depthwise_conv: nn.Module = (
            ChunkConvolution(dim, kernel)
            if shape.causal
            else nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        )
        self.out_proj = scaled_linear(dim, dim, scale=0.05)
        self.causal = shape.causal

    def forward(self, x_btd: Tensor, padding_bt: Tensor, *, chunk: int = -1) -> Tensor:
        """Give the same shape.

        Parameters
        ----------
        padding_bt : bool, shape (B, T)
            True at frames that are filling; they add nothing to their neighbours.
        chunk : frames that may see each other, -1 for all; only for a causal module
        """
        values, gate = self.in_proj(x_btd).chunk(2, dim=-1)
        gated_btd = (values * gate.sigmoid()).masked_fill(padding_bt[..., None], 0.0)
        x_bdt = gated_btd.transpose(1, 2)
        x_bdt = self.depthwise_conv(x_bdt, chunk) if self.causal else self.depthwise_conv(x_bdt)
        made: Tensor = self.out_proj(swoosh_r(x_bdt.transpose(1, 2)))
        return made


class ChunkConvolution(nn.Module):
    """A convolution of what came before, and one inside each chunk, weighted at its edges."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.causal_conv = nn.Conv1d(dim, dim, (kernel + 1) // 2, groups=dim)
        self.chunkwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.chunkwise_conv_scale = nn.Parameter(torch.zeros(2, dim, kernel))
        self.reach = kernel // 2

    def forward(self, x_bdt: Tensor, chunk: int) -> Tensor:
        """Give the same shape; a chunk of -1 is the whole sequence."""
        batch, dim, time = x_bdt.shape
        chunk = time if chunk < 0 else chunk
        before_bdt = self.causal_conv(F.pad(x_bdt, (self.reach, 0)))
        chunks = F.pad(x_bdt, (0, -time % chunk)).reshape(batch, dim, -1, chunk)
        inside = self.chunkwise_conv(chunks.transpose(1, 2).flatten(0, 1)) * self._edges(chunk)
        inside = inside.reshape(batch, -1, dim, chunk).transpose(1, 2).flatten(2)
        made: Tensor = before_bdt + inside[..., :time]
        return made

    def _edges(self, chunk: int) -> Tensor:
        """Weight the frames of a chunk by their distance from its two edges; shape (D, chunk)."""
        left_dk, right_dk = self.chunkwise_conv_scale
        missing = max(chunk - left_dk.shape[-1], 0)
        left = F.pad(left_dk[:, :chunk], (0, missing))
        right = F.pad(right_dk[:, -chunk:], (missing, 0))
        return 1.0 + left + right


def chunk_blocked(
    num_frames: int, *, chunk: int, left_context: int, device: torch.device
) -> Tensor:
    """Tell which sources a target may not see: bool, shape (T, S).

    Parameters
    ----------
    chunk : frames of a chunk, at least 1
    left_context : frames before the chunk that are seen, -1 for all; at least one chunk is
    """
    index_t = torch.arange(num_frames, device=device) // chunk
    behind_ts = index_t[:, None] - index_t[None]
    blocked_ts = behind_ts < 0
    if left_context >= 0:
        blocked_ts = blocked_ts | (behind_ts > max(1, left_context // chunk))
    return blocked_ts
