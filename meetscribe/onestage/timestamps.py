"""Times that Whisper writes between the words: what it may write where, and how to read it.

A text with times is ``<0.00> words <3.20><3.20> more words <5.00>``: times come in pairs, never
run back, and stand at both ends.

Notes
-----
The rules are those of openai/whisper's ``ApplyTimestampRules``, told apart in arXiv 2212.04356,
section 4.5; and no time lies after the end of the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from meetscribe.onestage.tokens import TIMESTAMP_S, Vocabulary

_LATEST_FIRST = 50
"""The first words begin within a second."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """Words between two times, seconds from the start of the item."""

    start: float
    end: float
    text: str


def apply_rules(
    logits_v: Tensor, tokens: Sequence[int], vocabulary: Vocabulary, *, steps: int, empty: bool
) -> None:
    """Forbid, in place, what must not follow ``tokens``.

    Parameters
    ----------
    logits_v : float, shape (V,)
    tokens : written so far, without those that every text starts with
    steps : length of the item in frames of 20 ms
    empty : whether the text may end before anything was written
    """
    first, end = vocabulary.first_timestamp, vocabulary.end
    logits_v[end + 1 : first] = -torch.inf
    logits_v[first + steps + 1 :] = -torch.inf
    if not tokens:
        ending = logits_v[end].clone()
        logits_v[:first] = -torch.inf
        logits_v[first + _LATEST_FIRST + 1 :] = -torch.inf
        if empty:
            logits_v[end] = ending
            return
    else:
        _in_pairs(logits_v, tokens, first, end)
    log_probs = logits_v.log_softmax(dim=0)
    if log_probs[first:].logsumexp(dim=0) > log_probs[:first].max():
        logits_v[:first] = -torch.inf


def _in_pairs(logits_v: Tensor, tokens: Sequence[int], first: int, end: int) -> None:
    last_is_time = tokens[-1] >= first
    before_is_time = len(tokens) < 2 or tokens[-2] >= first  # noqa: PLR2004 - the one before
    if last_is_time and before_is_time:
        logits_v[first:] = -torch.inf
    elif last_is_time:
        logits_v[:end] = -torch.inf
    times = [token for token in tokens if token >= first]
    if times:
        # the same time again only to begin the next pair
        again = last_is_time and not before_is_time
        logits_v[first : times[-1] + (0 if again else 1)] = -torch.inf


def timed_texts(
    tokens: Sequence[int], vocabulary: Vocabulary, *, duration: float
) -> tuple[TimedText, ...]:
    """Give the words between the times; those without times last from one end to the other.

    ``duration`` is that of the item in seconds; no words end later.
    """
    first = vocabulary.first_timestamp
    marks = [at for at, token in enumerate(tokens) if token >= first]
    made = []
    for left, right in pairwise([-1, *marks, len(tokens)]):
        text = vocabulary.decode(list(tokens[left + 1 : right]))
        if text:
            start = 0.0 if left < 0 else (tokens[left] - first) * TIMESTAMP_S
            end = duration if right == len(tokens) else (tokens[right] - first) * TIMESTAMP_S
            start, end = min(start, duration), min(end, duration)
            made.append(TimedText(round(start, 2), round(end, 2), text))
    return tuple(made)
