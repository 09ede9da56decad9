"""A Whisper of a few thousand numbers, with a vocabulary of a dozen words."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
import torch

from meetscribe.models.whisper_weights import WhisperShape, WhisperWeights
from meetscribe.onestage.tokens import Vocabulary, load_vocabulary
from meetscribe.onestage.whisper import Whisper

WORDS = ["yes", "no", "we", "meet", "on", "monday", "and", "talk", "(", "about", "it", "again"]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|nocaptions|>", "<|notimestamps|>"]
SHAPE = WhisperShape(
    num_mel_bins=80,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    vocab_size=len(WORDS) + len(SPECIAL) + 101,
    max_source_positions=100,
    max_target_positions=40,
)
"""It hears 2 s, and writes times up to 2.00 s."""


@pytest.fixture
def tiny() -> Whisper:
    """Give a network of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Whisper(SHAPE).eval()


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    """Give the vocabulary of the tiny network."""
    model = tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, "it")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(SPECIAL)
    made.save(str(tmp_path / "tokenizer.json"))
    no_words = WhisperWeights(SHAPE, {}, suppress=(WORDS.index("("),), suppress_first=(0, 12))
    return load_vocabulary(tmp_path, no_words)
