"""A tokenizer's tokens as bytes: which of them fit where, and how many a text takes at least.

Made once for a tokenizer and shared; what was asked before is remembered.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from meetscribe.errors import ModelError
from meetscribe.joint.grammar import Grammar, Mode, State
from meetscribe.joint.spelling import completion, spell

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMPOSSIBLE = 1 << 30
"""What a text costs that the tokens cannot write."""

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PLAIN_WORD = re.compile(rb" ?[A-Za-z]+| ")
_NEXT_LINE = frozenset(b"0123456789<")
"""What a line begins with: a turn's time, or the tag after the last turn."""


@dataclass(frozen=True, slots=True)
class WordTokens:
    """What may follow inside the words of a line, from one beginning of a character on.

    Parameters
    ----------
    staying : ids that stay inside the words
    ending : what a token has after the line's end (mostly nothing) -> ids, each with whether
        there is a word in it before the end
    """

    staying: NDArray[np.int64]
    ending: Mapping[bytes, Sequence[tuple[int, bool]]]

    def ids_of(self, rest: bytes, has_word: bool) -> list[int]:
        """Give the ids that end the line, with something after it; no line is without a word."""
        return [index for index, word in self.ending[rest] if word or has_word]


class Fitting(NamedTuple):
    """Tokens that fit, and the state after them (or, of some, before words that they begin)."""

    ids: tuple[int, ...]
    after: State
    words_follow: bool


class Vocabulary:
    """All tokens that are text.

    Parameters
    ----------
    tokens : bytes of each id; None for special tokens, and all that no text has
    """

    def __init__(self, tokens: Sequence[bytes | None]) -> None:
        self.tokens = tuple(token or None for token in tokens)
        listed = sorted((token, index) for index, token in enumerate(self.tokens) if token)
        self._sorted = [token for token, _ in listed]
        self._ids = [index for _, index in listed]
        self._known = frozenset(self._sorted)
        self._longest = max(map(len, self._sorted), default=0)
        self._costs: dict[bytes, int] = {b"": 0}
        self._words: dict[bytes, WordTokens] = {}
        self._tails: dict[bytes, tuple[int, ...]] = {}
        self._plain: dict[bytes, list[int]] = {}

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:  # noqa: ANN401 - of tokenizers or transformers
        """Make it from a tokenizer of transformers (a fast one) or tokenizers.

        Raises
        ------
        ModelError
            If its tokens cannot be told as bytes: it is neither a byte-level BPE (Qwen, Llama 3,
            SmolLM, GPT-2) nor one with byte fallback (Llama 2, Gemma).
        """
        inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
        decoder = getattr(inner, "decoder", None)
        if decoder is None:
            raise ModelError(
                f"{type(tokenizer).__name__}: constrained generation needs a fast tokenizer",
                hint="use a model with a tokenizer.json, or generate without constraint",
            )
        read = _reader(json.loads(decoder.__getstate__()))
        tokens: list[bytes | None] = [None] * inner.get_vocab_size(with_added_tokens=True)
        for token, index in inner.get_vocab(with_added_tokens=False).items():
            tokens[index] = read(token)
        for index in inner.get_added_tokens_decoder():
            tokens[index] = None
        return cls(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def cost(self, text: bytes) -> int:
        """Count the tokens that a text takes at least; beyond all budgets if it can't be written.

        A text's ending takes the count less one per token of a shortest way, so that a way to
        the end stays as long as it was said to be.
        """
        if text not in self._costs:
            best = [0] * (len(text) + 1)
            for start in reversed(range(len(text))):
                ends = range(start + 1, min(len(text), start + self._longest) + 1)
                fitting = (best[end] for end in ends if text[start:end] in self._known)
                best[start] = 1 + min(fitting, default=IMPOSSIBLE)
                self._costs[text[start:]] = best[start]
        return self._costs[text]

    def fitting(self, grammar: Grammar, state: State) -> Iterator[Fitting]:
        """Give the tokens that fit outside words."""
        yield from self._fitting(grammar, state, 0, len(self._sorted), 0)

    def _fitting(
        self, grammar: Grammar, state: State, low: int, high: int, depth: int
    ) -> Iterator[Fitting]:
        prefix = self._sorted[low][:depth] if low < high else b""
        whole = low
        while low < high and len(self._sorted[low]) == depth:
            low += 1
        if whole < low and depth:
            yield Fitting(tuple(self._ids[whole:low]), state, words_follow=False)
        if state.mode is Mode.WORDS:
            yield Fitting(self._tail(prefix, low, high), state, words_follow=True)
            return
        for byte in grammar.choices(state) if low < high else b"":
            first = bisect_left(self._sorted, prefix + bytes((byte,)), low, high)
            last = bisect_left(self._sorted, prefix + bytes((byte + 1,)), first, high)
            if first < last:
                after = grammar.step(state, byte)
                if after is not None:
                    yield from self._fitting(grammar, after, first, last, depth + 1)

    def _tail(self, prefix: bytes, low: int, high: int) -> tuple[int, ...]:
        """Give the tokens that go on from a line's beginning with words."""
        if prefix not in self._tails:
            self._tails[prefix] = tuple(
                self._ids[at]
                for at in range(low, high)
                if spell(b"", self._sorted[at][len(prefix) :]) is not None
            )
        return self._tails[prefix]

    def words(self, partial: bytes) -> WordTokens:
        """Give the tokens that fit inside words, after the beginning of a character or b""."""
        if partial not in self._words:
            staying: list[int] = []
            ending: dict[bytes, list[tuple[int, bool]]] = {}
            for at in self._continuing(partial):
                head, newline, rest = self._sorted[at].partition(b"\n")
                spelled = spell(partial, head)
                if spelled is None:
                    continue
                if not newline:
                    staying.append(self._ids[at])
                elif not spelled[1] and (not rest or rest[0] in _NEXT_LINE):
                    ending.setdefault(rest, []).append((self._ids[at], bool(spelled[0].strip())))
            self._words[partial] = WordTokens(
                np.array(staying, np.int64), {rest: tuple(ids) for rest, ids in ending.items()}
            )
        return self._words[partial]

    def completing(self, partial: bytes) -> dict[bytes, list[int]]:
        """Give the tokens that are no more than the rest of a character."""
        missing = len(completion(partial) or b"")
        found: dict[bytes, list[int]] = {}
        for index in self.words(partial).staying.tolist():
            token = self.tokens[index] or b""
            if len(token) <= missing:
                found.setdefault(token, []).append(index)
        return found

    def plain_words(self) -> dict[bytes, list[int]]:
        """Give tokens that are a space, a word or both, under one that stands for its kind."""
        if not self._plain:
            for token, index in zip(self._sorted, self._ids, strict=True):
                if _PLAIN_WORD.fullmatch(token):
                    kind = b" " * token.startswith(b" ") + b"a" * (token != b" ")
                    self._plain.setdefault(kind, []).append(index)
        return self._plain

    def _continuing(self, partial: bytes) -> range:
        if not partial:
            return range(len(self._sorted))
        # only bytes 0x80 to 0xBF continue a character of several
        return range(*(bisect_left(self._sorted, bytes((byte,))) for byte in (0x80, 0xC0)))


def _reader(decoder: Mapping[str, Any]) -> Callable[[str], bytes | None]:
    """Give the function that turns a token, as the vocabulary has it, into bytes."""
    parts = decoder.get("decoders", [decoder])
    kinds = {part["type"] for part in parts}
    if "ByteLevel" in kinds:
        return _byte_level
    if kinds & {"ByteFallback", "Metaspace"}:
        return _pieces
    raise ModelError(
        f"tokenizer: decoder {' + '.join(sorted(kinds))}, expected ByteLevel or ByteFallback",
        hint="use a model with another tokenizer, or generate without constraint",
    )


def _byte_level(token: str) -> bytes | None:
    table = _byte_table()
    if any(char not in table for char in token):
        return None
    return bytes(table[char] for char in token)


@cache
def _byte_table() -> dict[str, int]:
    """Give the byte of each character by which byte-level BPE (GPT-2 and after) writes it."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in visible}
    others = (byte for byte in range(256) if byte not in set(visible))
    return table | {chr(256 + number): byte for number, byte in enumerate(others)}


def _pieces(token: str) -> bytes:
    byte = _BYTE_PIECE.fullmatch(token)
    return bytes((int(byte[1], 16),)) if byte else token.replace("\u2581", " ").encode()
