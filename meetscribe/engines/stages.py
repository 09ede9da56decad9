"""What the stages of an engine keep for the next run, as plain JSON and back."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Activity, Segment, Turn, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    return {"language": language, "regions": regions_to_json(regions)}


def words_from_json(made: dict[str, Any]) -> tuple[str, list[RecognizedRegion]]:
    """Give back what ``words_to_json`` was given."""
    return made["language"], regions_from_json(made["regions"])


def regions_to_json(regions: Sequence[RecognizedRegion]) -> list[dict[str, Any]]:
    """Give recognised regions as plain lists and mappings."""
    return [asdict(region) for region in regions]


def regions_from_json(made: list[dict[str, Any]]) -> list[RecognizedRegion]:
    """Give back what ``regions_to_json`` was given."""
    regions = []
    for region in made:
        words = tuple(Word(**word) for word in region["words"])
        flags = tuple(region["flags"])
        regions.append(RecognizedRegion(**{**region, "words": words, "flags": flags}))
    return regions


def turns_to_json(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Give turns as plain mappings."""
    return [asdict(turn) for turn in turns]


def turns_from_json(made: list[dict[str, Any]]) -> list[Turn]:
    """Give back what ``turns_to_json`` was given."""
    return [Turn(**turn) for turn in made]


def segments_to_json(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Give segments as pairs."""
    return [(segment.start, segment.end) for segment in segments]


def segments_from_json(made: list[tuple[float, float]]) -> list[Segment]:
    """Give back what ``segments_to_json`` was given."""
    return [Segment(start, end) for start, end in made]


def array_to_json(array: NDArray[Any]) -> dict[str, Any]:
    """Give an array of numbers as text, to the bit.

    >>> import numpy as np
    >>> array_from_json(array_to_json(np.array([[1.5], [2.0]], dtype=np.float16))).tolist()
    [[1.5], [2.0]]
    """
    plain_n = np.ascontiguousarray(array).reshape(-1)
    # first bytes of all numbers, then second bytes: signs and exponents are much alike
    planes = plain_n.view(np.uint8).reshape(-1, array.dtype.itemsize).T
    packed = zlib.compress(planes.tobytes(), 1)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "data": base64.b64encode(packed).decode("ascii"),
    }


def array_from_json(made: dict[str, Any]) -> NDArray[Any]:
    """Give back what ``array_to_json`` was given."""
    dtype = np.dtype(made["dtype"])
    planes = np.frombuffer(zlib.decompress(base64.b64decode(made["data"])), np.uint8)
    plain_n = np.ascontiguousarray(planes.reshape(dtype.itemsize, -1).T).reshape(-1).view(dtype)
    array: NDArray[Any] = plain_n.reshape(made["shape"])
    return array
