"""References of prepared corpora: stretches of a meeting of which all that is said is known.

    corpus.json, rttm/, seglst/, uem/ -> sessions -> stretches of speech

A stretch is speech without a moment of silence in it: nobody's utterance crosses its ends, so that
whole stretches can be cut out with all their words. Audio stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from meetscribe import ingest
from meetscribe.errors import AudioError, ConfigError
from meetscribe.evaluate.corpora import Corpus, CorpusSession
from meetscribe.formats import parse_file, uem
from meetscribe.formats.reading import read_text
from meetscribe.ingest.decode import Decoder
from meetscribe.train.data_settings import CorpusSettings
from meetscribe.types import SAMPLE_RATE_HZ, Layout, Recording, Segment, Turn, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNSAID_S = 0.1
"""A turn may be longer than its utterance by this."""

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


def choose_sessions(
    corpus: Corpus, wanted: CorpusSettings, *, layouts: AbstractSet[str], expected: str
) -> tuple[tuple[CorpusSession, ...], str]:
    """Give the sessions of the split, and the condition whose audio is used.

    Parameters
    ----------
    layouts : what the manifest may say of the channels
    expected : these in words, for the error

    Raises
    ------
    ConfigError
        If there is no such split or condition, or its channels are something else.
    """
    if wanted.split is None and any(session.splits for session in corpus.sessions):
        raise ConfigError(
            f"corpora: {wanted.path} is divided into splits, expected one to be named",
            hint="those for measuring must stay out: split: train",
        )
    found = corpus.select(
        condition=wanted.condition, split=wanted.split, partition=wanted.partition
    )
    condition = wanted.condition or corpus.only_condition(found)
    others = {one.channels.get(condition, "auto") for one in found} - layouts
    if others:
        raise ConfigError(
            f"corpora: {wanted.path}, condition '{condition}': channels are '{min(others)}', "
            f"expected {expected}",
            hint=f"there are: {', '.join(corpus.conditions)}",
        )
    return found, condition


def recording_of(corpus: Corpus, session: CorpusSession, condition: str) -> Recording:
    """Read the headers of a session's files.

    Raises
    ------
    AudioError
        If there are none, or one cannot be read.
    """
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


def references_of(
    corpus: Corpus, session: CorpusSession, duration: float
) -> tuple[tuple[Utterance, ...], tuple[Turn, ...], list[Span]]:
    """Read who says what, who speaks when, and where everything is written down.

    Raises
    ------
    FormatError
        If one of the files cannot be read.
    """
    words = parse_file(corpus.path(session.seglst)).utterances
    turns = parse_file(corpus.path(session.rttm)).turns if session.rttm else ()
    turns = turns or tuple(Turn(one.start, one.end, one.speaker) for one in words)
    return words, turns, _scored(corpus, session, duration)


def _scored(corpus: Corpus, session: CorpusSession, duration: float) -> list[Span]:
    regions: list[Span] = [(0.0, duration)]
    if session.uem:
        path = corpus.path(session.uem)
        told = uem.parse(read_text(path), path=str(path))
        regions = [region for own in told.values() for region in own] or regions
    return [(start, min(end, duration)) for start, end in sorted(regions) if start < duration]


def stretches(
    said: Iterable[Utterance], turns: Iterable[Turn], scored: Sequence[Span], *, gap_s: float
) -> Iterator[Stretch]:
    """Put together what overlaps or nearly touches; what nobody wrote down spoils a stretch.

    Parameters
    ----------
    scored : where everything is written down
    gap_s : a silence of so much ends a stretch; above 0
    """
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
        if together and span[0] - end >= gap_s:
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


def read_span(recording: Recording, channels: Sequence[int], span: Segment) -> NDArray[np.float32]:
    """Give the samples of a span at 16 kHz, zeros where the file ends early.

    Raises
    ------
    AudioError
        If the recording can no longer be read.
    """
    num_samples = round(span.duration * SAMPLE_RATE_HZ)
    made_cn = np.zeros((len(channels), num_samples), np.float32)
    first = 0
    with Decoder(recording, channels, start=span.start, duration=span.duration) as decoder:
        for block_cn in decoder.blocks(span.duration):
            kept_cn = block_cn[:, : num_samples - first]
            made_cn[:, first : first + kept_cn.shape[1]] = kept_cn
            first += kept_cn.shape[1]
    return made_cn
