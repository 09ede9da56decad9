from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.recognize.words import (
    fit_to_speech,
    longest_sensible,
    split_ideographs,
    split_tokens,
    timed_words,
)
from meetscribe.types import Segment, Word


class Pieces:
    """Tokens are indices of byte strings, as in a byte-level vocabulary."""

    def __init__(self, *pieces: str | bytes) -> None:
        self.pieces = [one if isinstance(one, bytes) else one.encode() for one in pieces]

    def decode(self, tokens: list[int]) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")


def split(*pieces: str | bytes) -> list[str]:
    decoder = Pieces(*pieces)
    return [span.text for span in split_tokens(range(len(pieces)), decoder)]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([" Good", " mor", "ning", ",", " all"], ["Good", "morning,", "all"]),
        ([" 100", " %", " sure"], ["100%", "sure"]),
        ([" E", "-", "R", "."], ["E-R."]),
        ([" mm", "-", "h", "mm"], ["mm-hmm"]),
        (["我们", "要", "。", "Py", "thon", "写"], ["我们", "要。", "Python", "写"]),
        ([" -", " Yes"], ["-Yes"]),
        ([], []),
        (["...", " ", "?"], ["...?"]),
    ],
)
def test_tokens_become_words_with_their_punctuation(pieces: list[str], words: list[str]) -> None:
    assert split(*pieces) == words


def test_a_character_spread_over_tokens_is_one_word() -> None:
    char = "龘".encode()
    assert split("我", char[:1], char[1:2], char[2:], "。") == ["我", "龘。"]


def test_broken_bytes_at_the_end_are_dropped() -> None:
    assert split(" so", "龘".encode()[:2]) == ["so"]


@given(st.lists(st.sampled_from([" a", "b", "我", "。", ",", " ", "-", "的是", " c", "é"])))
def test_no_letter_is_lost_and_spans_are_in_order(pieces: list[str]) -> None:
    spans = split_tokens(range(len(pieces)), Pieces(*pieces))
    joined = "".join(span.text for span in spans)
    if any(char.isalnum() for char in "".join(pieces)):
        assert joined == "".join(pieces).replace(" ", "")
    assert all(left.last <= right.first for left, right in pairwise(spans))
    assert all(span.first < span.last for span in spans)


def test_times_come_from_token_starts_and_confidence_from_probabilities() -> None:
    spans = split_tokens(range(3), Pieces(" so", " good", "bye"))
    words = timed_words(spans, np.array([0.1, 0.5, 0.7, 1.2]), [0.9, 0.5, 0.5], end=1.0)
    assert words == [Word("so", 0.1, 0.5, 0.9), Word("goodbye", 0.5, 1.0, 0.5)]


def test_chinese_words_become_characters_that_share_the_time() -> None:
    spans = split_tokens(range(2), Pieces("我们", "。"))
    words = timed_words(spans, np.array([1.0, 2.0, 2.0]), [0.5, 0.5], end=3.0)
    assert [(word.text, word.start, word.end) for word in words] == [
        ("我", 1.0, 1.5),
        ("们。", 1.5, 2.0),
    ]


def test_ideographs_are_split_and_latin_is_not() -> None:
    assert split_ideographs("《会议》") == ["《会", "议》"]
    assert split_ideographs("hello,") == ["hello,"]


def test_a_word_that_swallowed_a_pause_shrinks_to_its_speech() -> None:
    speech = np.zeros(200, dtype=np.float32)
    speech[100:120] = 1.0  # 3.2 to 3.84 s
    (word,) = fit_to_speech([Word("okay", 0.0, 5.0, 0.9)], speech, Segment(10.0, 16.4))
    assert word.start <= 13.3
    assert word.end >= 13.8
    assert word.end - word.start <= longest_sensible("okay") + 1e-3


@given(
    st.lists(st.tuples(st.floats(0, 12), st.floats(0, 6)), max_size=20),
    st.floats(0, 100),
)
def test_words_are_monotonic_and_inside_their_region(
    times: list[tuple[float, float]], offset: float
) -> None:
    words = [Word("w", start, start + length) for start, length in times]
    region = Segment(offset, offset + 10.0)
    fitted = fit_to_speech(words, np.ones(313, dtype=np.float32), region)
    assert len(fitted) == len(words)
    assert all(left.end <= right.start for left, right in pairwise(fitted))
    for word in fitted:
        assert region.start - 1e-3 <= word.start <= word.end <= region.end + 1e-3
