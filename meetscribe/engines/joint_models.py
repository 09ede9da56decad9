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
from meetscribe.models.catalogue import Task
from meetscribe.types import Progress

if TYPE_CHECKING:
    from meetscribe.activity.voiceprint import Voiceprinter
    from meetscribe.engines.joint_kinds import JointKind

_WEIGHT_SUFFIXES = (".pt", ".safetensors")
_FILES = (
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "digit_embeddings.pt",
    "projectors.pt",
    "projectors.safetensors",
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
    "leave --model away for joint-small, or give the folder of a joint checkpoint or a name on the "
    "hub: --model AudenAI/TagSpeech-AMI"
)


def resolve_joint(model: str, *, offline: bool = False) -> Path:
    """Give the folder of a joint checkpoint (or the weight file in one), fetched if need be.

    Parameters
    ----------
    model : name in the catalogue, local folder or weight file, or hub id (``owner/name``)
    offline : open no socket

    Raises
    ------
    ConfigError
        If what is named is no joint model.
    WeightsError
        If it cannot be had.
    """
    if is_in_catalogue(model):
        return fetch(model)
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


def is_in_catalogue(model: str) -> bool:
    """Tell whether the catalogue has a joint model of this name."""
    card = known(model)
    return card is not None and card.task is Task.JOINT


def describe_joint(model: str) -> dict[str, Any]:
    """Say what a joint checkpoint is, for provenance: the hash of each file, or the hub's revision.

    Nothing is fetched. Hashing reads all files once per process.
    """
    path = Path(model).expanduser()
    folder = path.parent if path.is_file() else path
    if is_in_catalogue(model) or not folder.is_dir():
        return describe_model(model)
    files = sorted(file for file in folder.rglob("*") if file.suffix in _READ and file.is_file())
    hashes = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    return {"name": path.name if path.is_dir() else f"{folder.name}/{path.name}", "sha256": hashes}


def kind_of(path: Path, *, device: str, offline: bool) -> JointKind:
    """Give what can run a joint checkpoint, by what its config.json calls it.

    Raises
    ------
    WeightsError
        If it is a plain Whisper.
    """
    from meetscribe.joint.whisper.checkpoint import is_whisper_joint

    folder = path if path.is_dir() else path.parent
    if (folder / "model.bin").is_file():
        raise WeightsError(
            f"{folder}: a Whisper model (model.bin), expected a joint checkpoint", hint=_HINT
        )
    if is_whisper_joint(folder):
        from meetscribe.engines.joint_whisper import WhisperKind

        return WhisperKind(path, device=device, offline=offline)
    from meetscribe.engines.joint_llm import LlmKind

    return LlmKind(path, device=device, offline=offline)


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
        self._kind: JointKind | None = None
        self._voiceprinter: Voiceprinter | None = None

    def describe(self) -> dict[str, Any]:
        """Give the models by name with their hashes."""
        model = self.settings.model
        there = is_in_catalogue(model) or Path(model).expanduser().exists()
        parts = self.kind().parts if there else ()
        names = dict.fromkeys([*self.activity.of_activity, VOICEPRINT, *parts])
        about = {name: describe_model(name) for name in names}
        return {**about, "joint": describe_joint(self.settings.model)}

    def fetch(self, progress: Progress) -> None:
        """Have all models on disk, and see that the joint one is one, before audio is decoded.

        Raises
        ------
        ConfigError
            If what is named is no joint model, or it cannot hear the signal that is set.
        ModelError
            If a model cannot be had, or is of another kind.
        """
        report = under_one_name(progress, "models")
        kind = self.kind()
        kind.check()
        self._check_signal(kind)
        kind.fetch(self.settings, report)
        own = self.activity.of_activity if self.activity.own_diarizer else []
        for name in dict.fromkeys([*own, VOICEPRINT]):
            fetch(name, offline=self.offline, progress=report)

    def _check_signal(self, kind: JointKind) -> None:
        signal = self.settings.signal
        if signal == "spatial" and not kind.hears_places:
            raise ConfigError(
                f"joint: signal 'spatial', but model {kind.folder.name} has no stream of places",
                hint="set signal: separated or best-channel in the pipeline's file, or use a model "
                "that was trained with one",
            )
        if signal != "spatial" and kind.hears_places:
            raise ConfigError(
                f"joint: signal '{signal}', but model {kind.folder.name} hears places",
                hint="set signal: spatial in the pipeline's file",
            )

    def kind(self) -> JointKind:
        """Give what runs the joint model; its weights are loaded when it first writes.

        Raises
        ------
        ConfigError, ModelError
            If it cannot be had, or is of another kind.
        """
        if self._kind is None:
            self._kind = kind_of(
                resolve_joint(self.settings.model, offline=self.offline),
                device=torch_device(self.device),
                offline=self.offline,
            )
        return self._kind

    def voiceprinter(self) -> Voiceprinter:
        """Give what makes voiceprints, loaded once."""
        if self._voiceprinter is None:
            from meetscribe.activity import voiceprint

            self._voiceprinter = voiceprint.load(
                fetch(VOICEPRINT, offline=self.offline), torch_device(self.device)
            )
        return self._voiceprinter
