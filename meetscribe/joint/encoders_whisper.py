"""Whisper's encoder as one of a joint model: it knows words.

Axes: B batch, N sample, T frame (10 ms), F mel bin, S frame (20 ms), D channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from meetscribe.config import Settings
from meetscribe.joint.batch import Padded, pad
from meetscribe.models.whisper_weights import WhisperShape
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.whisper import Encoder

_ENCODER_SIZES = (
    *("num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads"),
    *("encoder_ffn_dim", "max_source_positions"),
)


class WhisperEncoderConfig(Settings):
    """Sizes of Whisper's encoder, under the names of transformers; by default Whisper base's.

    With ``weights`` the sizes are those of that model, whatever is stated here.
    """

    # of a whole Whisper's configuration, only this concerns the encoder
    model_config = ConfigDict(extra="ignore")

    model_type: Literal["whisper"] = "whisper"
    weights: str | None = None
    num_mel_bins: PositiveInt = 80
    d_model: PositiveInt = 512
    encoder_layers: PositiveInt = 6
    encoder_attention_heads: PositiveInt = 8
    encoder_ffn_dim: PositiveInt = 2048
    max_source_positions: int = Field(default=1500, ge=2)

    @property
    def shape(self) -> WhisperShape:
        """As the network takes it, with nothing for the decoder."""
        sizes = dict.fromkeys(WhisperShape.__slots__, 0)
        return WhisperShape(**(sizes | {name: getattr(self, name) for name in _ENCODER_SIZES}))


class WhisperFrames(nn.Module):
    """Log-mel features of Whisper to frames at 50 Hz, as many as the clip is long.

    Nothing is filled up to 30 s, and padding is masked: in a batch a clip gets what it gets alone,
    up to rounding. What is longer than the network hears (30 s) is encoded in equal pieces.
    """

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.dim = shape.d_model
        self.longest = 2 * shape.max_source_positions
        self.features = features_of(shape.num_mel_bins)
        self.encoder = Encoder(shape)

    def forward(self, features: Padded) -> Padded:
        """Give frames, shape (B, S, D), S = ceil(N / 320) of the longest clip."""
        pieces = [self._pieces(row) for row in features.rows()]
        batch = pad([piece for of_clip in pieces for piece in of_clip])
        steps = tuple(length // 2 for length in batch.lens)
        made_bsd = self.encoder(batch.values_btd.transpose(1, 2), list(steps))
        rows = iter(Padded(made_bsd, steps).rows())
        return pad([torch.cat([next(rows) for _ in of_clip]) for of_clip in pieces])

    def _pieces(self, row_tf: Tensor) -> tuple[Tensor, ...]:
        count = max(1, -(-len(row_tf) // self.longest))
        # an even number of frames each: two make one
        return torch.split(row_tf, 2 * -(-len(row_tf) // (2 * count)))


@cache
def features_of(num_bins: int) -> Callable[[Sequence[Tensor]], Padded]:
    """Give the function that makes Whisper's log-mel of clips, each for itself: (B, T, F).

    Always the same one for the same bins, so that encoders can share its result.
    """

    def features(clips_n: Sequence[Tensor]) -> Padded:
        return pad([log_mel(clip_n, num_bins=num_bins).T for clip_n in clips_n])

    return features
