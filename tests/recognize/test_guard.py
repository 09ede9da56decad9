from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.recognize import guard
from meetscribe.types import Word


def words(text: str) -> list[Word]:
    return [Word(one, at, at + 0.5, 0.9) for at, one in enumerate(text.split())]


def judged(text: str, **changes: object) -> guard.Verdict:
    facts: dict[str, object] = {
        "units": text.split(),
        "speech_s": 20.0,
        "avg_logprob": -0.3,
        "no_speech": 0.1,
        "full": False,
    }
    return guard.judge(text, **{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "yes " * 8,
        "so thank you all " * 5,
        "对 不 起 " * 6,
        "well then " + "we will see what we can do about it and then " * 4,
    ],
)
def test_a_loop_is_found_in_any_language(text: str) -> None:
    assert guard.find_loop(text.split()) is not None
    assert judged(text).again


@pytest.mark.parametrize(
    "text",
    [
        "yeah yeah yeah yeah no no no",
        "I I I mean it's it's like you know",
        "so we had a we had a we had a long problem about it",
        "对 对 对 对 好 好 好",
        "",
    ],
)
def test_ordinary_repetition_is_no_loop(text: str) -> None:
    assert guard.find_loop(text.split()) is None
    assert not judged(text).again


def test_a_loop_shrinks_to_its_first_round_and_what_surrounds_it_stays() -> None:
    text = "and so " + "Thank you all " * 6 + "bye"
    kept = guard.without_loop(words(text))
    assert [word.text for word in kept] == ["and", "so", "Thank", "you", "all", "bye"]


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_removing_loops_ends_and_leaves_none(units: list[str]) -> None:
    kept = guard.without_loop(words(" ".join(units)))
    assert guard.find_loop([word.text for word in kept]) is None


def test_more_words_than_can_be_said_are_hurried() -> None:
    text = " ".join(f"w{at}" for at in range(60))
    assert judged(text, speech_s=2.0).hurried
    assert not judged(text, speech_s=20.0).hurried
    assert judged("some words", full=True).hurried


def test_an_unlikely_text_is_unsure_and_silent_only_where_nobody_seems_to_speak() -> None:
    assert judged("a b", avg_logprob=-1.4).unsure
    assert not judged("a b", avg_logprob=-1.4).silent
    assert judged("a b", avg_logprob=-1.4, no_speech=0.9).silent
    assert not judged("a b", no_speech=0.9).silent
    assert judged("a b", avg_logprob=-1.4, voiced=0.1).silent
    assert not judged("a b", voiced=0.1).silent


def test_speech_without_words_near_it_was_skipped() -> None:
    speech = np.zeros(400, dtype=np.float32)
    speech[:300] = 0.9  # 0 to 9.6 s
    some = [Word("a", 10.0, 11.0), Word("b", 11.0, 12.0)]
    assert guard.uncovered(some, speech, 10.0) == pytest.approx(7.3, abs=0.1)
    assert guard.uncovered([Word("a", 10.0, 19.6)], speech, 10.0) == 0.0
    assert judged("a b", skipped_s=7.3).again
    assert not judged("a b", skipped_s=7.3).unclear


def test_the_voiced_share_is_the_part_of_words_in_clear_speech() -> None:
    speech = np.zeros(400, dtype=np.float32)
    speech[:100] = 0.9
    half = [Word("a", 5.0, 5.0 + 64 * 0.1)]
    assert guard.voiced_share(half, speech, 5.0) == pytest.approx(0.5, abs=0.01)
    assert guard.voiced_share([], speech, 5.0) == 0.0


def test_the_token_budget_grows_with_the_time() -> None:
    assert guard.token_budget(0.0) > 0
    assert guard.token_budget(1.0) < 40
    assert guard.token_budget(30.0) > 250


def test_words_over_silence_are_dropped_and_those_beside_speech_stay() -> None:
    speech = np.zeros(400, dtype=np.float32)
    speech[:40] = 0.9  # 0 to 1.28 s
    kept = guard.heard(
        [Word("a", 100.2, 100.6), Word("b", 101.5, 101.9), Word("c", 105.0, 105.4)],
        speech,
        100.0,
        0.2,
    )
    assert [word.text for word in kept] == ["a", "b"]
