"""What was said: regions of speech to words, with Whisper; light to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meetscribe.recognize.regions import cut_regions, merge
from meetscribe.recognize.script import Script, convert_words
from meetscribe.recognize.settings import RecognizerSettings
from meetscribe.recognize.whisper import Recognizer
from meetscribe.recognize.words import RecognizedRegion
from meetscribe.types import Activity, Segment

__all__ = [
    "RecognizedRegion",
    "Recognizer",
    "RecognizerSettings",
    "convert_script",
    "cut_regions",
    "speech_regions",
]


def speech_regions(activity: Activity, duration: float) -> list[Segment]:
    """Give where anybody speaks, sorted and disjoint, within the recording."""
    spoken = [Segment(max(0.0, turn.start), turn.end) for turn in activity.turns]
    return [
        Segment(one.start, min(one.end, duration)) for one in merge(spoken) if one.start < duration
    ]


def convert_script(
    regions: Sequence[RecognizedRegion], language: str, script: Script
) -> list[RecognizedRegion]:
    """Write Chinese words in the script asked for; other languages stay as they are."""
    if language not in ("zh", "yue"):
        return list(regions)
    return [replace(region, words=convert_words(region.words, script)) for region in regions]
