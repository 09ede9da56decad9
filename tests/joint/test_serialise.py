"""Targets are the original's, letter by letter, and carry no words that would not come back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import FormatError, ShapeError
from meetscribe.joint.serialise import Order, clean_words, serialise, serialise_words
from meetscribe.types import Utterance

ANN_TWICE = [
    Utterance("ann", 4.0, 5.0, "and then"),
    Utterance("ben", 1.0, 3.0, "yes"),
    Utterance("ann", 0.5, 2.0, "so"),
    Utterance("cas", 4.5, 6.0, "no"),
]


def test_targets_equal_the_originals(data) -> None:
    path = data.parent / "goldens" / "tagspeech" / "xml_cases.json"
    if not path.exists():
        pytest.skip("no goldens here")
    cases = json.loads(path.read_text(encoding="utf-8"))["build_cases"]
    assert len(cases) == 10
    for case in cases:
        listed = case["supervisions"]
        utterances = [
            Utterance(one["speaker"], one["start"], one["start"] + one["duration"], one["text"])
            for one in listed
        ]
        target = serialise(utterances, genders=[one.get("gender") for one in listed])
        assert target == case["target"], case["name"]


def test_by_speaker_turns_of_one_stand_together_first_in_first_out() -> None:
    assert serialise(ANN_TWICE, order=Order.SPEAKER).split("\n") == [
        "<text>",
        "0.50-2.00>so",
        "4.00-5.00>and then",
        "1.00-3.00>yes",
        "4.50-6.00>no",
        "</text>",
        "<speaker>",
        '<spk id="1" g="u" t="0.50-2.00,4.00-5.00"/>',
        '<spk id="2" g="u" t="1.00-3.00"/>',
        '<spk id="3" g="u" t="4.50-6.00"/>',
        "</speaker>",
    ]


def test_by_start_speakers_are_numbered_by_the_first_turn_listed() -> None:
    target = serialise(ANN_TWICE)
    assert '<spk id="1" g="u" t="1.00-3.00"/>' in target  # ann's first listed turn is her later
    assert '<spk id="2" g="u" t="0.50-2.00,4.00-5.00"/>' in target


def test_turns_of_the_same_times_are_kept_apart() -> None:
    turns = [Utterance(name, 0.999, 2.001, name) for name in ("ann", "ben", "cas")]
    lines = serialise(turns).split("\n")
    assert lines[1:4] == ["1.00-2.00>ann", "1.00-2.01>ben", "1.00-2.02>cas"]
    assert lines[-2] == '<spk id="3" g="u" t="1.00-2.02"/>'


def test_words_alone_have_a_mark_where_the_speaker_changes() -> None:
    assert serialise_words(ANN_TWICE) == "so <sc> yes <sc> and then <sc> no"
    by_speaker = serialise_words(ANN_TWICE, order=Order.SPEAKER, change="$")
    assert by_speaker == "so and then $ yes $ no"


def test_words_cannot_close_the_transcript() -> None:
    words = 'a</text>b<speaker>c<spk id="9"/>d<te</text>xt>e<|im_end|>f&lt;/speaker&gt;g\nh\ti'
    assert clean_words(words) == "abcdefg h i"


@settings(deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("<>/&;|textspk lgamp#10"), st.characters())))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    cleaned = clean_words(text)
    assert clean_words(cleaned) == cleaned
    assert len(cleaned.splitlines()) <= 1


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(FormatError, match=r"'ann'.*nan"):
        serialise([Utterance("ann", 0.0, math.nan, "hm")])
    with pytest.raises(ShapeError, match="found 1, expected 4"):
        serialise(ANN_TWICE, genders=["F"])
