"""SRT (SubRip) subtitles: what every player reads.

No two cues overlap in time, for most players show only one of them. Names stand before the
words, for the format has no place for them.
"""

from __future__ import annotations

from dataclasses import replace

from meetscribe.formats.cues import cues_of
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.timeline import clock
from meetscribe.formats.tokens import shown_name, text_of
from meetscribe.types import Transcript

_ARROW, _PARTED = "-->", "-- >"


def render(transcript: Transcript, options: RenderOptions = DEFAULT) -> str:
    """Write subtitles; an empty transcript gives an empty file, as the format has no header."""
    cues = cues_of(_without_arrows(transcript), options, heads=options.speaker_labels)
    blocks = []
    for number, cue in enumerate(cues, 1):
        text = "\n".join(line for part in cue.parts for line in part.lines)
        blocks.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def _without_arrows(transcript: Transcript) -> Transcript:
    """Part the arrows in words and names, which would be read as a line of times."""
    return replace(
        transcript,
        utterances=tuple(
            replace(utterance, text=text.replace(_ARROW, _PARTED))
            if _ARROW in (text := text_of(utterance))
            else utterance
            for utterance in transcript.utterances
        ),
        names={
            speaker: shown_name(transcript, speaker).replace(_ARROW, _PARTED)
            for speaker in transcript.speakers
        },
    )
