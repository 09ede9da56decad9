from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.engines.assign import assign
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Activity, Turn, Utterance, Word


def region(*words: tuple[str, float, float], flags: tuple[str, ...] = ()) -> RecognizedRegion:
    made = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    return RecognizedRegion(0.0, 30.0, made, flags)


def spoken(text: str, start: float, end: float) -> list[tuple[str, float, float]]:
    """Spread words evenly."""
    units = text.split()
    step = (end - start) / len(units)
    return [(one, start + at * step, start + (at + 1) * step) for at, one in enumerate(units)]


def said(utterances: tuple[Utterance, ...]) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in utterances]


def test_words_go_to_the_speaker_whose_turn_they_lie_in() -> None:
    words = [*spoken("how are you?", 0.0, 1.0), *spoken("fine thanks", 1.4, 2.0)]
    activity = Activity((Turn(0.0, 1.1, "a"), Turn(1.3, 2.1, "b")))
    assert said(assign([region(*words)], activity)) == [("a", "how are you?"), ("b", "fine thanks")]


def test_a_word_at_a_border_goes_with_its_sentence() -> None:
    # "you?" lies mostly in b's turn, which begins a little early
    words = [("how", 0.0, 0.3), ("are", 0.3, 0.6), ("you?", 0.6, 0.9), ("Fine", 1.3, 1.7)]
    activity = Activity((Turn(0.0, 0.72, "a"), Turn(0.7, 2.0, "b")))
    assert said(assign([region(*words)], activity)) == [("a", "how are you?"), ("b", "Fine")]


def test_clear_evidence_beats_the_sentence() -> None:
    words = [*spoken("so what I wanted", 0.0, 1.6), *spoken("yes exactly right", 1.6, 3.1)]
    activity = Activity((Turn(0.0, 1.6, "a"), Turn(1.6, 3.1, "b")))
    assert said(assign([region(*words)], activity)) == [
        ("a", "so what I wanted"),
        ("b", "yes exactly right"),
    ]


def test_inside_overlap_the_exclusive_view_decides() -> None:
    words = spoken("we could start with that", 1.0, 2.5)
    turns = (Turn(0.0, 4.0, "a"), Turn(0.9, 2.6, "b"))
    for speaker in "ab":
        activity = Activity(turns, exclusive=(Turn(0.9, 2.6, speaker),))
        (utterance,) = assign([region(*words)], activity)
        assert utterance.speaker == speaker
        assert utterance.flags == ("overlap",)


def test_a_word_outside_of_every_turn_goes_to_the_nearest() -> None:
    activity = Activity((Turn(0.0, 2.0, "a"), Turn(6.0, 8.0, "b")))
    (utterance,) = assign([region(("okay", 5.0, 5.4))], activity)
    assert utterance.speaker == "b"


def test_a_pause_splits_an_utterance() -> None:
    words = [("one", 0.0, 0.4), ("two", 0.6, 1.0), ("three", 2.5, 3.0)]
    made = assign([region(*words)], Activity((Turn(0.0, 3.0, "a"),)))
    assert said(made) == [("a", "one two"), ("a", "three")]


def test_chinese_sentences_hold_together_too() -> None:
    words = [("你", 0.0, 0.2), ("好", 0.2, 0.4), ("吗？", 0.4, 0.6), ("好", 0.9, 1.2)]
    activity = Activity((Turn(0.0, 0.46, "a"), Turn(0.44, 1.4, "b")))
    assert said(assign([region(*words)], activity)) == [("a", "你好吗？"), ("b", "好")]


def test_what_the_recogniser_was_unsure_of_is_flagged() -> None:
    activity = Activity((Turn(0.0, 3.0, "a"),))
    (flagged,) = assign([region(("hm", 0.0, 0.4), flags=("unclear",))], activity)
    assert flagged.flags == ("unclear",)
    doubtful = RecognizedRegion(0.0, 1.0, (Word("hm", 0.0, 0.4, 0.1),))
    (flagged,) = assign([doubtful], activity)
    assert flagged.flags == ("unclear",)


def test_nothing_said_gives_no_utterances() -> None:
    assert assign([], Activity((Turn(0.0, 1.0, "a"),))) == ()
    assert assign([RecognizedRegion(0.0, 1.0)], Activity(())) == ()


def test_words_without_any_turn_still_have_a_speaker() -> None:
    (utterance,) = assign([region(("hello", 0.0, 0.5))], Activity(()))
    assert utterance.speaker


def test_an_order_of_regions_does_not_matter() -> None:
    activity = Activity((Turn(0.0, 9.0, "a"),))
    first, second = region(("one", 0.0, 0.4)), region(("two", 5.0, 5.4))
    assert assign([first, second], activity) == assign([second, first], activity)


times = st.tuples(st.floats(0, 30), st.floats(0.02, 3))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["so", "yes.", "我", "。", "uh,"]), times), max_size=30),
    st.lists(st.tuples(st.sampled_from("abc"), times), max_size=12),
)
def test_every_word_is_kept_once_and_in_order_for_each_speaker(
    words: list[tuple[str, tuple[float, float]]],
    turns: list[tuple[str, tuple[float, float]]],
) -> None:
    heard = region(*[(text, start, start + length) for text, (start, length) in sorted(words)])
    activity = Activity(tuple(Turn(start, start + length, one) for one, (start, length) in turns))
    made = assign([heard], activity)

    kept = sorted((word for one in made for word in one.words), key=lambda word: word.start)
    assert [word.text for word in kept] == [
        word.text for word in sorted(heard.words, key=lambda word: word.start)
    ] or sorted(word.text for word in kept) == sorted(word.text for word in heard.words)
    assert {one.speaker for one in made} <= set(activity.speakers or ("speaker1",))
    for speaker in {one.speaker for one in made}:
        own = [word for one in made if one.speaker == speaker for word in one.words]
        assert all(left.start <= right.start for left, right in pairwise(own))


@given(st.floats(0, 1000))
def test_shifting_all_times_shifts_the_result(shift: float) -> None:
    words = [*spoken("how are you?", 0.0, 1.0), *spoken("fine thanks", 1.4, 2.0)]
    activity = Activity((Turn(0.0, 1.1, "a"), Turn(0.9, 2.1, "b")))
    moved = Activity(
        tuple(Turn(one.start + shift, one.end + shift, one.speaker) for one in activity.turns)
    )
    later = [(text, start + shift, end + shift) for text, start, end in words]
    plain, shifted = assign([region(*words)], activity), assign([region(*later)], moved)
    assert said(plain) == said(shifted)
    assert [one.start for one in shifted] == pytest.approx([one.start + shift for one in plain])
