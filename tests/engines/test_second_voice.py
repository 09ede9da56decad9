"""Words under somebody else's: where they are looked for, which are taken, where they go."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from meetscribe import ingest
from meetscribe.engines.cascade import CascadeEngine
from meetscribe.engines.second_voice import Gap, add_words, find_gaps, new_words, with_second_voices
from meetscribe.engines.settings import CascadeSettings, SecondVoiceSettings
from meetscribe.models import resolve_whisper
from meetscribe.recognize import RecognizedRegion, Recognizer, RecognizerSettings
from meetscribe.types import Segment, Turn, Utterance, Word, no_progress
from tests.conftest import SAMPLE
from tests.engines.stores import CountingStore

DEFAULT = SecondVoiceSettings()
GAP = Gap("b", Segment(4.0, 6.0), Segment(4.0, 9.0))


def spoken(text: str, start: float, end: float, confidence: float = 0.9) -> list[Word]:
    """Spread words evenly."""
    units = text.split()
    step = (end - start) / len(units)
    return [
        Word(unit, start + at * step, start + (at + 1) * step, confidence)
        for at, unit in enumerate(units)
    ]


def utterance(speaker: str, text: str, start: float, end: float) -> Utterance:
    return Utterance.from_words(speaker, spoken(text, start, end))


def texts(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def test_a_turn_under_another_without_words_is_heard_again() -> None:
    turns = [Turn(0.0, 10.0, "a"), Turn(4.0, 6.0, "b")]
    said = [utterance("a", " ".join(["word"] * 25), 0.0, 10.0)]
    assert find_gaps(turns, said, DEFAULT) == [Gap("b", Segment(4.0, 6.0), Segment(4.0, 6.0))]


def test_the_louder_of_two_may_be_the_one_who_interrupts() -> None:
    # Whisper wrote b's words, and a's in the middle of his own turn are missing
    turns = [Turn(0.0, 12.0, "a"), Turn(5.0, 7.0, "b")]
    said = [
        utterance("a", "this is what I", 0.0, 5.0),
        utterance("b", "no wait a moment", 5.0, 7.0),
        utterance("a", "and so on", 7.0, 12.0),
    ]
    (gap,) = find_gaps(turns, said, DEFAULT)
    assert (gap.speaker, gap.overlap) == ("a", Segment(5.0, 7.0))
    assert gap.heard == Segment(1.0, 11.0), "his own words around the overlap, four seconds of them"


def test_who_has_words_of_his_own_is_not_heard_again() -> None:
    turns = [Turn(0.0, 6.0, "a"), Turn(4.0, 9.0, "b")]
    said = [
        utterance("a", "one two three four five six seven eight", 0.0, 6.0),
        utterance("b", "but there are more of them here", 4.0, 9.0),
    ]
    assert find_gaps(turns, said, DEFAULT) == []


def test_short_overlaps_are_left_alone() -> None:
    turns = [Turn(0.0, 4.4, "a"), Turn(4.0, 9.0, "b")]
    assert find_gaps(turns, [], DEFAULT) == []


def test_no_more_is_heard_again_than_is_allowed_and_the_longest_first() -> None:
    turns = [Turn(0.0, 60.0, "a")]
    turns += [Turn(6.0 * at, 6.0 * at + 1.0 + 0.1 * at, "b") for at in range(10)]
    said = [utterance("a", " ".join(["word"] * 150), 0.0, 60.0)]
    assert len(find_gaps(turns, said, DEFAULT)) == 6
    few = find_gaps(turns, said, DEFAULT.model_copy(update={"per_minute": 2.0}))
    assert [gap.overlap.start for gap in few] == [48.0, 54.0]
    assert find_gaps(turns, said, DEFAULT.model_copy(update={"per_minute": 0.0})) == []


def test_nothing_is_heard_again_without_overlap() -> None:
    assert find_gaps([Turn(0.0, 2.0, "a"), Turn(2.0, 4.0, "b")], [], DEFAULT) == []


def test_a_stretch_to_hear_again_has_an_end() -> None:
    turns = [Turn(0.0, 200.0, "a"), Turn(50.0, 150.0, "b")]
    assert all(gap.heard.duration <= 25.0 for gap in find_gaps(turns, [], DEFAULT))


def test_words_that_both_hearings_share_and_nobody_has_are_new() -> None:
    known = spoken("there's the town hall it costs", 2.5, 5.5)
    plain = [*spoken("But the sound in there", 4.0, 6.0), *spoken("is terrible", 6.0, 7.0)]
    prompted = [*spoken("but the sound in there,", 4.0, 6.0), *spoken("is terrible.", 6.0, 7.0)]
    found = new_words(GAP, [plain, prompted], known, DEFAULT)
    # "the" is said by both, and equal words at one place count as one
    assert texts(found) == "But sound in there"
    assert all(4.0 <= word.start < word.end <= 6.0 for word in found)


def test_the_other_voice_heard_again_is_not_new() -> None:
    known = spoken("there's the town hall it costs", 3.8, 6.2)
    again = spoken("There's the town hall, it costs", 3.9, 6.1)
    assert new_words(GAP, [again, again], known, DEFAULT) == ()


def test_hearings_that_differ_are_guesses() -> None:
    guesses = [spoken("thank you very much", 4.0, 6.0), spoken("uh working days", 4.0, 6.0)]
    assert new_words(GAP, guesses, [], DEFAULT) == ()


def test_uncertain_words_are_not_taken() -> None:
    unsure, sure = (spoken("oh that's true", 4.0, 5.0, confidence) for confidence in (0.3, 0.5))
    assert new_words(GAP, [unsure, unsure], [], DEFAULT) == ()
    assert texts(new_words(GAP, [sure, sure], [], DEFAULT)) == "oh that's true"
    # where one way of hearing is all there is, it must be surer
    assert new_words(GAP, [sure], [], DEFAULT) == ()
    assert new_words(GAP, [spoken("oh", 4.0, 5.0, 0.7)], [], DEFAULT)


def test_words_outside_of_the_overlap_are_not_taken() -> None:
    heard = spoken("one two three four five", 4.0, 9.0)
    assert texts(new_words(GAP, [heard, heard], [], DEFAULT)) == "one two"


def test_chinese_characters_are_words_here_too() -> None:
    known = spoken("我 们 明 天", 4.0, 5.0)
    heard = spoken("对， 我 们 没 有 问 题。", 4.0, 6.0)
    assert texts(new_words(GAP, [heard, heard], known, DEFAULT)) == "对， 没 有 问 题。"


def test_new_words_begin_what_their_speaker_goes_on_to_say() -> None:
    before = [utterance("a", "it costs nine hundred", 2.0, 6.0), utterance("b", "is bad", 6.1, 7.0)]
    made = add_words(before, "b", spoken("But the sound", 4.5, 6.0))
    assert [(one.speaker, one.text) for one in made] == [
        ("a", "it costs nine hundred"),
        ("b", "But the sound is bad"),
    ]
    assert made[0] == before[0]
    assert made[1].start < made[0].end, "the utterances of two speakers overlap"
    assert made[1].flags == ("overlap",)


def test_words_of_two_gaps_at_one_place_are_not_given_to_both_speakers() -> None:
    gaps = [Gap(name, Segment(4.0, 6.0), Segment(4.0, 6.0)) for name in "ab"]
    region = RecognizedRegion(4.0, 6.0, tuple(spoken("what about Friday", 4.0, 6.0)))
    way = [region, region]
    made = with_second_voices([], gaps, [way, way], DEFAULT)
    assert [one.speaker for one in made] == ["a"]


times = st.tuples(st.floats(0, 30), st.floats(0.1, 3))


@given(st.lists(st.tuples(st.sampled_from("abc"), times), max_size=8), times)
def test_adding_words_keeps_all_words_and_other_speakers(
    said: list[tuple[str, tuple[float, float]]], place: tuple[float, float]
) -> None:
    before = [utterance(one, "x y", start, start + length) for one, (start, length) in said]
    new = spoken("z z z", place[0], sum(place))
    made = add_words(before, "a", new)

    def words(of: list[Utterance]) -> Counter[Word]:
        return Counter(word for one in of for word in one.words)

    assert words(made) == words(before) + Counter(new)
    others = [one for one in made if one.speaker != "a"]
    assert len(others) == sum(one != "a" for one, _ in said)
    assert all(one in before for one in others)
    assert made == sorted(made, key=lambda one: (one.start, one.end, one.speaker))


@pytest.mark.weights
def test_overlapped_words_of_a_second_speaker_appear_in_one_signal(tmp_path: Path) -> None:
    first, last = 36, 56
    samples_nc, rate = soundfile.read(SAMPLE, start=first * 16_000, stop=last * 16_000)
    path = tmp_path / "one microphone.wav"
    soundfile.write(path, samples_nc[:, 0], rate)
    reference = json.loads(SAMPLE.with_name("meeting.seglst.json").read_text(encoding="utf-8"))
    store, recording = CountingStore(), ingest.probe([path])

    def run(settings: SecondVoiceSettings) -> tuple[Utterance, ...]:
        engine = CascadeEngine(
            CascadeSettings(language="en", second_voice=settings),
            device="cpu",
            threads=2,
            offline=True,
        )
        return engine.transcribe(recording, store=store, progress=no_progress).utterances

    without = run(DEFAULT.model_copy(update={"per_minute": 0.0}))
    made = run(DEFAULT)
    assert store.made == ["activity", "words", "overlap"], "the other stages are used again"
    assert run(DEFAULT) == made
    assert store.made.count("overlap") == 1

    known = {word for one in without for word in one.words}
    second = [one for one in made if not known.issuperset(one.words)]
    assert second
    for one in second:
        assert "overlap" in one.flags
        assert any(
            other.speaker != one.speaker and one.start < other.end and other.start < one.end
            for other in made
        )
        around = [
            part["words"].lower()
            for part in reference
            if part["start_time"] < first + one.end and part["end_time"] > first + one.start
        ]
        new = [word.text.strip(".,?!").lower() for word in one.words if word not in known]
        assert all(any(text in words for words in around) for text in new), (new, around)
    assert sum(len(one.words) for one in made) > sum(len(one.words) for one in without)


class Signal:
    """A reader over an array."""

    def __init__(self, samples_n: np.ndarray) -> None:
        self.samples_n = samples_n.astype(np.float32)

    @property
    def duration(self) -> float:
        return len(self.samples_n) / 16_000

    def read(self, start: float, end: float) -> np.ndarray:
        return self.samples_n[round(start * 16_000) : round(end * 16_000)]


@pytest.mark.weights
def test_a_stretch_is_heard_in_two_ways_where_the_language_has_a_prompt() -> None:
    samples_nc, _ = soundfile.read(SAMPLE, start=36 * 16_000, stop=44 * 16_000)
    audio = Signal(np.concatenate([samples_nc[:, 0], np.zeros(4 * 16_000)]))
    recognizer = Recognizer(RecognizerSettings(), model_dir=resolve_whisper("base", offline=True))
    segments = [Segment(9.0, 11.0), Segment(0.0, 8.0)]
    seen: list[float] = []
    ways = recognizer.hear_again(
        audio, segments, language="en", progress=lambda _stage, done: seen.append(done)
    )
    assert len(ways) == 2
    for silence, speech in ways:
        assert not silence.words
        assert len(speech.words) > 8
        assert all(0.0 <= word.start <= word.end <= 8.0 for word in speech.words)
    assert seen[-1] == 1.0
    assert len(recognizer.hear_again(audio, segments[:1], language="fi")) == 1
