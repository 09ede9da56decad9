"""SpatialEmb and the recogniser as one network, and the file that holds what it learnt.

    adapter.safetensors     SpatialEmb, correction of the mel, conditioning, low-rank changes;
                            float16, with the settings inside
    README.md               the model card, written by whoever trained it

Whisper itself is no part of it: it is loaded from its own weights.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature, L token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from meetscribe.config import build
from meetscribe.errors import ShapeError, WeightsError
from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.onestage.front_end import Hearing
from meetscribe.onestage.model import TargetWhisper, take_over
from meetscribe.onestage.tokens import Vocabulary
from meetscribe.spatial.embedding import SpatialEmb
from meetscribe.spatial.embedding_inputs import SpatialPlanes, join

FILE = "adapter.safetensors"
_KEY = "meetscribe"
_SCHEMA = 1
_EMBEDDING, _TARGET, _CORRECTION = "embedding", "target", "correction"


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch of hearings on one device; ``steps`` are true lengths, silence at the end included.

    ``mel_bft`` is zero after the end of items; ``planes`` end earlier, where that silence begins.
    """

    mel_bft: Tensor
    planes: SpatialPlanes
    steps: list[int]


def stack(hearings: Sequence[Hearing]) -> Inputs:
    """Put hearings of any lengths and numbers of channels together.

    Raises
    ------
    ShapeError
        If there is none.
    """
    if not hearings:
        raise ShapeError("recogniser: no hearings, expected at least one")
    longest = max(one.mel_ft.shape[1] for one in hearings)
    mel_bft = torch.stack(
        [nn.functional.pad(one.mel_ft, (0, longest - one.mel_ft.shape[1])) for one in hearings]
    )
    steps = [one.mel_ft.shape[1] // 2 for one in hearings]
    return Inputs(mel_bft, join([one.planes for one in hearings]), steps)


class SpatialWhisper(nn.Module):
    """The whole network: what all microphones hear in, the target's words out.

    Until it is trained it is plain Whisper on the channel that it is given.
    """

    def __init__(
        self, embedding: SpatialEmb, target: TargetWhisper, *, correct_mel: bool = True
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.target = target
        self.correction: nn.Linear | None = None
        if correct_mel:
            # without bias: where there is no embedding nothing is changed
            bins = target.whisper.shape.num_mel_bins
            self.correction = nn.Linear(embedding.settings.width, 2 * bins, bias=False)
            nn.init.zeros_(self.correction.weight)

    @classmethod
    def load(cls, settings: OnestageSettings, whisper: Path) -> tuple[Self, Vocabulary]:
        """Make it from a folder of Whisper weights, untrained; torch's seed says how it begins.

        Raises
        ------
        WeightsError
            If files are missing, damaged, or of another model.
        """
        target, vocabulary = TargetWhisper.load(whisper, settings.recogniser)
        embedding = SpatialEmb(settings.embedding)
        return cls(embedding, target, correct_mel=settings.correct_mel), vocabulary

    def embed(self, planes: SpatialPlanes) -> Tensor:
        """Give the embedding of every item, (B, S, D), zero in padding."""
        made: Tensor = self.embedding(planes)
        return made

    def encode(self, inputs: Inputs) -> Tensor:
        """Give the conditioned encodings, (B, S, D of Whisper)."""
        return self.encode_heard(*self.hear(inputs), inputs.steps)

    def encode_heard(self, mel_bft: Tensor, embedding_bsd: Tensor, steps: list[int]) -> Tensor:
        """Give the conditioned encodings of what ``hear`` gave."""
        return self.target.encode(mel_bft, embedding_bsd, steps)

    def hear(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Give the corrected log-mel (B, F, T), and the embedding (B, S, D), S = T / 2."""
        embedding_bsd = self.embed(inputs.planes)
        # in the silence at the end there is nothing to tell apart
        num_steps = inputs.mel_bft.shape[-1] // 2
        missing = num_steps - embedding_bsd.shape[1]
        embedding_bsd = nn.functional.pad(embedding_bsd, (0, 0, 0, missing))
        mel_bft = inputs.mel_bft
        if self.correction is not None:
            # a vector per 20 ms changes two frames of 10 ms
            change_btf = self.correction(embedding_bsd).unflatten(2, (2, -1)).flatten(1, 2)
            mel_bft = mel_bft + change_btf.mT
        return mel_bft, embedding_bsd

    def logits(self, encoded_bsd: Tensor, tokens_bl: Tensor, steps: list[int]) -> Tensor:
        """Give the scores of the token after each of ``tokens_bl``, (B, L, V)."""
        decoder = self.target.whisper.decoder
        return decoder.logits(decoder(tokens_bl, decoder.begin(encoded_bsd, steps)))

    def trainable(self) -> dict[str, nn.Parameter]:
        """Give what learns, by name."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def beside_whisper(self) -> dict[str, nn.Parameter]:
        """Give what learns and is no part of the recogniser, by its name in the file."""
        own = {f"{_EMBEDDING}.{name}": one for name, one in self.embedding.named_parameters()}
        if self.correction is not None:
            own |= {
                f"{_CORRECTION}.{name}": one for name, one in self.correction.named_parameters()
            }
        return own

    def adapter(self) -> dict[str, Tensor]:
        """Give the values of what learns, for a file; a copy on the CPU."""
        made = {name: one.detach().cpu().clone() for name, one in self.beside_whisper().items()}
        return made | {f"{_TARGET}.{name}": one for name, one in self.target.adapter().items()}


def save_adapter(
    network: SpatialWhisper, settings: OnestageSettings, about: Mapping[str, Any]
) -> bytes:
    """Give the bytes of ``adapter.safetensors``.

    Parameters
    ----------
    about : plain values about the training, to stand beside the settings
    """
    from safetensors.torch import save

    tensors = {name: one.half().contiguous() for name, one in network.adapter().items()}
    told = {"schema": _SCHEMA, "settings": settings.model_dump(mode="json"), "about": dict(about)}
    return bytes(save(tensors, {_KEY: json.dumps(told)}))


def load_adapter(path: Path) -> tuple[OnestageSettings, dict[str, Tensor], dict[str, Any]]:
    """Read an adapter: its settings, its values as float32, and what it tells about itself.

    Parameters
    ----------
    path : the file, or the folder that it lies in

    Raises
    ------
    WeightsError
        If it cannot be read, or is of another version of meetscribe.
    ConfigError
        If its settings are not understood.
    """
    from safetensors import SafetensorError, safe_open

    path = path / FILE if path.is_dir() else path
    hint = "train one with `meetscribe train onestage`, or pull it again"
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})[_KEY])
            # a mapping that names its tensors, but is no mapping
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).float() for name in names}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not an adapter, or damaged ({error})", hint=hint) from error
    if told.get("schema") != _SCHEMA:
        raise WeightsError(
            f"{path}: schema {told.get('schema')}, expected {_SCHEMA}",
            hint="it is of another version of meetscribe",
        )
    # what was filled in when it was written must not be taken for what somebody said
    settings = dict(told["settings"])
    settings["target"] = dict(settings["target"], conditioning=_conditioning(settings))
    return build(OnestageSettings, settings, where=str(path)), tensors, dict(told["about"])


def _conditioning(settings: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(settings["target"]["conditioning"])
    own.pop("width", None)
    return own


def apply_adapter(network: SpatialWhisper, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Take over what ``load_adapter`` gave.

    Raises
    ------
    WeightsError
        If a tensor is missing, superfluous or of another shape.
    """
    start = f"{_TARGET}."
    given = {name: one for name, one in tensors.items() if not name.startswith(start)}
    take_over(network.beside_whisper(), given, where=where)
    rest = {
        name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)
    }
    network.target.load_adapter(rest, where=where)
