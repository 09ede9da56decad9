"""Validation on generated text: cpWER, DER and numbers of speakers, summed over groups.

A group about which nothing readable was written counts as deletions and as missed speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from meetscribe.evaluate import normalise
from meetscribe.evaluate.bootstrap import interval
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors, SpeakerCounts, WordErrors
from meetscribe.evaluate.words import TokenSegment, cp
from meetscribe.train.joint.groups import Group
from meetscribe.types import Progress, Turn, Utterance, no_progress

COLUMNS = ("cpwer", "cpwer_low", "cpwer_high", "der", "count_accuracy", "nothing")

Written = Sequence[tuple[Utterance, ...]]


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """What is wrong about one group; ``speakers`` there are."""

    speakers: int
    words: WordErrors
    turns: DiarizationErrors
    counts: SpeakerCounts
    nothing: bool


def score(
    batches: Sequence[Sequence[Group]],
    write: Callable[[Sequence[Group]], Written],
    *,
    progress: Progress = no_progress,
) -> list[ScoredGroup]:
    """Score every group.

    Parameters
    ----------
    write : gives what is written about the groups of a batch
    progress : called with ``"score"``
    """
    said = [one.text for batch in batches for group in batch for one in group.utterances]
    normaliser = normalise.choose("auto", said)
    unit: Literal["word", "char"] = "char" if normalise.is_chinese(said) else "word"

    def segments(utterances: Iterable[Utterance]) -> list[TokenSegment]:
        return [
            TokenSegment(
                one.speaker,
                one.start,
                one.end,
                tuple(normalise.tokens(normaliser(one.text), unit)),
            )
            for one in utterances
        ]

    made = []
    for number, batch in enumerate(batches):
        for group, written in zip(batch, write(batch), strict=True):
            speakers, found = len(group.speakers), len({one.speaker for one in written})
            off = abs(speakers - found)
            made.append(
                ScoredGroup(
                    speakers,
                    cp(segments(group.utterances), segments(written)).errors,
                    diarization_errors(
                        _turns(group.utterances),
                        _turns(written),
                        scored=[(0.0, group.duration)],
                        collar=0.0,
                        score_overlap=True,
                    ),
                    SpeakerCounts(1, int(not off), off),
                    not written,
                )
            )
        progress("score", (number + 1) / len(batches))
    return made


def _turns(utterances: Iterable[Utterance]) -> list[Turn]:
    return [Turn(one.start, one.end, one.speaker) for one in utterances]


def summary(scored: Sequence[ScoredGroup]) -> dict[str, float]:
    """Give the values of ``COLUMNS``: fractions; ``nothing`` is the share of groups without text.

    The interval of cpWER is that of other groups of the kind: bootstrap, 95 %.
    """
    words = sum((one.words for one in scored), WordErrors())
    turns = sum((one.turns for one in scored), DiarizationErrors())
    counts = sum((one.counts for one in scored), SpeakerCounts())
    low, high = interval([(one.words.errors, one.words.length) for one in scored]) or (0.0, 1.0)
    return {
        "cpwer": words.rate or 0.0,
        "cpwer_low": low,
        "cpwer_high": high,
        "der": turns.der or 0.0,
        "count_accuracy": counts.accuracy or 0.0,
        "nothing": sum(one.nothing for one in scored) / max(1, len(scored)),
    }


def by_speakers(scored: Sequence[ScoredGroup]) -> dict[int, dict[str, float]]:
    """Give the same for every number of speakers."""
    numbers = sorted({one.speakers for one in scored})
    return {n: summary([one for one in scored if one.speakers == n]) for n in numbers}
