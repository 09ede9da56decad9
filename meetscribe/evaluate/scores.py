"""What scoring gives: counts that can be summed, and rates that come from counts alone.

Totals over sessions are sums of errors over sums of reference (never a mean of rates); ``+``
does that, so that no other total can be made by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Errors of one metric over tokens (words, characters or mixed).

    ``errors`` and ``length`` are unique; how errors split into the three kinds may differ between
    correct programs where several alignments cost the same. ``exact`` is False where ``errors``
    is only an upper bound (the greedy search of ORC-WER).

    Raises
    ------
    ValueError
        If the kinds do not sum to ``errors``.
    """

    errors: int = 0
    length: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    exact: bool = True

    def __post_init__(self) -> None:
        if self.substitutions + self.deletions + self.insertions != self.errors:
            raise ValueError(f"{self}: the kinds of error do not sum to the errors")

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.errors + other.errors,
            self.length + other.length,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.exact and other.exact,
        )

    @property
    def rate(self) -> float | None:
        """Errors as a fraction of the reference; None where the reference is empty."""
        return self.errors / self.length if self.length else None


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Seconds of error against seconds of reference speaker time (overlap counts per speaker)."""

    total_s: float = 0.0
    miss_s: float = 0.0
    falarm_s: float = 0.0
    confusion_s: float = 0.0

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        return DiarizationErrors(
            self.total_s + other.total_s,
            self.miss_s + other.miss_s,
            self.falarm_s + other.falarm_s,
            self.confusion_s + other.confusion_s,
        )

    @property
    def der(self) -> float | None:
        """Diarization error rate, a fraction that may exceed 1; None without reference speech."""
        errors = self.miss_s + self.falarm_s + self.confusion_s
        return errors / self.total_s if self.total_s else None


@dataclass(frozen=True, slots=True)
class JaccardErrors:
    """Sum of the Jaccard errors of reference speakers, and how many speakers those are."""

    error_sum: float = 0.0
    speakers: int = 0

    def __add__(self, other: JaccardErrors) -> JaccardErrors:
        return JaccardErrors(self.error_sum + other.error_sum, self.speakers + other.speakers)

    @property
    def jer(self) -> float | None:
        """Jaccard error rate, a fraction; None without reference speakers."""
        return self.error_sum / self.speakers if self.speakers else None


@dataclass(frozen=True, slots=True)
class SpeakerCounts:
    """How often the number of speakers is right; one session has ``sessions`` 1."""

    sessions: int = 0
    exact: int = 0
    absolute_error: int = 0

    def __add__(self, other: SpeakerCounts) -> SpeakerCounts:
        return SpeakerCounts(
            self.sessions + other.sessions,
            self.exact + other.exact,
            self.absolute_error + other.absolute_error,
        )

    @property
    def accuracy(self) -> float | None:
        """Share of sessions whose number of speakers is exactly right."""
        return self.exact / self.sessions if self.sessions else None

    @property
    def mean_absolute_error(self) -> float | None:
        """Mean distance of the number found from the number there is."""
        return self.absolute_error / self.sessions if self.sessions else None


@dataclass(frozen=True, slots=True)
class ErrorSpan:
    """A stretch of error time in a session, for the report's worst minutes.

    ``kind`` is miss, falarm or confusion; ``speakers`` reference speakers talk at that time.
    """

    start: float
    end: float
    kind: str
    speakers: int


@dataclass(frozen=True)
class SessionScore:
    """Everything scored for one session.

    Parameters
    ----------
    reference_speakers, hypothesis_speakers : numbers of speakers
    diarization : DER parts, None where it was not asked for or cannot be had
    words : metric name (``WER``, ``cpWER``, ``tcpWER``, ``ORC-WER``; CER or MER by unit) -> errors
    assignment : reference speaker -> hypothesis speaker (None: unpaired), of the cp metric
    conditions : what the session can be grouped by, such as ``{"speakers": "4"}``
    spans : where the diarization errors are
    notes : what was done to odd input of this session, one line each
    failed : why there is no hypothesis (scored as deletions), "" if there is one
    """

    session_id: str
    reference_speakers: int = 0
    hypothesis_speakers: int = 0
    duration: float = 0.0
    diarization: DiarizationErrors | None = None
    jaccard: JaccardErrors | None = None
    words: Mapping[str, WordErrors] = field(default_factory=dict)
    assignment: Mapping[str, str | None] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    spans: tuple[ErrorSpan, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str = ""

    @property
    def speaker_counts(self) -> SpeakerCounts:
        """The session's own part of the speaker-count accuracy."""
        off = abs(self.reference_speakers - self.hypothesis_speakers)
        return SpeakerCounts(1, int(off == 0), off)


@dataclass(frozen=True)
class Total:
    """Sums over sessions. Metrics that a session lacks are summed over those that have it."""

    sessions: int
    diarization: DiarizationErrors | None
    jaccard: JaccardErrors | None
    speaker_counts: SpeakerCounts
    words: Mapping[str, WordErrors]
    failed: int = 0

    @classmethod
    def of(cls, scores: Iterable[SessionScore]) -> Total:
        """Sum sessions.

        >>> a = SessionScore("a", words={"cpWER": WordErrors(1, 10, 1)})
        >>> b = SessionScore("b", words={"cpWER": WordErrors(9, 30, 9)})
        >>> Total.of([a, b]).words["cpWER"].rate
        0.25
        """
        scores = list(scores)
        words: dict[str, WordErrors] = {}
        for score in scores:
            for metric, errors in score.words.items():
                words[metric] = words.get(metric, WordErrors()) + errors
        turns = [score.diarization for score in scores if score.diarization is not None]
        jaccard = [score.jaccard for score in scores if score.jaccard is not None]
        return cls(
            sessions=len(scores),
            diarization=sum(turns, DiarizationErrors()) if turns else None,
            jaccard=sum(jaccard, JaccardErrors()) if jaccard else None,
            speaker_counts=sum(
                (score.speaker_counts for score in scores if score.diarization is not None),
                SpeakerCounts(),
            ),
            words=words,
            failed=sum(bool(score.failed) for score in scores),
        )


@dataclass(frozen=True)
class Scores:
    """The scores of a run: its sessions, and how they were computed.

    ``protocol`` is an ordered mapping (``corpus``, ``channels``, ``segmentation``, ``collar`` …)
    that is printed under every table as one line; a number without it says nothing.
    """

    name: str
    sessions: tuple[SessionScore, ...]
    protocol: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Total:
        """Sums over all sessions."""
        return Total.of(self.sessions)

    @property
    def protocol_line(self) -> str:
        """The protocol as one line.

        >>> Scores("a", (), {"collar": "±0 s", "overlap": "scored"}).protocol_line
        'collar=±0 s, overlap=scored'
        """
        return ", ".join(f"{key}={value}" for key, value in self.protocol.items())
