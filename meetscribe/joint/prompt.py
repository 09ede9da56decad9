"""The fixed chat string: what the language model reads before its answer, and what is learned.

Always the same ChatML, whatever template a tokenizer brings along, and no system turn: the
projectors were trained with this string and no other. Axes: B batch, S position.

Notes
-----
Huo, Shao and Zhang 2026, arXiv 2601.06896.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meetscribe.errors import ModelError, ShapeError

IGNORED = -100
"""Label of a position that is not learned; what torch's cross entropy leaves out."""

_END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The tokens of one clip, audio places included.

    Parameters
    ----------
    ids : the audio token stands at each place of a stream
    labels : what to learn at each position, ``IGNORED`` for nothing; empty for a prompt
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Rows of tokens in one batch: int64, shape (B, S); the mask is 1 where a row has a token."""

    ids_bs: Tensor
    mask_bs: Tensor
    labels_bs: Tensor


class Chat:
    """A tokenizer and the prompt with one audio place per stream.

    Parameters
    ----------
    tokenizer : of transformers, with a Rust core (it must tell where in the text a token is)
    audio_token : one token of its vocabulary
    tags : what encloses each stream's place, in order

    Raises
    ------
    ModelError
        If the tokenizer lacks the audio token or the offsets.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - of transformers
        *,
        audio_token: str = "<|AUDIO|>",  # noqa: S107 - no secret
        tags: Sequence[str],
    ) -> None:
        self.tokenizer = tokenizer
        self.content = "\n".join(f"<{tag}>{audio_token}</{tag}>" for tag in tags)
        self.num_places = len(tags)
        if not tokenizer.is_fast:
            raise ModelError(
                "tokenizer: it does not say where in a text its tokens are",
                hint="the model's folder needs a tokenizer.json",
            )
        audio_id = self._single(audio_token)
        if audio_id is None:
            raise ModelError(
                f"tokenizer: '{audio_token}' is not one token of it",
                hint="add it as a special token, as the published checkpoints do",
            )
        self.audio_id = audio_id
        self.end_id = self._single(_END)
        pads = (tokenizer.pad_token_id, tokenizer.eos_token_id, self.end_id, 0)
        self.pad_id: int = next(token for token in pads if token is not None)

    @property
    def prompt(self) -> str:
        """The text before the answer."""
        return f"<|im_start|>user\n{self.content}{_END}\n<|im_start|>assistant\n"

    def prompt_row(self, places: Sequence[int]) -> TokenRow:
        """Give the tokens before the answer.

        Parameters
        ----------
        places : positions that each stream takes, in order
        """
        return self._row(self.prompt, places, answer_start=None)

    def training_row(self, places: Sequence[int], target: str) -> TokenRow:
        """Give the tokens of prompt and answer; the answer and what closes it are the labels.

        Raises
        ------
        ShapeError
            If the target contains the audio token.
        """
        prompt = self.prompt
        return self._row(f"{prompt}{target}{_END}\n", places, answer_start=len(prompt))

    def batch(self, rows: Sequence[TokenRow], *, left: bool) -> TokenBatch:
        """Fill rows up to the longest, on the left for generation, else on the right."""
        size = max(len(row.ids) for row in rows)
        ids_bs = torch.full((len(rows), size), self.pad_id)
        labels_bs = torch.full((len(rows), size), IGNORED)
        # by length, not by pad id: some tokenizers pad with what also closes a turn
        mask_bs = torch.zeros((len(rows), size), dtype=torch.long)
        for index, row in enumerate(rows):
            length = len(row.ids)
            at = slice(size - length, size) if left else slice(0, length)
            ids_bs[index, at] = torch.tensor(row.ids)
            mask_bs[index, at] = 1
            if row.labels:
                labels_bs[index, at] = torch.tensor(row.labels)
        return TokenBatch(ids_bs, mask_bs, labels_bs)

    def text(self, ids: Sequence[int]) -> str:
        """Give the text of an answer, without special tokens."""
        made: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return made

    def _row(self, text: str, places: Sequence[int], *, answer_start: int | None) -> TokenRow:
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        slots = found["input_ids"].count(self.audio_id)
        if slots != self.num_places or len(places) != self.num_places:
            raise ShapeError(
                f"prompt: {slots} audio tokens and {len(places)} streams, expected "
                f"{self.num_places} of each"
            )
        ids: list[int] = []
        labels: list[int] = []
        left = list(places)
        for token, (start, _) in zip(found["input_ids"], found["offset_mapping"], strict=True):
            repeats = left.pop(0) if token == self.audio_id else 1
            ids += [token] * repeats
            learned = answer_start is not None and start >= answer_start
            labels += [token if learned else IGNORED] * repeats
        return TokenRow(tuple(ids), tuple(labels) if answer_start is not None else ())

    def _single(self, text: str) -> int | None:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return int(ids[0]) if len(ids) == 1 else None
