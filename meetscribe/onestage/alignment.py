"""When each token was said: where the decoder looked while it wrote it.

The text is given to the decoder once more, all at once; some of its heads look at the sound of the
token that comes next. The path through their attention that goes forward only, in tokens and in
time, and sees most of it, says when each token begins.

Axes: B batch, H attention head, L token, S frame of the encoder (20 ms), D feature.

Notes
-----
The method of openai/whisper's word times (arXiv 2212.04356 does not describe it): which heads is
part of the published weights; attention is normalised over tokens and smoothed over 7 frames.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from meetscribe.onestage.tokens import TIMESTAMP_S
from meetscribe.onestage.whisper import Attention, DecoderLayer, Whisper

if TYPE_CHECKING:
    from numpy.typing import NDArray

Heads = Sequence[tuple[int, int]]
"""(layer, head) of the decoder."""

_SMOOTH = 7
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class Aligned:
    """Times and probabilities of the tokens of one text.

    ``starts`` is float64, shape (tokens + 1,), seconds from the start of the item: when each
    begins; the last is where the text ends. ``probs`` has the probability of each token.
    """

    starts: NDArray[np.float64]
    probs: tuple[float, ...]


@torch.inference_mode()
def align(
    whisper: Whisper,
    encoded_bsd: Tensor,
    texts: Sequence[Sequence[int]],
    *,
    start: Sequence[int],
    end: int,
    steps: Sequence[int],
    durations: Sequence[float],
    heads: Heads,
) -> list[Aligned]:
    """Say when the tokens of a batch of texts were said.

    Parameters
    ----------
    encoded_bsd : float, shape (B, S, D), what the texts were decoded from
    texts : tokens without special ones; may be empty
    start : what every text starts with, without times, see ``Vocabulary.start``
    end : the token that ends a text
    steps : true length of each item in frames of 20 ms
    durations : seconds of each without silence that was added; no token is looked for in it
    heads : that look at where a token was said; none: all of the later half of the layers
    """
    chosen = list(heads) or _later_half(whisper)
    longest = max(map(len, texts))
    rows = [[*start, *text, *[end] * (longest + 1 - len(text))] for text in texts]
    tokens_bl = torch.tensor(rows, device=encoded_bsd.device)
    with _watched(whisper, {layer for layer, _ in chosen}) as seen:
        memory = whisper.decoder.begin(encoded_bsd, list(steps))
        hidden_bld = whisper.decoder(tokens_bl, memory)
    first = len(start) - 1
    made = []
    for row, text in enumerate(texts):
        size = len(text)
        frames = min(max(1, round(durations[row] / TIMESTAMP_S)), steps[row])
        look_hls = torch.stack([seen[layer].look(row, head, frames) for layer, head in chosen])
        # the token after the last one of `start` is the first of the text; the last is the end
        score_ls = _smoothed(look_hls[:, : first + size + 2])[first : first + size + 1]
        starts = first_frames(score_ls.double().cpu().numpy()).astype(np.float64) * TIMESTAMP_S
        hidden_ld = hidden_bld[row, first : first + size]
        probs_lv = whisper.decoder.logits(hidden_ld)[:, :end].float().softmax(dim=1)
        probs_l = probs_lv.gather(1, tokens_bl[row, first + 1 : first + 1 + size, None])[:, 0]
        made.append(Aligned(starts, tuple(probs_l.tolist())))
    return made


def first_frames(score_ls: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give where each row begins on the best path from the first to the last cell.

    The path goes forward by a row, a frame or both, and its sum of scores is the largest: dynamic
    time warping.

    Parameters
    ----------
    score_ls : float, shape (L, S), both at least 1

    Returns
    -------
    int, shape (L,), never falling, the first 0

    Examples
    --------
    >>> first_frames(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
    [0, 2]
    """
    num_rows, num_frames = score_ls.shape
    cost_ls = np.full((num_rows + 1, num_frames + 1), np.inf)
    cost_ls[0, 0] = 0.0
    for row, score_s in enumerate(score_ls):
        came_s = np.minimum(cost_ls[row, 1:], cost_ls[row, :-1])
        # along a row costs add up: the best place to come into it, for all frames at once
        sum_s = np.cumsum(-score_s)
        before_s = np.concatenate([[0.0], sum_s[:-1]])
        cost_ls[row + 1, 1:] = sum_s + np.minimum.accumulate(came_s - before_s)
    begin_l = np.zeros(num_rows, np.int64)
    row, frame = num_rows, num_frames
    while row:
        begin_l[row - 1] = frame - 1
        ways = ((row - 1, frame - 1), (row - 1, frame), (row, frame - 1))
        row, frame = min(ways, key=lambda way: cost_ls[way])
    return begin_l


def _later_half(whisper: Whisper) -> list[tuple[int, int]]:
    layers, heads = whisper.shape.decoder_layers, whisper.shape.decoder_attention_heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _smoothed(look_hls: Tensor) -> Tensor:
    """Bring heads to one scale, over tokens, smooth over frames, and average: shape (L, S)."""
    spread_h1s = look_hls.std(dim=1, keepdim=True, correction=0).clamp(min=_LEAST_SPREAD)
    look_hls = (look_hls - look_hls.mean(dim=1, keepdim=True)) / spread_h1s
    reach = _SMOOTH // 2
    if look_hls.shape[2] > reach:
        wide_hls = torch.nn.functional.pad(look_hls, (reach, reach), mode="reflect")
        look_hls = wide_hls.unfold(2, _SMOOTH, 1).median(dim=3).values
    return look_hls.mean(dim=0)


@dataclass(frozen=True, slots=True)
class _Across:
    """What one layer's attention to the encodings was asked: (B, H, L, ·) and (B, H, S, ·)."""

    query: Tensor
    keys: Tensor

    def look(self, row: int, head: int, steps: int) -> Tensor:
        """Give the attention of one head, (L, S), over the first frames alone."""
        query_ld, keys_sd = self.query[row, head], self.keys[row, head, :steps]
        scores_ls = query_ld @ keys_sd.T / query_ld.shape[-1] ** 0.5
        look_ls: Tensor = scores_ls.float().softmax(dim=1)
        return look_ls


@contextlib.contextmanager
def _watched(whisper: Whisper, layers: set[int]) -> Iterator[dict[int, _Across]]:
    """Keep what the attention of some layers to the encodings is asked."""
    seen: dict[int, _Across] = {}

    def watcher(number: int) -> Any:  # noqa: ANN401 - a hook of torch
        def watch(module: Attention, given: tuple[Any, ...]) -> None:
            hidden, (keys, _) = given[:2]
            count, length, _ = hidden.shape
            query = module.q_proj(hidden).view(count, length, module.heads, -1).transpose(1, 2)
            seen[number] = _Across(query, keys)

        return watch

    hooks = [
        cast("DecoderLayer", whisper.decoder.layers[number]).encoder_attn.register_forward_pre_hook(
            watcher(number)
        )
        for number in sorted(layers)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
