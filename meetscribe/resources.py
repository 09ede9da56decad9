"""Where ``pipelines/`` and ``configs/`` are: a path, the user's folders, a checkout, the wheel."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from meetscribe.errors import NameNotFoundError

_PACKAGE = Path(__file__).resolve().parent
_KINDS = {"configs/evaluate": "scoring protocol", "configs/train": "settings"}
"""What a file of a kind is called, where the folder does not say it."""


def roots() -> list[Path]:
    """Folders that may hold ``pipelines/`` and ``configs/``, first wins.

    ``MEETSCRIBE_PATH`` (separated as PATH is), then the checkout this package lies in, then the
    copy inside the installed wheel. The checkout comes before the wheel's copy because an
    editable install leaves a frozen copy behind.
    """
    given = [Path(part) for part in os.environ.get("MEETSCRIBE_PATH", "").split(os.pathsep) if part]
    checkout = _PACKAGE.parent
    own = [checkout] if (checkout / "pyproject.toml").is_file() else []
    return [*given, *own, _PACKAGE / "_bundled"]


def listing(kind: str) -> dict[str, Path]:
    """Give every YAML file of a kind (``"pipelines"``, ``"configs/models"``) by its name."""
    found: dict[str, Path] = {}
    for root in roots():
        for path in sorted((root / kind).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find(kind: str, name: str) -> Path:
    """Find one YAML file by name, or take a path that ends in .yaml as it is.

    Raises
    ------
    NameNotFoundError
        If there is none; the hint lists near names.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if path.is_file():
            return path
        raise NameNotFoundError(f"{name}: no such file", hint="check the path")
    known = listing(kind)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise NameNotFoundError(
        f"no {_KINDS.get(kind, Path(kind).name.rstrip('s'))} named '{name}'",
        hint=f"did you mean: {', '.join(near)}?" if near else f"there are: {', '.join(known)}",
    )
