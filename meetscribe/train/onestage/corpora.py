"""Prepared corpora as training data: where all that is said in real meetings is known.

    corpus.json, rttm/, seglst/, uem/ -> load_meetings -> MeetingSet: stretches and moments alone

A stretch is speech without a moment of silence in it: nobody's utterance crosses its ends, so that
whole stretches can be cut out with all their words. Audio stays where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError
from meetscribe.evaluate.corpora import Corpus, CorpusSession, load
from meetscribe.formats import parse_file, uem
from meetscribe.formats.reading import read_text
from meetscribe.spatial.solo_segments import solo_runs
from meetscribe.train.onestage.settings import CorpusSettings, SceneSettings
from meetscribe.types import Layout, Recording, Segment, Turn, Utterance

EDGE_S = 0.1
"""Around a region there is at least so much, where the gap beside it has that."""
_GAP_S = 0.2
"""Stretches lie at least so far apart: references are not exact."""
_UNSAID_S = 0.1
"""A turn may be longer than its utterance by this."""
_FEWEST = 2
_ARRAY = {"array", "auto"}
"""What a manifest may say of channels of which all are used."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """``said`` are its utterances, sorted; none where not all that is said is known."""

    start: float
    end: float
    said: tuple[Utterance, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


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
    sessions, condition = _chosen(corpus, wanted)
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
            recording = _recording(corpus, session, condition)
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


def _chosen(corpus: Corpus, wanted: CorpusSettings) -> tuple[tuple[CorpusSession, ...], str]:
    """Give the sessions of the split, and the condition whose audio is used."""
    if wanted.split is None and any(session.splits for session in corpus.sessions):
        raise ConfigError(
            f"corpora: {wanted.path} is divided into splits, expected one to be named",
            hint="those for measuring must stay out: split: train",
        )
    found = corpus.select(
        condition=wanted.condition, split=wanted.split, partition=wanted.partition
    )
    condition = wanted.condition or corpus.only_condition(found)
    others = {one.channels.get(condition, "auto") for one in found} - _ARRAY
    if others:
        raise ConfigError(
            f"corpora: {wanted.path}, condition '{condition}': channels are '{min(others)}', "
            "expected all microphones of an array",
            hint=f"there are: {', '.join(corpus.conditions)}",
        )
    return found, condition


def _recording(corpus: Corpus, session: CorpusSession, condition: str) -> Recording:
    files = [corpus.path(file).absolute() for file in session.audio.get(condition, ())]
    if not files:
        raise AudioError(f"{session.session_id}: no audio of condition '{condition}'")
    return ingest.probe(
        files,
        session_id=session.session_id,
        as_channels=len(files) > 1,
        # nothing needs to be guessed
        layout=Layout.ARRAY,
    )


def _meeting(
    corpus: Corpus, session: CorpusSession, recording: Recording, *, least_s: float
) -> Meeting:
    words = parse_file(corpus.path(session.seglst)).utterances
    turns = parse_file(corpus.path(session.rttm)).turns if session.rttm else ()
    turns = turns or tuple(Turn(one.start, one.end, one.speaker) for one in words)
    scored = _scored(corpus, session, recording.duration)
    alone = {
        speaker: tuple(run for run in _inside(runs, scored) if run.duration >= least_s)
        for speaker, runs in solo_runs(turns).items()
    }
    return Meeting(recording, tuple(_stretches(words, turns, scored)), alone)


def _scored(corpus: Corpus, session: CorpusSession, duration: float) -> list[Span]:
    """Give where everything is written down, within the recording."""
    regions: list[Span] = [(0.0, duration)]
    if session.uem:
        path = corpus.path(session.uem)
        told = uem.parse(read_text(path), path=str(path))
        regions = [region for own in told.values() for region in own] or regions
    return [(start, min(end, duration)) for start, end in sorted(regions) if start < duration]


def _inside(runs: Iterable[Segment], scored: Sequence[Span]) -> Iterator[Segment]:
    for run in runs:
        for start, end in scored:
            both = run & Segment(start, end)
            if both is not None:
                yield both


def _stretches(
    said: Iterable[Utterance], turns: Iterable[Turn], scored: Sequence[Span]
) -> Iterator[Stretch]:
    """Put together what overlaps or nearly touches; what nobody wrote down spoils a stretch."""
    said = list(said)
    spans: list[tuple[float, float, Utterance | None]] = [
        (one.start, one.end, one if one.text.strip() else None) for one in said
    ]
    spans += [(start, end, None) for start, end in _unsaid(said, turns)]
    spans += [(start, end, None) for start, end in _outside(scored)]
    spans.sort(key=lambda span: span[:2])
    together: list[tuple[float, float, Utterance | None]] = []
    end = 0.0
    for span in spans:
        if together and span[0] - end >= _GAP_S:
            yield _stretch(together)
            together = []
        end = max(end, span[1]) if together else span[1]
        together.append(span)
    if together:
        yield _stretch(together)


def _stretch(spans: Sequence[tuple[float, float, Utterance | None]]) -> Stretch:
    known = [one for _, _, one in spans if one is not None]
    said = tuple(known) if len(known) == len(spans) else ()
    return Stretch(spans[0][0], max(end for _, end, _ in spans), said)


def _unsaid(said: Iterable[Utterance], turns: Iterable[Turn]) -> Iterator[Span]:
    """Give the parts of turns that lie in no utterance of their speaker."""
    own: dict[str, list[Span]] = {}
    for one in said:
        own.setdefault(one.speaker, []).append((one.start - _UNSAID_S, one.end + _UNSAID_S))
    merged = {speaker: _merged(spans) for speaker, spans in own.items()}
    by_speaker: dict[str, list[Turn]] = {}
    for turn in sorted(turns):
        by_speaker.setdefault(turn.speaker, []).append(turn)
    for speaker, all_turns in by_speaker.items():
        covers, first = merged.get(speaker, []), 0
        for turn in all_turns:
            while first < len(covers) and covers[first][1] <= turn.start:
                first += 1
            start = turn.start
            for cover in covers[first:]:
                if cover[0] >= turn.end:
                    break
                if cover[0] > start:
                    yield start, cover[0]
                start = max(start, cover[1])
            if start < turn.end:
                yield start, turn.end


def _merged(spans: Iterable[Span]) -> list[Span]:
    made: list[Span] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def _outside(scored: Sequence[Span]) -> Iterator[Span]:
    """Give all time that is not scored, before the start and after the end too."""
    edges = [float("-inf"), *(edge for span in _merged(scored) for edge in span), float("inf")]
    yield from ((start, end) for start, end in list(pairwise(edges))[::2])
