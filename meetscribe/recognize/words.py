"""From Whisper's tokens to words with times and confidence, in any script."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from meetscribe.recognize.vad import FRAME_S
from meetscribe.types import Segment, Word, is_unspaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REPLACEMENT = "\ufffd"
_MOST_TOKENS = 4
"""A character takes at most four bytes, so at most four tokens; more is no character."""
_SHORTEST_S = 0.04
_FRESH_START_S = 0.3
_BASE_S, _PER_CHARACTER_S, _PER_IDEOGRAPH_S = 0.5, 0.09, 0.4


class TokenDecoder(Protocol):
    """What turns tokens into text."""

    def decode(self, tokens: list[int]) -> str:
        """Give the text of tokens; an incomplete character becomes U+FFFD."""
        ...


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """The text of tokens [first, last) of a sequence."""

    text: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class RecognizedRegion:
    """What was recognised in one piece of the recording.

    ``flags`` may hold ``unclear``: the recogniser looped, failed, or was unsure. ``avg_logprob``
    is the mean log probability per token, ``no_speech`` Whisper's own probability that nobody
    speaks, ``compression`` the ratio of the text's length to its compressed length.
    """

    start: float
    end: float
    words: tuple[Word, ...] = ()
    flags: tuple[str, ...] = ()
    avg_logprob: float = 0.0
    no_speech: float = 0.0
    compression: float = 0.0


def split_tokens(tokens: Sequence[int], decoder: TokenDecoder) -> list[TokenSpan]:
    """Group tokens into words; punctuation belongs to the word before it.

    A space begins a word; so does every ideograph, and a change between scripts with and without
    spaces. A word's text has no spaces around it; only the last may be empty of letters.
    """
    words: list[TokenSpan] = []
    for piece in _characters(tokens, decoder):
        text = piece.text.strip()
        if not text and words:
            words[-1] = replace(words[-1], last=piece.last)
        elif words and (_is_punctuation(text) or not _begins_word(words[-1].text, piece.text)):
            words[-1] = TokenSpan(words[-1].text + text, words[-1].first, piece.last)
        elif text:
            words.append(TokenSpan(text, piece.first, piece.last))
    return _leading_punctuation_joined(words)


def _characters(tokens: Sequence[int], decoder: TokenDecoder) -> list[TokenSpan]:
    """Group tokens so that each group decodes to whole characters."""
    pieces: list[TokenSpan] = []
    first = 0
    for last in range(1, len(tokens) + 1):
        text = decoder.decode(list(tokens[first:last]))
        if _REPLACEMENT not in text or last - first >= _MOST_TOKENS:
            pieces.append(TokenSpan(text.replace(_REPLACEMENT, ""), first, last))
            first = last
    return pieces


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(char)[0] in "PSZ" for char in text)


def _begins_word(before: str, piece: str) -> bool:
    if piece.startswith(" "):
        return True
    return is_unspaced(piece[0]) or is_unspaced(before[-1])


def _leading_punctuation_joined(words: list[TokenSpan]) -> list[TokenSpan]:
    if len(words) > 1 and _is_punctuation(words[0].text):
        joined = TokenSpan(words[0].text + words[1].text, words[0].first, words[1].last)
        return [joined, *words[2:]]
    return words


def timed_words(
    spans: Sequence[TokenSpan],
    token_starts: NDArray[np.float64],
    token_probs: Sequence[float],
    *,
    end: float,
) -> list[Word]:
    """Give words with times in seconds from the start of the piece.

    Parameters
    ----------
    token_starts : float, shape (tokens + 1,): when each token begins; the last is the end of text
    token_probs : probability of each token
    end : of the piece; no word ends later

    Words of several ideographs become one word per character, dividing the time evenly.
    """
    made: list[Word] = []
    for span in spans:
        begin = min(float(token_starts[span.first]), end)
        stop = min(max(float(token_starts[span.last]), begin), end)
        probs = [min(max(p, 0.0), 1.0) for p in token_probs[span.first : span.last]]
        confidence = float(np.exp(np.mean(np.log(np.maximum(probs, 1e-6))))) if probs else 0.0
        parts = split_ideographs(span.text)
        edges = np.linspace(begin, stop, len(parts) + 1)
        made += [
            Word(text, float(low), float(high), round(confidence, 4))
            for text, low, high in zip(parts, edges[:-1], edges[1:], strict=True)
        ]
    return made


def split_ideographs(text: str) -> list[str]:
    """Split Chinese text into characters; whatever follows a character stays with it.

    >>> split_ideographs("我们。"), split_ideographs("don't")
    (['我', '们。'], ["don't"])
    """
    parts: list[str] = []
    for char in text:
        if parts and not (_is_ideograph(char) and any(map(_is_ideograph, parts[-1]))):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _is_ideograph(char: str) -> bool:
    return "CJK" in unicodedata.name(char, "") and unicodedata.category(char) == "Lo"


def longest_sensible(text: str) -> float:
    """Give the longest time in seconds that a word may plausibly take."""
    return _BASE_S + sum(
        _PER_IDEOGRAPH_S if _is_ideograph(char) else _PER_CHARACTER_S
        for char in text
        if char.isalnum()
    )


def fit_to_speech(
    words: Sequence[Word], speech_t: NDArray[np.float32], region: Segment
) -> tuple[Word, ...]:
    """Shorten words that are too long to where speech is, and move them into the recording.

    Whisper gives the pause before or after a word to the word. ``words`` are in order, in seconds
    from the start of ``region``; ``speech_t`` is the speech probability of its 32 ms frames. The
    result is in seconds of the recording, monotonic, inside the region.
    """
    made: list[Word] = []
    before = region.start
    for word in words:
        start, end = _likeliest_part(word, speech_t)
        start = min(max(region.start + start, before), region.end)
        end = min(max(region.start + end, start + _SHORTEST_S), region.end)
        start = min(start, end)
        made.append(replace(word, start=round(float(start), 3), end=round(float(end), 3)))
        before = end
    return tuple(made)


def _likeliest_part(word: Word, speech_t: NDArray[np.float32]) -> tuple[float, float]:
    longest = longest_sensible(word.text)
    first, last = int(word.start / FRAME_S), int(np.ceil(word.end / FRAME_S))
    width = int(longest / FRAME_S)
    if word.end - word.start <= longest or last - first <= width:
        return word.start, word.end
    speech = np.concatenate([[0.0], np.cumsum(speech_t[first:last], dtype=np.float64)])
    if len(speech) <= width:
        return word.start, word.start + longest
    mass = speech[width:] - speech[:-width]
    at = word.start + int(np.argmax(mass)) * FRAME_S
    return at, min(at + longest, word.end)


def capitalised(results: Sequence[RecognizedRegion]) -> list[RecognizedRegion]:
    """Begin the text of a piece with a capital, unless the piece before goes on in it.

    The prompt ends in the middle of a sentence, so Whisper goes on in small letters.
    """
    made: list[RecognizedRegion] = []
    for result in results:
        if result.words and not (made and result.start - made[-1].end < _FRESH_START_S):
            first, *rest = result.words
            text = first.text[:1].upper() + first.text[1:]
            result = replace(result, words=(replace(first, text=text), *rest))  # noqa: PLW2901
        made.append(result)
    return made
