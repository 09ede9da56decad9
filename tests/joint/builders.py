"""Joint checkpoints of random weights in the published layout, and clips for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from meetscribe.joint.config import JointConfig
from meetscribe.joint.llm import new_llm
from meetscribe.joint.projector import Projector
from meetscribe.joint.zipformer.config import ZipformerConfig
from meetscribe.joint.zipformer.encoder import Zipformer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>")
HIDDEN = 32

ENCODER: dict[str, Any] = {
    "model_type": "zipformer",
    "num_encoder_layers": [1, 1, 1],
    "downsampling_factor": [1, 2, 4],
    "encoder_dim": [8, 16, 12],
    "feedforward_dim": [16],
    "num_heads": [2],
    "query_head_dim": [4],
    "value_head_dim": [4],
    "pos_head_dim": [2],
    "pos_dim": 8,
    "cnn_module_kernel": [7],
    "dropout": None,
    "warmup_batches": 4000.0,
}

LLM: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


def clip(seconds: float, *, seed: int = 0) -> torch.Tensor:
    """Give noise, shape (N,)."""
    noise = torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise


def tokenizer() -> Any:
    """Make a byte-level tokenizer without merges, with the special tokens of ChatML and audio."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        extra_special_tokens=[SPECIAL[1], SPECIAL[3]],
    )


def write_checkpoint(
    folder: Path,
    *,
    encoder: Mapping[str, Any] = ENCODER,
    llm: Mapping[str, Any] = LLM,
    model_type: str = "tagspeech",
    composite: bool = False,
    seed: int = 0,
) -> Path:
    """Write a checkpoint of random weights in the published layout.

    Parameters
    ----------
    encoder, llm : their config.json; the vocabulary and its special ids are filled in
    composite : all parts but the tokenizer and the digits in one model.safetensors
    """
    from transformers import AutoConfig

    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    words.save_pretrained(folder)
    ids = dict(zip(SPECIAL, words.convert_tokens_to_ids(SPECIAL), strict=True))
    about = {
        "vocab_size": len(words) + 4,
        "eos_token_id": ids["<|im_end|>"],
        "bos_token_id": ids["<|endoftext|>"],
        **llm,
    }
    config = {
        "model_type": model_type,
        "audio_encoder_config": dict(encoder),
        "llm_config": about,
        "max_length": 800,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        streams = JointConfig.model_validate_json(json.dumps(config)).streams
        network = new_llm(AutoConfig.for_model(**about), dtype=torch.float32)
        hidden = network.config.hidden_size
        parts = {}
        for stream in streams:
            shape = ZipformerConfig.model_validate_json(json.dumps(dict(encoder)))
            parts[stream.encoder] = Zipformer(shape)
            parts[stream.projector] = Projector(parts[stream.encoder].dim, hidden)
    table = network.get_input_embeddings().weight.detach()
    digit_ids = words.convert_tokens_to_ids([str(digit) for digit in range(10)])
    digits = {
        "tokens": [str(digit) for digit in range(10)],
        "token_ids": digit_ids,
        "embeddings": table[digit_ids].half(),
        "dtype": "torch.float16",
        "shape": (10, hidden),
        "model_path": "",
    }
    torch.save(digits, folder / "digit_embeddings.pt")
    states = {name: part.state_dict() for name, part in (parts | {"llm": network}).items()}
    if composite:
        save_file(_joined(states), folder / "model.safetensors")
        return folder
    projectors = {name: state for name, state in states.items() if name.endswith("_projector")}
    torch.save(_joined(projectors), folder / "projectors.pt")
    for name in states.keys() - projectors.keys() - {"llm"}:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(dict(encoder)), encoding="utf-8")
        save_file(states[name], folder / name / "model.safetensors")
    network.half().save_pretrained(folder / "llm")
    return folder


def _joined(states: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    joined: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, state in states.items():
        for key, value in state.items():
            if value.data_ptr() not in seen:  # one of two names of the same weights will do
                joined[f"{name}.{key}"] = value.contiguous()
            seen.add(value.data_ptr())
    return joined
