"""Whisper's vocabulary: text to tokens and back, and the tokens that steer it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meetscribe.errors import ConfigError, WeightsError
from meetscribe.models.whisper_tokenizer import load_tokenizer
from meetscribe.models.whisper_weights import WhisperWeights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MULTILINGUAL = 51865
"""Sizes of vocabulary below are of the English-only models."""
TIMESTAMP_S = 0.02


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one Whisper model; make it with ``load_vocabulary``.

    ``end`` ends a text; all above are special, from ``first_timestamp`` on times in steps of
    20 ms. ``suppress`` are tokens that are never written, ``blank`` those that no text begins with
    (besides ``end``).
    """

    tokenizer: Tokenizer
    size: int
    end: int
    no_speech: int
    no_timestamps: int
    suppress: tuple[int, ...]
    blank: tuple[int, ...]

    @property
    def first_timestamp(self) -> int:
        """The token of 0.00 s."""
        return self.no_timestamps + 1

    def start(self, language: str, *, timestamps: bool) -> list[int]:
        """Give the tokens that every text begins with.

        Raises
        ------
        ConfigError
            If the model does not know the language.
        """
        names = ["<|startoftranscript|>"]
        if self.size >= _MULTILINGUAL:
            names += [f"<|{language}|>", "<|transcribe|>"]
        elif language != "en":
            raise ConfigError(
                f"language '{language}': this Whisper model knows en only",
                hint="choose a model of all languages, such as whisper-base",
            )
        found = [self.tokenizer.token_to_id(name) for name in names]
        known = [token for token in found if token is not None]
        if len(known) < len(names):
            raise ConfigError(
                f"language '{language}': this Whisper model does not know it",
                hint="give an ISO 639-1 code such as en or zh",
            )
        return [*known, *([] if timestamps else [self.no_timestamps])]

    def encode(self, text: str) -> list[int]:
        """Give the tokens of a text, as Whisper writes it: after a space; "" has none."""
        bare = text.strip()
        return list(self.tokenizer.encode(f" {bare}", add_special_tokens=False).ids) if bare else []

    def decode(self, tokens: list[int]) -> str:
        """Give the text of tokens, times and control tokens left out, without outer spaces."""
        return str(self.tokenizer.decode([one for one in tokens if one < self.end])).strip()


def load_vocabulary(folder: Path, weights: WhisperWeights) -> Vocabulary:
    """Read ``tokenizer.json``, which lies beside the weights in either layout.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or of another model.
    """
    tokenizer = load_tokenizer(folder)

    def special(*names: str) -> int:
        found = [tokenizer.token_to_id(name) for name in names]
        known = [one for one in found if one is not None]
        if not known:
            raise WeightsError(
                f"{folder}: the tokenizer has no token {names[0]}, expected Whisper's",
                hint="name a model of `meetscribe models list`",
            )
        return int(known[0])

    end = special("<|endoftext|>")
    return Vocabulary(
        tokenizer,
        size=weights.shape.vocab_size,
        end=end,
        no_speech=special("<|nospeech|>", "<|nocaptions|>"),
        no_timestamps=special("<|notimestamps|>"),
        suppress=weights.suppress,
        blank=tuple(token for token in weights.suppress_first if token != end),
    )
