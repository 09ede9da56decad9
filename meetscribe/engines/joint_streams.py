"""What the joint model wrote about separated streams: each speaker's words, and no one else's.

texts of every stream -> the loudest voice of each -> words that two streams share, in one of them
-> Utterances

A stream has a speaker already, so nobody is linked by voice. If the model tells several speakers
apart in it, the others are what separation left of them.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meetscribe.engines.joint_loops import only_words
from meetscribe.engines.joint_turns import Reading, Said, named
from meetscribe.engines.joint_writing import Written
from meetscribe.engines.leakage import LeakageSettings, without_copies
from meetscribe.formats.tokens import tokens_of
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Utterance, Word

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owned:
    """Everybody's utterances.

    Parameters
    ----------
    utterances : with persons, called Speaker 1, ... by first appearance; some have no words
    leaked : how many utterances of other voices were left out
    copied : how many words were left out of one stream because they are in another
    """

    utterances: tuple[Utterance, ...]
    leaked: int
    copied: int


def own_words(
    written: Sequence[Written], reading: Reading, leakage: LeakageSettings | None
) -> Owned:
    """Give every stream's words to its speaker.

    Parameters
    ----------
    written : about clips of streams
    reading : of ``written``
    leakage : when words of two streams are the same; None: never
    """
    of_clip: dict[int, list[Said]] = defaultdict(list)
    for one in reading.said:
        of_clip[one.group].append(one)
    kept: list[_Heard] = []
    leaked = 0
    for number, said in of_clip.items():
        clip = written[number]
        levels = [clip.levels[one.place] for one in said]
        owner = _loudest(said, levels)
        for one, level in zip(said, levels, strict=True):
            if one.certain and one.utterance.speaker != owner:
                leaked += 1
            else:
                utterance = replace(one.utterance, speaker=clip.speaker)
                kept.append(_Heard(replace(one, utterance=utterance), level))
    if leaked:
        log.info("%d utterances were in another voice than their stream's", leaked)
    remaining, copied = (kept, 0) if leakage is None else _once(kept, leakage)
    persons = [(one.said, one.said.utterance.speaker) for one in remaining]
    return Owned(named(persons), leaked, copied)


@dataclass(frozen=True, slots=True)
class _Heard:
    """An utterance, and its amplitude on its stream."""

    said: Said
    level: float


def _loudest(said: Sequence[Said], levels: Sequence[float]) -> str:
    """Give the speaker of a clip who is heard most: as loud and as long."""
    energy: Counter[str] = Counter()
    for one, level in zip(said, levels, strict=True):
        if one.certain:
            seconds = one.utterance.end - one.utterance.start
            energy[one.utterance.speaker] += seconds * level**2  # type: ignore[assignment]
    return max(energy, key=lambda speaker: energy[speaker], default="")


def _once(heard: Sequence[_Heard], settings: LeakageSettings) -> tuple[list[_Heard], int]:
    """Leave each word that two speakers share to the one on whose stream it is louder."""
    ordered: dict[str, list[_Heard]] = defaultdict(list)
    for one in sorted(heard, key=lambda one: (one.said.utterance.start, one.said.utterance.end)):
        ordered[one.said.utterance.speaker].append(one)
    regions = {speaker: list(map(_region, own)) for speaker, own in ordered.items()}
    made: list[_Heard] = []
    copied = 0
    for speaker, after in without_copies(regions, settings).items():
        for one, old, new in zip(ordered[speaker], regions[speaker], after, strict=True):
            gone = len(old.words) - len(new.words)
            copied += gone
            if not gone:
                made.append(one)
            elif new.words:
                shorter = only_words(one.said.utterance, new.words)
                made.append(replace(one, said=replace(one.said, utterance=shorter)))
    return made, copied


def _region(one: _Heard) -> RecognizedRegion:
    """Give an utterance with a time for each of its words, and its level as their confidence."""
    utterance = one.said.utterance
    words = tuple(
        Word(token.text, token.start, token.end, min(1.0, one.level))
        for token in tokens_of(utterance)
    )
    return RecognizedRegion(utterance.start, utterance.end, words)
