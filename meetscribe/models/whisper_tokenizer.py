"""Whisper's tokenizer, which lies beside the weights in either of their layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HINT = "run `meetscribe models verify`, then pull again"


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json``, with the merge that published files lack.

    Raises
    ------
    WeightsError
        If it is missing or damaged.
    """
    import tokenizers

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise WeightsError(f"{folder}: no tokenizer.json beside the weights", hint=_HINT)
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a tokenizer: {error}", hint=_HINT) from error
    if not (isinstance(parts, dict) and isinstance(parts.get("model"), dict)):
        raise WeightsError(f"{path}: not a tokenizer", hint=_HINT)
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(_whole(parts)))
    except Exception as error:  # the library raises nothing narrower
        raise WeightsError(f"{path}: not a tokenizer: {error}", hint=_HINT) from error


def _whole(parts: dict[str, Any]) -> dict[str, Any]:
    """Add the first merge where it is missing.

    Published files of Whisper have lost it, a space and "t": without it " the" is written as two
    tokens that Whisper never saw beside each other.
    """
    model = parts["model"]
    merges = model.get("merges") or []
    first = ["Ġ", "t"]
    if "".join(first) in model.get("vocab", {}) and merges:
        plain = isinstance(merges[0], str)
        wanted: Any = " ".join(first) if plain else first
        if wanted not in merges:
            return {**parts, "model": {**model, "merges": [wanted, *merges]}}
    return parts
