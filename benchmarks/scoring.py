"""Scores that the accuracy benchmark prints: DER and cpWER, as counts that can be added up.

Protocol: DER with collar 0, overlap scored, UEM the whole clip; cpWER
after Whisper's English normaliser; a missing output counts as deletions. Totals are sums
of errors over sums of reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import soundfile

from meetscribe.evaluate import words
from meetscribe.evaluate.bootstrap import paired
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.normalise import get
from meetscribe.types import Turn

Turns = list[tuple[str, float, float]]
"""(speaker, start, end) in seconds."""


@dataclass(frozen=True)
class Counts:
    """Error counts of one clip; ``+`` pools them. Times in seconds, words as numbers."""

    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    speech: float = 0.0
    word_errors: int = 0
    words: int = 0

    def __add__(self, other: Counts) -> Counts:
        pairs = zip(vars(self).items(), vars(other).values(), strict=True)
        return Counts(**{name: mine + theirs for (name, mine), theirs in pairs})

    @property
    def der(self) -> float:
        """Diarization error rate in percent."""
        return 100 * (self.miss + self.false_alarm + self.confusion) / max(self.speech, 1e-9)

    @property
    def cpwer(self) -> float:
        """Word error rate with the best speaker assignment, in percent."""
        return 100 * self.word_errors / max(self.words, 1)


@dataclass(frozen=True)
class Clip:
    """One meeting clip with its reference."""

    name: str
    audio: Path
    duration: float
    turns: Turns
    segments: tuple[dict[str, object], ...]
    """SegLST segments; empty where the words are pseudo-labels and may not be scored."""

    @property
    def speakers(self) -> int:
        """Number of speakers in the reference."""
        return len({speaker for speaker, _, _ in self.turns})


def read_clips(folder: Path) -> list[Clip]:
    """Read every clip folder (audio.flac, ref.rttm, ref.seglst.json) below ``folder``."""
    clips = []
    for audio in sorted(folder.glob("*/audio.flac")):
        info = soundfile.info(str(audio))
        rows = [line.split() for line in (audio.parent / "ref.rttm").read_text().splitlines()]
        turns = [(row[7], float(row[3]), float(row[3]) + float(row[4])) for row in rows if row]
        segments = json.loads((audio.parent / "ref.seglst.json").read_text())
        pseudo = any("words_status" in segment for segment in segments)
        clips.append(
            Clip(audio.parent.name, audio, info.duration, turns, () if pseudo else tuple(segments))
        )
    return clips


def score_turns(reference: Turns, hypothesis: Turns, duration: float) -> Counts:
    """Give missed, false-alarm and confused seconds; collar 0, overlap scored."""

    def turns(rows: Turns) -> list[Turn]:
        return [Turn(start, end, speaker) for speaker, start, end in rows]

    parts = diarization_errors(turns(reference), turns(hypothesis), scored=[(0.0, duration)])
    return Counts(parts.miss_s, parts.falarm_s, parts.confusion_s, parts.total_s)


def score_words(reference: list[dict[str, object]], hypothesis: list[dict[str, object]]) -> Counts:
    """Give cpWER errors and reference words of SegLST segments of one session."""

    def prepared(segments: list[dict[str, object]]) -> list[words.TokenSegment]:
        return [
            words.TokenSegment(
                str(segment["speaker"]),
                float(str(segment["start_time"])),
                float(str(segment["end_time"])),
                tuple(normalise(str(segment["words"])).split()),
            )
            for segment in segments
        ]

    errors = words.cp(prepared(reference), prepared(hypothesis)).errors
    return Counts(word_errors=errors.errors, words=errors.length)


normalise = get("whisper")
"""Whisper's English normaliser, which the peer's numbers were made with."""


def paired_bootstrap(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]], *, rounds: int = 10_000
) -> tuple[float, float, float]:
    """Give the difference of two pooled rates (ours - theirs) with its 95 % interval, in points.

    Each list has (errors, reference) per clip, in the same order; clips are drawn with
    replacement, the same draw for both.
    """
    found = paired(ours, theirs, rounds=rounds)
    return tuple(100 * value for value in (found.point, found.low, found.high))  # type: ignore[operator,return-value]
