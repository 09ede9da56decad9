"""Scenes of real meetings, like those of simulated ones: moments alone, then a region.

    | alone 1 | alone 2 | … | region: what was said there, by whom |

They are cut out of the recording and put one after the other; nothing else of it is read. What
the microphones would have heard of one person alone is not known: ``images`` has nobody.

Axes: C channel, N sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from meetscribe.train.corpora import read_span
from meetscribe.train.onestage.corpora import EDGE_S, Meeting, MeetingSet
from meetscribe.train.onestage.scenes import (
    APART_S,
    Samples,
    Scene,
    SceneMaker,
    draw_channels,
)
from meetscribe.train.onestage.settings import SceneSettings, Stage
from meetscribe.train.turns import overlap_share
from meetscribe.types import SAMPLE_RATE_HZ, Recording, Segment, Turn, Utterance, join_words

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_EDGE_S = 0.5
_TRIES = 20
_SOURCE = 1
"""Of the numbers that choose where a scene is from; those of a scene itself have none."""


class Scenes(Protocol):
    """What makes scenes, simulated or cut out."""

    @property
    def settings(self) -> SceneSettings:
        """What happens around a region."""
        ...

    def make(self, number: int, share: float) -> Scene:
        """Make a scene."""
        ...


@dataclass(frozen=True)
class MixedScenes:
    """Scenes of which some shares are of real meetings, the others simulated.

    A stage without words learns from what is heard of one person alone: it is all simulated.
    """

    simulated: SceneMaker
    real: tuple[MeetingScenes, ...]

    @property
    def settings(self) -> SceneSettings:
        """What happens around a region."""
        return self.simulated.settings

    def make(self, number: int, share: float) -> Scene:
        """Make a scene; where it is from follows from its number as well."""
        of = self.simulated
        drawn = np.random.default_rng([of.seed, of.stream, number, _SOURCE]).random()
        if self.settings.stage(share).words:
            for one in self.real:
                if drawn < one.meetings.share:
                    return one.make(number, share)
                drawn -= one.meetings.share
        return of.make(number, share)


@dataclass(frozen=True)
class MeetingScenes:
    """Cuts scenes out of real meetings; for the parameters see ``SceneMaker``."""

    settings: SceneSettings
    meetings: MeetingSet
    seed: int
    stream: int
    all_channels: bool = False

    def make(self, number: int, share: float) -> Scene:
        """Make a scene.

        Raises
        ------
        AudioError
            If the recording can no longer be read.
        """
        rng = np.random.default_rng([self.seed, self.stream, number])
        stage = self.settings.stage(share)
        minutes = np.asarray(self.meetings.minutes)
        chosen = int(rng.choice(len(minutes), p=minutes / minutes.sum()))
        meeting = self.meetings.meetings[chosen]
        region, said = _draw_region(meeting, stage, rng)
        alone = self._alone(meeting, stage, said, rng=rng)
        channels = draw_channels(
            meeting.recording.num_channels,
            None if self.all_channels else self.settings.channels,
            rng,
        )
        return _cut_out(
            meeting.recording,
            channels.tolist(),
            alone,
            region,
            said,
            number=number,
            of=self.meetings.name,
        )

    def _alone(
        self,
        meeting: Meeting,
        stage: Stage,
        said: Sequence[Utterance],
        *,
        rng: np.random.Generator,
    ) -> dict[str, Segment]:
        """Draw who is a target, perhaps one who is silent, and a moment of each alone."""
        start, end = min(one.start for one in said), max(one.end for one in said)
        talking = list(dict.fromkeys(one.speaker for one in said))
        silent = [name for name in meeting.alone if name not in talking]
        rng.shuffle(silent)
        more = int(rng.random() < stage.silent)
        found: dict[str, Segment] = {}
        for name in [*talking, *silent]:
            moments = list(meeting.moments(name, start, end))
            if not moments or (name in silent and not more):
                continue
            # the first one is always known, so that every scene has a target
            if found and rng.random() < self.settings.lacking_solo:
                continue
            more -= name in silent
            found[name] = _part(moments, self.settings.solo_s, rng)
        return found


def _draw_region(
    meeting: Meeting, stage: Stage, rng: np.random.Generator
) -> tuple[Segment, list[Utterance]]:
    """Draw stretches that follow each other, near the length and number of voices wanted."""
    weights = np.asarray(stage.voices, dtype=np.float64)
    voices = 1 + int(rng.choice(len(weights), p=weights / weights.sum()))
    beginnings = meeting.beginnings(stage.longest_s)
    shortest_s = min(stage.piece_s[0], stage.longest_s)
    best: tuple[tuple[bool, int], int, int] | None = None
    for _ in range(_TRIES):
        first = beginnings[int(rng.integers(len(beginnings)))]
        wanted_s = float(rng.uniform(shortest_s, stage.longest_s)) - 2 * EDGE_S
        last = _last(meeting, first, wanted_s)
        start, end = meeting.stretches[first].start, meeting.stretches[last].end
        speakers = {one.speaker for one in _said(meeting, first, last)}
        if not any(meeting.is_heard(name, start, end) for name in speakers):
            last = first
            speakers = {one.speaker for one in meeting.stretches[first].said}
            end = meeting.stretches[first].end
        how_bad = (end - start < shortest_s - 2 * EDGE_S, abs(len(speakers) - voices))
        if best is None or how_bad < best[0]:
            best = (how_bad, first, last)
        if how_bad == (False, 0):
            break
    assert best is not None  # noqa: S101 - there is at least one try
    _, first, last = best
    return _with_edges(meeting, first, last, stage, rng), _said(meeting, first, last)


def _last(meeting: Meeting, first: int, wanted_s: float) -> int:
    """Give the last stretch of a region that is no longer than this, if that can be."""
    start, last = meeting.stretches[first].start, first
    for number in range(first + 1, len(meeting.stretches)):
        one = meeting.stretches[number]
        if not one.said or one.end - start > wanted_s:
            break
        last = number
    return last


def _said(meeting: Meeting, first: int, last: int) -> list[Utterance]:
    return [part for one in meeting.stretches[first : last + 1] for part in one.said]


def _with_edges(
    meeting: Meeting, first: int, last: int, stage: Stage, rng: np.random.Generator
) -> Segment:
    """Add some of the silence on both sides, at most half of the gap."""
    stretches = meeting.stretches
    start, end = stretches[first].start, stretches[last].end
    before = start - stretches[first - 1].end if first else start
    after = stretches[last + 1].start - end if last + 1 < len(stretches) else 0.0
    spare = (stage.longest_s - (end - start)) / 2
    most = [min(gap / 2, spare, _MOST_EDGE_S) for gap in (before, after)]
    early, late = (min(one, float(rng.uniform(EDGE_S, _MOST_EDGE_S))) for one in most)
    return Segment(max(0.0, start - early), end + max(0.0, late))


def _part(
    moments: Sequence[Segment], seconds: tuple[float, float], rng: np.random.Generator
) -> Segment:
    run = moments[int(rng.integers(len(moments)))]
    length = min(run.duration, float(rng.uniform(*seconds)))
    start = run.start + float(rng.random()) * (run.duration - length)
    return Segment(start, start + length)


def _cut_out(
    recording: Recording,
    channels: Sequence[int],
    alone: Mapping[str, Segment],
    region: Segment,
    said: Sequence[Utterance],
    *,
    number: int,
    of: str,
) -> Scene:
    """Read the parts, and put them one after the other."""
    apart_cn = np.zeros((len(channels), round(APART_S * SAMPLE_RATE_HZ)), np.float32)
    parts: list[Samples] = []
    turns: list[Turn] = []
    begin = 0
    for name, span in alone.items():
        own_cn = read_span(recording, channels, span)
        end = begin + own_cn.shape[1]
        turns.append(Turn(begin / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ, name))
        parts += [own_cn, apart_cn]
        begin = end + apart_cn.shape[1]
    parts.append(read_span(recording, channels, region))
    start = begin / SAMPLE_RATE_HZ
    late = start - region.start
    spoken = [Turn(one.start + late, one.end + late, one.speaker) for one in said]
    texts = {name: join_words(one.text for one in said if one.speaker == name) for name in alone}
    return Scene(
        number=number,
        samples_cn=np.concatenate(parts, axis=1),
        region=Segment(start, start + parts[-1].shape[1] / SAMPLE_RATE_HZ),
        turns=tuple(turns),
        spoken=tuple(spoken),
        texts=texts,
        images={},
        overlap=overlap_share(spoken),
        array=of,
    )
