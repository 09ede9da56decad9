"""The table of formats, reading files by suffix, and the formats for people and for Praat."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from meetscribe import formats
from meetscribe.errors import FormatError, NameNotFoundError
from meetscribe.formats import RenderOptions, textgrid, transcript_json
from meetscribe.types import Transcript, Turn, Utterance, Word
from tests.formats.builders import MEETING, meeting, said, transcripts
from tests.formats.subtitles import read_srt, read_vtt

EMPTY = Transcript("silence", (), duration=12.0, warnings=("no speech was found",))
SUFFIXES = (
    ".json", ".txt", ".srt", ".vtt", ".rttm", ".ctm", ".stm", ".seglst.json", ".TextGrid", ".csv",
)  # fmt: skip


def test_every_format_has_its_suffix() -> None:
    assert tuple(formats.suffix(name) for name in formats.names()) == SUFFIXES


def test_an_unknown_format_names_near_ones() -> None:
    with pytest.raises(NameNotFoundError) as caught:
        formats.render(MEETING, "strt")
    assert caught.value.message == "no format named 'strt'"
    assert "srt" in caught.value.hint


@pytest.mark.parametrize("name", formats.names())
def test_an_empty_transcript_is_valid_in_every_format(name: str) -> None:
    for transcript in (EMPTY, Transcript("", ())):
        text = formats.render(transcript, name)
        known = formats.FORMATS[name]
        if known.parse:
            assert formats._entry(known.parse)(text).utterances == ()
    readers = {"srt": read_srt, "vtt": read_vtt}
    if name in readers:
        assert readers[name](text) == []


def test_an_empty_text_says_so() -> None:
    assert formats.render(EMPTY, "txt") == (
        "Session:  silence\nDuration: 00:00:12\nSpeakers: none\nWarning:  no speech was found\n\n"
        "(no words were recognised)\n"
    )


@pytest.mark.parametrize("name", [name for name in formats.names() if formats.FORMATS[name].parse])
def test_files_are_read_by_their_suffix(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"standup{formats.suffix(name)}"
    path.write_text(formats.render(MEETING, name), encoding="utf-8", newline="")
    back = formats.parse_file(path)
    assert back.session_id == "standup"
    assert len(back.speakers) == 3
    if name == "json":
        assert back == MEETING


def test_a_segment_list_named_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ref.JSON"
    path.write_text(formats.render(MEETING, "seglst"), encoding="utf-8-sig")
    assert len(formats.parse_file(path).utterances) == 4


def test_files_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("", encoding="utf-8")
    (tmp_path / "b.stm").write_bytes(b"s 1 A 0 1 \xff\xfe")
    (tmp_path / "c.json").mkdir()
    for name, problem in [
        ("a.srt", "no transcript can be read from a srt file"),
        ("a.wav", "no transcript can be read from this file"),
        ("b.stm", "byte 10 is not utf-8"),
        ("c.json", "cannot be read"),
        ("missing.json", "no such file"),
    ]:
        with pytest.raises(FormatError) as caught:
            formats.parse_file(tmp_path / name)
        assert caught.value.message.startswith(f"{tmp_path / name}: {problem}")


def test_txt_is_for_reading() -> None:
    assert formats.render(MEETING, "txt") == (
        "Session:  standup\nDuration: 00:01:20\nLanguage: en\nSpeakers: Anna Lee, S2, S3\n"
        "Warning:  channel 2 is silent\n\n"
        "[00:00:01] Anna Lee: Good morning all, shall we start?\n\n"
        "[00:00:03] S2 (overlapping): Morning!\n\n"
        '[00:01:05] Anna Lee: The "remote" is <5 & cheap.\n\n'
        "[00:01:10] S3 (unclear): 我用 Python 写。\n"
    )


def test_txt_joins_what_a_speaker_says_without_being_left_off() -> None:
    transcript = meeting(
        said("A", 0, 1, "One."),
        said("A", 1.5, 2, "Two."),
        said("A", 9, 10, "Later."),
        said("B", 10, 11, "三。"),
    )
    body = formats.render(transcript, "txt").split("\n\n")[1:]
    assert body == ["[00:00:00] A: One. Two.", "[00:00:09] A: Later.", "[00:00:10] B: 三。\n"]


def test_renaming_shows_in_every_format_with_labels() -> None:
    renamed = MEETING.renamed({"S2": "Bénédicte"})
    for name in formats.names():
        assert "Bénédicte" in formats.render(renamed, name), name


def test_csv_cannot_run_formulas() -> None:
    transcript = meeting(
        said("=cmd", 0, 1, '=1+1, "so"'), said("B", 1, 2, "'=x", ["overlap", "unclear"])
    )
    assert formats.render(transcript, "csv") == (
        "\ufeffsession_id,start,end,speaker,name,text,flags\n"
        'standup,0.000,1.000,\'=cmd,\'=cmd,"\'=1+1, ""so""",\n'
        "standup,1.000,2.000,B,B,''=x,overlap;unclear\n"
    )


def test_edited_text_wins_over_the_words_it_was_made_from() -> None:
    edited = Utterance("A", 0, 4, "good evening", (Word("good", 0, 1), Word("morning", 1, 4)))
    assert formats.render(meeting(edited), "ctm").splitlines() == [
        "standup A 0.000 1.455 good",
        "standup A 1.455 2.545 evening",
    ]


# canonical JSON


def damaged(change: str) -> str:
    text = transcript_json.render(MEETING)
    old, new = change.split(" -> ")
    assert old in text
    return text.replace(old, new, 1)


def test_json_is_a_superset_of_seglst() -> None:
    content = json.loads(transcript_json.render(MEETING))
    assert content["schema"] == "meetscribe.transcript/1"
    assert content["speakers"][0] == {"label": "S1", "name": "Anna Lee"}
    first = content["utterances"][0]
    assert (first["session_id"], first["speaker"]) == ("standup", "S1")
    assert (first["start_time"], first["end_time"]) == (1.0, 4.0)
    assert first["words"] == "Good morning all, shall we start?"
    assert first["flags"] == ["overlap"]
    assert first["tokens"][0] == {
        "word": "Good",
        "start_time": 1.0,
        "end_time": 1.5,
        "confidence": 0.9,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "transcript/1 -> transcript/2",
            "a.json: schema: found 'meetscribe.transcript/2', expected '"
            + transcript_json.SCHEMA
            + "'",
        ),
        ('"flags": -> "flag":', "a.json: utterances[0]: unknown key 'flag'"),
        (
            '"confidence": 0.9 -> "confidence": "0.9"',
            "a.json: utterances[0].tokens[0].confidence: found a string, expected a number",
        ),
        (', "confidence": 0.9 -> ', "a.json: utterances[0].tokens[0]: key 'confidence' is missing"),
        (
            '"end_time": 4.0 -> "end_time": 0.5',
            "a.json: utterances[0].end_time: 0.5 is before start_time 1.0",
        ),
        (
            '"end_time": 4.0 -> "end_time": -4.0',
            "a.json: utterances[0].end_time: found -4.0, expected a number of 0 or more",
        ),
        (
            '"end_time": 4.0 -> "end_time": true',
            "a.json: utterances[0].end_time: found true or false, expected a number",
        ),
        ('"end_time": 4.0 -> "end_time": NaN', "a.json: NaN is not a JSON number"),
        ('"language": "en" -> "language": null', "a.json: language: found null, expected a string"),
        (
            ' "session_id": "standup" -> "session_id": "other"',
            "a.json: utterances[0].session_id: found 'standup', expected 'other'",
        ),
        ('"turns": [ -> "turns": [3,', "a.json: turns[0]: found a number, expected an object"),
        ('"warnings": [ -> "warnings": [3,', "a.json: warnings: expected a list of strings"),
        ('"language": -> "language"', "a.json:4: not JSON: Expecting ':' delimiter (column 13)"),
        (
            '"duration": 80.0 -> "duration": 1' + "0" * 400,
            "a.json: duration: found 10000000000000000000, expected a number of 0 or more",
        ),
    ],
)
def test_json_mistakes_are_named_with_their_place(change: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        transcript_json.parse(damaged(change), path="a.json")
    assert caught.value.message == message


def test_json_of_another_kind_is_refused() -> None:
    for text in ("[]", "3", "{}", "[" * 100_000, "1" * 5000, ""):
        with pytest.raises(FormatError):
            transcript_json.parse(text, path="a.json")


def test_json_holds_half_a_surrogate_pair() -> None:
    transcript = meeting(said("A", 0, 1, "x\ud800y"))
    text = transcript_json.render(transcript)
    text.encode("utf-8")
    assert transcript_json.parse(text) == transcript


def test_a_time_that_is_no_number_is_refused() -> None:
    transcript = meeting(Utterance("A", 0, float("nan"), "hi"), duration=1.0)
    for name in ("json", "rttm", "stm", "seglst", "textgrid", "csv"):
        with pytest.raises(FormatError, match="transcript: a"):
            formats.render(transcript, name)


def test_provenance_that_json_cannot_say_becomes_text() -> None:
    odd = {"path": Path("a") / "b", "rate": float("inf"), "pair": (1, 2)}
    text = transcript_json.render(Transcript("s", (), provenance=odd))
    assert transcript_json.parse(text).provenance == {
        "path": str(Path("a") / "b"), "rate": "inf", "pair": [1, 2],
    }  # fmt: skip


# TextGrid


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(transcripts())
def test_textgrid_intervals_touch_from_zero_to_the_end(transcript: Transcript) -> None:
    text = formats.render(transcript, "textgrid")
    end = re.search(r"^xmax = ([\d.]+)$", text, re.MULTILINE)
    assert end
    tiers = re.split(r"^    item \[\d+\]:$", text, flags=re.MULTILINE)[1:]
    assert len(tiers) == int(re.search(r"^size = (\d+)$", text, re.MULTILINE).group(1))  # type: ignore[union-attr]
    for tier in tiers:
        spans = re.findall(r"\n            xmin = ([\d.]+)\n            xmax = ([\d.]+)\n", tier)
        assert f"intervals: size = {len(spans)}\n" in tier
        assert [low for low, _ in spans] == ["0.000", *(high for _, high in spans[:-1])]
        assert spans[-1][1] == end.group(1)
        assert all(float(low) < float(high) for low, high in spans)


def test_textgrid_doubles_quotes() -> None:
    text = formats.render(MEETING, "textgrid")
    assert 'text = "The ""remote"" is <5 & cheap."' in text
    assert textgrid.parse(text).utterances[2].text == 'The "remote" is <5 & cheap.'


def test_textgrid_keeps_words_of_a_speaker_who_overlaps_himself() -> None:
    transcript = meeting(said("A", 0, 10, "long one"), said("A", 3, 4, "short one"))
    back = textgrid.parse(formats.render(transcript, "textgrid"))
    assert [part.text for part in back.utterances] == ["long one", "short one"]
    assert back.utterances[0].end <= back.utterances[1].start


def test_textgrid_short_format_point_tiers_and_utf16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "R8001.TextGrid"
    path.write_text(
        'File type = "ooTextFile"\n"TextGrid"\n\n0\n10.5\n<exists>\n2\n"TextTier"\n"marks"\n0\n'
        '10.5\n1\n3\n"beep"\n"IntervalTier"\n"N_SPK ""1"""\n0\n10.5\n2\n0\n4\n""\n'
        '4\n10.5\n"我 们\nhi"\n',
        encoding="utf-16",
    )
    assert formats.parse_file(path) == Transcript(
        "R8001", (Utterance('N_SPK "1"', 4.0, 10.5, "我 们\nhi"),), duration=10.5
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "g: ends too early, expected a file type"),
        ('"a" "b"', "g: not a Praat TextGrid in text format"),
        ('"ooTextFile"\n"TextGrid"\n"x"', "g:3: found 'x', expected the start"),
        (
            '"ooTextFile"\n"TextGrid" 0 1 <exists> 1 "Odd"',
            "g:2: tier of kind 'Odd', expected intervals",
        ),
    ],
)
def test_textgrid_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        textgrid.parse(text, path="g")
    assert caught.value.message == message


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="overlap"):
        RenderOptions(overlap="both")  # type: ignore[arg-type]


def test_turns_survive_where_nothing_was_recognised() -> None:
    transcript = Transcript("s", (), turns=(Turn(0, 1, "A"),), duration=2.0)
    assert formats.render(transcript, "rttm").count("\n") == 1
