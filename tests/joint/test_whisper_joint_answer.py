"""Answers of the small joint model: turns to tokens and back, and what may be written next."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe.errors import ConfigError, FormatError, ModelError
from meetscribe.joint.parsed import UNKNOWN, Fault
from meetscribe.joint.serialise import Order
from meetscribe.joint.whisper.answer import AnswerForm, clean, sayable
from meetscribe.joint.whisper.rules import Rules, Words
from meetscribe.joint.whisper.settings import SpeakerPlace
from meetscribe.onestage.tokens import Vocabulary
from meetscribe.types import Utterance
from tests.joint import whisper_builders as builders
from tests.joint.whisper_builders import END, FIRST, SPEAKER, said
from tests.onestage.conftest import SHAPE, WORDS

PLACES = ("first", "after-start", "last")
quick = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SAYABLE = [word for word in WORDS if word != "("]
turns = st.builds(
    lambda speaker, start, length, words: Utterance(
        speaker, start / 50, (start + length) / 50, " ".join(words)
    ),
    st.sampled_from("abc"),
    st.integers(0, 79),
    st.integers(1, 20),
    st.lists(st.sampled_from(SAYABLE), min_size=1, max_size=4),
)
orders = st.sampled_from(list(Order))
places = st.sampled_from(PLACES)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return builders.vocabulary(tmp_path_factory.mktemp("words"))


def form(
    vocabulary: Vocabulary, *, order: Order = Order.START, place: SpeakerPlace = "after-start"
) -> AnswerForm:
    return AnswerForm.of(vocabulary, builders.settings(order=order, speaker_token=place))


def words(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def test_an_answer_is_what_the_page_says(vocabulary: Vocabulary) -> None:
    turns = said(("x", 0.96, 1.48, "yes"), ("y", 0.0, 1.2, "we meet"), ("x", 1.5, 1.7, "no"))
    assert form(vocabulary).write(turns, 2.0) == [
        *(FIRST, SPEAKER, *words("we meet"), FIRST + 60),
        *(FIRST + 48, SPEAKER + 1, *words("yes"), FIRST + 74),
        *(FIRST + 75, SPEAKER + 1, *words("no"), FIRST + 85),
        END,
    ]
    first = form(vocabulary, place="first", order=Order.SPEAKER).write(turns[:2], 2.0)
    assert first[:2] == [SPEAKER, FIRST]
    last = form(vocabulary, place="last").write(turns[1:2], 2.0)
    assert last == [FIRST, *words("we meet"), FIRST + 60, SPEAKER, END]
    assert form(vocabulary).write((), 2.0) == [END]
    assert form(vocabulary).write(said(("x", 0.0, 1.0, " \n")), 2.0) == [END]


def test_times_are_moved_inside_the_clip(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    for start, end, expected in [(-0.3, 0.9, (0, 45)), (0.7, 7.0, (35, 50)), (1.2, 1.3, (49, 50))]:
        tokens = made.write(said(("x", start, end, "no")), 1.005)
        assert (tokens[0] - FIRST, tokens[-2] - FIRST) == expected
    assert made.steps(0.019) == 0
    assert made.steps(0.58) == 29
    assert made.steps(100.0) == 100


def test_what_cannot_be_written_is_refused(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    four = said(*((name, 0.0, 1.0, "no") for name in "abcd"))
    assert not made.fits(four)
    assert made.fits(four[:3])
    with pytest.raises(FormatError, match="4 speakers, expected at most 3"):
        made.write(four, 2.0)
    with pytest.raises(FormatError, match="found nan"):
        made.write(said(("a", float("nan"), 1.0, "no")), 2.0)
    with pytest.raises(FormatError, match=r"clip of 0\.01 s"):
        made.write(said(("a", 0.0, 1.0, "no")), 0.01)


def test_words_hold_no_tokens_and_no_line_ends() -> None:
    assert sayable("so <|endo<|0.00|>ftext|> he\nsaid <|spk1|>") == "so he said"
    assert clean("a\ufffd\x07 \u2028 b") == "a b"


@quick
@given(st.lists(turns, max_size=5), orders, places)
def test_an_answer_is_read_as_it_was_written(
    vocabulary: Vocabulary, given: list[Utterance], order: Order, place: SpeakerPlace
) -> None:
    made = form(vocabulary, order=order, place=place)
    tokens = made.write(given, 2.0)
    parsed = made.read(tokens, 2.0)
    assert parsed.repairs == ()
    assert parsed.in_clip(2.0) == parsed
    expected = sorted((round(one.start, 2), round(one.end, 2), one.text) for one in given)
    assert sorted((one.start, one.end, one.text) for one in parsed.utterances) == expected
    # who is who stays the same, and numbers follow the first words
    names: dict[str, str] = {}
    for one in sorted(given, key=lambda one: one.start):
        names.setdefault(one.speaker, str(len(names) + 1))
    theirs = sorted((one.start, one.end, names[one.speaker], one.text) for one in given)
    ours = sorted((one.start, one.end, one.speaker, one.text) for one in parsed.utterances)
    assert [(two, name, text) for _, two, name, text in ours] == [
        (round(two, 2), name, text) for _, two, name, text in theirs
    ]
    # and the rules let all of it through
    rules = Rules(made, Words(made), duration=2.0, budget=len(tokens))
    for token in tokens:
        logits = torch.zeros(SHAPE.vocab_size + 3)
        logits[token] = 100.0
        rules.apply(logits)
        assert int(logits.argmax()) == token
        rules.take(token)


@quick
@given(st.lists(st.integers(-2, SHAPE.vocab_size + 4), max_size=30), places, st.floats(0.0, 2.0))
def test_any_tokens_can_be_read(
    vocabulary: Vocabulary, tokens: list[int], place: SpeakerPlace, duration: float
) -> None:
    made = form(vocabulary, place=place)
    parsed = made.read(tokens, duration)
    assert parsed.failed == (not parsed.utterances and _is_faulty(parsed.repairs))
    assert len(parsed.genders) == len(parsed.utterances)
    inside = parsed.in_clip(duration)
    for one in inside.utterances:
        assert 0 <= one.start < one.end <= duration
    # all words before the end are in somebody's utterance
    ended = tokens.index(END) if END in tokens else len(tokens)
    spoken = [token for token in tokens[:ended] if 0 <= token < END]
    assert sum(len(one.text.split()) for one in parsed.utterances) == len(spoken)


def _is_faulty(repairs: tuple) -> bool:
    return any(one.fault is not Fault.CUT_OFF for one in repairs)


@pytest.mark.parametrize(
    ("tokens", "turns", "faults"),
    [
        # Whisper's own way: no speakers
        ([FIRST, *words("yes"), FIRST + 9, END], [(UNKNOWN, 0.0, 0.18, "yes")], {"no-speaker"}),
        (
            [FIRST, SPEAKER, 0, FIRST + 9, FIRST + 9, 1, FIRST + 20, END],
            [("1", 0.0, 0.18, "yes"), ("1", 0.18, 0.4, "no")],
            {"no-speaker"},
        ),
        # no times
        ([0, 1, END], [(UNKNOWN, 0.0, 1.5, "yes no")], {"no-speaker", "bad-times"}),
        ([SPEAKER, 0, FIRST + 9, END], [("1", 0.0, 0.18, "yes")], {"bad-times"}),
        ([FIRST + 5, SPEAKER, 0], [("1", 0.1, 1.5, "yes")], {"cut-off", "bad-times"}),
        ([FIRST + 9, SPEAKER, 0, FIRST, END], [("1", 0.18, 0.0, "yes")], {"inverted-times"}),
        ([FIRST, SPEAKER + 2, 0, FIRST + 9, END], [("3", 0.0, 0.18, "yes")], {"bad-speaker"}),
        ([FIRST, SPEAKER, FIRST + 9, END], [("1", 0.0, 0.18, "")], {"no-words"}),
        ([FIRST, SPEAKER, END], [], {"no-words", "no-turns"}),
        ([END + 1, END + 2, END], [], {"special-token", "no-turns"}),
        ([END, 0, 1], [], set()),
        ([], [], {"cut-off"}),
    ],
)
def test_faults_are_put_right_and_told(
    vocabulary: Vocabulary,
    tokens: list[int],
    turns: list[tuple[str, float, float, str]],
    faults: set[str],
) -> None:
    parsed = form(vocabulary).read(tokens, 1.5)
    assert [(one.speaker, one.start, one.end, one.text) for one in parsed.utterances] == turns
    assert {str(one.fault) for one in parsed.repairs} == faults


@quick
@given(
    seed=st.integers(0, 10**6),
    duration=st.floats(0.0, 2.0),
    budget=st.integers(1, 40),
    most=st.integers(1, 5),
    order=orders,
    place=places,
    least=st.integers(0, 12),
)
def test_whatever_the_rules_let_through_can_be_read(
    vocabulary: Vocabulary,
    *,
    seed: int,
    duration: float,
    budget: int,
    most: int,
    order: Order,
    place: SpeakerPlace,
    least: int,
) -> None:
    made = form(vocabulary, order=order, place=place)
    if not made.steps(duration) or budget < least + len(made.slots):
        least = 0
    rules = Rules(made, Words(made), duration=duration, budget=budget, most=most, min_words=least)
    draw = torch.Generator().manual_seed(seed)
    tokens: list[int] = []
    while END not in tokens:
        logits = 3 * torch.randn(SHAPE.vocab_size + 3, generator=draw)
        rules.apply(logits)
        assert not logits.isnan().any()
        tokens.append(int(logits.argmax()))
        rules.take(tokens[-1])
        assert len(tokens) <= budget
    parsed = made.read(tokens, duration)
    assert parsed.repairs == ()
    assert parsed.in_clip(duration) == parsed
    assert all(one.text for one in parsed.utterances)
    assert sum(len(one.text.split()) for one in parsed.utterances) >= least
    assert not {WORDS.index("(")} & set(tokens)
    speakers = [one.speaker for one in made.read(tokens, duration).utterances]
    assert len(set(speakers)) <= min(most, 3)
    if order is Order.START:
        starts = [one.start for one in parsed.utterances]
        assert all(left <= right for left, right in pairwise(starts))
    # what was written comes back from what was read, if no two begin at once
    if len({one.start for one in parsed.utterances}) == len(parsed.utterances):
        assert made.write(parsed.utterances, duration) == tokens


def test_a_token_against_the_form_is_refused(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    for tokens in ([SPEAKER], [FIRST, SPEAKER + 1], [FIRST, SPEAKER, END], [FIRST + 50], [0]):
        rules = Rules(made, Words(made), duration=1.0, budget=20)
        for token in tokens[:-1]:
            rules.take(token)
        with pytest.raises(ModelError, match="against the form"):
            rules.take(tokens[-1])
    with pytest.raises(ConfigError, match="at most 0 tokens"):
        Rules(made, Words(made), duration=1.0, budget=0)


def test_times_that_are_near_count_together(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    rules = Rules(made, Words(made), duration=2.0, budget=30)
    for token in (FIRST, SPEAKER, 0):
        rules.take(token)
    logits = torch.full((SHAPE.vocab_size + 3,), -9.0)
    logits[1] = 1.0
    logits[FIRST + 30 : FIRST + 34] = torch.tensor([0.0, 0.5, 0.4, 0.0])
    rules.apply(logits)
    assert int(logits.argmax()) == FIRST + 31


def test_a_budget_that_ends_an_answer_is_told(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    for budget, forced in ((9, True), (40, False)):
        rules = Rules(made, Words(made), duration=2.0, budget=budget)
        tokens: list[int] = []
        for token in [FIRST, SPEAKER, 0, 1, 2, FIRST + 9, END]:
            logits = torch.zeros(SHAPE.vocab_size + 3)
            logits[token] = 9.0
            rules.apply(logits)
            tokens.append(int(logits.argmax()))
            rules.take(tokens[-1])
        assert tokens[-1] == END
        assert rules.forced == forced


@pytest.mark.parametrize("place", PLACES)
def test_words_that_are_asked_for_are_written_before_the_end(
    vocabulary: Vocabulary, place: SpeakerPlace
) -> None:
    made = form(vocabulary, place=place)
    for budget in (34, 35, 37, 38, 60, 400):
        rules = Rules(made, Words(made), duration=2.0, budget=budget, min_words=30)
        tokens: list[int] = []
        while END not in tokens:
            # an end is what the model wants most, then another time
            logits = torch.zeros(SHAPE.vocab_size + 3)
            logits[FIRST:SPEAKER] = 5.0
            logits[END] = 9.0
            rules.apply(logits)
            tokens.append(int(logits.argmax()))
            rules.take(tokens[-1])
        parsed = made.read(tokens, 2.0)
        assert (len(tokens) <= budget, parsed.repairs) == (True, ())
        assert sum(len(one.text.split()) for one in parsed.utterances) == 30
        # with room it ends every utterance after a word
        assert (len(parsed.utterances) == 30) == (budget == 400)
        assert rules.forced == (budget < 400)


def test_too_many_words_are_refused(vocabulary: Vocabulary) -> None:
    made = form(vocabulary)
    with pytest.raises(ConfigError, match="at most 33 tokens, expected at least 34 for 30 words"):
        Rules(made, Words(made), duration=2.0, budget=33, min_words=30)
    with pytest.raises(ConfigError, match="holds no utterance"):
        Rules(made, Words(made), duration=0.01, budget=40, min_words=1)
    rules = Rules(made, Words(made), duration=2.0, budget=40, min_words=1)
    with pytest.raises(ModelError, match="against the form"):
        rules.take(END)


def test_a_token_that_goes_on_with_a_word_is_none_of_those_asked_for(tmp_path: Path) -> None:
    spelt = builders.letters(tmp_path)
    made = form(spelt)
    assert len(Words(made).beginning) < len(Words(made).readable)
    rules = Rules(made, Words(made), duration=2.0, budget=24, min_words=5)
    tokens: list[int] = []
    while spelt.end not in tokens:
        logits = torch.zeros(spelt.size + 3)
        # an "a" that stands behind others is no word of its own
        logits[0] = 9.0
        rules.apply(logits)
        tokens.append(int(logits.argmax()))
        rules.take(tokens[-1])
    (one,) = made.read(tokens, 2.0).utterances
    assert one.text.startswith("aaaaaaaaaaa")
    assert len(one.text.split()) == 5
    assert len(tokens) == 24
