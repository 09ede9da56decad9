"""Reading references and hypotheses from any files, and pairing them; every odd input is named."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meetscribe import formats
from meetscribe.errors import FormatError
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.sessions import Pair, Session, left_out, pair, read, read_uem
from meetscribe.types import Transcript, Turn, Utterance, Word

SAID = (
    Utterance.from_words("S1", (Word("good", 0.0, 0.5), Word("morning", 0.5, 1.0))),
    Utterance.from_words("S2", (Word("hello", 2.0, 2.5), Word("there", 3.0, 3.5))),
)
TRANSCRIPT = Transcript(
    "standup",
    SAID,
    turns=(Turn(0.0, 1.2, "S1"), Turn(2.0, 4.0, "S2")),
    language="en",
    duration=10.0,
)


def write(path: Path, transcript: Transcript = TRANSCRIPT, name: str = "") -> Path:
    """Write a transcript in the format that the suffix asks for."""
    kinds = [kind for kind in formats.names() if path.name.endswith(formats.suffix(kind))]
    kind = name or max(kinds, key=lambda kind: len(formats.suffix(kind)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(formats.render(transcript, kind), encoding="utf-8")
    return path


def seglst(path: Path, *segments: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(segments), encoding="utf-8")
    return path


def segment(session: str = "a", speaker: str = "A", **more: object) -> dict[str, Any]:
    times = {"start_time": 0.0, "end_time": 1.0}
    return {"session_id": session, "speaker": speaker, "words": "hello", **times, **more}


def spoken(session: Session) -> list[tuple[str, str]]:
    return [(utterance.speaker, utterance.text) for utterance in session.utterances]


# --- one file


@pytest.mark.parametrize("suffix", ["json", "seglst.json", "stm", "ctm", "rttm", "TextGrid"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    sessions = read(write(tmp_path / f"standup.{suffix}"))
    session = sessions["standup"]
    assert list(sessions) == [session.session_id]
    assert session.has_turns
    assert {turn.speaker for turn in session.turns} == {"S1", "S2"}
    assert session.has_words == session.has_times == (suffix != "rttm")
    if session.has_words:
        assert spoken(session) == [("S1", "good morning"), ("S2", "hello there")]
    assert session.duration == (10.0 if suffix in {"json", "TextGrid"} else None)
    assert session.language == ("en" if suffix == "json" else "")
    assert session.notes == ()
    assert session.source == str(tmp_path / f"standup.{suffix}")


def test_turns_of_ctm_are_its_words_for_pauses_are_not_bridged(tmp_path: Path) -> None:
    session = read(write(tmp_path / "standup.ctm"))["standup"]
    assert session.turns == (
        Turn(0.0, 0.5, "S1"),
        Turn(0.5, 1.0, "S1"),
        Turn(2.0, 2.5, "S2"),
        Turn(3.0, 3.5, "S2"),
    )


def test_a_list_in_a_json_file_is_seglst(tmp_path: Path) -> None:
    assert spoken(read(seglst(tmp_path / "x.json", segment("standup")))["standup"]) == [
        ("A", "hello")
    ]


def test_a_file_may_hold_several_sessions(tmp_path: Path) -> None:
    path = seglst(tmp_path / "all.seglst.json", segment("b"), segment("a"), segment("b", "B"))
    sessions = read(path)
    assert list(sessions) == ["a", "b"]
    assert spoken(sessions["b"]) == [("A", "hello"), ("B", "hello")]


def test_names_of_a_transcript_are_its_speakers_as_in_its_other_formats(tmp_path: Path) -> None:
    named = TRANSCRIPT.renamed({"S1": "Anna Lee", "S2": "Anna Lee"})
    session = read(write(tmp_path / "x.json", named))["standup"]
    assert {turn.speaker for turn in session.turns} == {"Anna_Lee"}
    assert [utterance.speaker for utterance in session.utterances] == ["Anna_Lee"] * 2


def test_a_segment_without_speaker_is_one_of_an_unknown_one(tmp_path: Path) -> None:
    path = seglst(tmp_path / "x.seglst.json", segment(speaker=""), segment(speaker="B"))
    session = read(path)["a"]
    assert {utterance.speaker for utterance in session.utterances} == {"?", "B"}
    assert session.notes == (
        "1 segments of x.seglst.json name no speaker; they are taken for one speaker",
    )


def test_words_without_times_have_no_turns(tmp_path: Path) -> None:
    path = seglst(
        tmp_path / "x.seglst.json",
        segment(words="one", start_time=None, end_time=None),
        {"session_id": "a", "speaker": "B", "words": "two"},
        segment("b"),
    )
    sessions = read(path)
    assert spoken(sessions["a"]) == [("A", "one"), ("B", "two")]
    assert (sessions["a"].has_words, sessions["a"].has_times) == (True, False)
    assert (sessions["a"].has_turns, sessions["a"].turns) == (False, ())
    assert sessions["a"].notes == ("words have no times in x.seglst.json",)
    assert sessions["b"].has_times


def test_words_that_are_not_manual_are_not_scored(tmp_path: Path) -> None:
    path = seglst(
        tmp_path / "x.seglst.json",
        segment("a", words_status="PSEUDO (a model's)"),
        segment("b", words_status="manual"),
    )
    sessions = read(path)
    assert not sessions["a"].has_words
    assert sessions["a"].has_turns
    assert sessions["a"].notes == (
        "words are not scored: x.seglst.json marks them as 'PSEUDO (a model's)'",
    )
    assert sessions["b"].has_words


NEGATIVE = {
    "x.rttm": "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER a 1 -1 2 <NA> <NA> A <NA> <NA>\n",
    "y.rttm": "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER a 1 1 -2 <NA> <NA> A <NA> <NA>\n",
    "x.stm": "a 1 A 0 1 hello\na 1 A -1 2 hello\n",
    "y.stm": "a 1 A 0 1 hello\na 1 A 3 2 hello\n",
    "x.ctm": "a 1 0 1 hello\na 1 -1 2 hello\n",
    "x.uem": "a 1 0 1\na 1 -1 2\n",
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_negative_times_are_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(NEGATIVE[name])
    with pytest.raises(FormatError) as raised:
        (read_uem if name.endswith("uem") else read)(path)
    assert raised.value.message.startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("odd", "where"),
    [
        ({"start_time": -1.0}, "[1].start_time: found -1.0, expected a number of 0 or more"),
        ({"end_time": -1.0}, "[1].end_time: found -1.0, expected a number of 0 or more"),
        ({"start_time": 2.0}, "[1].end_time: 1.0 is before start_time 2.0"),
        ({"start_time": None}, "[1].start_time: found null, expected a number"),
        ({"speaker": None}, "[1].speaker: found null, expected a string"),
        ({"words": ["hello"]}, "[1].words: found a list, expected a string"),
    ],
)
def test_odd_segments_are_refused_with_file_and_place(
    tmp_path: Path, odd: dict[str, object], where: str
) -> None:
    path = seglst(tmp_path / "x.seglst.json", segment(), segment(**odd))
    with pytest.raises(FormatError) as raised:
        read(path)
    assert raised.value.message == f"{path}: {where}"


def test_negative_times_in_a_textgrid_are_refused_with_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.TextGrid")
    path.write_text(path.read_text().replace("xmin = 2.000", "xmin = -2.000", 1))
    with pytest.raises(FormatError, match=r"x\.TextGrid:\d+: a time is '-2\.000'"):
        read(path)


def test_negative_times_in_a_transcript_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    path.write_text(path.read_text().replace('"start_time": 2.0', '"start_time": -2.0', 1))
    with pytest.raises(FormatError, match=r"found -2\.0, expected a number of 0 or more"):
        read(path)


def test_a_file_that_is_named_must_be_a_transcript(tmp_path: Path) -> None:
    for name, text in [("x.json", "{}"), ("y.json", '[{"word": 1}]'), ("z.txt", "hello")]:
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(FormatError, match=name):
            read(path)
    with pytest.raises(FormatError, match="no such file or folder"):
        read(tmp_path / "nothing.rttm")


# --- a folder


def test_words_come_from_the_richest_file_and_turns_from_rttm(tmp_path: Path) -> None:
    write(tmp_path / "standup.json")
    write(tmp_path / "standup.srt")
    (tmp_path / "README.md").write_text("about this folder")
    other = Transcript("standup", (), turns=(Turn(0, 9, "X"),))
    write(tmp_path / "standup.rttm", other)
    session = read(tmp_path)["standup"]
    assert spoken(session) == [("S1", "good morning"), ("S2", "hello there")]
    assert session.turns == (Turn(0.0, 9.0, "X"),)
    assert session.notes == ("words from json, turns from rttm",)


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (["seglst.json", "stm", "TextGrid", "ctm"], "seglst"),
        (["ctm", "TextGrid", "stm"], "stm"),
        (["ctm", "TextGrid"], "textgrid"),
    ],
)
def test_the_order_of_formats(tmp_path: Path, there: Iterable[str], kind: str) -> None:
    for suffix in there:
        write(tmp_path / f"standup.{suffix}")
    assert read(tmp_path)["standup"].notes == (f"words from {kind}, turns from {kind}",)


def test_sessions_with_a_space_are_one_in_all_formats(tmp_path: Path) -> None:
    spaced = Transcript("Monday standup", SAID)
    for suffix in ("json", "rttm", "TextGrid"):
        write(tmp_path / f"Monday standup.{suffix}", spaced)
    assert list(read(tmp_path)) == ["Monday_standup"]


def test_an_empty_file_does_not_hide_what_another_says(tmp_path: Path) -> None:
    write(tmp_path / "ref.seglst.json")
    (tmp_path / "ref.rttm").write_text("")
    session = read(tmp_path)["standup"]
    assert len(session.turns) == 2
    assert session.notes == ("words from seglst, turns from seglst",)


def test_files_that_do_not_name_the_session_are_called_after_neighbour_file_or_folder(
    tmp_path: Path,
) -> None:
    write(tmp_path / "one" / "ref.TextGrid")
    write(tmp_path / "one" / "ref.rttm")
    write(tmp_path / "two" / "ref.TextGrid")
    write(tmp_path / "three.TextGrid")
    (tmp_path / "four").mkdir()
    (tmp_path / "four" / "hyp.rttm").write_text("")
    (tmp_path / "four" / "hyp.seglst.json").write_text("[]")
    assert list(read(tmp_path)) == ["four", "standup", "three", "two"]


def test_other_json_is_noted_and_a_damaged_transcript_refused(tmp_path: Path) -> None:
    write(tmp_path / "ref.seglst.json")
    (tmp_path / "ref.words.json").write_text('[{"speaker": "A", "word": "hello"}]')
    (tmp_path / "results.json").write_text('{"DER": NaN}')
    assert read(tmp_path)["standup"].notes == ("ref.words.json left out: not a transcript",)

    damaged = tmp_path / "later.json"
    damaged.write_text(formats.render(TRANSCRIPT, "json")[:300])
    with pytest.raises(FormatError, match=r"later\.json:\d+: not JSON"):
        read(tmp_path)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "standup.rttm")
    write(tmp_path / ".cache" / "standup.rttm")
    assert list(read(tmp_path)) == ["standup"]


def test_one_session_in_two_files_of_a_format_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "run1" / "standup.rttm")
    second = write(tmp_path / "run2" / "standup.rttm")
    with pytest.raises(FormatError) as raised:
        read(tmp_path)
    assert raised.value.message == f"{second}: session 'standup' is also in {first}"


HEARD = replace(TRANSCRIPT, provenance={"meetscribe": "0.1"})
"""What meetscribe made, as it lies beside the recording."""


@pytest.mark.parametrize("other", ["stm", "TextGrid", "seglst.json", "rttm"])
def test_what_meetscribe_made_is_no_reference_beside_another(tmp_path: Path, other: str) -> None:
    for suffix in {"json", "rttm", "stm"} - {other}:
        write(tmp_path / f"standup.{suffix}", HEARD)
    said = Utterance("S1", 0.0, 1.5, "good evening")
    manual = Transcript("standup", (said,), turns=(Turn(0.0, 1.5, "S1"),), duration=10.0)
    write(tmp_path / f"standup.{other}", manual)
    found = read(tmp_path, references=True)["standup"]
    assert [(turn.start, turn.end) for turn in found.turns] == [(0.0, 1.5)]
    assert spoken(found) == ([] if other == "rttm" else [("S1", "good evening")])
    assert any("standup.json" in note and "left out" in note for note in found.notes)
    # on the other side it is what is scored
    heard = tmp_path / "heard"
    write(heard / "standup.json", HEARD)
    write(heard / "standup.rttm", HEARD)
    assert spoken(read(heard)["standup"]) == [("S1", "good morning"), ("S2", "hello there")]


def test_a_transcript_of_meetscribe_alone_is_a_reference_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "standup.json", HEARD)
    write(tmp_path / "standup.rttm", HEARD)
    found = read(tmp_path, references=True)["standup"]
    assert len(found.utterances) == 2
    assert any("meetscribe made standup.json" in note for note in found.notes)
    # one that nobody's program made is as good as any
    write(tmp_path / "standup.json", TRANSCRIPT)
    assert not any("made" in note for note in read(tmp_path, references=True)["standup"].notes)


def test_the_same_files_on_both_sides_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "standup.stm")
    (found,) = pair(read(path), read(path))
    assert any("are the same" in note and str(path) in note for note in found.notes)


@pytest.mark.parametrize("suffix", ["rttm", "seglst.json"])
def test_times_of_a_clock_are_refused(tmp_path: Path, suffix: str) -> None:
    late = Utterance("S1", 1.7e9, 1.7e9 + 2, "good morning")
    path = write(
        tmp_path / f"a.{suffix}", Transcript("a", (late,), turns=(Turn(1.7e9, 1.8e9, "S1"),))
    )
    with pytest.raises(FormatError, match=r"session 'a' ends at") as raised:
        read(path)
    assert str(path) in raised.value.message
    assert "seconds" in raised.value.hint


def test_linked_folders_are_searched_and_broken_links_named(tmp_path: Path) -> None:
    write(tmp_path / "disk" / "standup.stm")
    refs = tmp_path / "refs"
    refs.mkdir()
    (refs / "linked").symlink_to(tmp_path / "disk", target_is_directory=True)
    (refs / "circle").symlink_to(refs, target_is_directory=True)
    assert list(read(refs)) == ["standup"]
    (refs / "gone.stm").symlink_to(tmp_path / "nothing.stm")
    with pytest.raises(FormatError, match=r"gone\.stm"):
        read(refs)


def test_a_folder_without_transcripts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(FormatError, match="no transcript and no turns in this folder"):
        read(tmp_path)


def test_the_shared_meetings_are_read(data: Path) -> None:
    sessions = read(data / "meetings")
    assert len(sessions) == 10
    assert [name for name, session in sessions.items() if not session.has_words] == [
        "alimeeting_R8009_M8028_857-866s"
    ]
    assert all(session.has_turns and session.has_times for session in sessions.values())


# --- pairing


def session(name: str, end: float = 10.0, **more: Any) -> Session:
    said = (Utterance("A", 0.0, end, "hello"),)
    return Session(name, **{"utterances": said, "turns": (Turn(0.0, end, "A"),), **more})


def sides(*names: str, **more: Any) -> dict[str, Session]:
    return {name: session(name, **more) for name in names}


def partners(pairs: Iterable[Pair]) -> list[tuple[str, str | None]]:
    return [(p.session_id, p.hypothesis.session_id if p.hypothesis else None) for p in pairs]


def test_a_lost_session_is_scored_and_one_without_reference_left_out() -> None:
    references, hypotheses = sides("a", "b"), sides("b", "c", "d", "e", "f")
    pairs = pair(references, hypotheses)
    assert partners(pairs) == [("a", None), ("b", "b")]
    assert "no hypothesis: all is scored as missed and deleted" in pairs[0].notes
    assert left_out(references, hypotheses) == (
        "left out, for they have no reference: 'c', 'd', 'e' and 1 more",
    )


def test_partial_leaves_out_both() -> None:
    references, hypotheses = sides("a", "b"), sides("b", "c")
    assert partners(pair(references, hypotheses, partial=True)) == [("b", "b")]
    assert left_out(references, hypotheses, partial=True) == (
        "left out, for they have no reference: 'c'",
        "left out (partial), for they have no hypothesis: 'a'",
    )


def test_single_sessions_are_paired_whatever_their_ids() -> None:
    references, hypotheses = sides("a"), sides("meeting")
    found = pair(references, hypotheses)
    assert partners(found) == [("a", "meeting")]
    assert (
        "reference 'a' is paired with hypothesis 'meeting', for there are no others"
        in found[0].notes
    )
    assert left_out(references, hypotheses) == ()


@pytest.mark.parametrize("partial", [False, True])
def test_nothing_in_common_is_refused(partial: bool) -> None:
    with pytest.raises(FormatError) as raised:
        pair(sides("a", "b"), sides("x", "y"), partial=partial)
    assert raised.value.message == (
        "no session is on both sides: references are 'a', 'b', hypotheses are 'x', 'y'"
    )
    assert "same session ids" in raised.value.hint


def test_an_empty_hypothesis_is_all_lost_not_refused(tmp_path: Path) -> None:
    (tmp_path / "hyp.seglst.json").write_text("[]")
    hypotheses = read(tmp_path / "hyp.seglst.json")
    assert partners(pair(sides("a", "b"), hypotheses)) == [("a", None), ("b", None)]
    one = pair(sides("a"), hypotheses)
    assert "the hypothesis is empty" in one[0].notes


def test_an_empty_reference_is_kept_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "ref.rttm").write_text("")
    found = pair(read(tmp_path / "ref.rttm"), sides("a"))[0]
    assert any(note.startswith("the reference is empty") for note in found.notes)
    assert found.scored == ((0.0, 10.0),)


def test_notes_say_which_side_they_are_of() -> None:
    found = pair(sides("a", notes=("odd",)), sides("a", notes=("odder",)))[0]
    assert found.notes[:2] == ("reference: odd", "hypothesis: odder")


# --- scored regions


@pytest.mark.parametrize(
    ("reference", "hypothesis", "end"),
    [
        ({"end": 5.0}, {"end": 8.0}, 8.0),
        ({"end": 5.0, "duration": 30.0}, {"end": 8.0}, 30.0),
        ({"end": 5.0}, {"end": 8.0, "duration": 6.0}, 8.0),
    ],
)
def test_without_uem_the_whole_is_scored(
    reference: dict[str, Any], hypothesis: dict[str, Any], end: float
) -> None:
    found = pair(sides("a", **reference), sides("a", **hypothesis))[0]
    assert found.scored == ((0.0, end),)
    assert any(note.startswith("no UEM: scored from 0 to the end") for note in found.notes)


def test_a_false_alarm_after_the_reference_counts_without_uem() -> None:
    found = pair(sides("a", end=5.0), sides("a", end=8.0))[0]
    assert found.hypothesis
    errors = diarization_errors(found.reference.turns, found.hypothesis.turns, scored=found.scored)
    assert (errors.total_s, errors.falarm_s) == (5.0, 3.0)


def test_two_empty_sides_have_no_scored_region() -> None:
    empty = {"a": Session("a")}
    assert pair(empty, empty)[0].scored == ()


def test_turns_beyond_the_uem_are_counted() -> None:
    uem = {"a": [(0.0, 4.0), (4.0, 9.0)], "z": [(0.0, 1.0)]}
    found = pair(sides("a", end=10.0), sides("a", end=9.0), uem=uem)[0]
    assert found.scored == ((0.0, 4.0), (4.0, 9.0))
    (note,) = found.notes
    assert "reference that reach beyond the UEM, and are cut: 1 (words are" in note


def test_a_session_that_the_uem_lacks_is_refused() -> None:
    with pytest.raises(FormatError, match="the UEM has no region of 'b'; it has 'a'"):
        pair(sides("a", "b"), sides("a", "b"), uem={"a": [(0.0, 1.0)]})


def test_uem_is_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "a.uem").write_text("a 1 0 10\na 1 20 30\n")
    (tmp_path / "b.uem").write_text("b 1 0 5\n")
    (tmp_path / "a.rttm").write_text("")
    regions = {"a": [(0.0, 10.0), (20.0, 30.0)], "b": [(0.0, 5.0)]}
    assert read_uem(tmp_path) == regions
    assert read_uem(tmp_path / "b.uem") == {"b": [(0.0, 5.0)]}

    (tmp_path / "c.uem").write_text("a 1 0 5\n")
    with pytest.raises(FormatError, match=r"a\.uem: session 'a' is also in .*c\.uem"):
        read_uem(tmp_path)


def test_a_uem_without_regions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.uem").write_text(";; nothing\n")
    for path in (tmp_path, tmp_path / "a.uem"):
        with pytest.raises(FormatError, match="no scored region"):
            read_uem(path)
    with pytest.raises(FormatError, match="no such file"):
        read_uem(tmp_path / "b.uem")
