"""Which file of a checkpoint's folder holds the weights of which part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meetscribe.errors import WeightsError
from meetscribe.joint import lora
from meetscribe.joint.config import JointConfig
from meetscribe.joint.llm import load_llm, new_llm
from meetscribe.joint.parts import LlmSource
from meetscribe.joint.tensor_files import (
    HINT,
    check,
    read_encoder,
    read_tensors,
    with_prefix,
)

COMPOSITES = ("model.pt", "model.safetensors")
"""Files that may hold any parts."""
PROJECTORS = ("projectors.safetensors", "projectors.pt")
"""Files of what was trained: as this project writes it, as published."""
_ENCODER_FILES = (
    "pretrained.safetensors",
    "model.safetensors",
    "pretrained.pt",
    "model.pt",
)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The weight files of a checkpoint.

    ``composite`` are tensors of any parts, ``learned`` those of the file ``learned_file``.
    """

    folder: Path
    composite: Mapping[str, Tensor]
    learned: Mapping[str, Tensor]
    learned_file: Path

    @classmethod
    def of(cls, folder: Path, composite_file: Path | None) -> WeightFiles:
        """Find them, and read those that hold several parts."""
        file = composite_file or next(
            (folder / name for name in COMPOSITES if (folder / name).is_file()), None
        )
        found = next((folder / name for name in PROJECTORS if (folder / name).is_file()), None)
        return cls(
            folder,
            read_tensors(file) if file else {},
            read_tensors(found) if found else {},
            found or folder / PROJECTORS[1],
        )

    def of_part(self, name: str) -> tuple[dict[str, Tensor], str]:
        """Give one part's tensors under its own names, and where they were found."""
        if name.endswith("_projector"):
            places, file = self.learned_file.name, self.learned_file
            own = with_prefix(self.learned, f"{name}.")
        else:
            places, inside = f"{name}/", self.folder / name
            found = [inside / file for file in _ENCODER_FILES if (inside / file).is_file()]
            file = found[0] if found else self.folder
            own = read_encoder(file) if found else {}
        if own:
            return own, str(file)
        own = with_prefix(self.composite, f"{name}.")
        if not own:
            raise WeightsError(
                f"{self.folder}: no weights of '{name}', expected them in {places} or "
                f"{' or '.join(COMPOSITES)}",
                hint=HINT,
            )
        return own, str(self.folder)

    def llm(self, source: LlmSource, dtype: torch.dtype) -> Any:  # noqa: ANN401 - of transformers
        """Load the language model, of its folder or of the composite file."""
        tensors = with_prefix(self.composite, "llm.")
        if source.folder.is_dir() or not tensors:
            return load_llm(source.folder, dtype=dtype, config=source.config)
        llm = new_llm(source.config, dtype=dtype)
        tied = getattr(llm, "_tied_weights_keys", None) or ()
        check(tensors, llm.state_dict(), str(self.folder), optional=tied)
        llm.load_state_dict(tensors, strict=False)
        return llm

    def fill_lora(self, llm: nn.Module, config: JointConfig) -> None:
        """Add the changes to the language model that were trained."""
        own = {key: value for key, value in self.learned.items() if key.startswith(lora.PREFIX)}
        if config.llm_lora is not None:
            # they begin with random numbers, which are not worth a change of the generator
            with torch.random.fork_rng(devices=[]):
                lora.add(llm, config.llm_lora)
        weights = lora.weights(llm)
        check(own, weights, str(self.learned_file))
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(own[name])
