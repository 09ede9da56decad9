"""The target-speaker recogniser: a frozen Whisper, conditioning, low-rank changes.

The embedding itself comes from elsewhere (``SpatialEmb``): anything that gives one vector per
20 ms will do.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature, L token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from meetscribe.errors import WeightsError
from meetscribe.models.whisper_weights import load_whisper
from meetscribe.onestage.conditioning import Conditioning
from meetscribe.onestage.lora import add_lora, merge_lora
from meetscribe.onestage.settings import TargetWhisperSettings
from meetscribe.onestage.tokens import Vocabulary, load_vocabulary
from meetscribe.onestage.whisper import Whisper, make_whisper


class TargetWhisper(nn.Module):
    """Whisper that can be told whom to listen to.

    Without an embedding it is plain Whisper, and with any embedding too until it was trained.
    """

    def __init__(self, whisper: Whisper, settings: TargetWhisperSettings) -> None:
        super().__init__()
        shape = whisper.shape
        self.settings = settings
        self.whisper = whisper.requires_grad_(requires_grad=False)
        self.conditioning = Conditioning(
            settings.conditioning, width=shape.d_model, num_layers=shape.encoder_layers
        )
        add_lora(whisper, settings.lora)

    @classmethod
    def load(cls, folder: Path, settings: TargetWhisperSettings) -> tuple[Self, Vocabulary]:
        """Make it from a folder of Whisper weights in either layout, untrained.

        Raises
        ------
        WeightsError
            If files are missing, damaged, or of another model.
        """
        weights = load_whisper(folder)
        network = make_whisper(weights, where=str(folder))
        return cls(network, settings), load_vocabulary(folder, weights)

    def encode(
        self,
        mel_bft: Tensor,
        embedding_bsd: Tensor | None = None,
        steps: list[int] | None = None,
    ) -> Tensor:
        """Encode a batch, conditioned by the embedding if there is one.

        Parameters
        ----------
        mel_bft : float, shape (B, F, T), as ``log_mel`` gives it, zeros after the end of items
        embedding_bsd : float, shape (B, S, D), S = T / 2; any finite values after the end of items
        steps : true length of each item in frames of 20 ms; None: all are S long

        Returns
        -------
        float, shape (B, S, D of Whisper)
        """
        condition = None if embedding_bsd is None else self.conditioning.prepared(embedding_bsd)
        encoded: Tensor = self.whisper.encoder(mel_bft, steps, condition)
        return encoded

    def forward(
        self,
        mel_bft: Tensor,
        tokens_bl: Tensor,
        embedding_bsd: Tensor | None = None,
        steps: list[int] | None = None,
    ) -> Tensor:
        """Give the scores of the token after each of ``tokens_bl``, (B, L, V), for training.

        Texts of different length are filled at their end; leave what follows out of the loss.
        """
        decoder = self.whisper.decoder
        memory = decoder.begin(self.encode(mel_bft, embedding_bsd, steps), steps)
        return decoder.logits(decoder(tokens_bl, memory))

    def trainable(self) -> dict[str, nn.Parameter]:
        """Give what learns, by name: the conditioning and the low-rank changes."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def adapter(self) -> dict[str, Tensor]:
        """Give the values of what learns, for a file; a copy on the CPU."""
        return {name: one.detach().cpu().clone() for name, one in self.trainable().items()}

    def load_adapter(self, state: Mapping[str, Tensor], *, where: str) -> None:
        """Take over what ``adapter`` gave.

        Raises
        ------
        WeightsError
            If a tensor is missing, superfluous or of another shape.
        """
        take_over(self.trainable(), state, where=where)

    def for_decoding(self) -> Self:
        """Make the low-rank changes part of the weights, for good; it can no longer be trained."""
        merge_lora(self.whisper)
        return self.eval().requires_grad_(requires_grad=False)


def take_over(own: Mapping[str, nn.Parameter], given: Mapping[str, Tensor], *, where: str) -> None:
    """Copy values into parameters of the same names.

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or of another shape.
    """
    wrong = sorted(own.keys() ^ given.keys()) or sorted(
        name for name, one in own.items() if one.shape != given[name].shape
    )
    if wrong:
        raise WeightsError(
            f"{where}: {wrong[0]} does not fit these settings",
            hint="use the settings that came with the weights",
        )
    for name, one in own.items():
        one.data.copy_(given[name])
