"""RTTM, STM, CTM and SegLST: exact text, what meeteval makes of them, and reading them back."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from meetscribe import formats
from meetscribe.errors import FormatError
from meetscribe.formats import ctm, rttm, seglst, stm
from meetscribe.types import Transcript, Turn, Utterance, Word
from tests.formats.builders import MEETING, meeting, said


@pytest.fixture(scope="module")
def meeteval() -> ModuleType:
    try:
        import meeteval
    except (ImportError, OSError) as error:
        pytest.skip(f"meeteval is not importable (extra evaluate): {error}")
    return meeteval


def test_rttm_has_the_turns_with_names() -> None:
    assert formats.render(MEETING, "rttm") == (
        "SPEAKER standup 1 1.000 3.200 <NA> <NA> Anna_Lee <NA> <NA>\n"
        "SPEAKER standup 1 3.000 0.600 <NA> <NA> S2 <NA> <NA>\n"
        "SPEAKER standup 1 65.000 4.000 <NA> <NA> Anna_Lee <NA> <NA>\n"
        "SPEAKER standup 1 70.000 4.000 <NA> <NA> S3 <NA> <NA>\n"
    )


def test_rttm_takes_utterances_where_there_are_no_turns_and_never_has_length_zero() -> None:
    text = formats.render(meeting(said("A", 1, 1, "hm")), "rttm")
    assert text == "SPEAKER standup 1 1.000 0.001 <NA> <NA> A <NA> <NA>\n"


def test_rttm_joins_turns_of_one_name_that_overlap() -> None:
    turns = (Turn(0, 2, "S1"), Turn(1, 3, "S2"), Turn(5, 6, "S1"))
    transcript = Transcript("s", (), turns=turns, names={"S1": "Anna", "S2": "Anna"})
    assert rttm.parse(rttm.render(transcript)).turns == (Turn(0, 3, "Anna"), Turn(5, 6, "Anna"))


def test_stm_has_utterances_without_label() -> None:
    assert formats.render(MEETING, "stm").splitlines() == [
        "standup 1 Anna_Lee 1.000 4.000 Good morning all, shall we start?",
        "standup 1 S2 3.000 3.600 Morning!",
        'standup 1 Anna_Lee 65.000 69.000 The "remote" is <5 & cheap.',
        "standup 1 S3 70.000 74.000 我用 Python 写。",
    ]


def test_stm_has_no_segment_of_length_zero() -> None:
    assert formats.render(meeting(said("A", 1, 1, "hm")), "stm") == "standup 1 A 1.000 1.001 hm\n"


def test_stm_labels_are_left_out_when_read() -> None:
    text = ";; a comment\ns 1 A 0 1 <o,f0,female> hello\ns 1 A 1 2 <o,f0,female> you\n"
    assert [part.text for part in stm.parse(text).utterances] == ["hello", "you"]


def test_stm_keeps_words_that_look_like_labels() -> None:
    transcript = meeting(said("A", 0, 1, "<a,b> x"))
    assert stm.parse(stm.render(transcript)).utterances[0].text == "<a,b> x"


def test_stm_parts_that_are_not_scored_are_left_out() -> None:
    text = "s 1 inter_segment_gap 0 1 inter_segment_gap\ns 1 A 1 2 hello\n"
    assert len(stm.parse(text).utterances) == 1


def test_ctm_has_words_with_confidence_and_shares_time_where_there_is_none() -> None:
    transcript = meeting(
        Utterance(
            "S 1",
            0,
            1,
            "don't go",
            (Word(" don", 0, 0.3, 0.5), Word("'t", 0.3, 0.4, 0.25), Word(" go", 0.5, 1, 0.75)),
        ),
        Utterance("S 2", 2, 4, "ab 我们"),
    )
    assert formats.render(transcript, "ctm").splitlines() == [
        "standup S_1 0.000 0.400 don't 0.250",
        "standup S_1 0.500 0.500 go 0.750",
        "standup S_2 2.000 1.000 ab",
        "standup S_2 3.000 0.500 我",
        "standup S_2 3.500 0.500 们",
    ]


def test_ctm_read_back_parts_utterances_at_pauses() -> None:
    back = ctm.parse("s A 0 0.5 one 0.9\ns A 0.6 0.4 two\ns A 3 1 three\n")
    assert [(part.start, part.end, part.text) for part in back.utterances] == [
        (0, 1, "one two"),
        (3, 4, "three"),
    ]
    assert back.utterances[0].words == (Word("one", 0, 0.5, 0.9), Word("two", 0.6, 1.0))


def test_seglst_has_five_keys_a_segment() -> None:
    assert formats.render(meeting(said("A b", 0.12345, 1, "hi  there")), "seglst") == (
        '[\n {"session_id": "standup", "speaker": "A_b", "start_time": 0.123, "end_time": 1.0,'
        ' "words": "hi there"}\n]\n'
    )


def test_meeteval_reads_the_same_words_in_stm_ctm_and_seglst(meeteval: ModuleType) -> None:
    stm_words = meeteval.io.STM.parse(formats.render(MEETING, "stm")).to_seglst()
    seglst_words = meeteval.io.SegLST(json.loads(formats.render(MEETING, "seglst")))
    ctm_words = meeteval.io.CTM.parse(formats.render(MEETING, "ctm")).to_seglst()
    assert list(stm_words.T["words"]) == list(seglst_words.T["words"])
    assert list(stm_words.T["speaker"]) == list(seglst_words.T["speaker"])
    by_channel = {}
    for segment in ctm_words:
        by_channel.setdefault(segment["channel"], []).append(segment["words"])
    assert by_channel["Anna_Lee"][:3] == ["Good", "morning", "all,"]
    assert by_channel["S3"] == ["我", "用", "Python", "写。"]


def test_meeteval_reads_rttm_and_its_own_rttm_is_read(meeteval: ModuleType) -> None:
    text = formats.render(MEETING, "rttm")
    loaded = meeteval.io.RTTM.parse(text)
    assert {line.speaker_id for line in loaded} == {"Anna_Lee", "S2", "S3"}
    assert rttm.parse(loaded.dumps()).turns == rttm.parse(text).turns


def test_meeteval_loads_seglst_files_and_its_own_are_read(meeteval: ModuleType) -> None:
    pytest.importorskip("simplejson", reason="meeteval reads SegLST with simplejson")
    text = formats.render(MEETING, "seglst")
    assert seglst.parse(meeteval.io.SegLST.parse(text).dumps()) == seglst.parse(text)


def test_stm_that_meeteval_writes_is_read(meeteval: ModuleType) -> None:
    text = formats.render(MEETING, "stm")
    assert stm.parse(meeteval.io.STM.parse(text).dumps()) == stm.parse(text)


def test_meeteval_finds_no_error_between_two_exports_of_one_transcript(
    meeteval: ModuleType,
) -> None:
    transcript = MEETING.renamed({"S2": "Ben;Ng", "S3": "李 雷"})
    reference = meeteval.io.STM.parse(formats.render(transcript, "stm"))
    hypothesis = meeteval.io.SegLST(json.loads(formats.render(transcript, "seglst")))
    results = meeteval.wer.cpwer(reference=reference, hypothesis=hypothesis)
    assert results["standup"].errors == 0
    assert results["standup"].length == 16


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        (rttm, "SPEAKER s 1 0 1 <NA> <NA>\n", "x:1: 7 fields, expected 9 or 10 of a SPEAKER line"),
        (
            rttm,
            ";c\nSPEAKER s 1 a 1 - - A - -\n",
            "x:2: the start is 'a', expected seconds, 0 or more",
        ),
        (stm, "s 1 A 2\n", "x:1: 4 fields, expected session, channel, speaker, start, end, words"),
        (stm, "s 1 A 2 1 hi\n", "x:1: ends at 1.0 s, before its start at 2.0 s"),
        (stm, "s 1 A 0 nan hi\n", "x:1: the end is 'nan', expected seconds, 0 or more"),
        (
            ctm,
            "s A 0 1\n",
            "x:1: 4 fields, expected 5 or 6: session channel start duration word confidence",
        ),
        (seglst, "{}", "x: expected a list of segments"),
        (seglst, '[{"session_id": "s"}]', "x: [0]: key 'start_time' is missing"),
        (seglst, "[3]", "x: [0]: found a number, expected an object"),
        (stm, "a 1 A 0 1 x\nb 1 A 0 1 x\n", "x: 2 sessions (a, b ...), expected one"),
    ],
)
def test_mistakes_are_named_with_their_place(module: ModuleType, text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        module.parse(text, path="x")
    assert caught.value.message == message


def test_several_sessions_can_be_read_apart() -> None:
    text = "a 1 A 0 1 x\nb 1 A 0 1 y\n"
    assert [part.session_id for part in stm.parse_sessions(text)] == ["a", "b"]


def test_stm_gaps_are_no_speech() -> None:
    from meetscribe.formats import stm

    text = (
        "talk 1 talk 0.0 15.2 <o,f0,unknown> welcome to this\n"
        "talk 1 inter_segment_gap 15.2 17.6 <o,,unknown> ignore_time_segment_in_scoring\n"
        "talk 1 talk 17.6 20.0 <o,f0,unknown> talk\n"
    )
    (made,) = stm.parse_sessions(text)
    assert [(part.speaker, part.text) for part in made.utterances] == [
        ("talk", "welcome to this"),
        ("talk", "talk"),
    ]
