"""What was read from a joint model's text: turns, and what had to be repaired to tell them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from meetscribe.types import Utterance

UNKNOWN = "unknown"
"""The speaker of words that the text gives to nobody."""

MIN_TURN_S = 0.01
"""What ``Parsed.in_clip`` leaves of a turn with words that has no time of its own."""


class Fault(StrEnum):
    """What was wrong with a text."""

    NO_TURNS = "no-turns"
    """Nothing in the text is a turn, though it is not the empty transcript."""
    STRAY_TEXT = "stray-text"
    """Something before, after or between the sections."""
    SPECIAL_TOKEN = "special-token"  # noqa: S105 - no password
    CONTROL_CHARACTER = "control-character"
    MISSING_TAG = "missing-tag"
    REPEATED_SECTION = "repeated-section"
    """Only the first of its kind counts."""
    CUT_OFF = "cut-off"
    """The text ends inside this; what is there of it is kept."""
    BAD_LINE = "bad-line"
    """A line of the text part that is no turn; left out."""
    BAD_TIMES = "bad-times"
    """A time that is no number; left out, or read as far as it is one."""
    TIME_FORMAT = "time-format"
    """A time not written with two decimals, or with spaces."""
    INVERTED_TIMES = "inverted-times"
    """A turn that ends before it starts, or at once."""
    OUTSIDE_CLIP = "outside-clip"
    """Found by ``Parsed.in_clip``; moved inside."""
    BAD_SPEAKER = "bad-speaker"
    """A speaker without its id, gender or times, with one of them twice, or not closed."""
    SHARED_TIMES = "shared-times"
    """Several lines or ranges have the same times: the last line has the words."""
    NEAR_TIMES = "near-times"
    """A range was joined to the line of nearly the same times."""
    NO_WORDS = "no-words"
    """A range of a speaker that no line has words for; kept without words."""
    NO_SPEAKER = "no-speaker"
    """A line that no speaker has; kept with the speaker ``UNKNOWN``."""
    LOOP = "loop"
    """Words that repeat themselves again and again; only the first round is kept. The text may be
    read without that: it is left out when it becomes part of a transcript."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was put right: what, and where (``line 3``, ``speaker 2``, a tag)."""

    fault: Fault
    place: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a model's text says.

    Parameters
    ----------
    utterances : sorted by start
        Times are as written, so a faulty turn may end before it starts; see ``in_clip``.
    genders : one for each utterance as the text has it: m, f, u, or what the model made up
    repairs : empty if nothing had to be put right
    """

    utterances: tuple[Utterance, ...]
    genders: tuple[str, ...]
    repairs: tuple[Repair, ...] = ()

    @classmethod
    def of(cls, turns: Iterable[tuple[Utterance, str]], repairs: Iterable[Repair]) -> Parsed:
        """Make it from utterances with their genders, in any order."""
        ordered = sorted(turns, key=lambda turn: turn[0].start)
        utterances = tuple(turn for turn, _ in ordered)
        return cls(utterances, tuple(gender for _, gender in ordered), tuple(repairs))

    @property
    def failed(self) -> bool:
        """Tell whether no turn could be told; its words then count as deletions."""
        return any(repair.fault is Fault.NO_TURNS for repair in self.repairs)

    def in_clip(self, duration: float) -> Parsed:
        """Give the same with turns that a transcript may hold: 0 <= start < end <= duration.

        Times are moved inside, inverted ones swapped. A turn that is left without time keeps
        ``MIN_TURN_S`` if it has words, and goes if it has none.
        """
        kept: list[tuple[Utterance, str]] = []
        repairs = list(self.repairs)
        for utterance, gender in zip(self.utterances, self.genders, strict=True):
            low, high = sorted((utterance.start, utterance.end))
            start, end = min(max(low, 0.0), duration), min(max(high, 0.0), duration)
            if (start, end) != (low, high):
                repairs.append(Repair(Fault.OUTSIDE_CLIP, f"{utterance.start:.2f}"))
            if start == end and utterance.text:
                start = max(0.0, min(start, duration - MIN_TURN_S))
                end = min(duration, start + MIN_TURN_S)
            if start < end:
                kept.append((replace(utterance, start=start, end=end), gender))
        return Parsed.of(kept, repairs)
