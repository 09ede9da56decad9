"""Low-rank changes to the linear layers of a frozen language model.

Notes
-----
Hu et al. 2021, arXiv 2106.09685; as in ``meetscribe.onestage.lora``, for any model of transformers
and any number format of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.errors import ModelError
from meetscribe.joint.config import LlmLora
from meetscribe.onestage.lora import LoraLinear

PREFIX = "llm_lora."
"""What the names of these weights begin with in files."""


class LlmLoraLinear(LoraLinear):
    """A linear layer in any number format, and its change in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Give the plain map of ``x`` and the change, together, in the format of ``x``."""
        low = F.linear(x.to(self.down.dtype), self.down)
        made: Tensor = self.plain(x) + (self.scale * F.linear(low, self.up)).to(x.dtype)
        return made

    def merged(self) -> nn.Linear:
        """Give the plain layer, changed; it keeps its number format."""
        weight = self.plain.weight
        change = self.scale * self.up @ self.down
        weight.data = (weight.float() + change).to(weight.dtype)
        return self.plain


def add(llm: nn.Module, settings: LlmLora) -> None:
    """Put changes beside all layers named; they begin as no change.

    Raises
    ------
    ModelError
        If the model has no such layer.
    """
    found = [
        name
        for name, module in llm.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in settings.layers
    ]
    missing = set(settings.layers) - {name.rpartition(".")[2] for name in found}
    if missing:
        raise ModelError(
            f"llm_lora.layers: the language model has no linear layer '{min(missing)}'",
            hint="name the last part of layers' names, as in its file of weights",
        )
    for name in found:
        plain = cast("nn.Linear", llm.get_submodule(name))
        changed = LlmLoraLinear(plain, rank=settings.rank, alpha=settings.alpha)
        _put(llm, name, changed.to(plain.weight.device))


def weights(llm: nn.Module) -> dict[str, nn.Parameter]:
    """Give all changes under the names that they have in files."""
    return {
        f"{PREFIX}{name}.{part}": getattr(layer, part)
        for name, layer in _changed(llm)
        for part in ("down", "up")
    }


def merge(llm: nn.Module) -> None:
    """Make the changes part of the layers: faster, but they can no longer be told apart."""
    with torch.no_grad():
        for name, layer in list(_changed(llm)):
            _put(llm, name, layer.merged())


def plain_state(llm: nn.Module) -> dict[str, Tensor]:
    """Give the weights of the language model as they are without changes, under its own names."""
    changes = {name for key in weights(llm) for name in (key.removeprefix(PREFIX),)}
    layers = [name for name, _ in _changed(llm)]
    renamed = {f"{name}.plain.": f"{name}." for name in layers}
    made = {}
    for key, value in llm.state_dict().items():
        if key not in changes:
            head = next((start for start in renamed if key.startswith(start)), "")
            made[renamed.get(head, "") + key.removeprefix(head)] = value
    return made


def _changed(llm: nn.Module) -> Iterator[tuple[str, LlmLoraLinear]]:
    for name, module in llm.named_modules():
        if isinstance(module, LlmLoraLinear):
            yield name, module


def _put(llm: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(llm.get_submodule(parent), child, module)
