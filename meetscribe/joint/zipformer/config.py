"""The numbers that make a Zipformer, as a checkpoint's config.json states them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from meetscribe.config import Settings

PerStack = PositiveInt | tuple[PositiveInt, ...]
"""One number for all stacks, as such or as a list of one, or a number for each."""


@dataclass(frozen=True, slots=True)
class StackShape:
    """The sizes of one stack."""

    layers: int
    factor: int
    dim: int
    feedforward_dim: int
    heads: int
    query_dim: int
    value_dim: int
    pos_head_dim: int
    pos_dim: int
    kernel: int
    causal: bool


class ZipformerConfig(Settings):
    """Sizes of the encoder; the fields that only concern its training are ignored.

    Parameters
    ----------
    chunk_size, left_context_frames : frames at 50 Hz, -1 for no limit; only if ``causal``. The
        original draws one of each list at every call; here the last one holds.
    """

    # published files carry what only their training used
    model_config = ConfigDict(extra="ignore")

    model_type: Literal["zipformer"] = "zipformer"
    feature_dim: int = Field(default=80, ge=15)
    output_downsampling_factor: Literal[2] = 2
    num_encoder_layers: tuple[PositiveInt, ...] = (2, 2, 4, 5, 4, 2)
    downsampling_factor: PerStack = (1, 2, 4, 8, 4, 2)
    encoder_dim: PerStack = (192, 256, 512, 768, 512, 256)
    feedforward_dim: PerStack = (576, 768, 1536, 2304, 1536, 768)
    num_heads: PerStack = (4, 4, 4, 8, 4, 4)
    query_head_dim: PerStack = 32
    value_head_dim: PerStack = 12
    pos_head_dim: PerStack = 4
    pos_dim: int = Field(default=48, ge=2, multiple_of=2)
    cnn_module_kernel: PerStack = (31, 31, 15, 15, 15, 31)
    causal: bool = False
    chunk_size: tuple[int, ...] = (-1,)
    left_context_frames: tuple[int, ...] = (-1,)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shapes = self.stacks
        if any(shape.kernel % 2 == 0 for shape in shapes):
            raise ValueError(f"cnn_module_kernel {self.cnn_module_kernel} must be odd")
        if self.causal:
            chunk, factors = self.chunk, [shape.factor for shape in shapes]
            if chunk != -1 and (chunk < 1 or any(chunk % factor for factor in factors)):
                raise ValueError(f"chunk_size {chunk} must be a multiple of all of {factors}")
        return self

    @property
    def chunk(self) -> int:
        """Frames at 50 Hz that see each other; -1 for all."""
        return self.chunk_size[-1] if self.causal and self.chunk_size else -1

    @property
    def left_context(self) -> int:
        """Frames at 50 Hz that are seen before the chunk; -1 for all."""
        return self.left_context_frames[-1] if self.left_context_frames else -1

    @property
    def stacks(self) -> tuple[StackShape, ...]:
        """The sizes stack by stack."""
        return tuple(
            StackShape(
                layers=layers,
                factor=self._of("downsampling_factor", index),
                dim=self._of("encoder_dim", index),
                feedforward_dim=self._of("feedforward_dim", index),
                heads=self._of("num_heads", index),
                query_dim=self._of("query_head_dim", index),
                value_dim=self._of("value_head_dim", index),
                pos_head_dim=self._of("pos_head_dim", index),
                pos_dim=self.pos_dim,
                kernel=self._of("cnn_module_kernel", index),
                causal=self.causal,
            )
            for index, layers in enumerate(self.num_encoder_layers)
        )

    def _of(self, name: str, index: int) -> int:
        value: int | tuple[int, ...] = getattr(self, name)
        if isinstance(value, int):
            return value
        if len(value) not in {1, len(self.num_encoder_layers)}:
            raise ValueError(
                f"{name}: {len(value)} numbers for {len(self.num_encoder_layers)} stacks"
            )
        return value[index if len(value) > 1 else 0]
