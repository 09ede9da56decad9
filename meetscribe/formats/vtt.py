"""WebVTT subtitles (W3C, https://www.w3.org/TR/webvtt1/): for the web, with voices.

Speakers are voice tags (``<v Anna>``), which take no room on the screen. With ``stack``, cues of
different speakers overlap in time, and players put them one above the other.
"""

from __future__ import annotations

from meetscribe.formats.cues import Part, cues_of
from meetscribe.formats.options import DEFAULT, RenderOptions
from meetscribe.formats.timeline import clock
from meetscribe.types import Transcript


def render(transcript: Transcript, options: RenderOptions = DEFAULT) -> str:
    """Write subtitles; an empty transcript gives the header alone."""
    blocks = ["WEBVTT\n"]
    for cue in cues_of(transcript, options, heads=False, may_overlap=True):
        lines = [_voice(part, options) for part in cue.parts]
        blocks.append(f"{clock(cue.start)} --> {clock(cue.end)}\n{''.join(lines)}\n")
    return "\n".join(blocks)


def _voice(part: Part, options: RenderOptions) -> str:
    text = _escape("\n".join(part.lines))
    return f"<v {_escape(part.speaker)}>{text}</v>" if options.speaker_labels else text


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
