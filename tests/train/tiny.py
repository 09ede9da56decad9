"""A Whisper of a few thousand numbers, and a training that takes seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers
import torch
import yaml
from safetensors.torch import save_file

from meetscribe.config import build
from meetscribe.models.whisper_weights import WhisperShape
from meetscribe.onestage.whisper import Whisper
from meetscribe.train.onestage.settings import OnestageTraining
from tests.train.builders import write_table

WORDS = ["it", "Words", "words", "of", *map(str, range(20))]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|nocaptions|>", "<|notimestamps|>"]
SHAPE = WhisperShape(
    num_mel_bins=80,
    d_model=16,
    encoder_layers=2,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_ffn_dim=32,
    vocab_size=len(WORDS) + len(SPECIAL) + 101,
    max_source_positions=200,
    max_target_positions=40,
)
"""It hears 4 s."""


def write_whisper(folder: Path) -> Path:
    """Write random weights in the layout of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Whisper(SHAPE)
    state = {f"model.{name}": one.contiguous() for name, one in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "whisper", **asdict(SHAPE)}), encoding="utf-8"
    )
    model = tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, "it")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(SPECIAL)
    made.save(str(folder / "tokenizer.json"))
    return folder


def tiny_training(folder: Path, **loop: Any) -> dict[str, Any]:
    """Write speech and a Whisper; give the settings of a training with them."""
    columns = ("path", "speaker", "text", "duration_s", "language", "split")
    table = write_table(folder / "speech", speakers=9, utterances=8, columns=columns)
    stage = {"voices": [0.3, 0.7], "longest_s": 3.4, "piece_s": [0.5, 2.5], "silent": 0.5}
    return {
        "speech": {"table": str(table), "listen": False, "dev_speakers": 2},
        "rooms": {"count": 2, "dev": 1, "channels": 3, "seats": 3, "rt60_s": [0.12, 0.15]},
        "scenes": {
            "batch": 1,
            "dev_scenes": 2,
            "channels": [2, 3],
            "solo_s": [1.5, 1.6],
            "stages": [{**stage, "until": 0.5, "overlap": [-0.5, 0.0]}, stage],
        },
        "model": {
            "embedding": {
                "num_bands": 8,
                "width": 4,
                "num_competitors": 1,
                "trunk_width": 6,
                "trunk_layers": 1,
                "trunk_kernel": 3,
                "convolutions": [{"maps": 2, "time_stride": 2}, {"maps": 2}],
            },
            "target": {
                "base": str(write_whisper(folder / "whisper")),
                "trailing_s": 0.2,
                "conditioning": {"layers": [0, 1]},
                "lora": {"rank": 2, "alpha": 2.0},
            },
        },
        "loop": {
            "steps": 6,
            "accumulate": 2,
            "warmup_steps": 2,
            "checkpoint_every": 2,
            "score_every": 4,
            **loop,
        },
    }


def settings_of(given: dict[str, Any]) -> OnestageTraining:
    """Make the settings."""
    return build(OnestageTraining, given, where="test")


def write_config(given: dict[str, Any], path: Path) -> Path:
    """Write the settings as YAML."""
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    return path
