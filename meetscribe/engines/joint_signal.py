"""What the joint model hears of a recording, clip by clip.

    OneSignal       one signal, in groups of everybody's speech
    PlacedSignal    the same, with all channels of an array and the places of who speaks
    StreamSignal    every speaker's separated stream, in groups of his own speech

Axes: C channel, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from meetscribe.config import config_hash
from meetscribe.engines.device import torch_device
from meetscribe.engines.joint_groups import halves, utterance_groups
from meetscribe.engines.joint_kinds import Clip, budget
from meetscribe.engines.stages import turns_to_json
from meetscribe.types import Activity, AudioReader, Segment, Turn

if TYPE_CHECKING:
    from meetscribe.engines.joint_models import JointModels
    from meetscribe.engines.joint_settings import GroupSettings, JointSettings
    from meetscribe.engines.run import Run
    from meetscribe.ingest import ChannelAudio
    from meetscribe.spatial.solo import SoloProfile
    from meetscribe.spatial.streams import SeparatedStreams

_OWN_PAUSE_S = 1.0
"""Turns of a speaker with a shorter pause are heard together: words need context."""
_CHAPTER_S = 300.0
"""So much of a recording is separated and written before anything that comes later."""


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """A clip to write about: a group of everybody's speech, or of that of one speaker."""

    group: Segment
    speaker: str = ""


class OneSignal:
    """One signal that hears everybody.

    Parameters
    ----------
    audio : the signal
    turns : who speaks when

    Attributes
    ----------
    chapter_s : clips of so many seconds are written about before those that come later
    decided_by : what else than settings and clips decides what is heard
    """

    chapter_s = math.inf
    decided_by: tuple[object, ...] = ()

    def __init__(self, audio: AudioReader, turns: Sequence[Turn]) -> None:
        self.audio = audio
        self.turns = tuple(turns)

    def items(self, settings: GroupSettings) -> list[Item]:
        """Cut the recording into clips."""
        return [Item(group) for group in utterance_groups(self.turns, self.audio, settings)]

    def halves(self, item: Item) -> tuple[Item, Item] | None:
        """Cut a clip in two; None if it is too short for that."""
        pieces = halves(item.group, self._turns_of(item), self.audio)
        return pieces and (replace(item, group=pieces[0]), replace(item, group=pieces[1]))

    def clip(self, item: Item, settings: JointSettings) -> Clip:
        """Read a clip."""
        start, end = _span(item, settings)
        return _clip(self.audio, start, end, item, settings)

    def _turns_of(self, item: Item) -> Sequence[Turn]:  # noqa: ARG002 - of anybody
        return self.turns


class PlacedSignal(OneSignal):
    """One signal that hears everybody, and all channels for the places of who speaks.

    Parameters
    ----------
    audio, turns : as for ``OneSignal``
    channels : of the array; None for a recording of one microphone, which knows no places
    device : learns the places
    """

    def __init__(
        self,
        audio: AudioReader,
        turns: Sequence[Turn],
        channels: ChannelAudio | None,
        *,
        device: str,
    ) -> None:
        super().__init__(audio, turns)
        self._channels = channels
        self._device = device
        count = 1 if channels is None else channels.num_channels
        self.decided_by = ("spatial", count, config_hash(turns_to_json(self.turns)))

    @cached_property
    def places(self) -> Mapping[str, SoloProfile | None]:
        """Where everybody is, learned from the whole meeting when it is first needed."""
        from meetscribe.joint.spatial_stream import SOLO
        from meetscribe.spatial.solo import find_places

        if self._channels is None:
            return {}
        return find_places(self._channels, self.turns, SOLO, device=self._device)

    def clip(self, item: Item, settings: JointSettings) -> Clip:
        """Read a clip with all channels, and the places of who speaks in it."""
        from meetscribe.joint.spatial_stream import places_of

        made = super().clip(item, settings)
        if self._channels is None:
            return replace(made, samples_cn=made.samples_n[None])
        group = item.group
        inside = [one for one in self.turns if one.end > group.start and one.start < group.end]
        return replace(
            made,
            samples_cn=self._channels.read_cn(*_span(item, settings)),
            places=places_of(inside, self.places),
        )


class StreamSignal(OneSignal):
    """Every speaker on his own.

    Parameters
    ----------
    audio : one signal that hears everybody; says where it is quiet, for cuts
    turns : that guided the separation
    streams : are separated when they are first read
    """

    chapter_s = _CHAPTER_S

    def __init__(
        self, audio: AudioReader, turns: Sequence[Turn], streams: SeparatedStreams
    ) -> None:
        super().__init__(audio, turns)
        self._streams = streams
        self.decided_by = ("separated", streams.settings, config_hash(turns_to_json(self.turns)))

    def items(self, settings: GroupSettings) -> list[Item]:
        """Cut everybody's speech into clips of his own."""
        wide = settings.model_copy(update={"pause_s": max(settings.pause_s, _OWN_PAUSE_S)})
        made = []
        for speaker in self._streams.speakers:
            own = [turn for turn in self.turns if turn.speaker == speaker]
            made += [Item(group, speaker) for group in utterance_groups(own, self.audio, wide)]
        return sorted(made)

    def clip(self, item: Item, settings: JointSettings) -> Clip:
        """Read a clip of a speaker's stream; this may have to separate it."""
        start, end = _span(item, settings)
        return _clip(self._streams.stream(item.speaker), start, end, item, settings)

    def _turns_of(self, item: Item) -> Sequence[Turn]:
        return [turn for turn in self.turns if turn.speaker == item.speaker]


@contextmanager
def open_signal(
    audio: AudioReader,
    channels: ChannelAudio | None,
    activity: Activity,
    run: Run,
    models: JointModels,
) -> Iterator[OneSignal]:
    """Give what the model hears, by what is set and what the recording has.

    Parameters
    ----------
    channels : of an array, None where one signal is all there is
    """
    from meetscribe.spatial.streams import SeparatedStreams

    settings, device = models.settings, torch_device(models.device)
    if settings.signal == "spatial":
        yield PlacedSignal(audio, activity.turns, channels, device=device)
    elif channels is not None and settings.signal == "separated":
        with SeparatedStreams(
            channels,
            activity.turns,
            settings.separation,
            device=device,
            threads=models.threads,
            progress=run.progress,
        ) as streams:
            yield StreamSignal(audio, activity.turns, streams)
    else:
        yield OneSignal(audio, activity.turns)


def _span(item: Item, settings: JointSettings) -> tuple[float, float]:
    """Give the seconds that are read: of a short clip some of what follows, too."""
    start = item.group.start
    return start, max(item.group.end, start + settings.groups.shortest_s)


def _clip(
    audio: AudioReader, start: float, end: float, item: Item, settings: JointSettings
) -> Clip:
    seconds = item.group.duration
    return Clip(audio.read(start, end), seconds, budget(seconds, settings))
