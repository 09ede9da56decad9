"""Which Whisper a name means: the catalogue's, a size, a hub id, or a folder."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from meetscribe.errors import NameNotFoundError, WeightsError
from meetscribe.models import hub, weights
from meetscribe.models.cache import sha256_of
from meetscribe.models.catalogue import ModelCard, Source, Task, known, load_catalogue
from meetscribe.types import Progress, no_progress


def resolve_whisper(model: str, *, offline: bool = False, progress: Progress = no_progress) -> Path:
    """Give the CTranslate2 folder of a Whisper model, fetched if need be.

    Parameters
    ----------
    model : name in the catalogue (``whisper-base``), size (``base``, ``turbo``), hub id of a
        CTranslate2 conversion (``owner/name``), or local folder
    offline : open no socket

    Raises
    ------
    NameNotFoundError
        If it is none of these; the hint lists near names.
    WeightsError
        If it cannot be had.
    """
    found = known(model)
    if found is not None and found.task is Task.RECOGNITION:
        return weights.fetch(found.name, offline=offline, progress=progress)
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return _checked(folder)
    if hub.is_repo(model):
        return _checked(
            hub.download(model, hub.WHISPER_FILES, offline=offline or weights.is_offline())
        )
    names = [name for card in _whispers() for name in (card.name, *card.aliases)]
    near = difflib.get_close_matches(model, names, n=3, cutoff=0.5)
    raise NameNotFoundError(
        f"'{model}': neither a Whisper model of the catalogue, nor a folder, nor a hub id",
        hint=f"did you mean: {', '.join(near)}?" if near else "see `meetscribe models list`",
    )


def describe_model(name: str) -> dict[str, Any]:
    """Say what a model is, for the provenance of a transcript; nothing is fetched.

    Parameters
    ----------
    name : as ``fetch`` or ``resolve_whisper`` take it

    Returns
    -------
    Plain values: ``name``, ``origin``, ``licence`` where known, and ``sha256`` by file name
    (the pinned one, or the one of the file that is here) or ``revision`` of the hub.
    """
    model = known(name)
    if model is None:
        return _describe_other(name)
    about = {"name": model.name, "origin": model.origin, "licence": model.licence}
    if model.pinned:
        return about | {"sha256": {file.name: file.sha256 for file in model.files}}
    if Source.PACKAGE in model.sources:
        states = weights.verify(model.name)
        return about | {"sha256": {state.path.name: sha256_of(state.path) for state in states}}
    folder = hub.cached_folder(model)
    return about | ({"revision": folder.name} if folder else {})


def _describe_other(name: str) -> dict[str, Any]:
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return {"name": folder.name, "sha256": {path.name: sha256_of(path) for path in files}}
    cached = hub.cached_repo(name, ()) if hub.is_repo(name) else None
    return {"name": name, "origin": name} | ({"revision": cached.name} if cached else {})


def _whispers() -> list[ModelCard]:
    return [model for model in load_catalogue().values() if model.task is Task.RECOGNITION]


def _checked(folder: Path) -> Path:
    if not (folder / "model.bin").is_file():
        raise WeightsError(
            f"{folder}: no model.bin, expected a Whisper model converted to CTranslate2",
            hint="convert it with ct2-transformers-converter, or name a catalogue model",
        )
    return folder
