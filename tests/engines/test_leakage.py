"""Words that leak from one speaker's stream into another's."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from meetscribe.engines.leakage import LeakageSettings, by_voice, said_once, to_be_judged
from meetscribe.types import Utterance, Word

SETTINGS = LeakageSettings()


def stream(text: str, start: float, confidence: float = 0.9) -> list[Word]:
    """Give words of half a second each."""
    return [
        Word(part, start + index / 2, start + index / 2 + 0.4, confidence)
        for index, part in enumerate(text.split())
    ]


def utterance(speaker: str, text: str, start: float, confidence: float = 0.9) -> Utterance:
    flags = ("unclear",) if confidence < 0.5 else ()
    return Utterance.from_words(speaker, stream(text, start, confidence), flags)


def test_words_in_two_streams_stay_where_they_are_clearer() -> None:
    mine = stream("We meet at the station.", 10.0, 0.95)
    theirs = stream("Yes", 8.0) + stream("at the station", 11.1, 0.4) + stream("Fine.", 20.0)
    copies = said_once({"A": mine, "B": theirs}, SETTINGS)
    assert copies == {"A": set(), "B": set(theirs[1:4])}


def test_one_word_together_is_no_copy_and_neither_are_words_at_other_times() -> None:
    together = {"A": stream("Yes I do", 1.0), "B": stream("Yes of course", 1.0)}
    later = {"A": stream("at the station", 1.0), "B": stream("at the station", 1.5)}
    for streams in (together, later):
        assert said_once(streams, SETTINGS) == {"A": set(), "B": set()}


def test_punctuation_and_capitals_make_no_difference() -> None:
    streams = {"A": stream("“At the station!”", 1.0, 0.3), "B": stream("at the station", 1.0)}
    assert said_once(streams, SETTINGS)["A"] == set(streams["A"])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.floats(0, 1)), max_size=12).map(
        lambda rows: [Word(text, at, at + 0.2, sure) for text, at, sure in rows]
    ),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.floats(0, 1)), max_size=12).map(
        lambda rows: [Word(text, at, at + 0.2, sure) for text, at, sure in rows]
    ),
)
def test_every_word_that_is_taken_is_kept_in_the_other_stream(
    mine: list[Word], theirs: list[Word]
) -> None:
    copies = said_once({"A": mine, "B": theirs}, SETTINGS)
    assert copies["A"] <= set(mine)
    assert copies["B"] <= set(theirs)
    for taken, others, lost in (
        (copies["A"], theirs, copies["B"]),
        (copies["B"], mine, copies["A"]),
    ):
        for word in taken:
            assert any(
                other.text == word.text and abs(other.start - word.start) <= SETTINGS.twice_s + 1e-6
                for other in others
                if other not in lost or other == word
            )


class TestByVoice:
    echo = utterance("A", "at the station", 11.0)
    answer = utterance("B", "We meet at the station", 10.0)

    def like(self, own: float, other: float) -> dict[tuple[str, float, float], dict[str, float]]:
        return {("A", self.echo.start, self.echo.end): {"A": own, "B": other}}

    def test_an_echo_of_somebody_who_speaks_is_left_out(self) -> None:
        made = by_voice([self.echo, self.answer], self.like(0.1, 0.5), SETTINGS)
        assert made == (self.answer,)

    def test_an_utterance_of_somebody_who_was_thought_silent_is_his(self) -> None:
        (made,) = by_voice([self.echo], self.like(0.1, 0.5), SETTINGS)
        assert (made.speaker, made.words) == ("B", self.echo.words)

    def test_a_voice_that_is_hardly_more_like_another_stays(self) -> None:
        both = (self.echo, self.answer)
        assert by_voice(both, self.like(0.4, 0.5), SETTINGS) == both
        assert by_voice(both, {}, SETTINGS) == both

    def test_nobodys_voice_is_left_out_only_if_the_words_are_unclear(self) -> None:
        unclear = utterance("A", "at the station", 11.0, confidence=0.2)
        assert by_voice([unclear], self.like(-0.1, -0.2), SETTINGS) == ()
        assert by_voice([self.echo], self.like(-0.1, -0.2), SETTINGS) == (self.echo,)


def test_only_short_utterances_are_judged() -> None:
    assert to_be_judged(utterance("A", "at the station", 1.0), SETTINGS)
    assert not to_be_judged(utterance("A", "yes", 1.0), SETTINGS)
    assert not to_be_judged(utterance("A", "and so on " * 4, 1.0), SETTINGS)
