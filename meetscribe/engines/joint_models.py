"""The models of the joint engine: named, found before anything else, loaded once when needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.engine import ModelsBase
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.engines.meeting_settings import VOICEPRINT
from meetscribe.engines.run import under_one_name
from meetscribe.errors import ConfigError, NameNotFoundError, WeightsError
from meetscribe.models import describe_model, fetch, hub, is_offline, known
from meetscribe.models.cache import sha256_of
from meetscribe.types import Progress

if TYPE_CHECKING:
    from meetscribe.activity.voiceprint import Voiceprinter
    from meetscribe.joint.config import JointConfig, Stream
    from meetscribe.joint.model import JointModel
    from meetscribe.joint.vocabulary import Vocabulary

_ANY_CONTEXT = 1 << 20
"""Of a language model that states none."""

_WEIGHT_SUFFIXES = (".pt", ".safetensors")
_FILES = (
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "digit_embeddings.pt",
    "projectors.pt",
    "model.pt",
    "model.safetensors",
    "audio_encoder/*",
    "voice_encoder/*",
    "llm/*",
)
"""What of a repository is needed."""
_READ = {".json", ".txt", ".model", ".pt", ".safetensors", ".gguf"}
"""Suffixes of files that decide what a model does."""
_HINT = (
    "give the folder of a checkpoint in TagSpeech's layout, or a name on the hub: "
    "--model AudenAI/TagSpeech-AMI"
)


def resolve_joint(model: str, *, offline: bool = False) -> Path:
    """Give the folder of a joint checkpoint (or the weight file in one), fetched if need be.

    Parameters
    ----------
    model : local folder or weight file, or hub id (``owner/name``)
    offline : open no socket

    Raises
    ------
    ConfigError
        If no model is named, or what is named is none.
    WeightsError
        If it cannot be had.
    """
    if not model:
        raise ConfigError("joint: no model is named, and this version brings none", hint=_HINT)
    path = Path(model).expanduser()
    if path.is_dir() or (path.suffix in _WEIGHT_SUFFIXES and path.is_file()):
        return path
    card = known(model)
    if card is not None:
        raise ConfigError(f"joint: '{model}' is a model for {card.task}", hint=_HINT)
    if path.exists() or not hub.is_repo(model):
        found = "is a file of another kind" if path.exists() else "no such folder, and no hub name"
        raise NameNotFoundError(f"joint: model '{model}': {found}", hint=_HINT)
    return hub.download(model, _FILES, offline=offline or is_offline())


def describe_joint(model: str) -> dict[str, Any]:
    """Say what a joint checkpoint is, for provenance: the hash of each file, or the hub's revision.

    Nothing is fetched. Hashing reads all files once per process.
    """
    path = Path(model).expanduser()
    folder = path.parent if path.is_file() else path
    if not model or not folder.is_dir():
        return describe_model(model) if model else {}
    files = sorted(file for file in folder.rglob("*") if file.suffix in _READ and file.is_file())
    hashes = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    return {"name": path.name if path.is_dir() else f"{folder.name}/{path.name}", "sha256": hashes}


def _check_layout(path: Path) -> JointConfig:
    """Refuse what is no joint checkpoint; its tensors are checked when it is loaded."""
    from meetscribe.joint.checkpoint import read_config

    folder = path if path.is_dir() else path.parent
    if (folder / "model.bin").is_file():
        raise WeightsError(
            f"{folder}: a Whisper model (model.bin), expected a joint checkpoint", hint=_HINT
        )
    config = read_config(folder)
    parts = ("projectors.pt", "audio_encoder", "voice_encoder", "llm")
    missing = [name for name in parts if not (folder / name).exists()]
    composite = any((folder / f"model{suffix}").is_file() for suffix in _WEIGHT_SUFFIXES)
    if missing and path.is_dir() and not composite:
        raise WeightsError(
            f"{folder}: no {' and no '.join(missing)}, expected a whole joint checkpoint",
            hint="fetch the model's folder again",
        )
    return config


class JointModels(ModelsBase[JointSettings]):
    """Joint model, diarizer and voiceprints, as the settings name them.

    Attributes
    ----------
    activity : of the first stage, which is the cascade's
    """

    def __init__(
        self, settings: JointSettings, *, device: str, threads: int, offline: bool
    ) -> None:
        super().__init__(settings, device=device, threads=threads, offline=offline)
        self.activity = CascadeModels(
            settings.as_cascade(), device=device, threads=threads, offline=offline
        )
        self._joint: JointModel | None = None
        self._voiceprinter: Voiceprinter | None = None
        self._vocabulary: Vocabulary | None = None

    def describe(self) -> dict[str, Any]:
        """Give the models by name with their hashes."""
        names = dict.fromkeys([*self.activity.of_activity, VOICEPRINT])
        about = {name: describe_model(name) for name in names}
        return {**about, "joint": describe_joint(self.settings.model)}

    def fetch(self, progress: Progress) -> None:
        """Have all models on disk, and see that the joint one is one, before audio is decoded.

        Raises
        ------
        ConfigError
            If no joint model is named.
        ModelError
            If a model cannot be had, or is of another kind.
        """
        report = under_one_name(progress, "models")
        _check_layout(resolve_joint(self.settings.model, offline=self.offline))
        own = self.activity.of_activity if self.activity.own_diarizer else []
        for name in dict.fromkeys([*own, VOICEPRINT]):
            fetch(name, offline=self.offline, progress=report)

    def joint(self) -> JointModel:
        """Give the joint model, loaded once onto the device."""
        if self._joint is None:
            import torch

            from meetscribe.joint.checkpoint import load

            wanted = self.settings.decoding.dtype
            self._joint = load(
                resolve_joint(self.settings.model, offline=self.offline),
                device=torch_device(self.device),
                llm_dtype=None if wanted == "auto" else getattr(torch, wanted),
            )
        return self._joint

    def vocabulary(self) -> Vocabulary:
        """Give the tokens of the joint model's tokenizer, for constrained generation."""
        if self._vocabulary is None:
            from meetscribe.joint.vocabulary import Vocabulary

            self._vocabulary = Vocabulary.of(self.joint().chat.tokenizer)
        return self._vocabulary

    def context(self) -> int:
        """Give how many positions the language model has, prompt and answer together."""
        from meetscribe.joint.llm import llm_config

        path = resolve_joint(self.settings.model, offline=self.offline)
        about = _check_layout(path).llm_config
        stated = about.get("max_position_embeddings")
        if stated is None:
            whole = llm_config(about, where=str(path))
            stated = getattr(whole.get_text_config(), "max_position_embeddings", None)
        return int(stated) if stated else _ANY_CONTEXT

    def streams(self) -> tuple[Stream, ...]:
        """Give the streams that the joint model hears."""
        return _check_layout(resolve_joint(self.settings.model, offline=self.offline)).streams

    def voiceprinter(self) -> Voiceprinter:
        """Give what makes voiceprints, loaded once."""
        if self._voiceprinter is None:
            from meetscribe.activity import voiceprint

            self._voiceprinter = voiceprint.load(
                fetch(VOICEPRINT, offline=self.offline), torch_device(self.device)
            )
        return self._voiceprinter
