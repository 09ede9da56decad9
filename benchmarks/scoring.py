"""Scores that the accuracy benchmark prints: DER and cpWER, as counts that can be added up.

Protocol: DER with collar 0, overlap scored, UEM the whole clip (pyannote.metrics); cpWER by
meeteval after Whisper's English normaliser; a missing output counts as deletions. Totals are sums
of errors over sums of reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

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
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: Turns) -> Annotation:
        made = Annotation()
        for track, (speaker, start, end) in enumerate(turns):
            made[Segment(start, min(end, duration)), track] = speaker
        return made.support() if turns else made

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    parts = metric(
        annotation(reference),
        annotation(hypothesis),
        uem=Timeline([Segment(0.0, duration)]),
        detailed=True,
    )
    return Counts(
        miss=parts["missed detection"],
        false_alarm=parts["false alarm"],
        confusion=parts["confusion"],
        speech=parts["total"],
    )


def score_words(reference: list[dict[str, object]], hypothesis: list[dict[str, object]]) -> Counts:
    """Give cpWER errors and reference words of SegLST segments of one session."""
    import meeteval

    def prepared(segments: list[dict[str, object]]) -> object:
        rows = [
            {
                "session_id": "s",
                "speaker": str(segment["speaker"]),
                "start_time": float(str(segment["start_time"])),
                "end_time": float(str(segment["end_time"])),
                "words": normalise(str(segment["words"])),
            }
            for segment in segments
        ]
        return meeteval.io.SegLST([row for row in rows if row["words"]])

    if not hypothesis:
        total = sum(len(normalise(str(segment["words"])).split()) for segment in reference)
        return Counts(word_errors=total, words=total)
    rate = meeteval.wer.cp_word_error_rate(prepared(reference), prepared(hypothesis))
    return Counts(word_errors=rate.errors, words=rate.length)


_normaliser = None


def normalise(text: str) -> str:
    """Apply Whisper's English normaliser."""
    global _normaliser  # noqa: PLW0603 - built once, it compiles a thousand patterns
    if _normaliser is None:
        from whisper_normalizer.english import EnglishTextNormalizer

        _normaliser = EnglishTextNormalizer()
    return str(_normaliser(text)).strip()


def paired_bootstrap(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]], *, rounds: int = 10_000
) -> tuple[float, float, float]:
    """Give the difference of two pooled rates (ours - theirs) with its 95 % interval, in points.

    Each list has (errors, reference) per clip, in the same order; clips are drawn with
    replacement, the same draw for both.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    draw = np.random.default_rng(0).integers(0, len(a), size=(rounds, len(a)))

    def rates(x: np.ndarray) -> np.ndarray:
        return 100 * x[draw, 0].sum(1) / np.maximum(x[draw, 1].sum(1), 1e-9)

    low, high = np.percentile(rates(a) - rates(b), [2.5, 97.5])
    point = 100 * (a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum())
    return float(point), float(low), float(high)
