"""Guard against words that nobody said: loops, and inventions over silence.

All of it is statistics of the text, its tokens, its speed and the sound, the same for every
language; no list of phrases.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.recognize.vad import FRAME_S
from meetscribe.types import Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOKENS_PER_S = 14.0
"""Fast Mandarin is about 8 characters a second, and a rare character takes up to three tokens."""
_SPARE_TOKENS = 12
_MAX_COMPRESSION = 2.4
_SHORTEST_COMPRESSED = 80
_MAX_UNITS_PER_S = 9.0
_MIN_LOGPROB = -1.0
_SILENT_LOGPROB, _SILENT_NO_SPEECH = -0.8, 0.6
_LOOP_SINGLE, _LOOP_TIMES, _LOOP_TOKENS = 8, 4, 10
_HEARD_AROUND_S = 0.4
_MAX_SKIPPED_S = 1.2
_CLEAR_SPEECH = 0.5
_MIN_VOICED = 0.25
_COVERED_AROUND_S = 0.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a piece of text; all False means nothing."""

    looped: bool = False
    hurried: bool = False
    skipped: bool = False
    unsure: bool = False
    silent: bool = False

    @property
    def runaway(self) -> bool:
        """Tell whether the decoder ran on by itself."""
        return self.looped or self.hurried

    @property
    def unclear(self) -> bool:
        """Tell whether a reader should not trust the words."""
        return self.looped or self.hurried or self.unsure

    @property
    def again(self) -> bool:
        """Tell whether the piece should be decoded another way."""
        return self.unclear or self.skipped

    @property
    def badness(self) -> int:
        """Order verdicts: lower is better."""
        return 8 * self.looped + 4 * self.hurried + 2 * self.skipped + self.unsure


def token_budget(duration: float) -> int:
    """Give how many tokens may at most be spoken in ``duration`` seconds."""
    return _SPARE_TOKENS + math.ceil(_TOKENS_PER_S * max(duration, 0.0))


def compression(text: str) -> float:
    """Give the length of a text in bytes over its compressed length; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def find_loop(units: Sequence[object], *, longest: int = 24) -> tuple[int, int] | None:
    """Find a sequence of units that is repeated again and again without a break.

    Returns
    -------
    (first, keep) or None
        The loop begins at index ``first``; its first round ends before index ``keep``. A single
        unit counts from 8 times on, as people do say "yeah yeah yeah yeah"; longer sequences
        from 4 times and 10 units on.

    Examples
    --------
    >>> find_loop("so thank you all thank you all thank you all thank you all".split())
    (1, 4)
    >>> find_loop("no no no no I mean no no".split()) is None
    True
    """
    count = len(units)
    for size in range(1, min(longest, count // 2) + 1):
        needed = _LOOP_SINGLE if size == 1 else max(_LOOP_TIMES, math.ceil(_LOOP_TOKENS / size))
        same = 0
        for at in range(size, count):
            same = same + 1 if units[at] == units[at - size] else 0
            if same >= (needed - 1) * size:
                return at - same - size + 1, at - same + 1
    return None


def judge(
    text: str,
    *,
    units: Sequence[object],
    speech_s: float,
    avg_logprob: float,
    no_speech: float,
    full: bool,
    skipped_s: float = 0.0,
    voiced: float = 1.0,
) -> Verdict:
    """Judge the text of a piece.

    Parameters
    ----------
    units : its words or tokens, where loops are looked for
    speech_s : seconds of the piece
    avg_logprob : mean log probability per token
    no_speech : Whisper's probability that nobody speaks
    full : whether the token budget was used up
    skipped_s : seconds of clear speech without words, see ``uncovered``
    voiced : share of the words' time that is clear speech, see ``voiced_share``
    """
    packed = len(text.encode()) >= _SHORTEST_COMPRESSED and compression(text) > _MAX_COMPRESSION
    unsure = avg_logprob < _MIN_LOGPROB
    invented = no_speech > _SILENT_NO_SPEECH and avg_logprob < _SILENT_LOGPROB
    return Verdict(
        looped=packed or find_loop(units) is not None,
        hurried=full or len(units) > _MAX_UNITS_PER_S * (speech_s + 1.0),
        skipped=skipped_s > _MAX_SKIPPED_S,
        unsure=unsure,
        silent=invented or (unsure and voiced < _MIN_VOICED),
    )


def uncovered(words: Sequence[Word], speech_t: NDArray[np.float32], start: float) -> float:
    """Give seconds of clear speech that no word comes near.

    Whisper sometimes leaves out a stretch of a piece, or stops early. ``speech_t`` is the speech
    probability of 32 ms frames from ``start`` on.
    """
    clear_t = speech_t > _CLEAR_SPEECH
    for word in words:
        first = max(0, int((word.start - start - _COVERED_AROUND_S) / FRAME_S))
        last = max(0, math.ceil((word.end - start + _COVERED_AROUND_S) / FRAME_S))
        clear_t[first:last] = False
    return float(np.count_nonzero(clear_t)) * FRAME_S


def voiced_share(words: Sequence[Word], speech_t: NDArray[np.float32], start: float) -> float:
    """Give the share of the words' time that is clear speech; 0 without words."""
    spans = [
        speech_t[
            int(max(0.0, word.start - start) / FRAME_S) : math.ceil((word.end - start) / FRAME_S)
        ]
        for word in words
    ]
    frames = sum(len(span) for span in spans)
    clear = sum(int(np.count_nonzero(span > _CLEAR_SPEECH)) for span in spans)
    return clear / frames if frames else 0.0


def without_loop(words: Sequence[Word]) -> tuple[Word, ...]:
    """Keep the first round of every loop."""
    kept = list(words)
    while (loop := find_loop([word.text.casefold() for word in kept])) is not None:
        first, keep = loop
        size = keep - first
        last = keep
        while last < len(kept) and kept[last].text.casefold() == kept[last - size].text.casefold():
            last += 1
        kept = kept[:keep] + kept[last:]
    return tuple(kept)


def heard(
    words: Sequence[Word], speech_t: NDArray[np.float32], start: float, threshold: float
) -> tuple[Word, ...]:
    """Keep words with some speech around them.

    ``speech_t`` is the speech probability of 32 ms frames from ``start`` on; a word stays if it
    reaches ``threshold`` within 0.4 s of it.
    """
    kept = []
    for word in words:
        first = max(0, int((word.start - start - _HEARD_AROUND_S) / FRAME_S))
        last = math.ceil((word.end - start + _HEARD_AROUND_S) / FRAME_S)
        if np.max(speech_t[first:last], initial=0.0) >= threshold:
            kept.append(word)
    return tuple(kept)
