"""Weight files read whole or refused: tensors in safetensors, or in pickles that name no code."""

from __future__ import annotations

import json
import pickle  # for the name of its error; nothing is loaded with it
import struct
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meetscribe.errors import WeightsError
from meetscribe.joint.anchors import NUM_DIGITS

HINT = "fetch the model's folder again; config.json and weights must describe the same model"

_INNER_CONFIGS = ("audio_encoder_config", "speech_encoder_config", "encoder_config")
_BAD_PICKLE = (
    pickle.UnpicklingError,
    *(AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    struct.error,
)
"""What torch's restricted loader raises on damaged files, found by damaging some."""


def read_encoder(file: Path) -> dict[str, Tensor]:
    """Read an encoder's file, which may have been cut out of a larger model.

    Raises
    ------
    WeightsError
        If it, or config.json beside it, is damaged.
    """
    tensors = {key.removeprefix("module."): value for key, value in read_tensors(file).items()}
    about = file.parent / "config.json"
    mapping = read_json(about) if about.is_file() else {}
    if any(name in mapping for name in _INNER_CONFIGS):
        for name in _INNER_CONFIGS:
            inside = with_prefix(tensors, f"{name.removesuffix('_config')}.")
            # a bare encoder has an `encoder.` of its own, beside its front-end
            if inside and not any(key.startswith("encoder_embed.") for key in tensors):
                return inside
    return tensors


def fill(part: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Give a part its weights, exactly those it has, in float32.

    Parameters
    ----------
    part : made without memory
    where : the file, for errors

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or of another shape.
    """
    expected = part.state_dict()
    found = dict(tensors)
    if "model_batch_count" in expected:
        found.setdefault("model_batch_count", torch.tensor(100_000.0))
    check(found, expected, where)
    part.load_state_dict({key: _as_float(value) for key, value in found.items()}, assign=True)


def _as_float(value: Tensor) -> Tensor:
    # counts of batches stay whole numbers
    return value.float() if value.is_floating_point() else value


def check(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    where: str,
    *,
    optional: Collection[str] = (),
) -> None:
    """Refuse tensors that are not those expected, by name and shape.

    Raises
    ------
    WeightsError
        If one is missing that is not optional, or superfluous, or of another shape.
    """
    for key, value in expected.items():
        if key not in found:
            if key in optional:
                continue
            raise WeightsError(f"{where}: no tensor '{key}'", hint=HINT)
        if found[key].shape != value.shape:
            raise WeightsError(
                f"{where}: tensor '{key}' has shape {tuple(found[key].shape)}, "
                f"expected {tuple(value.shape)}",
                hint=HINT,
            )
    strangers = sorted(set(found) - set(expected))
    if strangers:
        raise WeightsError(
            f"{where}: {len(strangers)} tensors too many, the first is '{strangers[0]}'",
            hint=HINT,
        )


def read_digits(path: Path, hidden: int) -> Tensor:
    """Read the embeddings of the ten digits: float32, shape (10, hidden), in order.

    Raises
    ------
    WeightsError
        If they are not there, or of another size.
    """
    content = _unpickled(path)
    tokens = content.get("tokens") if isinstance(content, dict) else None
    rows = content.get("embeddings") if isinstance(content, dict) else None
    if not isinstance(tokens, list | tuple) or not isinstance(rows, Tensor):
        raise WeightsError(f"{path}: expected a dictionary with tokens and embeddings", hint=HINT)
    absent = [str(digit) for digit in range(NUM_DIGITS) if str(digit) not in tokens]
    if absent or tuple(rows.shape) != (len(tokens), hidden):
        raise WeightsError(
            f"{path}: embeddings {tuple(rows.shape)} of {len(tokens)} tokens, expected the ten "
            f"digits of size {hidden}" + (f"; '{absent[0]}' is missing" if absent else ""),
            hint=HINT,
        )
    order = [tokens.index(str(digit)) for digit in range(NUM_DIGITS)]
    return rows.float()[order]


def write_digits(path: Path, digits_kd: Tensor) -> None:
    """Write the embeddings of the ten digits as ``read_digits`` reads them."""
    tokens = [str(digit) for digit in range(NUM_DIGITS)]
    torch.save({"tokens": tokens, "embeddings": digits_kd.detach().cpu()}, path)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Give the tensors whose names begin so, without that beginning."""
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weight file onto the CPU: name -> tensor.

    Raises
    ------
    WeightsError
        If it is damaged, or holds something else.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: damaged: {error}", hint=HINT) from error
    content = _unpickled(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors", hint=HINT)
    return {str(key): value for key, value in content.items()}


def _unpickled(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a pickle of tensors and plain values; one that names code is refused."""
    try:
        with warnings.catch_warnings():
            # what torch thinks of the file's format concerns nobody here
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: not found", hint=HINT) from error
    except _BAD_PICKLE as error:
        raise WeightsError(
            f"{path}: refused: not a plain checkpoint (it names code, or is damaged)", hint=HINT
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    WeightsError
        If it is missing or something else.
    """
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: {error.strerror or error}", hint="expected the folder of a joint model"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not JSON: {error}", hint=HINT) from error
    if not isinstance(mapping, dict):
        raise WeightsError(f"{path}: expected a JSON object", hint=HINT)
    return mapping
