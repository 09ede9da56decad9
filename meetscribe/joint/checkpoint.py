"""The published layout on disk: read whole, or refused.

    config.json  tokenizer files  digit_embeddings.pt  projectors.pt
    audio_encoder/  voice_encoder/  llm/

A file ``model.pt`` or ``model.safetensors`` beside them may hold any of the parts as well; the
parts' own files win. Where the original goes on with random numbers, this raises an error.
"""

from __future__ import annotations

import json
import pickle  # for the name of its error; nothing is loaded with it
import struct
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from meetscribe import config as settings
from meetscribe.errors import ConfigError, ModelError, WeightsError
from meetscribe.joint.anchors import NUM_DIGITS
from meetscribe.joint.config import JointConfig, Stream
from meetscribe.joint.llm import llm_config, load_llm, load_tokenizer, new_llm
from meetscribe.joint.model import JointModel
from meetscribe.joint.projector import Projector
from meetscribe.joint.prompt import Chat
from meetscribe.joint.zipformer.config import ZipformerConfig
from meetscribe.joint.zipformer.encoder import Zipformer

C = TypeVar("C", bound=settings.Settings)

_SUFFIXES = (".pt", ".safetensors")
_COMPOSITES = ("model.pt", "model.safetensors")
_ENCODER_FILES = (
    "pretrained.safetensors",
    "model.safetensors",
    "pretrained.pt",
    "model.pt",
)
_INNER_CONFIGS = ("audio_encoder_config", "speech_encoder_config", "encoder_config")
_BAD_PICKLE = (
    pickle.UnpicklingError,
    *(AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    struct.error,
)
"""What torch's restricted loader raises on damaged files, found by damaging some."""

_HINT = "fetch the model's folder again; config.json and weights must describe the same model"


def load(path: Path, *, device: str = "cpu", llm_dtype: torch.dtype | None = None) -> JointModel:
    """Load a joint model for inference; nothing of it asks for a gradient.

    Parameters
    ----------
    path : folder of the published layout, or a weight file in one
    device : as torch names it
    llm_dtype : number format of the language model; by default ``dtype_for(device)``

    Raises
    ------
    WeightsError
        If a file is missing or damaged, or holds other tensors than the model needs.
    ModelError
        If config.json describes no model that is known here.
    """
    composite_file = path if path.suffix in _SUFFIXES else None
    folder = path.parent if composite_file else path
    config = read_config(folder)
    chat = Chat(
        load_tokenizer(folder),
        audio_token=config.audio_token,
        tags=[stream.tag for stream in config.streams],
    )
    about_llm = llm_config(config.llm_config, where=str(folder / "config.json"))
    hidden = about_llm.get_text_config().hidden_size
    digits_kd = _digits(folder / "digit_embeddings.pt", hidden) if _anchored(config) else None
    parts = build_parts(config, hidden)
    composite = _composite(folder, composite_file)
    for name, part in parts.items():
        _fill(part, *_part_tensors(folder, name, composite))
    dtype = llm_dtype or dtype_for(device)
    llm = _llm(folder, about_llm, composite, dtype)
    model = JointModel(
        config.streams,
        parts,
        llm,
        chat,
        digits_kd=digits_kd,
        ends=config.insert_anchors_at_ends,
    )
    return model.requires_grad_(requires_grad=False).eval().to(device)


def dtype_for(device: str) -> torch.dtype:
    """Give the language model's number format on a device.

    >>> dtype_for("cpu")
    torch.float32
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.float32
    if kind == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float16


def read_config(folder: Path) -> JointConfig:
    """Read config.json of a checkpoint.

    Raises
    ------
    WeightsError
        If it is missing or no JSON.
    ModelError
        If it describes no joint model.
    """
    path = folder / "config.json"
    mapping = _read_json(path)
    kind = mapping.get("model_type", "")
    if kind not in {"tagspeech", "tagspeech-base"}:
        raise ModelError(
            f"{path}: model_type '{kind}', expected 'tagspeech' or 'tagspeech-base'",
            hint="name the folder of a joint model",
        )
    return _as_config(JointConfig, mapping, str(path))


def build_parts(config: JointConfig, hidden: int) -> dict[str, nn.Module]:
    """Make encoders and projectors without memory for their weights, by name.

    Parameters
    ----------
    hidden : size of an embedding of the language model
    """
    parts: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for stream in config.streams:
            encoder = _build_encoder(config.encoder_config(stream), stream)
            parts[stream.encoder] = encoder
            parts[stream.projector] = Projector(encoder.dim, hidden, stack=stream.stack)
    return parts


def _build_encoder(mapping: Mapping[str, Any], stream: Stream) -> Zipformer:
    where = f"{stream.encoder}_config"
    kind = mapping.get("model_type", "zipformer")
    if kind != "zipformer":
        raise ModelError(
            f"{where}: model_type '{kind}', expected 'zipformer'",
            hint="this version knows no other encoder",
        )
    return Zipformer(_as_config(ZipformerConfig, mapping, where))


def _as_config(kind: type[C], mapping: Mapping[str, Any], where: str) -> C:
    try:
        return settings.build(kind, mapping, where=where)
    except ConfigError as error:
        raise ModelError(error.message, hint=error.hint or _HINT) from error


def _anchored(config: JointConfig) -> bool:
    return any(stream.interval is not None for stream in config.streams)


def _part_tensors(
    folder: Path, name: str, composite: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Give one part's tensors under its own names, and where they were found."""
    if name.endswith("_projector"):
        file, places = folder / "projectors.pt", "projectors.pt"
        own = _with_prefix(_tensors(file), f"{name}.") if file.is_file() else {}
    else:
        places = f"{name}/"
        found = [
            folder / name / file for file in _ENCODER_FILES if (folder / name / file).is_file()
        ]
        file = found[0] if found else folder
        own = _encoder_tensors(file) if found else {}
    if own:
        return own, str(file)
    own = _with_prefix(composite, f"{name}.")
    if not own:
        raise WeightsError(
            f"{folder}: no weights of '{name}', expected them in {places} or "
            f"{' or '.join(_COMPOSITES)}",
            hint=_HINT,
        )
    return own, str(folder)


def _encoder_tensors(file: Path) -> dict[str, Tensor]:
    """Read an encoder's file, which may have been cut out of a larger model."""
    tensors = {key.removeprefix("module."): value for key, value in _tensors(file).items()}
    about = file.parent / "config.json"
    mapping = _read_json(about) if about.is_file() else {}
    if any(name in mapping for name in _INNER_CONFIGS):
        for name in _INNER_CONFIGS:
            inside = _with_prefix(tensors, f"{name.removesuffix('_config')}.")
            # a bare encoder has an `encoder.` of its own, beside its front-end
            if inside and not any(key.startswith("encoder_embed.") for key in tensors):
                return inside
    return tensors


def _fill(part: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Give a part its weights, exactly those it has, in float32."""
    expected = part.state_dict()
    found = dict(tensors)
    if "model_batch_count" in expected:
        found.setdefault("model_batch_count", torch.tensor(100_000.0))
    _check(found, expected, where)
    part.load_state_dict({key: value.float() for key, value in found.items()}, assign=True)


def _check(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    where: str,
    *,
    optional: Collection[str] = (),
) -> None:
    for key, value in expected.items():
        if key not in found:
            if key in optional:
                continue
            raise WeightsError(f"{where}: no tensor '{key}'", hint=_HINT)
        if found[key].shape != value.shape:
            raise WeightsError(
                f"{where}: tensor '{key}' has shape {tuple(found[key].shape)}, "
                f"expected {tuple(value.shape)}",
                hint=_HINT,
            )
    strangers = sorted(set(found) - set(expected))
    if strangers:
        raise WeightsError(
            f"{where}: {len(strangers)} tensors too many, the first is '{strangers[0]}'",
            hint=_HINT,
        )


def _llm(folder: Path, about: Any, composite: Mapping[str, Tensor], dtype: torch.dtype) -> Any:  # noqa: ANN401
    own = folder / "llm"
    tensors = _with_prefix(composite, "llm.")
    if own.is_dir() or not tensors:
        return load_llm(own, dtype=dtype, config=about)
    llm = new_llm(about, dtype=dtype)
    tied = getattr(llm, "_tied_weights_keys", None) or ()
    _check(tensors, llm.state_dict(), str(folder), optional=tied)
    llm.load_state_dict(tensors, strict=False)
    return llm


def _digits(path: Path, hidden: int) -> Tensor:
    """Read the embeddings of the ten digits: float32, shape (10, hidden), in order."""
    content = _unpickled(path)
    tokens = content.get("tokens") if isinstance(content, dict) else None
    rows = content.get("embeddings") if isinstance(content, dict) else None
    if not isinstance(tokens, list | tuple) or not isinstance(rows, Tensor):
        raise WeightsError(f"{path}: expected a dictionary with tokens and embeddings", hint=_HINT)
    absent = [str(digit) for digit in range(NUM_DIGITS) if str(digit) not in tokens]
    if absent or tuple(rows.shape) != (len(tokens), hidden):
        raise WeightsError(
            f"{path}: embeddings {tuple(rows.shape)} of {len(tokens)} tokens, expected the ten "
            f"digits of size {hidden}" + (f"; '{absent[0]}' is missing" if absent else ""),
            hint=_HINT,
        )
    order = [tokens.index(str(digit)) for digit in range(NUM_DIGITS)]
    return rows.float()[order]


def _composite(folder: Path, file: Path | None) -> dict[str, Tensor]:
    if file is None:
        file = next((folder / name for name in _COMPOSITES if (folder / name).is_file()), None)
    return _tensors(file) if file else {}


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read a weight file onto the CPU: name -> tensor."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: damaged: {error}", hint=_HINT) from error
    content = _unpickled(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors", hint=_HINT)
    return {str(key): value for key, value in content.items()}


def _unpickled(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a pickle of tensors and plain values; one that names code is refused."""
    try:
        with warnings.catch_warnings():
            # what torch thinks of the file's format concerns nobody here
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: not found", hint=_HINT) from error
    except _BAD_PICKLE as error:
        raise WeightsError(
            f"{path}: refused: not a plain checkpoint (it names code, or is damaged)", hint=_HINT
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: {error.strerror or error}", hint="expected the folder of a joint model"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not JSON: {error}", hint=_HINT) from error
    if not isinstance(mapping, dict):
        raise WeightsError(f"{path}: expected a JSON object", hint=_HINT)
    return mapping
