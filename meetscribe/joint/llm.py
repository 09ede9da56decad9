"""The language model and its tokenizer, from a folder of transformers or a GGUF file."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import DependencyError, ModelError, WeightsError
from meetscribe.models.torchaudio_import import ensure_importable

if TYPE_CHECKING:
    import torch

_HINT = "fetch the model's folder again; config.json and weights must describe the same model"


def llm_config(mapping: Mapping[str, Any], *, where: str) -> Any:  # noqa: ANN401 - of transformers
    """Make a transformers configuration of what a config.json states.

    Raises
    ------
    ModelError
        If this transformers knows no such model.
    """
    from transformers import AutoConfig

    values = {key: value for key, value in mapping.items() if key != "model_type"}
    try:
        return AutoConfig.for_model(mapping["model_type"], **values)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{where}: llm_config: transformers knows no model like "
            f"'{mapping.get('model_type', '')}': {_first_line(error)}",
            hint="a newer transformers may know it",
        ) from error


def read_llm_config(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Read the configuration of a language model's folder.

    Raises
    ------
    WeightsError
        If there is none.
    """
    from transformers import AutoConfig

    source = _gguf(folder, unless="*.safetensors")
    ensure_importable()
    try:
        with _quietly():
            return AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **source
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise WeightsError(
            f"{folder}: no configuration of a language model: {_first_line(error)}", hint=_HINT
        ) from error


def digit_embeddings(llm: Any, tokenizer: Any) -> torch.Tensor:  # noqa: ANN401 - of transformers
    """Give the embeddings of the ten digits: float32, shape (10, hidden), in order.

    Raises
    ------
    ModelError
        If a digit is not one token.
    """
    found = [tokenizer(str(digit), add_special_tokens=False)["input_ids"] for digit in range(10)]
    if any(len(ids) != 1 for ids in found):
        raise ModelError(
            "tokenizer: not every digit is one token of it, as anchors need",
            hint="use another language model, or model_type 'tagspeech-base', without anchors",
        )
    table: torch.Tensor = llm.get_input_embeddings().weight.detach()
    return table[[ids[0] for ids in found]].float()


def load_llm(folder: Path, *, dtype: torch.dtype, config: Any = None) -> Any:  # noqa: ANN401
    """Load a language model onto the CPU, frozen and in evaluation mode.

    Parameters
    ----------
    folder : as transformers writes it, or with one ``.gguf`` file in it
    config : of transformers; the folder's own by default

    Raises
    ------
    WeightsError
        If files are missing or damaged, or do not hold exactly this model's weights.
    DependencyError
        If a library for GGUF is missing.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM  # its types say less than it gives
    if not folder.is_dir():
        raise WeightsError(f"{folder}: not found, expected a language model's folder", hint=_HINT)
    source = _gguf(folder, unless="*.safetensors")
    ensure_importable()
    try:
        with _quietly():
            llm, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **source,
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise WeightsError(
            f"{folder}: not a language model that can be loaded: {_first_line(error)}", hint=_HINT
        ) from error
    # transformers fills what is missing with random numbers, and only warns
    missing = sorted(report["missing_keys"])
    if missing:
        raise WeightsError(
            f"{folder}: {len(missing)} weights missing, the first is '{missing[0]}'", hint=_HINT
        )
    return _frozen(llm)


def new_llm(config: Any, *, dtype: torch.dtype) -> Any:  # noqa: ANN401 - of transformers
    """Make a language model with random weights, frozen and in evaluation mode.

    Inside ``torch.device("meta")`` it takes no memory.
    """
    from transformers import AutoModelForCausalLM

    ensure_importable()
    auto: Any = AutoModelForCausalLM
    return _frozen(auto.from_config(config, dtype=dtype))


def plain_config(llm: Any) -> dict[str, Any]:  # noqa: ANN401 - of transformers
    """Give the configuration of a language model as a config.json states it."""
    text: str = llm.config.to_json_string(use_diff=True)
    stated: dict[str, Any] = json.loads(text)
    # how it was stored and by whom says nothing about the model
    for name in ("quantization_config", "transformers_version", "dtype", "_name_or_path"):
        stated.pop(name, None)
    return {"model_type": llm.config.model_type, **stated}


def save_llm(folder: Path, llm: Any, state: Mapping[str, torch.Tensor]) -> None:  # noqa: ANN401
    """Write a language model with these weights, as transformers does."""
    with _quietly():
        llm.save_pretrained(folder, state_dict=dict(state))


def _frozen(llm: Any) -> Any:  # noqa: ANN401 - of transformers
    """Take a language model out of training, and its advice on sampling away from it."""
    from transformers import GenerationConfig

    # repetition penalties, temperatures and further ends would change the transcript
    llm.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    return llm.requires_grad_(requires_grad=False).eval()


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Load the tokenizer that lies in a folder, in files of its own or in a ``.gguf`` file.

    Raises
    ------
    WeightsError
        If there is none.
    """
    from transformers import AutoTokenizer

    source = _gguf(folder, unless="tokenizer*.json")
    ensure_importable()
    try:
        with _quietly():
            return AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **source
            )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise WeightsError(
            f"{folder}: no tokenizer that can be loaded: {_first_line(error)}",
            hint="expected tokenizer.json and tokenizer_config.json there",
        ) from error


def with_audio_token(tokenizer: Any, audio_token: str) -> Any:  # noqa: ANN401 - of transformers
    """Give a language model's own tokenizer with the audio token, special and last."""
    from transformers import AddedToken

    if audio_token not in tokenizer.get_vocab():
        token = AddedToken(audio_token, special=True, normalized=False)
        tokenizer.add_tokens([token], special_tokens=True)
    return tokenizer


def _gguf(folder: Path, *, unless: str) -> dict[str, str]:
    """Tell transformers of a GGUF file, where a folder has one and no file like ``unless``."""
    found = sorted(folder.glob("*.gguf"))
    if not found or any(folder.glob(unless)):
        return {}
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{found[0]}: a GGUF file needs the library '{missing[0]}', which is not installed",
            hint="pip install 'meetscribe[joint]'",
        )
    return {"gguf_file": found[0].name}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from drawing a progress bar and from printing advice."""
    from transformers.utils import logging as module

    logging: Any = module  # untyped

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    # its table of missing weights comes back as an error of ours
    logging.set_verbosity_error()
    try:
        # another bar, over a GGUF file's tensors, cannot be switched off
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
