"""Subtitles: their syntax, how long and wide cues are, and where people speak at once."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe import formats
from meetscribe.formats import RenderOptions
from meetscribe.formats.cues import cues_of
from meetscribe.formats.timeline import clock, side_by_side, to_ms
from meetscribe.types import Transcript, Utterance, Word
from tests.formats.builders import MEETING, meeting, said, transcripts
from tests.formats.subtitles import read_srt, read_vtt

POLICIES = ["stack", "split", "dominant"]
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def share_of_line(line: str) -> float:
    """Measure a line by the rule in the documentation, 1 for a full one."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in line)
    none = sum(unicodedata.category(char) in {"Mn", "Me", "Cf"} for char in line)
    return wide / 18 + (len(line) - wide - none) / 42


def srt(*utterances: Utterance, **options: object) -> list[tuple[str, ...]]:
    cues = read_srt(formats.render(meeting(*utterances), "srt", RenderOptions(**options)))
    return [cue.lines for cue in cues]


def test_srt_names_the_speaker_and_stacks_those_who_speak_at_once() -> None:
    assert formats.render(MEETING, "srt") == (
        "1\n00:00:01,000 --> 00:00:02,500\nAnna Lee: Good morning all,\n\n"
        "2\n00:00:02,500 --> 00:00:04,000\n- Anna Lee: shall we start?\n- S2: Morning!\n\n"
        '3\n00:01:05,000 --> 00:01:09,000\nAnna Lee: The "remote" is <5 & cheap.\n\n'
        "4\n00:01:10,000 --> 00:01:14,000\nS3: 我用 Python 写。\n"
    )


def test_vtt_has_voices_and_escapes_and_lets_cues_overlap() -> None:
    text = formats.render(MEETING, "vtt")
    assert "<v Anna Lee>The &quot;" not in text
    assert '<v Anna Lee>The "remote" is &lt;5 &amp; cheap.</v>' in text
    first, second, *_ = read_vtt(text)
    assert (first.voice, second.voice) == ("Anna Lee", "S2")
    assert second.start < first.end


@pytest.mark.parametrize("policy", ["split", "dominant"])
def test_vtt_cues_do_not_overlap_unless_stacked(policy: str) -> None:
    cues = read_vtt(formats.render(MEETING, "vtt", RenderOptions(overlap=policy)))
    assert all(left.end <= right.start for left, right in pairwise(cues))


def test_split_shows_one_speaker_after_the_other() -> None:
    lines = srt(said("A", 0, 4, "one two three four"), said("B", 1, 2, "yes sure"), overlap="split")
    assert lines == [("A: one two three four",), ("B: yes sure",)]


def test_dominant_shows_who_says_more_where_both_speak() -> None:
    lines = srt(
        said("A", 0, 6, "one two three four five six"),
        said("B", 2, 7, "yes or no"),
        said("C", 9, 10, "alone"),
        overlap="dominant",
    )
    assert lines == [("A: one two three four five six",), ("B: no",), ("C: alone",)]


def test_a_change_of_turns_is_not_stacked() -> None:
    lines = srt(
        said("A", 0, 4, "so that is what we decided to do"), said("B", 3.8, 7, "fine with me then")
    )
    assert lines == [("A: so that is what we decided to do",), ("B: fine with me then",)]


def test_cues_end_where_sentences_end() -> None:
    text = (
        "I think the first design is better than the other one by far. "
        "But we should ask the people who are going to use it every day."
    )
    cues = srt(said("A", 0, 9, text), max_cue_s=7.0)
    assert [" ".join(cue).split(". ")[0][-4:] for cue in cues] == ["far.", "day."]


def test_a_long_pause_parts_cues() -> None:
    words = (Word("well", 0, 0.4), Word("yes", 5.0, 5.4))
    assert srt(Utterance.from_words("A", words)) == [("A: well",), ("A: yes",)]


def test_a_word_longer_than_a_line_is_broken_and_kept() -> None:
    lines = [line for cue in srt(said("A", 0, 5, "x" * 100)) for line in cue]
    assert "".join(line.removeprefix("A: ") for line in lines) == "x" * 100


def test_chinese_lines_are_full_at_eighteen_characters_and_begin_with_no_full_stop() -> None:
    text = "我们今天先讨论一下新的遥控器的设计。然后再看一看市场部给我们的反馈意见。" * 2
    cues = read_srt(
        formats.render(
            meeting(Utterance("A", 0, 20, text)), "srt", RenderOptions(speaker_labels=False)
        )
    )
    lines = [line for cue in cues for line in cue.lines]
    assert "".join(lines) == text
    assert max(map(len, lines)) <= 18
    assert not any(line.startswith("。") for line in lines)


def test_long_names_leave_room_for_words_and_stay_apart() -> None:
    cues = read_srt(
        formats.render(
            meeting(
                said("A very long name of somebody 1", 0, 1, "yes"),
                said("A very long name of somebody 2", 2, 3, "no"),
            ),
            "srt",
        )
    )
    assert cues[0].lines[0].split(":")[0] != cues[1].lines[0].split(":")[0]
    assert all(share_of_line(cue.lines[0]) <= 1 for cue in cues)


def test_a_short_cue_is_prolonged_only_where_there_is_room() -> None:
    transcript = meeting(
        said("A", 1, 1.1, "yes"), said("B", 1.3, 1.4, "no"), said("A", 9, 9.1, "so")
    )
    spans = [(cue.start, cue.end) for cue in cues_of(transcript, RenderOptions(), heads=True)]
    assert spans == [(1000, 1300), (1300, 2100), (9000, 9800)]


def test_labels_can_be_left_out() -> None:
    options = RenderOptions(speaker_labels=False)
    transcript = meeting(said("A", 0, 1, "hello there"))
    assert read_srt(formats.render(transcript, "srt", options))[0].lines == ("hello there",)
    assert "<v" not in formats.render(transcript, "vtt", options)


def test_an_arrow_in_the_words_cannot_break_an_srt() -> None:
    assert srt(said("A", 0, 1, "a --> b")) == [("A: a -- > b",)]


@MANY
@given(
    transcripts(),
    st.sampled_from(POLICIES),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1.0, 7.0]),
)
def test_cues_keep_to_lines_width_and_time(
    transcript: Transcript, policy: str, max_lines: int, max_cue_s: float
) -> None:
    options = RenderOptions(overlap=policy, max_lines=max_lines, max_cue_s=max_cue_s)
    for cue in read_srt(formats.render(transcript, "srt", options)):
        speakers = sum(line.startswith("- ") for line in cue.lines)
        assert len(cue.lines) <= max(max_lines, speakers)
        assert all(share_of_line(line) <= 1 + 1e-9 for line in cue.lines)
        assert cue.end - cue.start <= max_cue_s * 1000


@MANY
@given(transcripts(), st.sampled_from(POLICIES))
def test_a_speaker_never_has_two_vtt_cues_at_once(transcript: Transcript, policy: str) -> None:
    reached: dict[str, int] = {}
    for cue in read_vtt(formats.render(transcript, "vtt", RenderOptions(overlap=policy))):
        assert cue.start >= reached.get(cue.voice, 0)
        reached[cue.voice] = cue.end


def test_cues_lie_within_the_times_of_their_words() -> None:
    options = RenderOptions(min_cue_s=0.0, max_chars_per_s=1000.0)
    one = said("A", 10, 30, " ".join(f"word{n}" for n in range(40)))
    two = said("B", 31, 40, "that is a lot of words for one person to say at once")
    cues = cues_of(meeting(one, two), options, heads=False)
    starts = {to_ms(word.start) for part in (one, two) for word in part.words}
    ends = {to_ms(word.end) for part in (one, two) for word in part.words}
    assert {cue.start for cue in cues} <= starts
    assert {cue.end for cue in cues} <= ends


SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair)))
)


@MANY
@given(SPANS, st.data())
def test_intervals_put_side_by_side_never_overlap(
    spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    size = len(spans)
    wanted = data.draw(st.lists(st.integers(0, 30), min_size=size, max_size=size))
    placed = side_by_side(spans, wanted)
    assert len(placed) == size
    assert all(start < end for start, end in placed)
    assert all(left[1] <= right[0] for left, right in pairwise(placed))


@MANY
@given(SPANS)
def test_intervals_that_do_not_overlap_stay_where_they_are(spans: list[tuple[int, int]]) -> None:
    shifted, reached = [], 0
    for start, end in spans:
        shifted.append((reached + start, reached + end + 1))
        reached = shifted[-1][1]
    assert side_by_side(shifted, [0] * len(shifted)) == shifted


def test_crowded_intervals_share_their_time_and_do_not_push_the_next_away() -> None:
    placed = side_by_side([(0, 10), (8, 10), (9, 10), (10, 20)], [8, 5, 5, 5])
    assert placed[-1] == (10, 20)
    assert [end - start for start, end in placed[:3]] == [6, 2, 2]


def test_hours_grow_beyond_two_digits() -> None:
    assert clock(to_ms(360_000.0006), ",") == "100:00:00,001"
