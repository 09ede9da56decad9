"""Turns -> the tokens that the model writes about a clip, and back, whatever it wrote.

    <|0.00|><spk1> So, shall we?<|1.20|><|0.96|><spk2> Yes.<|1.48|><|endoftext|>

An utterance has four slots: when it starts, who speaks, the words, when it ends. Times are
Whisper's own tokens, in steps of 20 ms. By default the speaker is named after the start, because
then it is known whose voice is asked for, and because Whisper itself begins with a time;
``speaker_token`` puts it first or last. Speakers are numbered by their first utterance. About a
clip in which nobody speaks the answer ends at once.

Reading raises nothing: it gives the turns that can be told, and what was repaired.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from meetscribe.errors import FormatError
from meetscribe.joint.parsed import UNKNOWN, Fault, Parsed, Repair
from meetscribe.joint.serialise import SPECIAL_TOKEN, Order, drop_control_characters
from meetscribe.joint.whisper.settings import WhisperJointSettings
from meetscribe.onestage.tokens import TIMESTAMP_S, Vocabulary
from meetscribe.types import Utterance

_BROKEN = "\ufffd"
"""What stands for the bytes of half a character."""
_ROUNDING = 1e-6


class Slot(StrEnum):
    """What an utterance is made of."""

    START = "start"
    SPEAKER = "speaker"
    WORDS = "words"
    END = "end"


_SLOTS = {
    "first": (Slot.SPEAKER, Slot.START, Slot.WORDS, Slot.END),
    "after-start": (Slot.START, Slot.SPEAKER, Slot.WORDS, Slot.END),
    "last": (Slot.START, Slot.WORDS, Slot.END, Slot.SPEAKER),
}


def clean(text: str) -> str:
    r"""Give words as an utterance can carry them: one line, without what no line of text has.

    >>> clean(" so,\n he\x00 said \ufffd")
    'so, he said'
    """
    return " ".join(drop_control_characters(text).replace(_BROKEN, "").split())


def sayable(text: str) -> str:
    """Give the words of an utterance that is to be written: nothing in them is a special token.

    >>> sayable("so <|endo<|0.00|>ftext|> he said")
    'so he said'
    """
    before = None
    while text != before:  # what is taken out may join its neighbours to another one
        before, text = text, SPECIAL_TOKEN.sub("", text)
    return clean(text)


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How answers are written; make it with ``AnswerForm.of``.

    Parameters
    ----------
    vocabulary : of the Whisper
    speakers : most that an answer can tell apart; their tokens follow those of the vocabulary
    order : of the utterances
    slots : of an utterance, in their order
    """

    vocabulary: Vocabulary
    speakers: int
    order: Order
    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary, settings: WhisperJointSettings) -> AnswerForm:
        """Make it as the settings say."""
        return cls(vocabulary, settings.speakers, settings.order, _SLOTS[settings.speaker_token])

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self.vocabulary.end

    def steps(self, duration: float) -> int:
        """Give the steps of 20 ms that so many seconds have: no time is later."""
        last = self.vocabulary.size - 1 - self.vocabulary.first_timestamp
        return max(0, min(last, math.floor(duration / TIMESTAMP_S + _ROUNDING)))

    def speaker(self, token: int) -> int | None:
        """Give the speaker, from 1, whom a token names; None for other tokens."""
        number = token - self.vocabulary.size + 1
        return number if 1 <= number <= self.speakers else None

    def fits(self, utterances: Sequence[Utterance]) -> bool:
        """Tell whether there is a token for every speaker."""
        return len({one.speaker for one in utterances if sayable(one.text)}) <= self.speakers

    def write(self, utterances: Sequence[Utterance], duration: float) -> list[int]:
        """Give the tokens of an answer, its end included.

        Parameters
        ----------
        utterances : with times in seconds from the start of the clip
            Speakers are numbered by the start of their first one; equal starts keep the order
            given. Those without words are left out.
        duration : of the clip in seconds. Times are rounded to 20 ms and moved inside it; every
            utterance keeps at least one step.

        Raises
        ------
        FormatError
            If a time is infinite or not a number, there are more speakers than tokens for them,
            or the clip has no step of time.
        """
        spoken = sorted((one for one in utterances if sayable(one.text)), key=lambda one: one.start)
        limit = self.steps(duration)
        if spoken and not limit:
            raise FormatError(f"clip of {duration:g} s, expected at least {TIMESTAMP_S:g} s")
        if not self.fits(spoken):
            raise FormatError(
                f"clip with {len({one.speaker for one in spoken})} speakers, expected at most "
                f"{self.speakers}",
                hint="leave it out: `fits` tells",
            )
        numbers: dict[str, int] = {}
        for one in spoken:
            numbers.setdefault(one.speaker, len(numbers))
        if self.order is Order.SPEAKER:
            spoken.sort(key=lambda one: numbers[one.speaker])
        made: list[int] = []
        for one in spoken:
            made += self._utterance(one, numbers[one.speaker], limit)
        return [*made, self.end]

    def _utterance(self, one: Utterance, number: int, limit: int) -> list[int]:
        if not (math.isfinite(one.start) and math.isfinite(one.end)):
            raise FormatError(
                f"utterance of '{one.speaker}': expected times in seconds, found {one.start} to "
                f"{one.end}"
            )
        start = min(max(0, round(one.start / TIMESTAMP_S)), limit - 1)
        end = min(max(start + 1, round(one.end / TIMESTAMP_S)), limit)
        first = self.vocabulary.first_timestamp
        tokens = {
            Slot.SPEAKER: [self.vocabulary.size + number],
            Slot.START: [first + start],
            Slot.WORDS: self.vocabulary.encode(sayable(one.text)),
            Slot.END: [first + end],
        }
        return [token for slot in self.slots for token in tokens[slot]]

    def read(self, tokens: Sequence[int], duration: float) -> Parsed:
        """Read an answer; never raises.

        Parameters
        ----------
        tokens : with the end or without it; what follows the end is not read
        duration : of the clip in seconds: where an utterance ends that does not say so

        Returns
        -------
        Speakers are called "1", "2", ... as they were written. Where an utterance lacks its
        speaker the one before it goes on, or ``UNKNOWN`` speaks if there is none; where it lacks
        its start it begins where the one before it ends. Without its words it is kept only if it
        has both times. Times are as written: see ``Parsed.in_clip``.
        """
        reader = _Reader(self, duration)
        ended = False
        for token in tokens:
            if token == self.end:
                ended = True
                break
            reader.take(token)
        reader.close(cut_off=not ended)
        return reader.parsed()


@dataclass(slots=True)
class _Open:
    """An utterance of which some slots are filled."""

    speaker: int | None = None
    start: int | None = None
    end: int | None = None
    words: list[int] = field(default_factory=list)

    def has(self, slot: Slot) -> bool:
        """Tell whether a slot is filled."""
        if slot is Slot.WORDS:
            return bool(self.words)
        return getattr(self, slot.value) is not None


class _Reader:
    """Puts tokens into slots; one that finds its slot behind it begins the next utterance."""

    def __init__(self, form: AnswerForm, duration: float) -> None:
        self._form = form
        self._duration = duration
        self._open = _Open()
        self._turns: list[tuple[Utterance, str]] = []
        self._repairs: list[Repair] = []
        self._before: Utterance | None = None
        self._known = 0

    def take(self, token: int) -> None:
        """Read one token."""
        vocabulary = self._form.vocabulary
        speaker = self._form.speaker(token)
        if speaker is not None:
            self._make_room(Slot.SPEAKER)
            self._open.speaker = speaker
        elif vocabulary.first_timestamp <= token < vocabulary.size:
            time = token - vocabulary.first_timestamp
            begun = self._open.start is not None or bool(self._open.words)
            ends = begun and self._open.end is None
            self._make_room(Slot.END if ends else Slot.START)
            setattr(self._open, "end" if ends else "start", time)
        elif 0 <= token < vocabulary.end:
            if not self._open.words:
                self._make_room(Slot.WORDS)
            self._open.words.append(token)
        else:
            self._note(Fault.SPECIAL_TOKEN)
        if all(self._open.has(slot) for slot in self._form.slots):
            self.close()

    def close(self, *, cut_off: bool = False) -> None:
        """End the utterance that is open, if there is one; ``cut_off``: the answer stops here."""
        if cut_off:
            self._note(Fault.CUT_OFF)
        one, self._open = self._open, _Open()
        if not any(one.has(slot) for slot in Slot):
            return
        text = clean(self._form.vocabulary.decode(one.words))
        if not text:
            self._note(Fault.NO_WORDS)
            if one.start is None or one.end is None:
                return
        start, end = self._times(one)
        if end <= start:
            self._note(Fault.INVERTED_TIMES)
        self._before = Utterance(self._speaker(one), start, end, text)
        self._turns.append((self._before, "u"))

    def parsed(self) -> Parsed:
        """Give what was read."""
        if not self._turns and any(one.fault is not Fault.CUT_OFF for one in self._repairs):
            self._note(Fault.NO_TURNS)
        return Parsed.of(self._turns, self._repairs)

    def _make_room(self, slot: Slot) -> None:
        """Begin the next utterance where this slot, or one behind it, is filled already."""
        slots = self._form.slots
        if any(self._open.has(later) for later in slots[slots.index(slot) :]):
            self.close()

    def _times(self, one: _Open) -> tuple[float, float]:
        if one.start is None or one.end is None:
            self._note(Fault.BAD_TIMES)
        start = self._before.end if self._before is not None else 0.0
        if one.start is not None:
            start = round(one.start * TIMESTAMP_S, 2)
        end = max(start, self._duration)
        if one.end is not None:
            end = round(one.end * TIMESTAMP_S, 2)
            if self._duration < end < self._duration + _ROUNDING:
                # the clip's own end, whose number is rounded
                end = self._duration
        return start, end

    def _speaker(self, one: _Open) -> str:
        if one.speaker is None:
            self._note(Fault.NO_SPEAKER)
            return self._before.speaker if self._before is not None else UNKNOWN
        if one.speaker > self._known + 1:
            self._note(Fault.BAD_SPEAKER)
        self._known = max(self._known, one.speaker)
        return str(one.speaker)

    def _note(self, fault: Fault) -> None:
        self._repairs.append(Repair(fault, f"utterance {len(self._turns) + 1}"))
