"""What a small joint model has learnt, on disk.

    config.json         model_type "whisper-joint", the settings, and what its training tells
    model.safetensors   low-rank changes, projectors, anchors, speakers' tokens; float16

Whisper and CAM++ are no part of it: they are loaded from their own weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from meetscribe.config import build
from meetscribe.errors import ModelError, OutputError, WeightsError
from meetscribe.files import write_atomic
from meetscribe.joint.whisper.network import WhisperJoint
from meetscribe.joint.whisper.settings import MODEL_TYPE, VOICE_MODEL, WhisperJointSettings
from meetscribe.models import known, resolve_whisper
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.joint.encoders_campplus import CampplusFrames

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LONGEST = "longest_s"
"""In what a training tells: seconds of the longest clips that the model has heard."""
_SCHEMA = 1
_HINT = "fetch the model's folder again; config.json and weights must describe the same model"


def whisper_folder(base: str, *, offline: bool = False, progress: Progress = no_progress) -> Path:
    """Give the folder of a model's Whisper, fetched if need be; a local one in either layout.

    Raises
    ------
    ModelError, ConfigError
        If there is none of that name, or it cannot be had.
    """
    folder = Path(base).expanduser()
    if base and known(base) is None and folder.is_dir():
        return folder
    return resolve_whisper(base, offline=offline, progress=progress)


def make(settings: WhisperJointSettings, *, offline: bool = False) -> WhisperJoint:
    """Make an untrained model; torch's seed says how it begins.

    Raises
    ------
    ModelError
        If Whisper or CAM++ cannot be had or are damaged.
    """
    from meetscribe.joint import encoders
    from meetscribe.models.whisper_weights import load_whisper
    from meetscribe.onestage.tokens import load_vocabulary
    from meetscribe.onestage.whisper import make_whisper

    folder = whisper_folder(settings.base, offline=offline)
    weights = load_whisper(folder)
    voices = None
    if settings.layout != "none":
        about = {"model_type": "campplus", "weights": VOICE_MODEL}
        voices = encoders.from_catalogue(about, where="voices", offline=offline)
    whisper = make_whisper(weights, where=str(folder))
    vocabulary = load_vocabulary(folder, weights)
    return WhisperJoint(whisper, cast("CampplusFrames | None", voices), vocabulary, settings)


def save(network: WhisperJoint, folder: Path, about: Mapping[str, Any]) -> None:
    """Write what was learnt.

    Parameters
    ----------
    about : plain values about the training, to stand beside the settings

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from safetensors.torch import save as to_bytes

    tensors = {
        name: one.detach().cpu().half().contiguous() for name, one in network.trainable().items()
    }
    told = {
        "model_type": MODEL_TYPE,
        "schema": _SCHEMA,
        "settings": network.settings.model_dump(mode="json"),
        "about": dict(about),
    }
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic({folder / WEIGHTS: bytes(to_bytes(tensors)), folder / CONFIG: text})
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error}") from error


def is_whisper_joint(folder: Path) -> bool:
    """Tell whether config.json names a model of this kind; nothing else is looked at."""
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("model_type") == MODEL_TYPE


def read_settings(folder: Path) -> WhisperJointSettings:
    """Read what a model is.

    Raises
    ------
    WeightsError
        If config.json is missing or no JSON.
    ModelError
        If it is another model's, or of another version of meetscribe.
    ConfigError
        If its settings are not understood.
    """
    path = folder / CONFIG
    told = _read(path)
    kind = told.get("model_type", "") if isinstance(told, dict) else ""
    if kind != MODEL_TYPE:
        raise ModelError(f"{path}: model_type '{kind}', expected '{MODEL_TYPE}'", hint=_HINT)
    if told.get("schema") != _SCHEMA:
        raise ModelError(
            f"{path}: schema {told.get('schema')}, expected {_SCHEMA}",
            hint="it is of another version of meetscribe",
        )
    settings = told.get("settings")
    if not isinstance(settings, dict):
        raise WeightsError(f"{path}: no settings in it", hint=_HINT)
    return build(WhisperJointSettings, settings, where=str(path))


def longest_trained_s(folder: Path) -> float | None:
    """Give the seconds of the longest clips of its training, None if config.json does not tell.

    Raises
    ------
    WeightsError
        If config.json is missing or no JSON, or the seconds are no number.
    """
    told = _read(folder / CONFIG)
    about = told.get("about") if isinstance(told, dict) else None
    longest_s = about.get(LONGEST) if isinstance(about, dict) else None
    if longest_s is not None and not isinstance(longest_s, int | float):
        raise WeightsError(
            f"{folder / CONFIG}: about.{LONGEST} is '{longest_s}', expected seconds", hint=_HINT
        )
    return longest_s


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}", hint=_HINT) from error
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON: {error}", hint=_HINT) from error


def check(folder: Path) -> WhisperJointSettings:
    """Refuse what is no whole model; its tensors are checked when it is loaded.

    Raises
    ------
    WeightsError, ModelError, ConfigError
        As ``read_settings`` does, or if there are no weights.
    """
    settings = read_settings(folder)
    if not (folder / WEIGHTS).is_file():
        raise WeightsError(f"{folder}: no {WEIGHTS}, expected a whole joint model", hint=_HINT)
    return settings


def load(folder: Path, *, offline: bool = False) -> WhisperJoint:
    """Load a model onto the CPU; it can still be trained.

    Raises
    ------
    WeightsError, ModelError, ConfigError
        As ``check`` and ``make`` do, or if a tensor is missing, superfluous or of another shape.
    """
    from meetscribe.onestage.model import take_over

    network = make(check(folder), offline=offline)
    take_over(network.trainable(), _tensors(folder / WEIGHTS), where=str(folder / WEIGHTS))
    return network


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: one.float() for name, one in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: damaged ({error})", hint=_HINT) from error
