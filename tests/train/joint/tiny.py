"""A joint model of a few thousand numbers, speech for it, and trainings that take seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from meetscribe.config import build
from meetscribe.joint import checkpoint
from meetscribe.joint.config import JointConfig
from meetscribe.joint.encoders_whisper import WhisperEncoderConfig, WhisperFrames
from meetscribe.joint.llm import digit_embeddings, new_llm
from meetscribe.joint.model import JointModel
from meetscribe.joint.projector import Projector
from meetscribe.joint.prompt import Chat
from meetscribe.joint.serialise import serialise
from meetscribe.train.joint.parts import gather
from meetscribe.train.joint.settings import GroupSettings, JointTraining
from meetscribe.train.joint.simulated import GroupMaker
from meetscribe.types import Utterance
from tests.joint.builders import SPECIAL
from tests.train.builders import write_table

SPEECH_COLUMNS = ("path", "speaker", "text", "duration_s", "language", "split")
ENCODER = {
    "model_type": "whisper",
    "num_mel_bins": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "max_source_positions": 500,
}
GROUPS = {
    "voices": [0.5, 0.5],
    "length_s": [1.5, 7.0],
    "piece_s": [0.5, 3.5],
    "margin_s": [0.1, 0.2],
    "overlap": [0.2, 0.5],
}


def tokenizer() -> Any:
    """Make a byte-level tokenizer that knows the tags, times and words of these tests."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [
        serialise([Utterance(str(b), a / 9, a / 9 + b, f"words {a} of {b} Words")])
        for a in range(30)
        for b in range(1, 9)
    ]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        texts,
        # digits stay alone, as anchors need them
        trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=letters, show_progress=False, min_frequency=60
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        extra_special_tokens=[SPECIAL[1], SPECIAL[3]],
    )


def write_model(folder: Path, *, hidden: int = 32, layers: int = 1) -> Path:
    """Write a joint model of random weights, whose encoders cost next to nothing."""
    from transformers import AutoConfig

    words = tokenizer()
    about = {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "vocab_size": len(words) + 4,
        "eos_token_id": words.convert_tokens_to_ids(SPECIAL[2]),
        "bos_token_id": words.convert_tokens_to_ids(SPECIAL[0]),
    }
    told = {
        "audio_encoder_config": ENCODER,
        "llm_config": about,
        "semantic_projector_ds_rate": 8,
        "voice_projector_ds_rate": 8,
    }
    config = JointConfig.model_validate_json(json.dumps(told))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        llm = new_llm(AutoConfig.for_model(**about), dtype=torch.float32)
        with torch.no_grad():
            # as it is made, its scores lie so near together that no loss can be low
            llm.lm_head.weight.mul_(20.0)
        parts: dict[str, torch.nn.Module] = {}
        for stream in config.streams:
            shape = WhisperEncoderConfig.model_validate_json(json.dumps(ENCODER)).shape
            parts[stream.encoder] = WhisperFrames(shape)
            parts[stream.projector] = Projector(16, hidden, stack=stream.stack)
        chat = Chat(words, tags=config.tags)
        digits = digit_embeddings(llm, words)
        model = JointModel(config.streams, parts, llm, chat, digits_kd=digits)
        checkpoint.save(model, config, folder)
    return folder


def tiny_training(folder: Path, **more: Any) -> dict[str, Any]:
    """Write speech and a checkpoint; give the settings of a training with them."""
    table = write_table(folder / "speech", speakers=9, utterances=8, columns=SPEECH_COLUMNS)
    return {
        "speech": {"table": str(table), "listen": False, "dev_speakers": 2},
        "rooms": {"count": 2, "dev": 1, "channels": 3, "seats": 3, "rt60_s": [0.12, 0.15]},
        "groups": GROUPS,
        "batch_s": 8.0,
        "model": {
            "kind": "llm",
            "start": str(write_model(folder / "checkpoint")),
            "llm": {"lora": {"rank": 4, "alpha": 4.0}, "tokens_per_s": 8.0},
        },
        "encoder": {"width": 16, "layers": 1, "heads": 2},
        "stages": [
            {"trains": "encoder", "steps": 2, "learning_rate": 1e-3, "warmup_steps": 1},
            {"trains": "projectors", "steps": 4, "learning_rate": 1e-3, "warmup_steps": 1},
            {"trains": "lora", "steps": 4, "learning_rate": 1e-3, "warmup_steps": 1},
        ],
        "average": 2,
        "validation": {"groups": 2},
        "loop": {"checkpoint_every": 2, "score_every": 4},
        **more,
    }


def settings_of(given: dict[str, Any]) -> JointTraining:
    """Make the settings."""
    return build(JointTraining, given, where="test")


def group_maker(given: dict[str, Any], work: Path, **changes: Any) -> GroupMaker:
    """Make a maker of groups from what the tiny training is made of."""
    data = gather(settings_of(given), work)
    channels = changes.pop("channels", "one")
    groups = build(GroupSettings, {**GROUPS, **changes}, where="test")
    return GroupMaker(groups, data.material.training, data.material.rooms, 0, 21, channels)
