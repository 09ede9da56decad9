"""The models of the one-stage engine: found before anything else, loaded once when needed.

The adapter names its Whisper, which is fetched like any other. The same Whisper, as CTranslate2
runs it, hears which language is spoken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.cascade_models import VAD, CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.engine import ModelsBase
from meetscribe.engines.onestage_settings import DEFAULT, OnestageEngineSettings
from meetscribe.engines.run import under_one_name
from meetscribe.errors import ConfigError, NameNotFoundError, WeightsError
from meetscribe.models import describe_model, fetch, is_cached, known, resolve_whisper
from meetscribe.models.cache import sha256_of
from meetscribe.types import AudioReader, Progress, Segment

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.onestage.adapter import SpatialWhisper
    from meetscribe.onestage.adapter_settings import OnestageSettings
    from meetscribe.onestage.tokens import Vocabulary

CARD = "onestage"
"""Name of the default adapter in the catalogue."""
FILE = "adapter.safetensors"
_TRAINED = Path("adapter") / FILE
"""In the folder of a training."""
_HINT = (
    "give the folder of an adapter, as `meetscribe train onestage` makes it: "
    "--model runs/onestage/adapter"
)
_TRANSFORMERS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def resolve_adapter(adapter: str) -> Path:
    """Give the file of an adapter.

    Parameters
    ----------
    adapter : ``default``, a folder, or a file

    Raises
    ------
    NameNotFoundError
        If there is none.
    WeightsError
        If the default one does not come with this version.
    """
    card = known(adapter)
    if adapter == DEFAULT or (card is not None and card.name == CARD):
        if not is_cached(CARD):
            raise WeightsError(
                "onestage: this version of meetscribe brings no adapter of its own",
                hint="train one with `meetscribe train onestage` and give its folder: --model "
                "runs/onestage/adapter; or use --pipeline array",
            )
        return fetch(CARD) / FILE
    path = Path(adapter).expanduser()
    for file in (path, path / FILE, path / _TRAINED):
        if adapter and file.suffix == Path(FILE).suffix and file.is_file():
            return file
    if card is not None:
        said = f"'{adapter}' is a model for {card.task}; the adapter names its own Whisper"
    elif adapter and path.is_dir():
        said = f"{path}: no {FILE} in it"
    else:
        said = f"'{adapter}': no such folder and no such file ({FILE})"
    raise NameNotFoundError(f"onestage: {said}", hint=_HINT)


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter's file holds."""

    path: Path
    settings: OnestageSettings
    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """The recogniser, ready; ``heads`` of its decoder look at where a token was said."""

    network: SpatialWhisper
    vocabulary: Vocabulary
    heads: tuple[tuple[int, int], ...]


class OnestageModels(ModelsBase[OnestageEngineSettings]):
    """Diarizer, adapter and its Whisper, as the settings name them."""

    @cached_property
    def adapter(self) -> Adapter:
        """The adapter, read once."""
        from meetscribe.onestage.adapter import load_adapter

        path = resolve_adapter(self.settings.adapter)
        return Adapter(path, *load_adapter(path))

    @cached_property
    def shared(self) -> CascadeModels:
        """What the cascade has as well: the diarizer, and what hears the language."""
        return CascadeModels(
            self.settings.as_cascade(self.adapter.settings.target.base),
            device=self.device,
            threads=self.threads,
            offline=self.offline,
        )

    @property
    def torch_device(self) -> str:
        """Where the recogniser runs: it needs double precision, which ``mps`` has not."""
        return "cpu" if self.device == "mps" else torch_device(self.device)

    def describe(self) -> dict[str, Any]:
        """Give the models by name with their hashes; an adapter that is not there is left out."""
        try:
            adapter = self.adapter
        except (NameNotFoundError, WeightsError):
            return {}
        names = [*self.shared.of_activity, adapter.settings.target.base, VAD]
        about = {name: describe_model(name) for name in names}
        return {**about, "adapter": self.describe_adapter()}

    def describe_adapter(self) -> dict[str, Any]:
        """Give the hash of the adapter, and what its training said about it."""
        adapter = self.adapter
        told: dict[str, Any] = {
            key: adapter.about[key] for key in ("step", "scores") if key in adapter.about
        }
        return {**told, "sha256": {adapter.path.name: sha256_of(adapter.path)}}

    def fetch(self, progress: Progress) -> None:
        """Have all models on disk, before the audio is decoded, so that a lack is said at once.

        Raises
        ------
        ModelError
            If a model cannot be had, or the adapter is damaged.
        ConfigError
            If there is no such adapter, its Whisper does not know the language that was asked
            for, or cannot tell which is spoken.
        """
        base = self.adapter.settings.target.base
        if not self._only_transformers(base):
            self.shared.fetch(progress)
            return
        if self.settings.language == "auto":
            raise ConfigError(
                f"onestage: {base} is not in the layout that languages are heard with "
                "(CTranslate2)",
                hint="say which language it is, such as --language en",
            )
        for name in self.shared.of_activity if self.shared.own_diarizer else []:
            fetch(name, offline=self.offline, progress=under_one_name(progress, "models"))

    def language(self, audio: AudioReader, regions: Sequence[Segment]) -> str:
        """Give the language asked for or heard; "" if what passed for activity is not speech."""
        return self.shared.language(audio, regions)

    @cached_property
    def listener(self) -> Listener:
        """The recogniser with the adapter in it, on the device; loaded once.

        Raises
        ------
        WeightsError
            If the adapter is not one of that Whisper.
        """
        from meetscribe.models.whisper_weights import alignment_heads
        from meetscribe.onestage.adapter import SpatialWhisper, apply_adapter

        adapter = self.adapter
        base = adapter.settings.target.base
        given = Path(base).expanduser()
        folder = (
            given if self._only_transformers(base) else resolve_whisper(base, offline=self.offline)
        )
        network, vocabulary = SpatialWhisper.load(adapter.settings, folder)
        apply_adapter(network, adapter.tensors, where=str(adapter.path))
        network.target.for_decoding()
        network.eval().requires_grad_(requires_grad=False)
        return Listener(network.to(self.torch_device), vocabulary, alignment_heads(folder))

    @staticmethod
    def _only_transformers(base: str) -> bool:
        folder = Path(base).expanduser()
        return not (folder / "model.bin").is_file() and any(
            (folder / name).is_file() for name in _TRANSFORMERS
        )
