"""What the joint model wrote, as utterances on the meeting's clock, each with a person.

texts -> turns of each group -> voiceprints of its speakers -> persons -> Utterances and Turns
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.activity.clustering import Bounds
from meetscribe.activity.voiceprint import VOICEPRINT_SIZE
from meetscribe.engines.joint_link import LocalSpeaker, link
from meetscribe.engines.joint_loops import without_loops
from meetscribe.engines.joint_models import JointModels
from meetscribe.engines.joint_writing import Written
from meetscribe.engines.meeting_settings import VOICEPRINT
from meetscribe.engines.run import Run
from meetscribe.joint.parsed import UNKNOWN, Fault
from meetscribe.models import describe_model
from meetscribe.types import (
    SAMPLE_RATE_HZ,
    Activity,
    AudioReader,
    Segment,
    Turn,
    Utterance,
    is_unspaced,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OVERLAP_S = 0.2
_PIECE_S = 0.2
"""Shorter pieces of a turn tell little of a voice."""
_SHORTEST_CLIP_S = 0.3


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance on the meeting's clock, and the group whose speaker it has.

    Parameters
    ----------
    group, place : number of its group, and its own in what was written about it
    utterance : its speaker is one of that group
    certain : whether somebody has its words
    looped : whether its speaker repeated himself in that group
    """

    group: int
    place: int
    utterance: Utterance
    certain: bool
    looped: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of the texts.

    Parameters
    ----------
    said : utterances with the speakers of their groups; some have no words
    failed : groups of whose text nothing could be read
    repaired : how many texts had to be repaired
    faults : what was wrong, and how often
    """

    said: tuple[Said, ...]
    failed: tuple[Segment, ...]
    repaired: int
    faults: Counter[str]


def read_answers(written: Sequence[Written]) -> Reading:
    """Put what was written on the meeting's clock.

    A speaker is called by group and id; words that nobody has have a speaker of their own. Words
    that repeat themselves again and again are left out.
    """
    said: list[Said] = []
    failed: list[Segment] = []
    faults: Counter[str] = Counter()
    repaired = 0
    for number, one in enumerate(written):
        parsed = one.answer.parsed.in_clip(one.group.duration)
        if parsed.failed:
            failed.append(one.group)
        kept = without_loops(parsed.utterances)
        repaired += bool(parsed.repairs or kept.speakers)
        faults.update(str(repair.fault) for repair in parsed.repairs)
        faults.update([str(Fault.LOOP)] * len(kept.speakers))
        for place, turn in enumerate(kept.turns):
            if turn is None:
                continue
            certain = turn.speaker != UNKNOWN
            label = f"{number}:{turn.speaker if certain else f'{UNKNOWN}:{place}'}"
            start = min(one.group.start + turn.start, one.group.end)
            end = min(one.group.start + turn.end, one.group.end)
            placed = replace(turn, speaker=label, start=round(start, 4), end=round(end, 4))
            looped = turn.speaker in kept.speakers
            said.append(Said(number, place, placed, certain, looped))
    faults.pop(str(Fault.NO_TURNS), None)
    return Reading(tuple(said), tuple(failed), repaired, faults)


def link_speakers(
    reading: Reading,
    written: Sequence[Written],
    activity: Activity,
    *,
    audio: AudioReader,
    run: Run,
    models: JointModels,
) -> tuple[Utterance, ...]:
    """Give every utterance the person who says it, called Speaker 1, ... by first appearance."""
    of_speaker: dict[str, list[Said]] = defaultdict(list)
    for one in reading.said:
        of_speaker[one.utterance.speaker].append(one)
    if not of_speaker:
        return ()
    settings = models.settings
    found = _voices(of_speaker, written, audio, run, models)
    known, voices_sd, weights_s = _known_voices(activity, own=models.activity.own_diarizer)
    speakers = [
        LocalSpeaker(
            group=mine[0].group,
            print_d=np.array(found[label][0], dtype=np.float32),
            clean_s=found[label][1],
            shares_s=_shares(mine, activity, known),
            certain=mine[0].certain,
        )
        for label, mine in of_speaker.items()
    ]
    low, high = settings.speakers or settings.min_speakers, settings.speakers
    bounds = Bounds(low or 1, high or settings.max_speakers)
    labels = link(speakers, voices_sd, weights_s, settings.link, bounds=bounds)
    person = dict(zip(of_speaker, labels, strict=True))
    return named([(one, person[one.utterance.speaker]) for one in reading.said])


def turns_of(utterances: Iterable[Utterance]) -> tuple[Turn, ...]:
    """Give each speaker's turns, those that touch joined."""
    turns: list[Turn] = []
    last: dict[str, int] = {}
    for one in sorted(utterances, key=lambda one: (one.start, one.end)):
        at = last.get(one.speaker)
        if at is not None and one.start <= turns[at].end:
            turns[at] = replace(turns[at], end=max(turns[at].end, one.end))
        else:
            last[one.speaker] = len(turns)
            turns.append(Turn(one.start, one.end, one.speaker))
    return tuple(sorted(turns))


def language_of(utterances: Iterable[Utterance]) -> str:
    """Tell Chinese by its characters; "" for all else, which letters alone don't tell.

    >>> language_of([Utterance("a", 0, 1, "我们 ok")]), language_of([Utterance("a", 0, 1, "We")])
    ('zh', '')
    """
    text = "".join(one.text for one in utterances)
    letters = [char for char in text if char.isalpha()]
    chinese = sum("\u3400" <= char <= "\u9fff" for char in letters)
    others = sum(is_unspaced(char) for char in letters) - chinese
    # kana and hangul beside Chinese characters are Japanese or Korean
    return "zh" if others == 0 and 2 * chinese >= max(1, len(letters)) else ""


def named(said: Sequence[tuple[Said, Hashable]]) -> tuple[Utterance, ...]:
    """Give utterances with their persons, called Speaker 1, ... by first appearance."""
    order = dict.fromkeys(
        person for one, person in sorted(said, key=lambda pair: pair[0].utterance.start)
    )
    names = {person: f"Speaker {number}" for number, person in enumerate(order, start=1)}
    named = [(replace(one.utterance, speaker=names[person]), one) for one, person in said]
    turns = turns_of(utterance for utterance, _ in named)
    made = []
    for utterance, one in named:
        flags = ["unclear"] if one.looped or not one.certain else []
        others = (turn for turn in turns if turn.speaker != utterance.speaker)
        length = utterance.end - utterance.start
        if sum(_common(utterance, turn) for turn in others) >= min(_OVERLAP_S, length):
            flags.insert(0, "overlap")
        made.append(replace(utterance, flags=tuple(flags)))
    return tuple(sorted(made, key=lambda one: (one.start, one.end, one.speaker)))


def _voices(
    of_speaker: dict[str, list[Said]],
    written: Sequence[Written],
    audio: AudioReader,
    run: Run,
    models: JointModels,
) -> dict[str, tuple[list[float], float]]:
    """Give each local speaker's voiceprint, and the seconds of clean speech behind it."""
    in_group: dict[int, dict[str, list[Said]]] = defaultdict(dict)
    for label, mine in of_speaker.items():
        in_group[mine[0].group][label] = mine

    def make() -> dict[str, Any]:
        made = {}
        for number, (group, speakers) in enumerate(in_group.items()):
            made.update(_group_voices(written[group].group, speakers, audio, models))
            run.progress("link", number / len(in_group))
        return made

    run.progress("link", 0.0)
    spans = [
        (label, one.utterance.start, one.utterance.end)
        for label, mine in of_speaker.items()
        for one in mine
    ]
    groups = [(one.group.start, one.group.end) for one in written]
    made = run.keep("voices", (spans, groups, describe_model(VOICEPRINT)), make)
    run.progress("link", 1.0)
    return {label: (print_, seconds) for label, (print_, seconds) in made.items()}


def _group_voices(
    group: Segment, speakers: dict[str, list[Said]], audio: AudioReader, models: JointModels
) -> dict[str, tuple[list[float], float]]:
    samples_n = audio.read(group.start, max(group.end, group.start + _SHORTEST_CLIP_S))
    pieces: list[Segment] = []
    owners: list[str] = []
    clean_s = {}
    for label, mine in speakers.items():
        own = _pieces(mine, [])
        others = [
            piece
            for name, theirs in speakers.items()
            if name != label
            for piece in _pieces(theirs, [])
        ]
        clean = [piece for piece in _pieces(mine, others) if piece.duration >= _PIECE_S]
        clean_s[label] = sum(piece.duration for piece in clean)
        pieces += clean or own
        owners += [label] * len(clean or own)
    spans = [
        ((piece.start - group.start) * SAMPLE_RATE_HZ, (piece.end - group.start) * SAMPLE_RATE_HZ)
        for piece in pieces
    ]
    prints_ud = models.voiceprinter()(np.ascontiguousarray(samples_n), spans)
    made = {}
    for label in speakers:
        mine_u = [index for index, owner in enumerate(owners) if owner == label]
        seconds_u = np.array([pieces[index].duration for index in mine_u])
        mean_d = seconds_u @ prints_ud[mine_u]
        mean_d /= max(float(np.linalg.norm(mean_d)), 1e-8)
        made[label] = ([round(float(value), 5) for value in mean_d], round(clean_s[label], 3))
    return made


def _pieces(mine: Iterable[Said], others: Iterable[Segment]) -> list[Segment]:
    """Give the time of some utterances, without that of others."""
    spans = sorted((one.utterance.start, one.utterance.end) for one in mine)
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    for other in others:
        joined = [
            span
            for start, end in joined
            for span in ((start, min(end, other.start)), (max(start, other.end), end))
            if span[0] < span[1]
        ]
    return [Segment(start, end) for start, end in joined]


def _known_voices(
    activity: Activity, *, own: bool
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Give the speakers of the activity stage whose voiceprints are of the same kind as ours."""
    speakers = [
        name
        for name in activity.speakers
        if own and len(activity.voiceprints.get(name, ())) == VOICEPRINT_SIZE
    ]
    voices_sd = np.zeros((len(speakers), VOICEPRINT_SIZE), dtype=np.float32)
    for index, name in enumerate(speakers):
        voices_sd[index] = activity.voiceprints[name]
    seconds = [
        sum(turn.duration for turn in activity.turns if turn.speaker == name) for name in speakers
    ]
    return speakers, voices_sd, np.array(seconds, dtype=np.float32)


def _shares(mine: Sequence[Said], activity: Activity, known: Sequence[str]) -> NDArray[np.float32]:
    """Give the share of a local speaker's time in which each known one is active."""
    pieces = _pieces(mine, [])
    seconds = sum(piece.duration for piece in pieces) or 1.0
    shared = Counter[str]()
    for turn in activity.turns:
        for piece in pieces:
            shared[turn.speaker] += max(  # type: ignore[assignment]
                0.0, min(piece.end, turn.end) - max(piece.start, turn.start)
            )
    return np.array([shared[name] / seconds for name in known], dtype=np.float32)


def _common(utterance: Utterance, turn: Turn) -> float:
    return max(0.0, min(utterance.end, turn.end) - max(utterance.start, turn.start))
