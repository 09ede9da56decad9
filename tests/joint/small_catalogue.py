"""A catalogue of models of random weights, small where the layout leaves a choice."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from meetscribe.activity.campplus import CamPlusPlus
from meetscribe.joint.config import JointConfig
from meetscribe.models.whisper_weights import WhisperShape
from meetscribe.onestage.whisper import Whisper
from tests.joint import builders

SHAPE = WhisperShape(
    num_mel_bins=80,
    d_model=16,
    encoder_layers=2,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_ffn_dim=32,
    vocab_size=40,
    max_source_positions=200,
    max_target_positions=16,
)
WHISPER = {"model_type": "whisper", "weights": "small-whisper"}
CAMPPLUS = {"model_type": "campplus", "weights": "small-campplus"}


def write(root: Path) -> None:
    """Write cards under ``root``, and their files into ``root/cache``."""
    torch.manual_seed(0)
    whisper = _folder(root, "small-whisper")
    state = {f"model.{key}": value for key, value in Whisper(SHAPE).state_dict().items()}
    save_file(state, whisper / "model.safetensors")
    (whisper / "config.json").write_text(json.dumps({"model_type": "whisper", **asdict(SHAPE)}))
    _write_card(root, "small-whisper", "recognition")
    network = CamPlusPlus()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
    torch.save(network.state_dict(), _folder(root, "small-campplus") / "voice.pt")
    _write_card(root, "small-campplus", "voiceprint")
    whole = builders.write_checkpoint(root / "whole")
    llm = _folder(root, "small-llm")
    for path in [*(whole / "llm").iterdir(), *whole.glob("tokenizer*")]:
        shutil.copy(path, llm)
    _write_card(root, "small-llm", "language model")


def config(**changes: Any) -> JointConfig:
    """Give the configuration of a model all of whose parts the catalogue has."""
    values = {
        "audio_encoder_config": WHISPER,
        "voice_encoder_config": CAMPPLUS,
        "semantic_projector_ds_rate": 8,
        "voice_projector_ds_rate": 8,
        "llm": {"weights": "small-llm"},
    }
    return JointConfig.model_validate_json(json.dumps(values | changes))


def _folder(root: Path, name: str) -> Path:
    folder = root / "cache" / "models" / name
    folder.mkdir(parents=True)
    return folder


def _write_card(root: Path, name: str, task: str) -> None:
    files = [
        {
            "name": path.name,
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted((root / "cache" / "models" / name).iterdir())
    ]
    about = {
        "name": name,
        "task": task,
        "summary": "made up",
        "licence": "MIT",
        "origin": f"nobody/{name}",
        "sources": ["hub"],
        "hub": {"repo": f"nobody/{name}"},
        "files": files,
    }
    path = root / "configs" / "models" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(about))
