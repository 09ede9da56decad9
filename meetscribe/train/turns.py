"""How people take turns: the numbers of real meetings, and the same numbers of any meeting.

A spurt is what one speaker says without a pause of 0.5 s (Shriberg, Stolcke and Baron 2001). In
order of their starts, each spurt either has the floor or lies wholly within the spurt that has
it; a floor transfer's offset is its start less the end of the floor before it, negative where
they overlap (Heldner and Edlund 2010, doi:10.1016/j.wocn.2010.08.002).

Measured with ``measure_turns`` on the public words-only RTTMs of the AMI dev and test meetings
(34 meetings, 18.1 h) and on the turns of AliMeeting Eval and Test (28 sessions, 14.9 h), all
sessions pooled:

    of the spurts                          AMI     AliMeeting Eval   Test
    the same speaker goes on               13 %     10 %              8 %
    another speaker, after a gap           30 %     18 %             22 %
    another speaker, overlapping           22 %     26 %             27 %
    within another's, at most 1 s          26 %     34 %             30 %     (backchannels)
    within another's, longer                9 %     12 %             13 %
    backchannels per minute of speech       4.6      7.3              6.3
    speech, share of the time              82 %     93 %             92 %
    two or more, share of the speech       14 %     22 %             20 %
        lowest and highest meeting       4-30 %    7-57 %           2-65 %
    three or more, share of the speech    1.8 %    4.2 %            4.7 %
    median offset of a floor transfer    0.16 s  -0.25 s          -0.13 s
    median spurt                          1.5 s    1.5 s            1.7 s

Of four speakers in AMI, the shares of the talk are 40, 27, 20 and 14 % on average.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from meetscribe.types import Turn

SPURT_PAUSE_S = 0.5
BACKCHANNEL_S = 1.0

BACKCHANNELS_PER_MIN = 4.6
OVERLAPPING_SHARE = 0.43
"""Of the floor transfers, AMI; 0.57 in AliMeeting."""
TALK_CONCENTRATION = 3.0
"""Of the Dirichlet distribution of talk: its sorted means for four speakers are 41, 28, 20 and
12 %, as in AMI."""

_LEVELS = (0.0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 1.0)
# AMI's quantiles at these levels; the last is cut, since lapses of many seconds tell nothing
_GAPS_S = (0.0, 0.06, 0.13, 0.29, 0.66, 1.27, 2.53, 4.46, 8.0)
_OVERLAPS_S = (0.0, 0.04, 0.11, 0.31, 0.70, 1.42, 2.34, 3.20, 5.0)
_PAUSES_S = (0.5, 0.78, 0.98, 1.22, 1.59, 2.49, 4.60, 7.39, 12.0)


def draw_offset(rng: np.random.Generator) -> float:
    """Draw the offset of a floor transfer in seconds, as in AMI."""
    overlapping = rng.random() < OVERLAPPING_SHARE
    level = rng.random()
    if overlapping:
        return -float(np.interp(level, _LEVELS, _OVERLAPS_S))
    return float(np.interp(level, _LEVELS, _GAPS_S))


def draw_pause(rng: np.random.Generator) -> float:
    """Draw the pause of a speaker who goes on by himself in seconds, as in AMI."""
    return float(np.interp(rng.random(), _LEVELS, _PAUSES_S))


@dataclass(frozen=True, slots=True)
class TurnStatistics:
    """Numbers of one meeting. Shares are fractions; times are seconds.

    ``overlap``, ``crowd`` (three or more) and ``talk`` are shares of the time in which somebody
    speaks, ``speech`` of all the time. ``talk`` sums to 1, largest first. The five shares from
    ``same_speaker`` on are of the spurts. Medians are None where there is nothing to count.
    """

    speech: float
    overlap: float
    crowd: float
    talk: tuple[float, ...]
    spurts: int
    same_speaker: float
    after_gap: float
    overlapping: float
    within_short: float
    within_long: float
    backchannels_per_min: float
    median_offset: float | None
    median_spurt: float | None


def voices_at_once(turns: Iterable[Turn]) -> list[float]:
    """Give the seconds in which exactly n voices speak, at index n; index 0 counts gaps between.

    >>> voices_at_once([Turn(0, 2, "a"), Turn(1, 4, "b")])
    [0.0, 3.0, 1.0]
    """
    edges = sorted((time, step) for turn in turns for time, step in _edges(turn))
    seconds = [0.0]
    voices = 0
    for (time, step), (following, _) in itertools.pairwise([*edges, (float("nan"), 0)]):
        voices += step
        if following > time:
            seconds += [0.0] * (voices + 1 - len(seconds))
            seconds[voices] += following - time
    return seconds


def _edges(turn: Turn) -> tuple[tuple[float, int], tuple[float, int]]:
    return (turn.start, 1), (turn.end, -1)


def overlap_share(turns: Iterable[Turn]) -> float:
    """Give the share of the speech time in which two or more speak, 0 without speech.

    >>> overlap_share([Turn(0, 2, "a"), Turn(1, 4, "b")])
    0.25
    """
    seconds = voices_at_once(turns)
    return sum(seconds[2:]) / (sum(seconds[1:]) or 1.0)


def spurts_of(turns: Iterable[Turn], pause_s: float = SPURT_PAUSE_S) -> list[Turn]:
    """Join the turns of each speaker over pauses shorter than ``pause_s``; sorted by start."""
    joined: dict[str, list[Turn]] = {}
    for turn in sorted(turns):
        own = joined.setdefault(turn.speaker, [])
        if own and turn.start - own[-1].end < pause_s:
            own[-1] = Turn(own[-1].start, max(own[-1].end, turn.end), turn.speaker)
        else:
            own.append(turn)
    return sorted(spurt for own in joined.values() for spurt in own)


def measure_turns(turns: Sequence[Turn], duration: float | None = None) -> TurnStatistics:
    """Count how the speakers of a meeting take turns.

    Parameters
    ----------
    turns : at least one; those of one speaker do not overlap
    duration : seconds of the meeting; None takes first start to last end
    """
    whole = max(turn.end for turn in turns) - min(turn.start for turn in turns)
    seconds = voices_at_once(turns)
    speech = sum(seconds[1:])
    talk: dict[str, float] = {}
    for turn in turns:
        talk[turn.speaker] = talk.get(turn.speaker, 0.0) + turn.duration
    kinds, offsets = _transfers(spurts_of(turns))
    spurts = len(kinds) or 1
    shares = {kind: kinds.count(kind) / spurts for kind in set(kinds)}
    return TurnStatistics(
        speech=speech / (duration or whole),
        overlap=sum(seconds[2:]) / speech,
        crowd=sum(seconds[3:]) / speech,
        talk=tuple(sorted((t / sum(talk.values()) for t in talk.values()), reverse=True)),
        spurts=len(kinds),
        same_speaker=shares.get("same", 0.0),
        after_gap=shares.get("gap", 0.0),
        overlapping=shares.get("overlap", 0.0),
        within_short=shares.get("short", 0.0),
        within_long=shares.get("long", 0.0),
        backchannels_per_min=60 * kinds.count("short") / speech,
        median_offset=float(np.median(offsets)) if offsets else None,
        median_spurt=float(np.median([spurt.duration for spurt in spurts_of(turns)])),
    )


def _transfers(spurts: Sequence[Turn]) -> tuple[list[str], list[float]]:
    """Give the kind of every spurt but the first, and the offsets of floor transfers."""
    kinds: list[str] = []
    offsets: list[float] = []
    floor = spurts[0]
    for spurt in spurts[1:]:
        if spurt.speaker != floor.speaker and spurt.end <= floor.end:
            kinds.append("short" if spurt.duration <= BACKCHANNEL_S else "long")
            continue
        if spurt.speaker == floor.speaker:
            kinds.append("same")
        else:
            kinds.append("overlap" if spurt.start < floor.end else "gap")
            offsets.append(spurt.start - floor.end)
        floor = spurt
    return kinds, offsets
