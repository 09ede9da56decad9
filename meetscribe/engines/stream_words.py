"""The words on separated streams, in order of time, so that what is heard can be kept.

Separation is the dear part of an array, and its signals are too large to keep. So all speakers of
a quarter of an hour are heard before anybody of the next, and their voices compared at once: a run
that was killed separates again only what it had not come to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from meetscribe.engines.run import part_of
from meetscribe.recognize import RecognizedRegion, speech_regions
from meetscribe.recognize.words import capitalised
from meetscribe.types import Activity, Parts, Progress, Segment, Utterance, all_at_once

if TYPE_CHECKING:
    from meetscribe.activity import Diarizer, PyannoteDiarizer
    from meetscribe.recognize import Recognizer
    from meetscribe.spatial.streams import SeparatedStreams

Heard = dict[str, list[RecognizedRegion]]
"""Speaker -> recognised pieces of his turns."""
Like = tuple[str, float, float, dict[str, float]]
"""Speaker, start and end of an utterance, and how like its voice is to every speaker's."""

_JOIN_S = 1.0
"""Turns of a speaker with a shorter pause are heard together: Whisper needs context."""
_AROUND_S = 0.1
"""What a voiceprint hears before and after an utterance."""
_CHAPTER_S = 300.0
"""After so much of a recording the voices of what was said in it are compared."""
_SETTLED_S = 60.0
"""Before the end of what is heard: nothing that is yet to come changes an utterance there."""


def recognise_streams(
    streams: SeparatedStreams,
    activity: Activity,
    recognizer: Recognizer,
    *,
    language: str,
    progress: Progress,
    keep: Parts[list[RecognizedRegion]] = all_at_once,
    keep_cuts: Parts[list[Segment]] = all_at_once,
    heard_until: Callable[[Heard, float], None] = lambda _heard, _until: None,
) -> Heard:
    """Recognise each speaker on his own stream.

    Parameters
    ----------
    activity : turns that guided the separation; overlapping ones are what it is for
    progress : called with ``recognize``, and by ``streams``
    keep, keep_cuts : keep the words of a few pieces, and where a stream is cut into pieces
    heard_until : told what is heard so far, and the second up to which that is all

    Returns
    -------
    dict
        Speaker -> recognised pieces of his turns.
    """
    plan: list[tuple[str, list[Segment]]] = []
    heard: Heard = {}
    for speaker in activity.speakers:
        turns = tuple(turn for turn in activity.turns if turn.speaker == speaker)
        regions = _joined(
            speech_regions(Activity(turns), streams.duration), streams.settings.margin_s
        )
        # a stretch without a pause is cut where it is quiet, which has to be separated for that
        pieces = keep_cuts(speaker, partial(recognizer.cut, streams.stream(speaker), regions))
        plan += [(speaker, part) for part in recognizer.parts(pieces)]
        heard[speaker] = []
    plan.sort(key=lambda one: one[1][0].start)
    starts = [part[0].start for _, part in plan]
    lengths = [sum(piece.duration for piece in part) for _, part in plan]
    whole = sum(lengths) or 1.0
    before = 0.0
    for (speaker, part), seconds, until in zip(plan, lengths, [*starts[1:], math.inf], strict=True):
        make = partial(
            recognizer.recognize_part,
            streams.stream(speaker),
            part,
            language=language,
            progress=part_of(progress, before / whole, seconds / whole),
        )
        heard[speaker] += keep((speaker, [(one.start, one.end) for one in part]), make)
        before += seconds
        progress("recognize", min(1.0, before / whole))
        heard_until(heard, until)
    progress("recognize", 1.0)
    return {speaker: capitalised(regions) for speaker, regions in heard.items()}


class Judge:
    """Compares voices as far as everything is heard, and keeps what it finds.

    Parameters
    ----------
    utterances_of : gives the utterances to compare, of the words of all speakers
    likeness : compares the voices of utterances
    keep : keeps what ``likeness`` gives
    """

    def __init__(
        self,
        utterances_of: Callable[[Mapping[str, list[RecognizedRegion]]], Sequence[Utterance]],
        likeness: Callable[[Iterable[Utterance]], list[Like]],
        *,
        keep: Parts[list[Like]] = all_at_once,
    ) -> None:
        self._utterances_of = utterances_of
        self._likeness = likeness
        self._keep = keep
        self._known: dict[tuple[str, float, float], dict[str, float]] = {}
        self._next = _CHAPTER_S

    def so_far(self, heard: Heard, until: float) -> None:
        """Compare the voices of what was said up to ``until``, seconds, once a chapter."""
        if self._next + _SETTLED_S <= until < math.inf:
            self._next = until - _SETTLED_S + _CHAPTER_S
            self._judge(one for one in self._utterances_of(heard) if one.end < until - _SETTLED_S)

    def all_of(self, heard: Heard) -> list[Like]:
        """Give how like the voice of each short utterance is to every speaker's."""
        utterances = self._utterances_of(heard)
        self._judge(utterances)
        return [(*_key(one), self._known[_key(one)]) for one in utterances]

    def _judge(self, utterances: Iterable[Utterance]) -> None:
        new = [one for one in utterances if _key(one) not in self._known]
        if new:
            name = [_key(one) for one in new]
            for speaker, start, end, like in self._keep(name, lambda: self._likeness(new)):
                self._known[speaker, start, end] = like


def likeness_of(
    utterances: Iterable[Utterance],
    streams: SeparatedStreams,
    voices: Mapping[str, Sequence[float]],
    diarizer: Diarizer | PyannoteDiarizer,
) -> list[Like]:
    """Say how like the voice of each utterance, on its stream, is to every speaker's."""
    from meetscribe.activity import Diarizer

    assert isinstance(diarizer, Diarizer)  # noqa: S101 - the other one gives no voices
    made = []
    for one in utterances:
        start, end = max(0.0, one.start - _AROUND_S), one.end + _AROUND_S
        like = diarizer.likeness(streams.read(one.speaker, start, end), voices)
        made.append((*_key(one), like))
    return made


def _key(utterance: Utterance) -> tuple[str, float, float]:
    return utterance.speaker, utterance.start, utterance.end


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
