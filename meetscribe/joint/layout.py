"""Several streams in one place of the prompt: stretches in turn, or frames side by side.

Axes: B batch, T time, D embedding, K digit.

Notes
-----
Stretches in turn: arXiv 2606.13095, which found them better than streams one after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meetscribe.joint import anchors
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.config import JointConfig


def interleave(
    streams: Sequence[Padded],
    chunks: Sequence[int],
    digits_kd: Tensor | None,
    *,
    ends: bool = True,
    dtype: torch.dtype,
) -> Padded:
    """Put stretches of all streams in turn: the first of each, the second of each, and so on.

    Parameters
    ----------
    streams : projected frames of the same clips
    chunks : frames of a stretch, for each stream; they are the same time
    digits_kd : shape (10, D), embeddings of the digits; None for no anchors
        Anchor k stands before the k-th stretches.
    ends : anchors also before the first and behind the last stretches; without, anchor k stands
        between the k-th and the next ones
    dtype : of the result

    Returns
    -------
    Padded with zeros. A clip without frames stays empty.

    Raises
    ------
    ShapeError
        If there are not ten digits of the frames' size.
    """
    if digits_kd is not None:
        digits_kd = anchors.checked(digits_kd, streams[0].values_btd, dtype)
    clips = zip(*(stream.rows() for stream in streams), strict=True)
    return pad(
        [_in_turn([row.to(dtype) for row in rows], chunks, digits_kd, ends=ends) for rows in clips]
    )


def _in_turn(
    rows_td: Sequence[Tensor], chunks: Sequence[int], digits_kd: Tensor | None, *, ends: bool
) -> Tensor:
    count = _num_stretches([len(row) for row in rows_td], chunks)
    pieces = [rows_td[0][:0]]
    for index in range(count):
        if digits_kd is not None and (ends or index):
            pieces.append(anchors.number(index + int(ends), digits_kd))
        for row, chunk in zip(rows_td, chunks, strict=True):
            pieces.append(row[index * chunk : (index + 1) * chunk])
    if digits_kd is not None and ends and count:
        pieces.append(anchors.number(count + 1, digits_kd))
    return torch.cat(pieces)


def _num_stretches(lens: Sequence[int], chunks: Sequence[int]) -> int:
    return max(math.ceil(length / chunk) for length, chunk in zip(lens, chunks, strict=True))


def side_by_side(streams: Sequence[Padded], stacks: Sequence[int]) -> Padded:
    """Join frames of the same time into one vector; what one stream has more of is dropped.

    Parameters
    ----------
    streams : encoder frames of the same clips
    stacks : frames that become one, for each stream; they are the same time
    """
    clips = zip(*(stream.rows() for stream in streams), strict=True)
    return pad([_joined(rows, stacks) for rows in clips])


def _joined(rows_td: Sequence[Tensor], stacks: Sequence[int]) -> Tensor:
    steps = min(len(row) // stack for row, stack in zip(rows_td, stacks, strict=True))
    return torch.cat(
        [
            row[: steps * stack].reshape(steps, stack * row.shape[1])
            for row, stack in zip(rows_td, stacks, strict=True)
        ],
        dim=1,
    )


def num_positions(config: JointConfig, seconds: float) -> int:
    """Give the positions that the streams of so long a clip take in the prompt, at most.

    >>> mapping = {"audio_encoder_config": {}, "llm_config": {"model_type": "qwen2"}}
    >>> num_positions(JointConfig(**mapping), 30.0)
    458
    """
    lens = [math.ceil(seconds / stream.step_s) for stream in config.streams]
    if config.stream_layout == "features":
        lens = lens[:1]
    if not config.anchored:
        return sum(lens)
    ends = config.insert_anchors_at_ends
    chunks = [stream.chunk for stream in config.streams][: len(lens)]
    if config.stream_layout != "interleaved":
        return sum(
            anchors.num_positions(length, interval=chunk, ends=ends)
            for length, chunk in zip(lens, chunks, strict=True)
        )
    count = _num_stretches(lens, chunks) + (1 if ends else -1)
    return sum(lens) + sum(len(str(number)) for number in range(1, count + 1))
