"""Engines: each turns a ``Recording`` into a ``Transcript``, in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from meetscribe.types import Progress, Recording, Store, Transcript


class Engine(Protocol):
    """One way from audio to words; it knows neither YAML nor the command line."""

    def transcribe(self, recording: Recording, *, store: Store, progress: Progress) -> Transcript:
        """Say who spoke what and when."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Give the settings and models that decide the result, for provenance and hashing."""
        ...
