"""Joint checkpoints on disk: read whole, or refused; and written.

    config.json  tokenizer files  digit_embeddings.pt  projectors.pt
    audio_encoder/  voice_encoder/  llm/

That is the published layout. A file ``model.pt`` or ``model.safetensors`` beside them may hold any
of the parts as well; the parts' own files win. Where the original goes on with random numbers,
this raises an error. What this project writes has the same layout, but for two things: what was
trained is in projectors.safetensors, and what the catalogue has is named in config.json and left
out. Often that leaves

    config.json  projectors.safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from meetscribe.errors import ModelError, OutputError
from meetscribe.files import write_atomic
from meetscribe.joint import lora
from meetscribe.joint.config import JointConfig, Stream
from meetscribe.joint.encoders import as_config
from meetscribe.joint.llm import digit_embeddings, load_llm, plain_config, save_llm
from meetscribe.joint.model import JointModel
from meetscribe.joint.parts import LlmSource, build_parts, is_empty, llm_source
from meetscribe.joint.projector import Projector
from meetscribe.joint.prompt import Chat
from meetscribe.joint.tensor_files import check, fill, read_digits, read_json, write_digits
from meetscribe.joint.weight_files import COMPOSITES, PROJECTORS, WeightFiles

_SUFFIXES = (".pt", ".safetensors")


def load(
    path: Path,
    *,
    device: str = "cpu",
    llm_dtype: torch.dtype | None = None,
    merge_lora: bool = True,
    offline: bool = False,
) -> JointModel:
    """Load a joint model for inference; nothing of it asks for a gradient.

    Parameters
    ----------
    path : folder of a checkpoint, or a weight file in one
    device : as torch names it
    llm_dtype : number format of the language model; by default ``dtype_for(device)``
    merge_lora : make changes to the language model part of it, which is faster; False to go on
        training them, or to save them
    offline : fetch nothing of what the catalogue has

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
    source = llm_source(config, folder, offline=offline)
    chat = _chat(config, source)
    digits_kd = None
    if config.anchored and config.llm is None:
        digits_kd = read_digits(folder / "digit_embeddings.pt", source.hidden)
    parts = build_parts(config, source.hidden, offline=offline)
    files = WeightFiles.of(folder, composite_file)
    for name, part in parts.items():
        if is_empty(part):
            fill(part, *files.of_part(name))
    llm = files.llm(source, llm_dtype or dtype_for(device))
    if config.anchored and config.llm is not None:
        digits_kd = digit_embeddings(llm, source.tokenizer)
    files.fill_lora(llm, config)
    if merge_lora:
        lora.merge(llm)
    return _assembled(config, parts, llm, chat, digits_kd).to(device)


def new(
    config: JointConfig,
    *,
    device: str = "cpu",
    llm_dtype: torch.dtype | None = None,
    seed: int = 0,
    offline: bool = False,
) -> JointModel:
    """Make a model to be trained, of what the catalogue has.

    Projectors are random, changes to the language model are none yet. Nothing asks for a
    gradient: turn it on for what is to be trained, see ``JointModel.learned``.

    Parameters
    ----------
    device, llm_dtype, offline : as of ``load``
    seed : of the random numbers; torch's own generator is left as it was

    Raises
    ------
    ModelError
        If an encoder or the language model is not one of the catalogue, or cannot be had.
    """
    source = llm_source(config, None, offline=offline)
    chat = _chat(config, source)
    parts = build_parts(config, source.hidden, offline=offline)
    llm = load_llm(source.folder, dtype=llm_dtype or dtype_for(device), config=source.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, part in parts.items():
            if isinstance(part, Projector):
                part.start()
            elif is_empty(part):
                raise ModelError(
                    f"joint: {name}_config: no weights of the catalogue are named",
                    hint="see `meetscribe models list`",
                )
        if config.llm_lora is not None:
            lora.add(llm, config.llm_lora)
    digits_kd = digit_embeddings(llm, source.tokenizer) if config.anchored else None
    return _assembled(config, parts, llm, chat, digits_kd).to(device)


def save(
    model: JointModel,
    config: JointConfig,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint: what was trained, and whatever else the catalogue has not.

    Parameters
    ----------
    model : with its changes to the language model not merged
    config : that it was made with; if it states no ``llm_config``, the file will
    folder : made if it is not there; files of an earlier checkpoint are replaced
    dtype : number format of what was trained; float16 halves the file, and is read as float32

    Raises
    ------
    ModelError
        If the model is not the one that the configuration describes.
    OutputError
        If the folder cannot be written.
    """
    from safetensors.torch import save as packed

    learned = model.learned
    stated = {name.partition(".")[0] for name in learned} - {lora.PREFIX.rstrip(".")}
    if stated != set(config.projectors) or bool(config.llm_lora) != bool(lora.weights(model.llm)):
        raise ModelError(
            "joint: the model is not the one that its configuration describes",
            hint="save with the configuration it was made with; load with merge_lora=False",
        )
    own = [stream.encoder for stream in config.streams if _in_folder(config, stream)]
    tensors = {name: value.detach().to("cpu", dtype) for name, value in learned.items()}
    contents: dict[Path, str | bytes] = {folder / PROJECTORS[0]: packed(_whole(tensors))}
    for name in own:
        state = model.get_submodule(name).state_dict()
        contents[folder / name / "model.safetensors"] = packed(_whole(state))
    # defaults too: they may change one day, and the checkpoint must not
    about = config.model_dump(mode="json", exclude_none=True)
    about["llm_config"] = about["llm_config"] or plain_config(model.llm)
    contents[folder / "config.json"] = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    try:
        for path in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if config.llm is None:
            save_llm(folder / "llm", model.llm, lora.plain_state(model.llm))
            model.chat.tokenizer.save_pretrained(folder)
            if model.digits_kd is not None:
                write_digits(folder / "digit_embeddings.pt", model.digits_kd)
        # config.json comes last: a folder without it is no checkpoint
        write_atomic(contents)
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}",
            hint="name a folder that can be written",
        ) from error


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors takes neither views nor two names of the same memory
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _in_folder(config: JointConfig, stream: Stream) -> bool:
    """Tell whether a checkpoint's folder holds the encoder of a stream."""
    return not config.encoder_config(stream).get("weights") and not stream.array


def restore(model: JointModel, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Give a model what was trained before, in place.

    Parameters
    ----------
    tensors : by the names of ``JointModel.learned``

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or of another shape.
    """
    learned = model.learned
    check(tensors, learned, where)
    with torch.no_grad():
        for name, weight in learned.items():
            weight.copy_(tensors[name])


def missing_parts(folder: Path, config: JointConfig) -> list[str]:
    """Name the parts that a checkpoint's folder lacks, by looking at names only."""
    if any((folder / name).is_file() for name in COMPOSITES):
        return []
    trained = any((folder / name).is_file() for name in PROJECTORS)
    missing = [] if trained else [PROJECTORS[0] if config.catalogue else PROJECTORS[1]]
    own = [stream.encoder for stream in config.streams if _in_folder(config, stream)]
    own += ["llm"] if config.llm is None else []
    return missing + [name for name in own if not (folder / name).exists()]


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
    mapping = read_json(path)
    kind = mapping.get("model_type", "")
    if kind not in {"tagspeech", "tagspeech-base"}:
        raise ModelError(
            f"{path}: model_type '{kind}', expected 'tagspeech' or 'tagspeech-base'",
            hint="name the folder of a joint model",
        )
    return as_config(JointConfig, mapping, str(path))


def _chat(config: JointConfig, source: LlmSource) -> Chat:
    return Chat(source.tokenizer, audio_token=config.audio_token, tags=config.tags)


def _assembled(
    config: JointConfig,
    parts: Mapping[str, nn.Module],
    llm: nn.Module,
    chat: Chat,
    digits_kd: Tensor | None,
) -> JointModel:
    model = JointModel(
        config.streams,
        parts,
        llm,
        chat,
        digits_kd=digits_kd,
        ends=config.insert_anchors_at_ends,
        stream_layout=config.stream_layout,
    )
    return model.requires_grad_(requires_grad=False).eval()
