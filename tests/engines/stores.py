"""A store in memory that says what was made."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class CountingStore:
    """Keeps stages in memory, as JSON, and which of them were made, in order."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], str] = {}
        self.made: list[str] = []

    def get_or_make(
        self, stage: str, inputs_hash: str, config_hash: str, make: Callable[[], Any]
    ) -> Any:
        key = (stage, inputs_hash, config_hash)
        if key not in self.kept:
            self.kept[key] = json.dumps(make())
            self.made.append(stage)
        return json.loads(self.kept[key])

    def forget(self, stage: str, inputs_hash: str, prefix: str) -> None:
        pass

    def values(self, stage: str) -> list[Any]:
        """Give what is kept of a stage."""
        return [json.loads(value) for (name, _, _), value in self.kept.items() if name == stage]
