"""Whisper's network in plain torch: inputs of any length, batches with masks, room to condition.

Modules and parameters have transformers' names, so its weights load as they are. Written anew
because transformers' own network ignores masks of the input, in the encoder and in the attention
across, and because importing it costs seconds and fails where torchaudio does not fit torch.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature, L token,
V token of the vocabulary.

Notes
-----
Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv
2212.04356. Written from the description; tests compare with transformers and with CTranslate2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.errors import ShapeError, WeightsError
from meetscribe.models.whisper_weights import WhisperShape, WhisperWeights

Condition = Callable[[int, Tensor], Tensor]
"""Changes the input (B, S, D) of the encoder layer of that number."""


class Whisper(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)


def make_whisper(weights: WhisperWeights, *, where: str = "Whisper") -> Whisper:
    """Make the network in evaluation mode; it shares its memory with ``weights``.

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or has another shape.
    """
    with torch.device("meta"):
        network = Whisper(weights.shape)
    state = {name.removeprefix("model."): value for name, value in weights.state.items()}
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: the tensors are not those of a Whisper model of that size",
            hint="run `meetscribe models verify`, then pull again",
        ) from error
    return network.eval()


class Encoder(nn.Module):
    """Sound to encodings, 50 a second."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        width = shape.d_model
        self.conv1 = nn.Conv1d(shape.num_mel_bins, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(shape.max_source_positions, width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, shape.encoder_attention_heads, shape.encoder_ffn_dim)
            for _ in range(shape.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(
        self, mel_bft: Tensor, steps: list[int] | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Encode a batch.

        Parameters
        ----------
        mel_bft : float, shape (B, F, T)
            T even, at most 30 s; zeros after the end of shorter items. Because T is even and the
            second convolution takes every other frame, no convolution looks past an item's end.
        steps : true length of each item in frames of the encoder; None: all are S long
        condition : changes what goes into each layer

        Returns
        -------
        float, shape (B, S, D), S = T / 2
            What stands after the end of shorter items means nothing.

        Raises
        ------
        ShapeError
            If T is odd or longer than the model hears.
        """
        frames, longest = mel_bft.shape[-1], self.embed_positions.num_embeddings
        if frames % 2 or not 0 < frames <= 2 * longest:
            raise ShapeError(
                f"input of {frames} frames; expected an even number, at most {2 * longest}",
                hint="cut it into shorter pieces",
            )
        hidden = F.gelu(self.conv1(mel_bft))
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: frames // 2]
        mask = step_mask(steps, frames // 2, hidden.device)
        for number, layer in enumerate(self.layers):
            hidden = condition(number, hidden) if condition else hidden
            hidden = layer(hidden, mask)
        return cast("Tensor", self.layer_norm(hidden))


def step_mask(steps: list[int] | None, longest: int, device: torch.device) -> Tensor | None:
    """Give which frames are true, bool, shape (B, 1, 1, S); None where all are.

    Without a mask the attention is faster, and bit for bit that of a single item.
    """
    if steps is None or min(steps) == longest:
        return None
    true_bs = torch.arange(longest) < torch.tensor(steps)[:, None]
    return true_bs[:, None, None].to(device)


class Attention(nn.Module):
    """Attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def keys_values(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Give what queries look at, each of shape (B, heads, length, D / heads)."""
        return self._split(self.k_proj(hidden)), self._split(self.v_proj(hidden))

    def forward(
        self,
        hidden: Tensor,
        keys_values: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        """Give what (B, L, D) hears from keys and values; ``mask`` is True where there are any."""
        query = self._split(self.q_proj(hidden))
        heard = F.scaled_dot_product_attention(
            query, *keys_values, attn_mask=mask, is_causal=causal
        )
        return cast("Tensor", self.out_proj(heard.transpose(1, 2).flatten(2)))

    def _split(self, hidden: Tensor) -> Tensor:
        count, length, _ = hidden.shape
        return hidden.view(count, length, self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention to all frames, then a network for each."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Give the input (B, S, D) of the next layer."""
        normed = self.self_attn_layer_norm(hidden)
        hidden = hidden + self.self_attn(normed, self.self_attn.keys_values(normed), mask)
        made: Tensor = hidden + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden))))
        return made


@dataclass(slots=True)
class Memory:
    """What the decoder keeps of a batch between tokens: one entry per layer."""

    across: list[tuple[Tensor, Tensor]]
    """Keys and values of the encodings."""
    own: list[tuple[Tensor, Tensor]]
    """Keys and values of the tokens so far."""
    mask: Tensor | None
    length: int = 0

    def keep(self, rows: Tensor) -> None:
        """Forget all items but those of the numbers given."""
        self.across = [(keys[rows], values[rows]) for keys, values in self.across]
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]
        self.mask = None if self.mask is None else self.mask[rows]


class Decoder(nn.Module):
    """Encodings and the tokens so far to the next token."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        width = shape.d_model
        self.embed_tokens = nn.Embedding(shape.vocab_size, width)
        self.embed_positions = nn.Embedding(shape.max_target_positions, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, shape.decoder_attention_heads, shape.decoder_ffn_dim)
            for _ in range(shape.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def begin(self, encoded_bsd: Tensor, steps: list[int] | None = None) -> Memory:
        """Make what ``forward`` needs of a batch of encodings of so many true frames."""
        layers = [cast("DecoderLayer", layer) for layer in self.layers]
        across = [layer.encoder_attn.keys_values(encoded_bsd) for layer in layers]
        nothing = [(keys[:, :, :0], values[:, :, :0]) for keys, values in across]
        return Memory(across, nothing, step_mask(steps, encoded_bsd.shape[1], encoded_bsd.device))

    def forward(self, tokens_bl: Tensor, memory: Memory) -> Tensor:
        """Take more tokens in, and remember them.

        Parameters
        ----------
        tokens_bl : int, shape (B, L); several at once only as the first
        memory : changed by this

        Returns
        -------
        float, shape (B, L, D)
            For ``logits``: of the token after each.

        Raises
        ------
        ShapeError
            If the text becomes longer than the model can write.
        """
        first, count = memory.length, tokens_bl.shape[1]
        longest = self.embed_positions.num_embeddings
        if first + count > longest:
            raise ShapeError(f"text of {first + count} tokens; expected at most {longest}")
        hidden = self.embed_tokens(tokens_bl)
        hidden = hidden + self.embed_positions.weight[first : first + count]
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, memory, number)
        memory.length += count
        return cast("Tensor", self.layer_norm(hidden))

    def logits(self, hidden: Tensor) -> Tensor:
        """Give the scores of all tokens, (..., V), for what ``forward`` gave."""
        return F.linear(hidden, self.embed_tokens.weight)


class DecoderLayer(nn.Module):
    """Attention to the tokens so far, to the encodings, then a network for each token."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, memory: Memory, number: int) -> Tensor:
        """Give the input (B, L, D) of the next layer; this one has that number in ``memory``."""
        normed = self.self_attn_layer_norm(hidden)
        keys, values = self.self_attn.keys_values(normed)
        if memory.length:
            before_keys, before_values = memory.own[number]
            keys = torch.cat([before_keys, keys], dim=2)
            values = torch.cat([before_values, values], dim=2)
        memory.own[number] = keys, values
        causal = memory.length == 0
        hidden = hidden + self.self_attn(normed, (keys, values), causal=causal)
        normed = self.encoder_attn_layer_norm(hidden)
        hidden = hidden + self.encoder_attn(normed, memory.across[number], memory.mask)
        made: Tensor = hidden + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden))))
        return made
