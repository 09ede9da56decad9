"""Prepared corpora as training data: stretches of real meetings, and moments of one speaker alone.

corpus.json, rttm/, seglst/, uem/ -> load_meetings -> MeetingSet
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError
from meetscribe.evaluate.corpora import Corpus, CorpusSession, load
from meetscribe.spatial.solo_segments import solo_runs
from meetscribe.train.corpora import (
    Span,
    Stretch,
    choose_sessions,
    recording_of,
    references_of,
    stretches,
)
from meetscribe.train.data_settings import CorpusSettings
from meetscribe.train.onestage.settings import SceneSettings
from meetscribe.types import Recording, Segment

EDGE_S = 0.1
"""Around a region there is at least so much, where the gap beside it has that."""
GAP_S = 0.2
"""Stretches lie at least so far apart: references are not exact."""
_FEWEST = 2
_ARRAY = {"array", "auto"}
"""What a manifest may say of channels of which all are used."""


@dataclass(frozen=True)
class Meeting:
    """A recording, its stretches by time, and when each speaker talks alone."""

    recording: Recording
    stretches: tuple[Stretch, ...]
    alone: dict[str, tuple[Segment, ...]]

    def beginnings(self, longest_s: float) -> list[int]:
        """Give the stretches that are a region by themselves: short, and a target has a moment."""
        return [
            number
            for number, one in enumerate(self.stretches)
            if one.said
            and one.duration <= longest_s - 2 * EDGE_S
            and any(self.is_heard(part.speaker, one.start, one.end) for part in one.said)
        ]

    def moments(self, speaker: str, start: float, end: float) -> Iterator[Segment]:
        """Give when a speaker talks alone outside of that time."""
        for run in self.alone.get(speaker, ()):
            if run.end <= start or run.start >= end:
                yield run

    def is_heard(self, speaker: str, start: float, end: float) -> bool:
        """Tell whether there is such a moment."""
        return next(self.moments(speaker, start, end), None) is not None


@dataclass(frozen=True)
class MeetingSet:
    """What can be used of a corpus; ``minutes`` of its stretches."""

    name: str
    licence: str
    reference: str
    share: float
    meetings: tuple[Meeting, ...]
    minutes: tuple[float, ...]

    def content_hash(self) -> str:
        """Give a short hash: what is drawn depends on it. Where the audio lies does not matter."""
        return config_hash(
            [
                [
                    one.recording.session_id,
                    one.recording.num_channels,
                    [[s.start, s.end, [u.text for u in s.said]] for s in one.stretches],
                    {name: [[r.start, r.end] for r in own] for name, own in one.alone.items()},
                ]
                for one in self.meetings
            ]
        )


def load_meetings(
    wanted: CorpusSettings, scenes: SceneSettings, *, language: str, num_channels: int | None = None
) -> tuple[MeetingSet, list[str]]:
    """Read the references of a prepared corpus, and the headers of its recordings.

    Parameters
    ----------
    scenes : how short a region must be, and how long a moment alone
    language : sessions that say they are of another one are left out
    num_channels : that every recording must have; None: at least two

    Returns
    -------
    MeetingSet
    list of str
        What was left out and why, with counts.

    Raises
    ------
    NameNotFoundError, FormatError
        If there is no such corpus, or it cannot be read.
    ConfigError
        If there is no such condition or split, or no session can be used.
    """
    corpus = load(wanted.path)
    sessions, condition = choose_sessions(
        corpus, wanted, layouts=_ARRAY, expected="all microphones of an array"
    )
    longest_s = min(stage.longest_s for stage in scenes.stages)
    left_out: Counter[str] = Counter()
    meetings: list[Meeting] = []
    minutes: list[float] = []
    for session in sessions:
        if not session.seglst:
            left_out["no words that may be used"] += 1
            continue
        if session.language not in {"", language}:
            left_out[f"not in '{language}'"] += 1
            continue
        try:
            recording = recording_of(corpus, session, condition)
        except AudioError:
            left_out["the recording cannot be read"] += 1
            continue
        if recording.num_channels < _FEWEST or num_channels not in {None, recording.num_channels}:
            left_out[f"{recording.num_channels} channels"] += 1
            continue
        meeting = _meeting(corpus, session, recording, least_s=scenes.solo_s[0])
        usable = [meeting.stretches[at].duration for at in meeting.beginnings(longest_s)]
        if not usable:
            left_out["no region of it is short enough and has a speaker who is heard alone"] += 1
            continue
        meetings.append(meeting)
        minutes.append(sum(usable) / 60)
    notes = [f"{corpus.name}: {n} meetings left out: {why}" for why, n in left_out.items()]
    if not meetings:
        raise ConfigError(
            f"corpus {corpus.name}: no meeting can be trained on ({'; '.join(notes)})",
            hint="check condition, split and speech.language",
        )
    found = MeetingSet(
        corpus.name,
        corpus.licence,
        corpus.reference,
        wanted.share,
        tuple(meetings),
        tuple(minutes),
    )
    return found, notes


def _meeting(
    corpus: Corpus, session: CorpusSession, recording: Recording, *, least_s: float
) -> Meeting:
    words, turns, scored = references_of(corpus, session, recording.duration)
    alone = {
        speaker: tuple(run for run in _inside(runs, scored) if run.duration >= least_s)
        for speaker, runs in solo_runs(turns).items()
    }
    return Meeting(recording, tuple(stretches(words, turns, scored, gap_s=GAP_S)), alone)


def _inside(runs: Iterable[Segment], scored: Sequence[Span]) -> Iterator[Segment]:
    for run in runs:
        for start, end in scored:
            both = run & Segment(start, end)
            if both is not None:
                yield both
