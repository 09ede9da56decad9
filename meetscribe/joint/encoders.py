"""The encoders that a joint model may have, by the ``model_type`` of their configuration.

    zipformer   25 frames a second, of the published checkpoints: package ``zipformer``
    whisper     50 frames a second, Whisper's encoder, which knows words: ``encoders_whisper``
    campplus    50 frames a second, CAM++ before its pooling, which knows voices
    spatial     50 frames a second, whose place the sound fits; no weights: ``spatial_stream``

With ``weights``, whisper and campplus are the catalogue's model of that name, and a checkpoint's
folder need not hold them. All work in float32, frozen and in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from meetscribe import config as settings
from meetscribe.errors import ConfigError, ModelError, WeightsError
from meetscribe.joint.encoders_campplus import CampplusConfig, CampplusFrames
from meetscribe.joint.encoders_whisper import WhisperEncoderConfig, WhisperFrames
from meetscribe.joint.spatial_stream import SpatialEncoderConfig, SpatialFrames
from meetscribe.joint.zipformer.config import ZipformerConfig
from meetscribe.joint.zipformer.encoder import Zipformer
from meetscribe.models import fetch, known
from meetscribe.models.catalogue import Task
from meetscribe.models.unpickle import load_checkpoint
from meetscribe.models.whisper_weights import load_whisper

C = TypeVar("C", bound=settings.Settings)

_HINT = "fetch the model's folder again; config.json and weights must describe the same model"
_TASKS = {"whisper": Task.RECOGNITION, "campplus": Task.VOICEPRINT}
"""Kinds of encoder whose weights the catalogue has, and what their models are called for."""


def build(mapping: Mapping[str, Any], *, where: str) -> nn.Module:
    """Make an encoder with the sizes that are stated; inside ``torch.device("meta")``, no memory.

    Parameters
    ----------
    mapping : its configuration
    where : what to call that in errors

    Raises
    ------
    ModelError
        If there is no such encoder.
    """
    kind = str(mapping.get("model_type", "zipformer"))
    if kind not in _BUILDERS:
        raise ModelError(
            f"{where}: model_type '{kind}', expected {', '.join(map(repr, _BUILDERS))}",
            hint="this version knows no other encoder",
        )
    return _BUILDERS[kind](mapping, where)


def from_catalogue(mapping: Mapping[str, Any], *, where: str, offline: bool = False) -> nn.Module:
    """Make an encoder of the catalogue's model that ``weights`` names, fetched if need be.

    Raises
    ------
    ModelError
        If the catalogue has no such model for this kind of encoder, or it cannot be had.
    """
    kind, name = str(mapping.get("model_type", "zipformer")), mapping["weights"]
    model = known(str(name))
    if kind not in _TASKS or model is None or model.task is not _TASKS[kind]:
        raise ModelError(
            f"{where}: weights '{name}': the catalogue has no such model for '{kind}'",
            hint="see `meetscribe models list`; without weights, the folder must hold them",
        )
    folder = fetch(model.name, offline=offline)
    return _whisper(folder) if kind == "whisper" else _campplus(folder / model.files[0].name)


def as_config(kind: type[C], mapping: Mapping[str, Any], where: str) -> C:
    """Read a part's configuration.

    Raises
    ------
    ModelError
        If it does not fit.
    """
    try:
        return settings.build(kind, mapping, where=where)
    except ConfigError as error:
        raise ModelError(error.message, hint=error.hint or _HINT) from error


def tensors_of_whisper(folder: Path) -> tuple[dict[str, Tensor], WhisperEncoderConfig]:
    """Give the tensors of ``WhisperFrames`` and its sizes, of a Whisper in either layout.

    Raises
    ------
    WeightsError
        If it is none.
    """
    weights = load_whisper(folder)
    shape = {name: getattr(weights.shape, name) for name in weights.shape.__slots__}
    prefix = "model.encoder."
    tensors = {
        f"encoder.{key.removeprefix(prefix)}": value
        for key, value in weights.state.items()
        if key.startswith(prefix)
    }
    return tensors, WhisperEncoderConfig.model_validate(shape)


def _whisper(folder: Path) -> nn.Module:
    tensors, sizes = tensors_of_whisper(folder)
    with torch.device("meta"):
        encoder = WhisperFrames(sizes.shape)
    return _with_weights(encoder, tensors, folder)


def _campplus(path: Path) -> nn.Module:
    tensors: dict[str, Tensor] = load_checkpoint(path, allowed=())["state_dict"]
    with torch.device("meta"):
        encoder = CampplusFrames()
    return _with_weights(encoder, {f"campplus.{key}": v for key, v in tensors.items()}, path)


def _with_weights(encoder: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> nn.Module:
    try:
        encoder.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{where}: the tensors are not those of the encoder expected",
            hint="run `meetscribe models verify`, then pull again",
        ) from error
    return encoder.requires_grad_(requires_grad=False).eval()


def _built_whisper(mapping: Mapping[str, Any], where: str) -> nn.Module:
    return WhisperFrames(as_config(WhisperEncoderConfig, mapping, where).shape)


def _built_campplus(mapping: Mapping[str, Any], where: str) -> nn.Module:
    as_config(CampplusConfig, mapping, where)
    return CampplusFrames()


def _built_spatial(mapping: Mapping[str, Any], where: str) -> nn.Module:
    return SpatialFrames(as_config(SpatialEncoderConfig, mapping, where))


def _built_zipformer(mapping: Mapping[str, Any], where: str) -> nn.Module:
    return Zipformer(as_config(ZipformerConfig, mapping, where))


_BUILDERS: dict[str, Callable[[Mapping[str, Any], str], nn.Module]] = {
    "zipformer": _built_zipformer,
    "whisper": _built_whisper,
    "campplus": _built_campplus,
    "spatial": _built_spatial,
}
