"""Whatever a model writes is read: all that a strict reading finds, and more, and never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.joint.parse import parse
from meetscribe.joint.parsed import MIN_TURN_S, UNKNOWN, Fault
from meetscribe.joint.serialise import Order, clean_words, serialise
from meetscribe.types import Utterance

GENDERS = {"m": "male", "f": "female", "u": "unknown"}

TARGET = (
    "<text>\n0.00-1.21>uh no\n0.96-3.09>okay um\n2.50-4.00>good\n</text>\n<speaker>\n"
    '<spk id="1" g="f" t="0.00-1.21,2.50-4.00"/>\n<spk id="2" g="m" t="0.96-3.09"/>\n</speaker>'
)

RECOVERED = {
    "speaker_end_tag_half_written",
    "truncated_inside_spk_attribute",
    "truncated_after_open_speaker_tag",
    "truncated_inside_open_speaker_tag",
    "truncated_inside_text",
    "truncated_right_after_text_section",
    "missing_text_start_tag",
    "missing_speaker_start_tag",
    "only_text_section",
    "mismatched_time_small",
    "text_line_without_speaker",
    "unescaped_ampersand",
    "less_than_in_text",
    "nested_tag_in_text",
    "space_in_line_times",
    "negative_start",
    "bad_float_in_t",
    "bad_float_in_text_line",
    "spk_not_self_closed",
    "duplicate_attribute",
    "special_token_tail",
    "uppercase_tags",
    "text_unclosed_but_speaker_tag_has_attr",
    "control_character",
}
"""Cases in which more is found than the original finds; in all others, exactly the same."""


def faults(text: str) -> set[Fault]:
    return {repair.fault for repair in parse(text).repairs}


def turns(text: str) -> list[tuple[str, float, float, str]]:
    return [(turn.speaker, turn.start, turn.end, turn.text) for turn in parse(text).utterances]


def test_the_originals_turns_are_found_in_every_case(data) -> None:
    path = data.parent / "goldens" / "tagspeech" / "xml_cases.json"
    if not path.exists():
        pytest.skip("no goldens here")
    cases = json.loads(path.read_text(encoding="utf-8"))["parse_cases"]
    assert len(cases) == 63
    more = set()
    for case in cases:
        parsed = parse(case["input"])
        ours = [
            (turn.start, turn.end, turn.text, turn.speaker, GENDERS.get(gender, gender))
            for turn, gender in zip(parsed.utterances, parsed.genders, strict=True)
        ]
        theirs = [tuple(segment.values()) for segment in case["segments"]]
        for start, end, words, speaker, gender in theirs:
            fitting = [
                turn
                for turn in ours
                if (turn[0], turn[1], turn[3], turn[4]) == (start, end, speaker, gender)
            ]
            assert any(turn[2] == words or not words for turn in fitting), case["name"]
        if ours != theirs:
            more.add(case["name"])
            assert sum(bool(turn[2]) for turn in ours) > sum(bool(turn[2]) for turn in theirs)
    assert more == RECOVERED


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                (*TARGET.replace("=", " = ").split(), "\n", '="', "='", ",", "<", ">", "</", "1.5-")
            ),
            st.sampled_from(("9e999-1", "-0.5-1", "٣.٠-4", "1.2.3", "&lt;", "&#10;", "<|im_end|>")),
            st.text(max_size=6),
        ),
        max_size=30,
    ).map("".join)
)
def test_no_text_at_all_makes_it_raise(text: str) -> None:
    parsed = parse(text)
    assert len(parsed.genders) == len(parsed.utterances)
    starts = [turn.start for turn in parsed.utterances]
    assert starts == sorted(starts)
    fitted = parsed.in_clip(3.0)
    assert all(0 <= turn.start < turn.end <= 3 for turn in fitted.utterances)
    said = [turn.text for turn in parsed.utterances if turn.text]
    assert sorted(said) == sorted(turn.text for turn in fitted.utterances if turn.text)


@st.composite
def groups(draw, words=st.text(min_size=1, max_size=12)):  # noqa: B008
    """Give turns of two decimals with different times, of up to four speakers."""
    times = st.tuples(st.integers(0, 3000), st.integers(1, 900))
    spans = draw(st.lists(times, max_size=8, unique_by=lambda span: (span[0], sum(span))))
    return [
        Utterance(draw(st.sampled_from("abcd")), start / 100, (start + length) / 100, draw(words))
        for start, length in spans
    ]


@settings(deadline=None)
@given(groups(), st.sampled_from(Order))
def test_reading_a_target_gives_its_turns(utterances, order: Order) -> None:
    parsed = parse(serialise(utterances, order=order, genders=["F"] * len(utterances)))
    assert {repair.fault for repair in parsed.repairs} <= set()
    assert set(parsed.genders) <= {"f"}
    number: dict[str, str] = {}
    found = {(turn.start, turn.end): turn for turn in parsed.utterances}
    assert len(found) == len(utterances)
    for utterance in utterances:
        turn = found[utterance.start, utterance.end]
        assert turn.text == clean_words(utterance.text)
        assert number.setdefault(utterance.speaker, turn.speaker) == turn.speaker
    assert len(set(number.values())) == len(number)


@settings(deadline=None)
@given(groups(), st.data())
def test_a_target_cut_anywhere_gives_the_turns_that_were_complete(utterances, data) -> None:
    target = serialise(utterances)
    cut = data.draw(st.integers(0, len(target) - 1))
    written = target[:cut]
    parsed = parse(written)
    assert parsed.repairs  # never in silence
    found = {(turn.speaker, turn.start, turn.end, turn.text) for turn in parsed.utterances}
    spoken = {(start, end, text) for _, start, end, text in found}
    for turn in parse(target).utterances:
        line = f"{turn.start:.2f}-{turn.end:.2f}>{turn.text}\n"
        claimed = f"{turn.start:.2f}-{turn.end:.2f}"
        after_text = written.partition("<speaker>")[2]
        if f"\n{line}" in written and turn.text:
            assert (turn.start, turn.end, turn.text) in spoken
        if f"{claimed}," in after_text or f'{claimed}"' in after_text:
            assert (turn.speaker, turn.start, turn.end, turn.text) in found
    assert len(found) <= len(utterances)


def test_a_range_that_is_cut_off_is_the_only_line_left_that_it_can_become() -> None:
    cut = TARGET[: TARGET.index("0.96-3.09", 60) + 3]
    assert turns(cut) == turns(TARGET)
    assert Fault.CUT_OFF in faults(cut)


def test_words_nobody_has_are_kept_for_an_unknown_speaker() -> None:
    text = TARGET.replace("0.96-3.09>", "5.00-6.00>")
    assert (UNKNOWN, 5.0, 6.0, "okay um") in turns(text)
    assert ("2", 0.96, 3.09, "") in turns(text)
    assert {Fault.NO_SPEAKER, Fault.NO_WORDS} <= faults(text)


def test_times_that_differ_a_little_are_joined_and_the_speakers_are_kept() -> None:
    text = TARGET.replace("0.96-3.09>", "0.97-3.05>")
    assert ("2", 0.96, 3.09, "okay um") in turns(text)
    assert faults(text) == {Fault.NEAR_TIMES}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("<text>", "So: <text>", Fault.STRAY_TEXT),
        ("uh no", "uh\x07 no", Fault.CONTROL_CHARACTER),
        ("</text>\n", "", Fault.MISSING_TAG),
        ("good\n", "good\nwell\n", Fault.BAD_LINE),
        (',2.50-4.00"', ',2.50-4.00,x-1"', Fault.BAD_TIMES),
        ("2.50-4.00", "2.5-4", Fault.TIME_FORMAT),
        ("2.50-4.00", "4.00-2.50", Fault.INVERTED_TIMES),
        (' g="m"', ' g="x"', Fault.BAD_SPEAKER),
        (' id="2"', ' id="1"', Fault.BAD_SPEAKER),
        ('0.96-3.09"/>', '0.96-3.09">', Fault.BAD_SPEAKER),
        ('0.96-3.09"', '0.96-3.09,0.96-3.09"', Fault.SHARED_TIMES),
        ("</speaker>", "</speaker><|im_end|>", Fault.SPECIAL_TOKEN),
        ("</speaker>", "</speaker>\n<text></text>", Fault.REPEATED_SECTION),
    ],
)
def test_each_fault_is_named_and_no_words_are_lost(old: str, new: str, fault: Fault) -> None:
    assert old in TARGET
    text = TARGET.replace(old, new)
    assert faults(text) == {fault}
    assert {turn[3] for turn in turns(text)} == {"uh no", "okay um", "good"}


def test_what_is_no_transcript_has_failed_and_silence_has_not() -> None:
    assert parse("I am sorry, but I cannot hear anything.").failed
    assert parse("").failed
    assert not parse(serialise([])).failed
    assert parse(serialise([])).repairs == ()


def test_turns_are_moved_into_the_clip() -> None:
    text = serialise(
        [
            Utterance("a", 1.0, 9.0, "long"),
            Utterance("b", 7.0, 8.0, "late"),
            Utterance("c", 3.0, 2.0, "turned"),
            Utterance("d", 6.0, 7.0, ""),
        ]
    )
    fitted = parse(text).in_clip(5.0)
    assert [(turn.start, turn.end, turn.text) for turn in fitted.utterances] == [
        (1.0, 5.0, "long"),
        (2.0, 3.0, "turned"),
        (5.0 - MIN_TURN_S, 5.0, "late"),
    ]
    assert Fault.OUTSIDE_CLIP in {repair.fault for repair in fitted.repairs}
