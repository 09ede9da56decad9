"""Who says what when: utterances of several readers put together as people take turns.

First a script is drawn: who speaks next, which utterance, how soon after the one before, and
which short utterances are said under a long one. Then the script is laid out in time by one
number, the heat: at 0 floor transfers have the offsets of real meetings; above 0 more and more
speakers interrupt, each at his own point of the utterance that has the floor; below 0 overlaps
shrink until there are none. The heat is searched that gives the share of overlap wanted.

Utterances are used whole: nothing is known of where their words are, so cutting one would make
its text untrue. Read utterances are longer than the spurts of a meeting; a wanted share of
overlap takes fewer and longer overlaps than in a real one. Backchannels are made of the
table's short utterances, and there are none if it has none.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meetscribe.errors import AudioError, ConfigError
from meetscribe.formats.tokens import column
from meetscribe.train.casting import EDGE_SILENCE_S
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.speech import Reading, Spoken
from meetscribe.train.turns import (
    BACKCHANNELS_PER_MIN,
    TALK_CONCENTRATION,
    draw_offset,
    draw_pause,
    overlap_share,
)
from meetscribe.types import Turn

TOLERANCE = 0.005
"""How far from the range of overlap a meeting may be."""

_LEAD_S = (0.5, 1.5)
_TAIL_S = 1.0
_BREATH_S = 0.2
"""Nobody starts an utterance sooner after the end of his own."""
_TRIES = 6
_COLDEST, _HOTTEST = -1.0, 2.0
_HEATS = 25
_SEARCH_STEPS = 10
_RAMP = 0.5
_SHORT_SHARE = 1 / 3
_SAME_SPEAKER_SHARE = 0.05
"""Of 100 spurts in AMI 13 are of the speaker who has the floor anyway. Read sentences have pauses
of half a second inside, which make more spurts of that kind than that by themselves."""
_CROWD_SHARE = 0.4
"""So many may be the third voice; then three or more speak in about an eighth of the overlapped
time, as in AMI (a fifth in AliMeeting)."""
_LEAST_FILLED = 0.85


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance in its place; ``start`` is seconds at the mouth, of the first sound."""

    spoken: Spoken
    start: float
    backchannel: bool = False

    @property
    def speaker(self) -> str:
        """Who says it."""
        return self.spoken.reading.speaker

    @property
    def end(self) -> float:
        """Seconds, of the last sound."""
        return self.start + self.spoken.duration

    def turns(self, delay: float = 0.0) -> list[Turn]:
        """Give its parts without pauses, as they are heard ``delay`` seconds later."""
        start = self.start + delay
        return [
            Turn(start + region.start, start + region.end, self.speaker)
            for region in self.spoken.regions
        ]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that is said, in order, and the overlap that was aimed at."""

    said: tuple[Said, ...]
    speakers: tuple[str, ...]
    duration: float
    target_overlap: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Aside:
    """A backchannel of the script: said at a share of the utterance it belongs to."""

    spoken: Spoken
    at: float
    rank: float


@dataclass(frozen=True, slots=True)
class _Line:
    """An utterance of the script, with everything that is random about its place.

    ``offset`` and ``pause`` are seconds after a change of speaker and without one; ``rank`` says
    how hot it must be for this one to interrupt, ``depth`` where in the floor's utterance, and
    ``crowd`` whether as the third voice.
    """

    spoken: Spoken
    offset: float
    pause: float
    rank: float
    depth: float
    crowd: bool
    asides: tuple[_Aside, ...]


class _Voice:
    """The utterances of one speaker in the order in which he says them."""

    def __init__(
        self,
        readings: Sequence[Reading],
        settings: SimulationSettings,
        listen: Callable[[Reading], Spoken],
        rng: np.random.Generator,
    ) -> None:
        by_length = sorted(readings, key=lambda reading: (reading.duration, reading.path))
        longest = settings.backchannel_s + EDGE_SILENCE_S
        most = int(len(by_length) * _SHORT_SHARE)
        short = [r for r in by_length[:most] if r.duration <= longest]
        self._listen = listen
        self._rng = rng
        self._repeat = settings.repeat
        self._longest_aside_s = settings.backchannel_s
        self._all = by_length[len(short) :]
        self._lines = self._shuffled(self._all)
        self._asides = self._shuffled(short)
        self.notes: list[str] = []

    def _shuffled(self, readings: Sequence[Reading]) -> list[Reading]:
        # Short ones come first more often, with a weight of 1 / duration (Efraimidis and
        # Spirakis 2006): the spurts of meetings are far shorter than read sentences.
        keys = self._rng.random(len(readings)) ** [reading.duration for reading in readings]
        return [readings[index] for index in np.argsort(keys)]

    def line(self) -> Spoken | None:
        """Give the next utterance, None if all are used up."""
        spoken = self._next(self._lines)
        if spoken is None and self._repeat:
            self._lines = self._shuffled(self._all)
            spoken = self._next(self._lines)
        return spoken

    def aside(self) -> Spoken | None:
        """Give the next short utterance, None if there is none left."""
        while (spoken := self._next(self._asides)) is not None:
            if spoken.duration <= self._longest_aside_s:
                return spoken
        return None

    def _next(self, readings: list[Reading]) -> Spoken | None:
        while readings:
            try:
                return self._listen(readings.pop())
            except AudioError as error:
                self.notes.append(f"left out: {error.message}")
        return None


def converse(
    chosen: Mapping[str, Sequence[Reading]],
    settings: SimulationSettings,
    listen: Callable[[Reading], Spoken],
    rng: np.random.Generator,
    *,
    target: float,
) -> Conversation:
    """Make a conversation whose share of overlap lies within the range of the settings.

    Parameters
    ----------
    target : share of overlap that is tried first; if it fails, others of the range are
    chosen : speaker -> his utterances, as ``casting.choose_speakers`` gives them
    listen : says where in an utterance there is speech; called again for the same one

    Raises
    ------
    ConfigError
        If the overlap cannot be had with these utterances, or too many of them are broken.
    """
    low, high = settings.overlap
    length = 60 * settings.minutes - _TAIL_S
    reached, filled = [], []
    for attempt in range(_TRIES):
        target = float(rng.uniform(low, high)) if attempt else target
        voices = {s: _Voice(own, settings, listen, rng) for s, own in chosen.items()}
        script = _write_script(voices, settings, rng)
        said = _search(script, float(rng.uniform(*_LEAD_S)), length, target)
        end = max((item.end for item in said), default=0.0)
        overlap = overlap_share(_turns(said))
        reached.append(overlap)
        filled.append(end)
        in_range = low - TOLERANCE <= overlap <= high + TOLERANCE
        everybody = {item.speaker for item in said} == set(chosen)
        if in_range and everybody and end >= _LEAST_FILLED * length:
            notes = tuple(dict.fromkeys(note for voice in voices.values() for note in voice.notes))
            # whole milliseconds are whole samples, and what every format can write
            return Conversation(said, tuple(chosen), round(end + _TAIL_S, 3), target, notes)
    if max(filled) < _LEAST_FILLED * length:
        raise ConfigError(
            f"the utterances fill {max(filled):.0f} s, expected {length:.0f} s",
            hint="ask for fewer --minutes, or allow --repeat",
        )
    raise ConfigError(
        f"{low:.0%} to {high:.0%} overlap between all {len(chosen)} speakers cannot be had of "
        f"these utterances in {settings.minutes:g} minutes: {max(reached):.0%} at most, "
        f"{min(reached):.0%} at least in {_TRIES} trials",
        hint="choose another --overlap, more --minutes or fewer --speakers",
    )


def _write_script(
    voices: Mapping[str, _Voice], settings: SimulationSettings, rng: np.random.Generator
) -> list[_Line]:
    names = list(voices)
    # as all speak as much as they want, somebody else may have more to say than planned
    wanted_s = 60 * settings.minutes * (1 + settings.overlap[1]) + 30
    left = dict(
        zip(names, rng.dirichlet([TALK_CONCENTRATION] * len(names)) * wanted_s, strict=True)
    )
    silent: set[str] = set()
    lines: list[_Line] = []
    talked = 0.0
    speaker = ""
    while talked < wanted_s and len(silent) < len(names):
        speaker = _next_speaker(speaker, left, silent, rng)
        spoken = voices[speaker].line()
        if spoken is None:
            silent.add(speaker)
            continue
        left[speaker] -= spoken.duration
        talked += spoken.duration
        lines.append(
            _Line(
                spoken=spoken,
                offset=draw_offset(rng),
                pause=draw_pause(rng),
                rank=float(rng.random()),
                depth=float(rng.random()),
                crowd=bool(rng.random() < _CROWD_SHARE),
                asides=_asides(spoken, voices, rng),
            )
        )
    return lines


def _next_speaker(
    last: str, left: Mapping[str, float], silent: set[str], rng: np.random.Generator
) -> str:
    names = [name for name in left if name not in silent]
    if last in names and (len(names) == 1 or rng.random() < _SAME_SPEAKER_SHARE):
        return last
    others = [name for name in names if name != last]
    weights = np.array([max(left[name], 1.0) for name in others])
    return others[rng.choice(len(others), p=weights / weights.sum())]


def _asides(
    spoken: Spoken, voices: Mapping[str, _Voice], rng: np.random.Generator
) -> tuple[_Aside, ...]:
    listeners = [name for name in voices if name != spoken.reading.speaker]
    if not listeners:
        return ()
    asides = []
    for _ in range(rng.poisson(BACKCHANNELS_PER_MIN * spoken.duration / 60)):
        short = voices[listeners[rng.integers(len(listeners))]].aside()
        at, rank = float(rng.uniform(0.1, 0.9)), float(rng.random())
        if short is not None:
            asides.append(_Aside(short, at, rank))
    return tuple(asides)


def _search(script: Sequence[_Line], lead: float, length: float, target: float) -> tuple[Said, ...]:
    """Lay the script out with the heat whose overlap comes nearest to the target.

    Overlap grows with heat but for jumps, where an utterance ceases to fit: so all of the range
    is looked at before the place next to the target is searched more finely.
    """
    tried: dict[float, tuple[float, tuple[Said, ...]]] = {}

    def off(heat: float) -> float:
        if heat not in tried:
            said = _lay_out(script, heat, lead, length)
            tried[heat] = overlap_share(_turns(said)) - target, said
        return tried[heat][0]

    crossings = [
        (abs(off(low)), low, high)
        for low, high in itertools.pairwise(np.linspace(_COLDEST, _HOTTEST, _HEATS).tolist())
        if off(low) <= 0 <= off(high)
    ]
    if crossings:
        _, low, high = min(crossings)
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return min(tried.values(), key=lambda found: abs(found[0]))[1]


def _turns(said: Sequence[Said]) -> list[Turn]:
    return [turn for item in said for turn in item.turns()]


def _lay_out(script: Sequence[_Line], heat: float, lead: float, length: float) -> tuple[Said, ...]:
    """Place every line that still ends within ``length``."""
    placed: list[tuple[_Line, Said]] = []
    ends: dict[str, float] = {}
    floor: Said | None = None
    for line in script:
        start = lead if floor is None else _start_of(line, floor, ends, heat)
        said = Said(line.spoken, start)
        if said.end > length:
            continue
        placed.append((line, said))
        ends[said.speaker] = said.end
        if floor is None or said.end > floor.end:
            floor = said
    return _with_asides(placed, heat)


def _start_of(line: _Line, floor: Said, ends: Mapping[str, float], heat: float) -> float:
    speaker = line.spoken.reading.speaker
    if speaker == floor.speaker:
        return floor.end + line.pause
    eager = min(max((heat - _RAMP * line.rank) / _RAMP, 0.0), 1.0)
    offset = line.offset * (1 + min(heat, 0.0)) if line.offset < 0 else line.offset
    # beyond 1 all interrupt, and earlier and earlier
    depth = 1 - (1 - line.depth) * (1 - max(heat - 1, 0.0))
    back = eager * depth * (floor.end - floor.start)
    start = floor.end + (1 - eager) * offset - back
    earliest = [floor.start + _BREATH_S, ends.get(speaker, -math.inf) + _BREATH_S]
    if not line.crowd:
        # two voices at a time: when this one starts, all but the floor's have ended
        others = [end for name, end in ends.items() if name not in {floor.speaker, speaker}]
        earliest.append(max(others, default=-math.inf))
    return max(start, *earliest)


def _with_asides(placed: Sequence[tuple[_Line, Said]], heat: float) -> tuple[Said, ...]:
    said = [item for _, item in placed]
    taken: dict[str, list[tuple[float, float]]] = {}
    for item in said:
        taken.setdefault(item.speaker, []).append((item.start, item.end))
    for line, under in placed:
        for aside in line.asides:
            start = under.start + aside.at * (under.end - under.start)
            item = Said(aside.spoken, start, backchannel=True)
            own = taken.setdefault(item.speaker, [])
            inside = item.end <= under.end and aside.rank < 1 + heat
            if inside and _is_free(own, item):
                bisect.insort(own, (item.start, item.end))
                said.append(item)
    return tuple(sorted(said, key=lambda item: (item.start, item.speaker)))


def _is_free(taken: Sequence[tuple[float, float]], item: Said) -> bool:
    """Say whether somebody is silent around an utterance; ``taken`` is sorted."""
    place = bisect.bisect(taken, (item.start, item.end))
    return not any(
        item.start < end + _BREATH_S and start < item.end + _BREATH_S
        for start, end in taken[max(place - 1, 0) : place + 1]
    )


def describe(item: Said, delay: float) -> dict[str, Any]:
    """Say where an utterance is and where it comes from, for the JSON of the scene."""
    return {
        "speaker": column(item.speaker),
        "start": round(item.start + delay, 4),
        "end": round(item.end + delay, 4),
        "path": item.spoken.reading.path,
        "path_start": round(item.spoken.first, 4),
        "backchannel": item.backchannel,
    }
