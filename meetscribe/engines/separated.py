"""Every speaker recognised on a signal of his own: separation with all channels, then words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from meetscribe import ingest
from meetscribe.engines.device import torch_device
from meetscribe.recognize import RecognizedRegion, speech_regions
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.types import Activity, Progress, Segment

if TYPE_CHECKING:
    from meetscribe.recognize import Recognizer

_JOIN_S = 1.0
"""Turns of a speaker with a shorter pause are heard together: Whisper needs context."""


def recognise_streams(
    channels: ingest.ChannelAudio,
    activity: Activity,
    recognizer: Recognizer,
    *,
    language: str,
    separation: SeparationSettings,
    device: str,
    threads: int,
    progress: Progress,
) -> dict[str, list[RecognizedRegion]]:
    """Separate the speakers of an array recording and recognise each.

    Parameters
    ----------
    channels : microphones that hear everybody
    activity : turns that guide the separation; overlapping ones are what it is for
    progress : called with ``separate`` and ``recognize``

    Returns
    -------
    dict
        Speaker -> recognised pieces of his turns.
    """
    heard: dict[str, list[RecognizedRegion]] = {}
    margin_s = separation.margin_s
    with SeparatedStreams(
        channels,
        activity.turns,
        separation,
        device=torch_device(device),
        threads=threads,
        progress=progress,
    ) as streams:
        speakers = activity.speakers
        spoken = {
            speaker: sum(turn.duration for turn in activity.turns if turn.speaker == speaker)
            for speaker in speakers
        }
        whole = sum(spoken.values()) or 1.0
        before = 0.0
        for speaker in speakers:
            turns = tuple(turn for turn in activity.turns if turn.speaker == speaker)
            regions = _joined(speech_regions(Activity(turns), channels.duration), margin_s)
            heard[speaker] = recognizer.recognize(
                streams.stream(speaker),
                regions,
                language=language,
                progress=_part_of(progress, before / whole, spoken[speaker] / whole),
            )
            before += spoken[speaker]
    progress("recognize", 1.0)
    return heard


def _part_of(progress: Progress, before: float, share: float) -> Progress:
    return lambda stage, done: progress(stage, before + share * done)


def _joined(segments: Iterable[Segment], margin_s: float) -> list[Segment]:
    """Widen regions by the margin that the streams have, and join those that come close."""
    joined: list[Segment] = []
    for segment in segments:
        wide = Segment(max(0.0, segment.start - margin_s), segment.end + margin_s)
        if joined and wide.start - joined[-1].end < _JOIN_S:
            joined[-1] = Segment(joined[-1].start, max(joined[-1].end, wide.end))
        else:
            joined.append(wide)
    return joined
