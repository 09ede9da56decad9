"""What the stages of an engine keep for the next run, as plain JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Activity, Turn, Word


def activity_to_json(activity: Activity) -> dict[str, Any]:
    """Give an ``Activity`` as plain lists and mappings."""
    made = asdict(activity)
    made["voiceprints"] = {name: list(print_) for name, print_ in activity.voiceprints.items()}
    return made


def activity_from_json(made: dict[str, Any]) -> Activity:
    """Give back what ``activity_to_json`` was given."""
    return Activity(
        turns=tuple(Turn(**turn) for turn in made["turns"]),
        exclusive=tuple(Turn(**turn) for turn in made["exclusive"]),
        voiceprints={name: tuple(print_) for name, print_ in made["voiceprints"].items()},
        notes=tuple(made["notes"]),
    )


def words_to_json(language: str, regions: list[RecognizedRegion]) -> dict[str, Any]:
    """Give recognised regions as plain lists and mappings."""
    return {"language": language, "regions": [asdict(region) for region in regions]}


def words_from_json(made: dict[str, Any]) -> tuple[str, list[RecognizedRegion]]:
    """Give back what ``words_to_json`` was given."""
    regions = []
    for region in made["regions"]:
        words = tuple(Word(**word) for word in region["words"])
        flags = tuple(region["flags"])
        regions.append(RecognizedRegion(**{**region, "words": words, "flags": flags}))
    return made["language"], regions
