"""What all engines are: settings, models, and what a transcript tells about its making."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from meetscribe.engines.device import check_name

if TYPE_CHECKING:
    from meetscribe.config import Settings
    from meetscribe.engines.timer import Timer

S = TypeVar("S", bound="Settings")


class ModelsBase(ABC, Generic[S]):
    """The models of an engine, and where they run.

    Parameters
    ----------
    settings : which they are
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``
    threads : cores to use on the CPU
    offline : never open a socket
    """

    def __init__(self, settings: S, *, device: str, threads: int, offline: bool) -> None:
        self.settings = settings
        self.device = device
        self.threads = threads
        self.offline = offline

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Give the models by name with their hashes."""


M = TypeVar("M", bound=ModelsBase[Any])


class EngineBase(Generic[S, M]):
    """Settings and models of an engine.

    A subclass says its ``name`` and its ``models_of``, and has ``transcribe``.

    Parameters
    ----------
    settings : what to run
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``
    threads : cores to use on the CPU
    offline : never open a socket
    """

    name: ClassVar[str]
    models_of: ClassVar[Any]
    """Makes the models, of the same arguments."""

    def __init__(self, settings: S, *, device: str, threads: int, offline: bool) -> None:
        check_name(device)
        self.settings = settings
        self.models: M = self.models_of(settings, device=device, threads=threads, offline=offline)

    def describe(self) -> Mapping[str, Any]:
        """Give the settings and the models with their hashes."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "models": self.models.describe(),
        }

    def provenance(self, timer: Timer, **more: object) -> dict[str, Any]:
        """Give what a transcript tells about its making."""
        return {
            "engine": self.name,
            **self.describe(),
            "device": self.models.device,
            "threads": self.models.threads,
            **more,
            "timings_s": timer.seconds,
            "cpu_s": timer.cpu_seconds,
            "peak_memory_mb": timer.peak_mb,
        }
