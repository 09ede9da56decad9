"""The parts of a joint model before they have weights, but for those that the catalogue has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meetscribe.errors import ModelError
from meetscribe.joint import encoders
from meetscribe.joint.config import ONE_PROJECTOR, JointConfig
from meetscribe.joint.llm import llm_config, load_tokenizer, read_llm_config, with_audio_token
from meetscribe.joint.projector import Projector
from meetscribe.models import fetch, known
from meetscribe.models.catalogue import Task


@dataclass(frozen=True, slots=True)
class LlmSource:
    """Where the language model comes from, and what it is.

    Parameters
    ----------
    folder : of its weights
    config : of transformers
    tokenizer : of transformers, with the audio token
    """

    folder: Path
    config: Any
    tokenizer: Any

    @property
    def hidden(self) -> int:
        """Size of an embedding."""
        return int(self.config.get_text_config().hidden_size)


def llm_source(config: JointConfig, folder: Path | None, *, offline: bool = False) -> LlmSource:
    """Find the language model: the catalogue's, fetched if need be, or the checkpoint's own.

    Parameters
    ----------
    folder : of the checkpoint, if there is one; its tokenizer goes before the catalogue's

    Raises
    ------
    ModelError
        If the catalogue has no such language model, it cannot be had, or transformers does not
        know it.
    """
    if config.llm is None:
        if folder is None:
            raise ModelError(
                "joint: llm: no weights of the catalogue are named",
                hint="name a language model of `meetscribe models list`",
            )
        tokenizer = load_tokenizer(folder)
        about = llm_config(config.llm_config, where=str(folder / "config.json"))
        return LlmSource(folder / "llm", about, tokenizer)
    model = known(config.llm.weights)
    if model is None or model.task is not Task.LANGUAGE:
        raise ModelError(
            f"joint: llm: weights '{config.llm.weights}': the catalogue has no such language model",
            hint="see `meetscribe models list`; without weights, the folder must hold them",
        )
    source = fetch(model.name, offline=offline)
    if folder is not None and any(folder.glob("tokenizer*.json")):
        tokenizer = load_tokenizer(folder)
    else:
        tokenizer = with_audio_token(load_tokenizer(source), config.audio_token)
    stated = config.llm_config
    about = llm_config(stated, where="config.json") if stated else read_llm_config(source)
    return LlmSource(source, about, tokenizer)


def build_parts(config: JointConfig, hidden: int, *, offline: bool = False) -> dict[str, nn.Module]:
    """Make encoders and projectors by name, without memory for weights but the catalogue's.

    Parameters
    ----------
    hidden : size of an embedding of the language model

    Raises
    ------
    ModelError
        If an encoder is of no known kind, or the catalogue's cannot be had.
    """
    parts: dict[str, nn.Module] = {}
    width = 0
    for stream in config.streams:
        mapping, where = config.encoder_config(stream), f"{stream.encoder}_config"
        encoder: Any
        if mapping.get("weights"):
            encoder = encoders.from_catalogue(mapping, where=where, offline=offline)
        else:
            with torch.device("meta"):
                encoder = encoders.build(mapping, where=where)
        parts[stream.encoder] = encoder
        width += encoder.dim * stream.stack
        if config.stream_layout != "features":
            with torch.device("meta"):
                projector = Projector(encoder.dim, hidden, stack=stream.stack)
            parts[stream.projector] = projector
    if config.stream_layout == "features":
        with torch.device("meta"):
            parts[ONE_PROJECTOR] = Projector(width, hidden, stack=1)
    return parts


def is_empty(part: nn.Module) -> bool:
    """Tell whether a part still needs weights."""
    return any(value.is_meta for value in part.state_dict().values())
