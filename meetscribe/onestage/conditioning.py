"""How the embedding of space and target enters Whisper's encoder, through paths that start at zero.

At chosen layers, the input of a layer is scaled and shifted by what a linear map makes of the
embedding at the same frame (20 ms), ``h <- h * (1 + g(e)) + b(e)``. Why so:

- The maps start at zero, so that before training the network is plain Whisper, exactly; the
  first step moves the maps, from the second on the embedding learns too. The frozen encoder is
  thus never given an input it has not learnt to read.
- Frame by frame, because who is the target and where somebody else talks changes within a word.
- Scaling beside shifting, because leaving a competitor out is closer to a product than to a sum:
  a shift cannot remove what it does not know.
- After the convolutions, where the encoder's frames begin (50 a second, the rate of the
  embedding), and again later: what was suppressed comes back through the residual path.

Axes: B batch, S frame of the encoder, D feature.

Notes
-----
Zero-initialised paths into a frozen network: Zhang et al. 2023, arXiv 2302.05543. Scale and shift:
Perez et al. 2018, arXiv 1709.07871. Per frame and layer inside Whisper's encoder for target
speakers: Polok et al. 2024, arXiv 2501.00114.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from meetscribe.errors import ConfigError, ShapeError
from meetscribe.onestage.settings import ConditioningSettings


class Conditioning(nn.Module):
    """The paths from the embedding into the layers of an encoder.

    Parameters
    ----------
    settings : width of the embedding, and the layers
    width : of the encoder
    num_layers : of the encoder

    Raises
    ------
    ConfigError
        If the encoder has no such layer.
    """

    def __init__(self, settings: ConditioningSettings, *, width: int, num_layers: int) -> None:
        super().__init__()
        wrong = [layer for layer in settings.layers if not 0 <= layer < num_layers]
        if wrong:
            raise ConfigError(
                f"conditioning.layers: {wrong[0]}, but this encoder has layers 0 to "
                f"{num_layers - 1}",
                hint="choose other layers, or a larger Whisper",
            )
        # whatever scale the embedding learns, the maps see the same one
        self.norm = nn.LayerNorm(settings.width)
        self.paths = nn.ModuleDict(
            {str(layer): _zero(settings.width, 2 * width) for layer in sorted(set(settings.layers))}
        )

    def prepared(self, embedding_bsd: Tensor) -> Prepared:
        """Give what ``Encoder`` takes as ``condition``, for one batch."""
        return Prepared(self, cast("Tensor", self.norm(embedding_bsd)))


class Prepared:
    """Conditioning of one batch by its embedding."""

    def __init__(self, conditioning: Conditioning, normed_bsd: Tensor) -> None:
        self._paths = conditioning.paths
        self._normed_bsd = normed_bsd

    def __call__(self, layer: int, hidden: Tensor) -> Tensor:
        """Scale and shift the input (B, S, D) of a layer, where there is a path to it.

        Raises
        ------
        ShapeError
            If the embedding has another batch or length.
        """
        if str(layer) not in self._paths:
            return hidden
        if self._normed_bsd.shape[:2] != hidden.shape[:2]:
            raise ShapeError(
                f"embedding of shape {tuple(self._normed_bsd.shape)}; expected one vector for "
                f"each of the {tuple(hidden.shape[:2])} (items, frames of 20 ms)"
            )
        scale, shift = self._paths[str(layer)](self._normed_bsd).chunk(2, dim=-1)
        made: Tensor = hidden * (1.0 + scale) + shift
        return made


def _zero(inputs: int, outputs: int) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        nn.init.zeros_(made.weight)
        nn.init.zeros_(made.bias)
    return made
