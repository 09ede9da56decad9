"""The model hub as a source: everything goes through huggingface_hub and its own cache.

``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT`` and the rest of its settings count as they always do.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from meetscribe.errors import WeightsError
from meetscribe.models.cache import BLOCK_BYTES, sha256_of, write, writing
from meetscribe.models.catalogue import Hub, ModelCard, ModelFile
from meetscribe.models.wheel import Meter
from meetscribe.types import Progress

WHISPER_FILES = (
    "model.bin",
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "vocabulary.*",
)
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def is_repo(text: str) -> bool:
    """Tell whether a text has the form of a hub id: ``owner/name``."""
    return bool(_REPO.fullmatch(text)) and not text.startswith((".", "/"))


def snapshot(model: ModelCard, *, offline: bool, progress: Progress) -> Path:
    """Give the folder of a model that only the hub has.

    Raises
    ------
    WeightsError
        If it cannot be had.
    """
    place = _hub(model)
    names = [file.name for file in model.files] or None
    folder = download(place.repo, names, offline=offline, gated=place.gated, name=model.name)
    for file in model.files:
        if not (folder / file.name).is_file():
            raise WeightsError(
                f"{place.repo}: no {file.name} in {folder}",
                hint=f"with a network: meetscribe models pull {model.name}",
            )
    progress(model.name, 1.0)
    return folder


def download(
    repo: str,
    names: Sequence[str] | None,
    *,
    offline: bool,
    gated: bool = False,
    name: str = "",
) -> Path:
    """Give the hub's own snapshot folder of a repository, fetched unless ``offline``.

    Parameters
    ----------
    repo : ``owner/name``
    names : files or patterns wanted, None for all
    offline : open no socket
    gated : whether "no such repository" means "no access to it"
    name : what to call it in a hint, the repository by default

    Raises
    ------
    WeightsError
        In one line: not there, not allowed, not reachable.
    """
    _quiet()
    import huggingface_hub

    with _one_line_errors(repo, offline=offline, gated=gated, name=name):
        return Path(
            huggingface_hub.snapshot_download(
                repo,
                allow_patterns=list(names) if names is not None else None,
                local_files_only=offline,
            )
        )


def copy_files(model: ModelCard, folder: Path, wanted: Sequence[ModelFile], meter: Meter) -> None:
    """Put pinned files from the hub into our cache, each only if it is the pinned one.

    Raises
    ------
    WeightsError
        If one cannot be had or has another hash.
    OutputError
        If the cache cannot be written.
    """
    place = _hub(model)
    _quiet()
    import huggingface_hub

    for file in wanted:
        with _one_line_errors(place.repo, offline=False, gated=place.gated):
            path = Path(huggingface_hub.hf_hub_download(place.repo, file.name))
            found = sha256_of(path)
        if found != file.sha256:
            raise WeightsError(
                f"{place.repo}: {file.name} has another sha256 ({found[:12]}…): refused"
            )
        with path.open("rb") as source, writing(folder / file.name) as out:
            while block := source.read(BLOCK_BYTES):
                write(out, block)
                meter.add(len(block))


def cached_folder(model: ModelCard) -> Path | None:
    """Give the newest snapshot in the hub's cache that has the model's files; opens no socket."""
    if model.hub is None:
        return None
    return cached_repo(model.hub.repo, tuple(file.name for file in model.files))


def cached_repo(repo: str, names: Sequence[str]) -> Path | None:
    """Give the snapshot that the hub's cache has of a repository's main branch, or None."""
    # only this module: the library as a whole takes half a second to import
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    here = folder / "snapshots" / commit
    return here if here.is_dir() and all((here / name).is_file() for name in names) else None


def _hub(model: ModelCard) -> Hub:
    if model.hub is None:
        raise WeightsError(f"{model.name}: its card names no hub repository")
    return model.hub


def _quiet() -> None:
    """Forbid reports about the user, and bars on their terminal; both are read at import."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextlib.contextmanager
def _one_line_errors(repo: str, *, offline: bool, gated: bool, name: str = "") -> Iterator[None]:
    """Turn the library's many errors into ours."""
    from huggingface_hub import errors

    roots: tuple[type[BaseException], ...] = (
        OSError,
        ValueError,
        *_http_roots(errors.HfHubHTTPError),
    )
    try:
        yield
    except errors.RepositoryNotFoundError as error:
        if gated or isinstance(error, errors.GatedRepoError):
            raise WeightsError(
                f"{repo}: its publisher asks for consent, and this machine has no access",
                hint="accept the conditions on the model's page, then: hf auth login",
            ) from error
        raise WeightsError(
            f"{repo}: no such repository on the hub, or it is private",
            hint="check the spelling; for a private one: hf auth login",
        ) from error
    except errors.LocalEntryNotFoundError as error:
        why = "and offline" if offline else "and the hub cannot be reached: no network?"
        raise WeightsError(
            f"{repo}: not in the hub's cache, {why}",
            hint=f"with a network: meetscribe models pull {name or repo}",
        ) from error
    except errors.EntryNotFoundError as error:
        raise WeightsError(f"{repo}: {_first_line(error)}", hint="choose another model") from error
    except roots as error:
        raise WeightsError(
            f"{repo}: {_first_line(error)}", hint="check the network, then try again"
        ) from error


def _http_roots(kind: type[BaseException]) -> tuple[type[BaseException], ...]:
    """Give the root of the HTTP client's errors, whichever client the library has."""
    return tuple(
        base for base in kind.__mro__ if base.__name__ in {"HTTPError", "RequestException"}
    )


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
