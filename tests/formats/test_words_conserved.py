"""No export loses or doubles a word, nor gives it to somebody else (subtitles 'dominant' may)."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe import formats
from meetscribe.errors import FormatError
from meetscribe.formats import RenderOptions, seglst, stm, textgrid, transcript_json
from meetscribe.formats.tokens import column, speaker_columns
from meetscribe.types import Transcript
from tests.formats.builders import (
    TAME_NAMES,
    TAME_WORDS,
    everything_said,
    letters_said,
    meeting,
    said,
    spoken,
    tidy,
    transcripts,
    words_said,
)
from tests.formats.subtitles import read_srt, read_vtt

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
TAME = transcripts(words=TAME_WORDS, names=TAME_NAMES)
OPTIONS = st.builds(
    RenderOptions,
    overlap=st.sampled_from(["stack", "split"]),
    max_line_chars=st.sampled_from([42, 30]),
    max_lines=st.integers(1, 3),
    max_cue_s=st.sampled_from([2.0, 7.0]),
)


def by_column(transcript: Transcript) -> list[tuple[str, str]]:
    columns = speaker_columns(transcript)
    return [(columns[part.speaker], spoken(part)) for part in transcript.utterances]


def srt_parts(text: str, names: list[str]) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for cue in read_srt(text):
        stacked = cue.lines[0].startswith("- ")
        for number, line in enumerate(cue.lines):
            rest = line.removeprefix("- ") if stacked else line
            head = next((name for name in names if rest.startswith(f"{name}: ")), None)
            if head is not None and (number == 0 or (stacked and line.startswith("- "))):
                parts.append((head, rest.removeprefix(f"{head}: ")))
            else:
                parts.append((parts[-1][0], line))
    return parts


@SLOW
@given(transcripts())
def test_canonical_json_gives_the_transcript_back(transcript: Transcript) -> None:
    assert transcript_json.parse(transcript_json.render(transcript)) == transcript


@SLOW
@given(transcripts())
def test_stm_seglst_and_textgrid_keep_every_word_and_speaker(transcript: Transcript) -> None:
    expected = by_column(transcript)
    for module in (stm, seglst):
        back = module.parse(module.render(transcript))
        found = [(part.speaker, part.text) for part in back.utterances]
        assert words_said(found) == words_said((name, tidy(text)) for name, text in expected)
    back = textgrid.parse(textgrid.render(transcript))
    found = [(part.speaker, part.text) for part in back.utterances]
    assert letters_said(found) == letters_said(everything_said_or_unnamed(transcript))


def everything_said_or_unnamed(transcript: Transcript) -> list[tuple[str, str]]:
    return [(name or "?", text) for name, text in everything_said(transcript)]


@SLOW
@given(transcripts())
def test_ctm_keeps_every_letter_in_words_without_spaces(transcript: Transcript) -> None:
    lines = [line.split(" ") for line in formats.render(transcript, "ctm").splitlines()]
    assert all(len(line) in {5, 6} for line in lines)
    assert letters_said((line[1], line[4]) for line in lines) == letters_said(by_column(transcript))


@SLOW
@given(transcripts())
def test_csv_keeps_every_word(transcript: Transcript) -> None:
    table = formats.render(transcript, "csv")
    assert table.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(table[1:])))
    cells = [
        [re.sub(r"^'(?='*[=+\-@＝＋－＠|%])", "", row[key]) for key in ("name", "text")]
        for row in rows
    ]
    assert [tidy(text) for _, text in everything_said(transcript)] == [text for _, text in cells]
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert letters_said(map(tuple, cells)) == letters_said(everything_said_or_unnamed(transcript))


@SLOW
@given(transcripts())
def test_txt_keeps_every_letter(transcript: Transcript) -> None:
    text = formats.render(transcript, "txt", RenderOptions(speaker_labels=False))
    body = [line for line in text.splitlines() if line.startswith("[")]
    body = [
        re.sub(r"^\[[\d:]+\] (\((overlapping|unclear)(, unclear)?\): )?", "", line) for line in body
    ]
    expected = [("", text) for _, text in everything_said(transcript)]
    assert letters_said(("", line) for line in body) == letters_said(expected)


@SLOW
@given(transcripts(), OPTIONS)
def test_subtitles_keep_every_letter_of_any_text(
    transcript: Transcript, options: RenderOptions
) -> None:
    options = options.model_copy(update={"speaker_labels": False})
    vtt = [
        ("", line)
        for cue in read_vtt(formats.render(transcript, "vtt", options))
        for line in cue.lines
    ]
    expected = letters_said(("", text) for _, text in everything_said(transcript))
    assert letters_said(vtt) == expected
    srt = read_srt(formats.render(transcript, "srt", options))
    lines = [(len(cue.lines), line) for cue in srt for line in cue.lines]
    found = letters_said(("", line) for _, line in lines).get("", Counter())
    marks = found - expected.get("", Counter())  # stacked lines begin with a dash
    assert not expected.get("", Counter()) - found
    assert set(marks) <= {"-"}


@SLOW
@given(TAME, OPTIONS)
def test_subtitles_keep_every_word_of_every_speaker(
    transcript: Transcript, options: RenderOptions
) -> None:
    names = sorted({*TAME_NAME_LIST, *transcript.speakers}, key=len, reverse=True)
    expected = words_said(everything_said(transcript))
    srt = formats.render(transcript, "srt", options)
    assert words_said(joined(srt_parts(srt, names))) == expected
    vtt = read_vtt(formats.render(transcript, "vtt", options))
    assert words_said((cue.voice, " ".join(cue.lines)) for cue in vtt) == expected


TAME_NAME_LIST = ["Anna", "Ben Ng", "李雷", "Speaker 4"]


def joined(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, f" {text} ") for name, text in parts]


@SLOW
@given(TAME)
def test_dominant_invents_no_word(transcript: Transcript) -> None:
    options = RenderOptions(overlap="dominant")
    vtt = read_vtt(formats.render(transcript, "vtt", options))
    expected = words_said(everything_said(transcript))
    for name, words in words_said((cue.voice, " ".join(cue.lines)) for cue in vtt).items():
        assert not words - expected[name]


@SLOW
@given(transcripts())
def test_every_format_renders_every_transcript_to_utf8(transcript: Transcript) -> None:
    for name in formats.names():
        formats.render(transcript, name).encode("utf-8")


@pytest.mark.parametrize("name", [name for name in formats.names() if formats.FORMATS[name].parse])
def test_random_text_is_parsed_or_refused_and_never_crashes(name: str) -> None:
    parse = formats._entry(formats.FORMATS[name].parse or "")

    @settings(max_examples=150, deadline=None)
    @given(
        st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
    )
    def check(text: str) -> None:
        with contextlib.suppress(FormatError):
            parse(text)

    check()


def test_distinct_names_stay_distinct_columns() -> None:
    assert column("A B") == column("A_B")
    transcript = meeting(said("A B", 0, 1, "x"), said("A_B", 1, 2, "y"), said("A\tB", 2, 3, "z"))
    assert sorted(set(speaker_columns(transcript).values())) == ["A_B", "A_B_2"]
