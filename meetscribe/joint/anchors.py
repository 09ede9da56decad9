"""Numbers put between the frames of a stream, by which the language model tells the time.

Anchor k is the decimal number k, one embedding a digit. It stands before the frames of the k-th
stretch (1.28 s in the published models); a last one closes the stream. Both streams of a clip get
the same numbers at the same times, which ties them together. Axes: T time, D embedding.

Notes
-----
Huo, Shao and Zhang 2026, arXiv 2601.06896 ("numeric time anchors").
"""

from __future__ import annotations

import torch
from torch import Tensor

from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded, pad

NUM_DIGITS = 10


def positions(num_frames: int, *, interval: int, ends: bool = True) -> list[int]:
    """Give the frames before which anchors stand; the number of frames itself is the end.

    >>> positions(19, interval=8)
    [0, 8, 16, 19]
    >>> positions(16, interval=8)
    [0, 8, 16]
    >>> positions(16, interval=8, ends=False)
    [8]
    """
    if num_frames <= 0:
        return []
    inner = list(range(interval, num_frames, interval))
    return [0, *inner, num_frames] if ends else inner


def num_positions(num_frames: int, *, interval: int, ends: bool = True) -> int:
    """Give the length of a stream with its anchors.

    >>> num_positions(187, interval=8)
    228
    """
    count = len(positions(num_frames, interval=interval, ends=ends))
    return max(num_frames, 0) + sum(len(str(value)) for value in range(1, count + 1))


def insert(
    frames: Padded, digits_kd: Tensor, *, interval: int, ends: bool = True, dtype: torch.dtype
) -> Padded:
    """Put anchors into a batch of streams.

    Parameters
    ----------
    frames : projected frames
    digits_kd : shape (10, D)
        Embeddings of the digits 0 to 9.
    interval : frames between anchors, at least 1
    ends : also before the first and behind the last frame
    dtype : of the result; frames and digits are cast to it

    Returns
    -------
    Padded with zeros. A stream without frames stays empty.

    Raises
    ------
    ShapeError
        If there are not ten digits of the frames' size.
    """
    digits_kd = checked(digits_kd, frames.values_btd, dtype)
    rows = [row.to(dtype) for row in frames.rows()]
    return pad([_with_anchors(row, digits_kd, interval, ends=ends) for row in rows])


def checked(digits_kd: Tensor, values_btd: Tensor, dtype: torch.dtype) -> Tensor:
    """Give the digits in a number format, on the device of the frames.

    Raises
    ------
    ShapeError
        If there are not ten of the frames' size.
    """
    if tuple(digits_kd.shape) != (NUM_DIGITS, values_btd.shape[2]):
        raise ShapeError(
            f"anchors: expected digits ({NUM_DIGITS}, {values_btd.shape[2]}), "
            f"found {tuple(digits_kd.shape)}"
        )
    return digits_kd.to(dtype=dtype, device=values_btd.device)


def number(value: int, digits_kd: Tensor) -> Tensor:
    """Give the anchor of a number: its digits, shape (digits, D)."""
    return digits_kd[[int(digit) for digit in str(value)]]


def _with_anchors(row_td: Tensor, digits_kd: Tensor, interval: int, *, ends: bool) -> Tensor:
    pieces, done = [], 0
    places = positions(len(row_td), interval=interval, ends=ends)
    for value, place in enumerate(places, start=1):
        pieces.append(row_td[done:place])
        pieces.append(number(value, digits_kd))
        done = place
    return torch.cat([*pieces, row_td[done:]])
