"""Whisper's weights as tensors with the names of transformers, from either of the two layouts.

CTranslate2's folder (``model.bin``), which the catalogue names, runs fast but cannot be trained;
the transformers layout (``model.safetensors``) can. What is stored in fewer bits becomes float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import WeightsError
from meetscribe.models.ct2_file import Ct2File, read_ct2
from meetscribe.models.unpickle import load_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_LAYOUT, _REVISION = "WhisperSpec", 3
_HINT = "name a Whisper model of `meetscribe models list`, or a folder in one of both layouts"
_DAMAGED_HINT = "run `meetscribe models verify`, then pull again"
_BLOCKS = {
    "encoder": {"self_attn": "self_attention"},
    "decoder": {"self_attn": "self_attention", "encoder_attn": "attention"},
}
"""Attention of a layer: transformers' name -> CTranslate2's."""


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """Sizes of a Whisper model, under the names of transformers' configuration."""

    num_mel_bins: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_attention_heads: int
    decoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_ffn_dim: int
    vocab_size: int
    max_source_positions: int
    max_target_positions: int


@dataclass(frozen=True, slots=True)
class WhisperWeights:
    """A Whisper model of any size, on the CPU, in float32.

    ``state`` has transformers' names (``model.encoder.conv1.weight``), without ``proj_out.weight``,
    which is ``model.decoder.embed_tokens.weight``. ``suppress`` are tokens that are never written,
    ``suppress_first`` those that no text begins with; ``alignment_heads`` are the (layer, head) of
    the decoder that look at where a token was said.
    """

    shape: WhisperShape
    state: dict[str, Tensor]
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    alignment_heads: tuple[tuple[int, int], ...] = ()


def load_whisper(folder: Path) -> WhisperWeights:
    """Load a folder in either layout; with both, transformers' own, which lost no bits.

    Parameters
    ----------
    folder : as ``resolve_whisper`` gives it, or a snapshot of a transformers model

    Raises
    ------
    WeightsError
        If files are missing, damaged, or of another model.
    """
    for name in (*_SAFETENSORS, "pytorch_model.bin"):
        if (folder / name).is_file():
            return _from_transformers(folder, name)
    if (folder / "model.bin").is_file():
        return _from_ct2(folder)
    raise WeightsError(
        f"{folder}: neither model.bin nor model.safetensors, expected a Whisper model", hint=_HINT
    )


def alignment_heads(folder: Path) -> tuple[tuple[int, int], ...]:
    """Give ``WhisperWeights.alignment_heads`` without loading the weights.

    Raises
    ------
    WeightsError
        If there is no configuration beside the weights.
    """
    generation = _json(folder / "generation_config.json", needed=False)
    return _pairs((_json(folder / "config.json") | generation).get("alignment_heads"))


def _from_ct2(folder: Path) -> WhisperWeights:
    path = folder / "model.bin"
    file = read_ct2(path)
    if (file.layout, file.revision) != (_LAYOUT, _REVISION):
        raise WeightsError(
            f"{path}: layout {file.layout} {file.revision}, expected {_LAYOUT} {_REVISION}",
            hint=_HINT,
        )
    try:
        shape = _shape_of(file)
        state = dict(_converted(file, shape))
    except (KeyError, RuntimeError, IndexError) as error:
        raise WeightsError(
            f"{path}: not a whole Whisper model ({error})", hint=_DAMAGED_HINT
        ) from error
    config = _json(folder / "config.json")
    return WhisperWeights(
        shape,
        state,
        suppress=tuple(config.get("suppress_ids") or ()),
        suppress_first=tuple(config.get("suppress_ids_begin") or ()),
        alignment_heads=_pairs(config.get("alignment_heads")),
    )


def _shape_of(file: Ct2File) -> WhisperShape:
    def size(name: str, axis: int = 0) -> int:
        return int(file.variables[name].shape[axis])

    def layers(side: str) -> int:
        starts = {name.split("/")[1] for name in file.variables if name.startswith(f"{side}/layer")}
        return len(starts - {"layer_norm"})

    return WhisperShape(
        num_mel_bins=size("encoder/conv1/weight", 1),
        d_model=size("encoder/conv1/weight"),
        encoder_layers=layers("encoder"),
        decoder_layers=layers("decoder"),
        encoder_attention_heads=int(file.variables["encoder/num_heads"]),
        decoder_attention_heads=int(file.variables["decoder/num_heads"]),
        encoder_ffn_dim=size("encoder/layer_0/ffn/linear_0/bias"),
        decoder_ffn_dim=size("decoder/layer_0/ffn/linear_0/bias"),
        vocab_size=size("decoder/embeddings/weight"),
        max_source_positions=size("encoder/position_encodings/encodings"),
        max_target_positions=size("decoder/position_encodings/encodings"),
    )


def _converted(file: Ct2File, shape: WhisperShape) -> Iterator[tuple[str, Tensor]]:
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            yield f"model.encoder.{conv}.{part}", file.real(f"encoder/{conv}/{part}")
    yield "model.decoder.embed_tokens.weight", file.real("decoder/embeddings/weight")
    for side, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        positions = file.real(f"{side}/position_encodings/encodings")
        yield f"model.{side}.embed_positions.weight", positions
        yield from _norm(file, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(layers):
            yield from _layer(file, f"{side}/layer_{layer}", f"model.{side}.layers.{layer}", side)


def _layer(file: Ct2File, there: str, here: str, side: str) -> Iterator[tuple[str, Tensor]]:
    for ours, theirs in _BLOCKS[side].items():
        yield from _norm(file, f"{there}/{theirs}/layer_norm", f"{here}.{ours}_layer_norm")
        yield from _attention(file, f"{there}/{theirs}", f"{here}.{ours}")
    yield from _norm(file, f"{there}/ffn/layer_norm", f"{here}.final_layer_norm")
    for number in (1, 2):
        for part in ("weight", "bias"):
            yield f"{here}.fc{number}.{part}", file.real(f"{there}/ffn/linear_{number - 1}/{part}")


def _norm(file: Ct2File, there: str, here: str) -> Iterator[tuple[str, Tensor]]:
    yield f"{here}.weight", file.real(f"{there}/gamma")
    yield f"{here}.bias", file.real(f"{there}/beta")


def _attention(file: Ct2File, there: str, here: str) -> Iterator[tuple[str, Tensor]]:
    """Take apart what CTranslate2 joins: query, key and value, or key and value across."""
    joined = [("q_proj", "k_proj", "v_proj"), ("out_proj",)]
    if here.endswith("encoder_attn"):
        joined = [("q_proj",), ("k_proj", "v_proj"), ("out_proj",)]
    for number, names in enumerate(joined):
        weights = file.real(f"{there}/linear_{number}/weight").chunk(len(names))
        biases = file.real(f"{there}/linear_{number}/bias").chunk(len(names))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            yield f"{here}.{name}.weight", weight
            # Whisper's keys have no bias; the joined one holds zeros there
            if name != "k_proj":
                yield f"{here}.{name}.bias", bias


_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")


def _from_transformers(folder: Path, name: str) -> WhisperWeights:
    config = _json(folder / "config.json")
    generation = config | _json(folder / "generation_config.json", needed=False)
    if config.get("model_type") != "whisper":
        found = config.get("model_type")
        raise WeightsError(f"{folder}: a model of type {found}, expected whisper", hint=_HINT)
    try:
        shape = WhisperShape(**{key: int(config[key]) for key in WhisperShape.__slots__})
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / 'config.json'}: {error}, expected the sizes of a Whisper model", hint=_HINT
        ) from error
    state = {key: value.float() for key, value in _tensors(folder, name).items()}
    state.pop("proj_out.weight", None)
    return WhisperWeights(
        shape,
        state,
        suppress=tuple(generation.get("suppress_tokens") or ()),
        suppress_first=tuple(generation.get("begin_suppress_tokens") or ()),
        alignment_heads=_pairs(generation.get("alignment_heads")),
    )


def _tensors(folder: Path, name: str) -> Mapping[str, Tensor]:
    if name == "pytorch_model.bin":
        state: dict[str, Tensor] = load_checkpoint(folder / name, allowed=())["state_dict"]
        return state
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = [name]
    if name.endswith(".json"):
        files = sorted(set(_json(folder / name).get("weight_map", {}).values()))
    made: dict[str, Tensor] = {}
    for file in files:
        try:
            # a name in the index must not lead out of the folder
            made |= load_file(folder / Path(file).name)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{folder / file}: {error}", hint=_DAMAGED_HINT) from error
    return made


def _json(path: Path, *, needed: bool = True) -> dict[str, Any]:
    if not needed and not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}", hint=_DAMAGED_HINT) from error
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON: {error}", hint=_DAMAGED_HINT) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: expected a mapping", hint=_DAMAGED_HINT)
    return found


def _pairs(found: Any) -> tuple[tuple[int, int], ...]:  # noqa: ANN401 - JSON of any shape
    return tuple((int(layer), int(head)) for layer, head in found or ())
