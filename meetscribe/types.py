"""The nouns of meetscribe: frozen, without input or output, importing nothing of the project.

``start``, ``end`` and ``duration`` are seconds from the start of the recording, everywhere.

    Recording -> Activity -> Utterances -> Transcript
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Every model of meetscribe hears 16 kHz."""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the share of it that is done, 0 to 1."""

Made = TypeVar("Made")
Parts: TypeAlias = Callable[[object, Callable[[], Made]], Made]
"""Called with the name of a part of a long stage and what makes it; gives what is kept of it."""


def all_at_once(_name: object, make: Callable[[], Made]) -> Made:
    """Make a part of a stage and keep nothing: the default where ``Parts`` are asked for."""
    return make()


class Store(Protocol):
    """Where stages keep what they made, so that a second run need not make it again."""

    def get_or_make(
        self, stage: str, inputs_hash: str, config_hash: str, make: Callable[[], Any]
    ) -> Any:  # noqa: ANN401 - JSON of any shape
        """Give the JSON value kept under these names, or make, keep and give it."""

    def forget(self, stage: str, inputs_hash: str, prefix: str) -> None:
        """Delete what is kept of a stage where the name of its settings begins like this."""


class AudioReader(Protocol):
    """A mono signal at 16 kHz of which any piece can be read; never in memory whole."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        ...

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        """Give float32 samples, shape (N,), of [start, end) seconds; zeros beyond the end."""
        ...


class NoStore:
    """A store that keeps nothing: every stage is made."""

    def get_or_make(
        self,
        stage: str,  # noqa: ARG002 - the protocol's signature
        inputs_hash: str,  # noqa: ARG002
        config_hash: str,  # noqa: ARG002
        make: Callable[[], Any],
    ) -> Any:  # noqa: ANN401
        """Make the value."""
        return make()

    def forget(self, stage: str, inputs_hash: str, prefix: str) -> None:
        """Do nothing: there is nothing."""


def no_progress(stage: str, done: float) -> None:
    """Report to nobody."""


class Layout(StrEnum):
    """What the channels of a recording are."""

    MONO = "mono"
    ARRAY = "array"
    """Every channel hears everybody: a microphone array or several far microphones."""
    PER_SPEAKER = "per-speaker"
    """One close microphone per speaker: headsets, lapels, one track per participant."""
    MIX = "mix"
    """The channels are a stereo mix, or copies of each other."""


@dataclass(frozen=True, order=True, slots=True)
class Segment:
    """A half-open interval [start, end) in seconds, never negative, never inverted.

    Raises
    ------
    ValueError
        If not 0 <= start <= end.

    Examples
    --------
    >>> Segment(1.0, 3.0) & Segment(2.0, 5.0)
    Segment(start=2.0, end=3.0)
    >>> Segment(0.0, 1.0) & Segment(2.0, 3.0) is None
    True
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"segment {self.start} to {self.end}: expected 0 <= start <= end")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def __and__(self, other: Segment) -> Segment | None:
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Segment(start, end) if start < end else None


@dataclass(frozen=True, slots=True)
class AudioFile:
    """One file of a recording, as its header describes it.

    ``num_samples`` counts samples per channel at ``sample_rate_hz``; compressed files may only
    state an estimate. ``stream`` is the index of the audio stream inside the container.
    """

    path: str
    sample_rate_hz: int
    num_samples: int
    num_channels: int
    codec: str = ""
    stream: int = 0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Recording:
    """A description of one session; it holds no audio (``meetscribe.ingest`` reads that).

    Several files are the channels of one session in the order given.
    """

    session_id: str
    files: tuple[AudioFile, ...]
    layout: Layout = Layout.MONO
    layout_reason: str = ""
    content_hash: str = ""
    """sha256 over the bytes of the files, "" where nobody asked for it."""

    @property
    def num_channels(self) -> int:
        """Channels of all files together."""
        return sum(file.num_channels for file in self.files)

    @property
    def duration(self) -> float:
        """Seconds, of the longest file."""
        return max((file.duration for file in self.files), default=0.0)


@dataclass(frozen=True, order=True, slots=True)
class Turn:
    """A stretch in which one speaker is active; turns of different speakers may overlap."""

    start: float
    end: float
    speaker: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Activity:
    """Who is speaking when.

    ``turns`` may overlap; ``exclusive`` is the same with one speaker at a time (the likelier
    one), made by the diarizer that knows which. ``voiceprints`` has one unit-length vector per
    speaker. ``notes`` are warnings for the person who reads the transcript.
    """

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...] = ()
    voiceprints: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        """Labels in order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in sorted(self.turns)))


@dataclass(frozen=True, slots=True)
class Word:
    """One word (or one Chinese character) with its time and confidence in [0, 1].

    ``confidence`` is None where the source has none.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker says without being left off: text, and the words it is made of.

    ``words`` is empty where the source has no word times. ``flags`` says what a reader should
    know: ``overlap`` (somebody else speaks too), ``unclear`` (the recogniser was unsure).
    """

    speaker: str
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    flags: tuple[str, ...] = ()

    @classmethod
    def from_words(cls, speaker: str, words: Sequence[Word], flags: Iterable[str] = ()) -> Self:
        """Make an utterance that spans its words, which must not be empty."""
        return cls(
            speaker=speaker,
            start=min(word.start for word in words),
            end=max(word.end for word in words),
            text=join_words(word.text for word in words),
            words=tuple(words),
            flags=tuple(flags),
        )


@dataclass(frozen=True, slots=True)
class Transcript:
    """Who said what and when in one session: the one result, from which every format is made.

    Parameters
    ----------
    utterances : sorted by start on construction; utterances of different speakers may overlap
    turns : speaker activity, which also covers speech without recognised words
    language : ISO 639-1 code of the session, "" if unknown or without speech
    duration : seconds of the recording
    names : speaker label -> name to show; labels without a name show themselves
    provenance : how this was made: version, pipeline, models with hashes, options, timings
    warnings : what a reader should know
    """

    session_id: str
    utterances: tuple[Utterance, ...]
    turns: tuple[Turn, ...] = ()
    language: str = ""
    duration: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        order = sorted(self.utterances, key=lambda utterance: (utterance.start, utterance.end))
        object.__setattr__(self, "utterances", tuple(order))
        object.__setattr__(self, "turns", tuple(sorted(self.turns)))

    @property
    def speakers(self) -> tuple[str, ...]:
        """Labels in order of first appearance, in turns or utterances."""
        starts = [(turn.speaker, turn.start) for turn in self.turns]
        starts += [(utterance.speaker, utterance.start) for utterance in self.utterances]
        first: dict[str, float] = {}
        for speaker, start in starts:
            first[speaker] = min(first.get(speaker, start), start)
        return tuple(sorted(first, key=lambda speaker: (first[speaker], speaker)))

    def name_of(self, speaker: str) -> str:
        """Give the name to show for a speaker label."""
        return self.names.get(speaker, speaker)

    def renamed(self, names: Mapping[str, str]) -> Transcript:
        """Give the same transcript with more names; an empty name takes one back."""
        merged = {**self.names, **names}
        return replace(self, names={label: name for label, name in merged.items() if name})


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # CJK radicals, punctuation, kana, bopomofo
    (0x31A0, 0xA4CF),  # CJK extensions, ideographs
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFE30, 0xFE4F),  # vertical forms
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),  # further ideographs
)


def is_unspaced(char: str) -> bool:
    """Tell whether a character belongs to a script written without spaces between words."""
    code = ord(char)
    return any(low <= code <= high for low, high in _UNSPACED)


def join_words(words: Iterable[str]) -> str:
    """Join words into a line, with no space where the script has none.

    >>> join_words(["good", "morning,", "all"])
    'good morning, all'
    >>> join_words(["我", "用", "Python", "写", "。"])
    '我用 Python 写。'
    """
    line = ""
    for word in words:
        text = word.strip()
        if not text:
            continue
        if line and _space_between(line[-1], text[0]):
            line += " "
        line += text
    return line


def _space_between(left: str, right: str) -> bool:
    if is_unspaced(left) and is_unspaced(right):
        return False
    if is_unspaced(left) or is_unspaced(right):
        # a Latin word inside Chinese is set off, punctuation is not
        return not any(unicodedata.category(char).startswith("P") for char in (left, right))
    return True
