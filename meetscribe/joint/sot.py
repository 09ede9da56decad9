"""Serialised output training of an encoder: two small heads, thrown away afterwards.

    frames -> linear -> CTC
    frames -> attention decoder -> cross entropy

The encoder learns to hear several talkers at once before a language model is put behind it. The
original does this with a pruned transducer; CTC and attention need no other library.

Axes: B batch, T time, D channel, L token, V piece.

Notes
-----
Kanda et al. 2020, arXiv 2003.12687; in what order things are trained: Shi et al. 2024, arXiv
2408.17431. CTC and attention together: Watanabe et al. 2017, doi:10.1109/JSTSP.2017.2763455.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.joint.batch import Padded
from meetscribe.joint.model import FrameEncoder

BLANK, EDGE, CHANGE, UNKNOWN = range(4)
"""Pieces that are no words: CTC's blank, start and end of a text, change of speaker, the rest."""
NUM_SPECIAL = 4

_IGNORED = -100


class SotNetwork(nn.Module):
    """An encoder with both heads.

    Parameters
    ----------
    encoder : of a stream; belongs to the joint model as well
    num_pieces : the special ones included
    width, layers, heads : of the attention decoder
    """

    def __init__(
        self, encoder: nn.Module, num_pieces: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        dim = cast("FrameEncoder", encoder).dim
        self.ctc = nn.Linear(dim, num_pieces)
        self.bridge = nn.Linear(dim, width)
        self.pieces = nn.Embedding(num_pieces, width)
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(width))
        self.width = width

    def frames(self, clips: Sequence[Tensor]) -> Padded:
        """Encode clips: float32, shape (N,), 16 kHz, on the network's device."""
        encoder = cast("FrameEncoder", self.encoder)
        return encoder(encoder.features(clips))

    def ctc_scores(self, frames: Padded) -> Tensor:
        """Give logarithms of probabilities, shape (B, T, V), float32."""
        scores_btv: Tensor = self.ctc(frames.values_btd)
        return scores_btv.float().log_softmax(dim=-1)

    def losses(self, frames: Padded, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Give the loss of CTC and that of attention, each summed over the pieces and the ends.

        Parameters
        ----------
        texts : pieces of every clip, at least as many frames as CTC needs
        """
        device = frames.values_btd.device
        flat = torch.tensor([piece for text in texts for piece in text], device=device)
        ctc = F.ctc_loss(
            self.ctc_scores(frames).transpose(0, 1),
            flat,
            torch.tensor(frames.lens),
            torch.tensor([len(text) for text in texts]),
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )
        longest = max(map(len, texts))
        read_bl = torch.tensor(
            [[EDGE, *text, *[EDGE] * (longest - len(text))] for text in texts], device=device
        )
        wanted_bl = torch.tensor(
            [[*text, EDGE, *[_IGNORED] * (longest - len(text))] for text in texts], device=device
        )
        scores_blv = self.attention_scores(frames, read_bl)
        attention = F.cross_entropy(
            scores_blv.flatten(0, 1).float(),
            wanted_bl.flatten(),
            ignore_index=_IGNORED,
            reduction="sum",
        )
        return ctc, attention

    def attention_scores(self, frames: Padded, read_bl: Tensor) -> Tensor:
        """Give scores of the piece after each, shape (B, L, V); the table of pieces is shared."""
        length = read_bl.shape[1]
        memory_btd = self.bridge(frames.values_btd)
        memory_btd = memory_btd + positions(memory_btd.shape[1], self.width).to(memory_btd)
        x_bld = self.pieces(read_bl) * math.sqrt(self.width)
        x_bld = x_bld + positions(length, self.width).to(x_bld)
        later_ll = torch.ones(length, length, dtype=torch.bool, device=read_bl.device).triu(1)
        made_bld = self.decoder(
            x_bld, memory_btd, tgt_mask=later_ll, memory_key_padding_mask=frames.padding_bt()
        )
        return F.linear(made_bld, self.pieces.weight)

    def write(self, frames: Padded) -> list[list[int]]:
        """Give the likeliest pieces of every clip by CTC alone, frame by frame."""
        best_bt = self.ctc_scores(frames).argmax(dim=-1)
        made = []
        for row, length in zip(best_bt.tolist(), frames.lens, strict=True):
            pieces = [
                piece for at, piece in enumerate(row[:length]) if not at or piece != row[at - 1]
            ]
            made.append([piece for piece in pieces if piece != BLANK])
        return made


def frames_needed(text: Sequence[int]) -> int:
    """Say how many frames CTC needs: one a piece, and a blank between two that are the same.

    >>> frames_needed([5, 5, 7])
    4
    """
    return len(text) + sum(one == other for one, other in pairwise(text))


def positions(length: int, width: int) -> Tensor:
    """Give sinusoids that tell places, shape (L, D) (Vaswani et al. 2017, section 3.5)."""
    rate_d = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle_ld = torch.arange(length)[:, None] * rate_d
    made_ld = torch.zeros(length, width)
    made_ld[:, 0::2] = angle_ld.sin()
    made_ld[:, 1::2] = angle_ld.cos()[:, : width // 2]
    return made_ld
