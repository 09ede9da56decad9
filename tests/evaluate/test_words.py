"""Word metrics: the goldens, meeteval and brute force as oracles, and what must always hold."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe.errors import ConfigError, DependencyError, FormatError
from meetscribe.evaluate import words
from meetscribe.evaluate.normalise import tokens
from meetscribe.evaluate.normalise.basic import normalise_basic
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words import CpErrors, TokenSegment, combination
from meetscribe.evaluate.words.alignment import edits, timed_distance, timed_edits
from meetscribe.evaluate.words.streams import Numbering, Stream
from tests.conftest import DATA

GOLDENS = DATA.parent / "goldens" / "scoring"
UNITS = {"W": "word", "C": "char", "M": "mixed"}
FAMILIES = ("single", "cp", "tcp", "ORC-greedy", "ORC-exact", "tcORC")

needs_meeteval = pytest.mark.skipif(not words.has_meeteval(), reason="meeteval is not installed")
quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def said(speaker: str, start: float, end: float, text: str) -> TokenSegment:
    return TokenSegment(speaker, start, end, tuple(text.split()))


MEETING = (
    said("Anna", 0, 4, "shall we start then"),
    said("Ben", 3, 5, "yes please"),
    said("Anna", 6, 9, "the budget is late"),
    said("Ben", 9, 11, "again"),
)


# --- goldens ---------------------------------------------------------------------------------


def golden_cases() -> list[str]:
    folder = GOLDENS / "cases"
    return sorted(case.name for case in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((GOLDENS / "expected.json").read_text(encoding="utf-8"))["cases"]


def family(metric: str) -> str:
    """Tell which of our functions gives a metric of the goldens, such as tcpCER_5s."""
    if "ORC" in metric and not metric.startswith("tc"):
        return "ORC-exact" if metric.endswith("exact") else "ORC-greedy"
    return next(name for name in ("tcORC", "tcp", "cp", "single") if name in metric)


def computed(metric: str, ours: list[TokenSegment], theirs: list[TokenSegment]) -> Any:
    collar = 1.0 if metric.endswith("1s") else 5.0
    return {
        "single": lambda: words.single_stream(ours, theirs),
        "cp": lambda: words.cp(ours, theirs),
        "tcp": lambda: words.tcp(ours, theirs, collar=collar),
        "ORC-greedy": lambda: words.orc(ours, theirs, exact=False),
        "ORC-exact": lambda: words.orc(ours, theirs, exact=True),
        "tcORC": lambda: words.tcorc(ours, theirs, collar=collar),
    }[family(metric)]()


def golden_segments(case: str, side: str, unit: Any, session: str | None) -> list[TokenSegment]:
    path = GOLDENS / "cases" / case / f"{side}.seglst.json"
    return [
        TokenSegment(
            part["speaker"],
            part["start_time"],
            part["end_time"],
            tuple(tokens(normalise_basic(part["words"]), unit)),
        )
        for part in json.loads(path.read_text(encoding="utf-8"))
        if session in {None, part["session_id"]}
    ]


@needs_meeteval
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("case", golden_cases() or [pytest.param("", marks=pytest.mark.skip)])
def test_goldens_are_met_exactly(case: str, name: str, expected: dict[str, Any]) -> None:
    wanted = {
        metric: value
        for metric, value in expected[case]["error_rates"].items()
        if family(metric) == name
    }
    assert wanted or name.startswith(("ORC", "tcORC")), expected[case]["error_rates"].keys()
    for metric, value in wanted.items():
        unit = UNITS[metric[metric.index("ER") - 1]]
        total = WordErrors()
        for session, own in value.get("per_session", {None: value}).items():
            found = computed(
                metric,
                golden_segments(case, "ref", unit, session),
                golden_segments(case, "hyp", unit, session),
            )
            if isinstance(found, CpErrors):
                speakers = (found.scored_speakers, found.missed_speakers, found.falarm_speakers)
                keys = ("scored_speaker", "missed_speaker", "falarm_speaker")
                assert speakers == tuple(own[key] for key in keys), metric
                assert set(found.assignment) == {ref for ref, _ in own["assignment"]} - {None}
                found = found.errors
            assert (found.errors, found.length) == (own["errors"], own["length"]), metric
            assert found.exact or not metric.endswith("exact"), metric
            total += found
        assert (total.errors, total.length) == (value["errors"], value["length"]), metric


# --- oracles ---------------------------------------------------------------------------------

# few words and times on a grid, so that equal costs, touching intervals and self-overlap occur
grid = st.integers(0, 24).map(lambda step: step / 2)
segments_of = st.builds(
    lambda speaker, start, length, text: TokenSegment(speaker, start, start + length, tuple(text)),
    st.sampled_from("ABCD"),
    grid,
    st.integers(0, 8).map(lambda step: step / 2),
    st.lists(st.sampled_from(["a", "b", "cc", "ddd"]), max_size=5),
)
sides = st.lists(segments_of, max_size=8)
characters = st.builds(
    lambda segment, text: replace(segment, tokens=tuple(text)),
    segments_of,
    st.text("的了是我不", max_size=6),
)


def levenshtein(ours: Sequence[str], theirs: Sequence[str]) -> int:
    row = list(range(len(theirs) + 1))
    for i, token in enumerate(ours, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(theirs, start=1):
            cheapest = min(before + (token != other), row[j] + 1, row[j - 1] + 1)
            before, row[j] = row[j], cheapest
    return row[-1]


def joined(segments: Sequence[TokenSegment]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for segment in sorted(segments, key=lambda part: part.start):
        made.setdefault(segment.speaker, []).extend(segment.tokens)
    return made


def cheapest_permutation(ours: Sequence[TokenSegment], theirs: Sequence[TokenSegment]) -> int:
    left, right = list(joined(ours).values()), list(joined(theirs).values())
    size = max(len(left), len(right))
    left += [[]] * (size - len(left))
    right += [[]] * (size - len(right))
    return min(
        sum(levenshtein(a, b) for a, b in zip(left, order, strict=True))
        for order in permutations(right)
    )


@quick
@given(ours=sides | st.lists(characters, max_size=8), theirs=sides | st.lists(characters))
def test_cp_is_the_cheapest_of_all_permutations(
    ours: list[TokenSegment], theirs: list[TokenSegment]
) -> None:
    found = words.cp(ours, theirs)
    assert found.errors.errors == cheapest_permutation(ours, theirs)
    assert found.errors.length == sum(len(segment.tokens) for segment in ours)
    paired = [speaker for speaker in found.assignment.values() if speaker]
    assert len(paired) == len(set(paired)) == min(len(joined(ours)), len(joined(theirs)))


def meeteval_rate(
    name: str, ours: list[TokenSegment], theirs: list[TokenSegment], **to: Any
) -> Any:
    import meeteval

    def segments(side: list[TokenSegment]) -> Any:
        return meeteval.io.SegLST(
            [
                {
                    "session_id": "s",
                    "speaker": part.speaker,
                    "start_time": part.start,
                    "end_time": part.end,
                    "words": " ".join(part.tokens),
                }
                for part in side
            ]
        )

    return getattr(meeteval.wer, name)(segments(ours), segments(theirs), **to)


@needs_meeteval
@quick
@given(ours=sides | st.lists(characters, max_size=8), theirs=sides | st.lists(characters))
def test_cp_equals_meeteval(ours: list[TokenSegment], theirs: list[TokenSegment]) -> None:
    found = words.cp(ours, theirs)
    rate = meeteval_rate("cp_word_error_rate", ours, theirs)
    assert (found.errors.errors, found.errors.length) == (rate.errors, rate.length)
    assert (found.missed_speakers, found.falarm_speakers, found.scored_speakers) == (
        rate.missed_speaker,
        rate.falarm_speaker,
        rate.scored_speaker,
    )


@needs_meeteval
@quick
@given(
    ours=sides | st.lists(characters, max_size=8),
    theirs=sides | st.lists(characters),
    collar=st.sampled_from([0.25, 1.0, 5.0]),
)
def test_tcp_equals_meeteval(
    ours: list[TokenSegment], theirs: list[TokenSegment], collar: float
) -> None:
    found = words.tcp(ours, theirs, collar=collar)
    rate = meeteval_rate(
        "time_constrained_minimum_permutation_word_error_rate", ours, theirs, collar=collar
    )
    assert (found.errors.errors, found.errors.length) == (rate.errors, rate.length)


def streams(ours: list[TokenSegment], theirs: list[TokenSegment]) -> tuple[Stream, Stream]:
    numbering = Numbering()
    return numbering.stream(ours), numbering.stream(theirs)


def plain_timed_kinds(ours: Stream, theirs: Stream) -> tuple[int, int]:
    """Give errors and the fewest substitutions by the textbook recursion over the whole matrix."""
    row = [(j, 0) for j in range(len(theirs) + 1)]
    for i, token in enumerate(ours.ids):
        before, row[0] = row[0], (i + 1, 0)
        for j, other in enumerate(theirs.ids):
            options = [(row[j + 1][0] + 1, row[j + 1][1]), (row[j][0] + 1, row[j][1])]
            (start, end), (begin, stop) = ours.times_n2[i], theirs.times_n2[j]
            if start < stop and end > begin:
                wrong = int(token != other)
                options.append((before[0] + wrong, before[1] + wrong))
            before, row[j + 1] = row[j + 1], min(options)
    return row[-1]


@needs_meeteval
@quick
@given(ours=sides, theirs=sides, collar=st.sampled_from([0.25, 1.0, 5.0]))
def test_timed_kinds_are_those_of_the_distance(
    ours: list[TokenSegment], theirs: list[TokenSegment], collar: float
) -> None:
    # segments in any order: tokens of one stream then lie anywhere in time
    left, right = streams(ours, theirs)
    right = right.widened(collar)
    found = timed_edits(left, right)
    assert found.errors == timed_distance(left, right)
    assert (found.errors, found.substitutions) == plain_timed_kinds(left, right)
    assert found.deletions - found.insertions == len(left) - len(right)


def all_combinations(ours: list[TokenSegment], theirs: list[TokenSegment]) -> int:
    heard = list(joined([part for part in theirs if part.tokens]).values()) or [[]]
    spoken = [part.tokens for part in sorted(ours, key=lambda part: part.start) if part.tokens]

    def errors(assignment: Sequence[int]) -> int:
        own: list[list[str]] = [[] for _ in heard]
        for stream, said_tokens in zip(assignment, spoken, strict=True):
            own[stream] += said_tokens
        return sum(levenshtein(a, b) for a, b in zip(own, heard, strict=True))

    return min(map(errors, product(range(len(heard)), repeat=len(spoken))))


@needs_meeteval
@settings(max_examples=60, deadline=None)
@given(ours=st.lists(segments_of, max_size=5), theirs=st.lists(segments_of, max_size=6))
def test_orc_is_the_cheapest_combination(
    ours: list[TokenSegment], theirs: list[TokenSegment]
) -> None:
    cheapest = all_combinations(ours, theirs)
    exact = words.orc(ours, theirs, exact=True)
    greedy = words.orc(ours, theirs, exact=False)
    assert exact.errors == cheapest
    assert exact.exact
    assert words.orc(ours, theirs) == exact
    assert greedy.errors >= cheapest
    assert greedy.errors == cheapest or not greedy.exact
    assert words.cp(ours, theirs).errors.errors >= cheapest


@needs_meeteval
@settings(max_examples=60, deadline=None)
@given(ours=sides, theirs=sides)
def test_time_only_takes_partners_away(
    ours: list[TokenSegment], theirs: list[TokenSegment]
) -> None:
    free = words.cp(ours, theirs).errors
    timed = words.tcp(ours, theirs, collar=1).errors
    assert free.errors <= timed.errors <= free.length + sum(len(part.tokens) for part in theirs)
    assert words.tcp(ours, theirs, collar=1000).errors.errors == free.errors
    assert words.tcorc(ours, theirs, collar=1).length == free.length


# --- hand counts -----------------------------------------------------------------------------


def every_metric(
    ours: Sequence[TokenSegment], theirs: Sequence[TokenSegment]
) -> dict[str, WordErrors]:
    return {
        "wer": words.single_stream(ours, theirs),
        "cp": words.cp(ours, theirs).errors,
        "tcp": words.tcp(ours, theirs, collar=5).errors,
        "orc": words.orc(ours, theirs),
        "tcorc": words.tcorc(ours, theirs, collar=5),
    }


@needs_meeteval
def test_perfect_empty_and_invented() -> None:
    length = sum(len(part.tokens) for part in MEETING)
    relabelled = [replace(part, speaker=f"spk{part.speaker[0]}") for part in MEETING]
    for metric, found in every_metric(MEETING, relabelled).items():
        assert found == WordErrors(0, length), metric
    for metric, found in every_metric(MEETING, []).items():
        assert found == WordErrors(length, length, deletions=length), metric
    for metric, found in every_metric([], MEETING).items():
        assert found == WordErrors(length, 0, insertions=length), metric
        assert found.rate is None
    for metric, found in every_metric([], []).items():
        assert found == WordErrors(), metric


@needs_meeteval
def test_an_extra_speaker_costs_only_his_own_words() -> None:
    extra = [*MEETING, said("ghost", 1, 2, "never said this")]
    for metric, found in every_metric(MEETING, extra).items():
        assert found == WordErrors(3, 11, insertions=3), metric
    assert words.cp(MEETING, extra).falarm_speakers == 1


def test_two_speakers_merged_into_one_cost_the_smaller_twice() -> None:
    merged = [replace(part, speaker="all") for part in MEETING]
    found = words.cp(MEETING, merged)
    # Ben's three words are missing from his stream and too many in Anna's
    assert found.errors == WordErrors(6, 11, deletions=3, insertions=3)
    assert found.assignment == {"Anna": "all", "Ben": None}
    assert (found.missed_speakers, found.scored_speakers) == (1, 2)


@needs_meeteval
def test_a_right_word_at_the_wrong_time_is_an_error_only_with_time() -> None:
    late = [said("1", 15.1, 15.1, "late")]
    word = [said("A", 9, 10, "late")]
    assert words.cp(word, late).errors.errors == 0
    assert words.tcp(word, late, collar=5).errors == WordErrors(2, 1, deletions=1, insertions=1)
    assert words.tcp(word, late, collar=5.2).errors.errors == 0
    # 15.0 - 5 touches the end at 10.0: overlap by zero is none
    assert words.tcp(word, [said("1", 15, 15, "late")], collar=5).errors.errors == 2


@needs_meeteval
def test_a_span_is_divided_by_the_lengths_of_its_tokens() -> None:
    reference = [said("A", 0, 10, "abcdefgh ij")]  # 0 to 8 s, 8 to 10 s
    for at, errors in ((7.9, 0), (8.1, 2)):
        heard = [said("1", at, at, "abcdefgh"), said("1", 9, 9, "ij")]
        assert words.tcp(reference, heard, collar=0).errors.errors == errors
    # of a hypothesis segment only the middles count: 4 s and 9 s
    heard = [said("1", 0, 10, "abcdefgh ij")]
    spoken = [said("A", 0, 3.9, "abcdefgh"), said("A", 8, 10, "ij")]
    assert words.tcp(spoken, heard, collar=0).errors.errors == 2
    assert words.tcp(spoken, heard, collar=0.2).errors.errors == 0


def test_segments_without_tokens_add_nothing_but_their_speaker() -> None:
    found = words.cp(MEETING, [*MEETING, TokenSegment("odd", 3, 4, ())])
    assert (found.errors.errors, found.falarm_speakers) == (0, 1)
    found = words.cp([*MEETING, TokenSegment("Cem", 3, 4, ())], MEETING)
    assert (found.scored_speakers, found.missed_speakers) == (3, 1)
    assert found.assignment["Cem"] is None


@needs_meeteval
def test_metrics_do_not_depend_on_the_order_of_segments() -> None:
    heard = [replace(part, tokens=part.tokens[1:]) for part in MEETING]
    assert every_metric(MEETING[::-1], heard[::-1]) == every_metric(MEETING, heard)


@needs_meeteval
def test_self_overlap_is_joined_by_start_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reference = [said("A", 0, 9, "one two three"), said("A", 1, 4, "four")]
    hypothesis = [said("1", 0, 9, "one two three four")]
    for metric, found in every_metric(reference, hypothesis).items():
        assert found.errors == 0, metric
    assert not caplog.records


# --- many, long, missing, wrong ---------------------------------------------------------------


@needs_meeteval
def test_more_speakers_than_meeteval_takes_are_scored() -> None:
    reference = [said(f"r{n}", n, n + 1, f"this is number w{n}") for n in range(25)]
    hypothesis = [replace(part, speaker=f"h{part.speaker}") for part in reference]
    for metric, found in every_metric(reference, hypothesis).items():
        assert found == WordErrors(0, 100), metric
    assert words.cp(reference, hypothesis).assignment["r7"] == "hr7"
    worse = [*hypothesis[:-1], replace(hypothesis[-1], tokens=hypothesis[-1].tokens[::-1])]
    assert not words.orc(reference, worse).exact
    with pytest.raises(ConfigError, match="25 streams"):
        words.orc(reference, worse, exact=True)


@needs_meeteval
def test_a_long_session_is_searched_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = [
        said(f"r{n % 3}", 2 * n, 2 * n + 1.5, f"w{n} w{n + 1} w{n % 7}") for n in range(60)
    ]
    hypothesis = [
        replace(part, speaker=f"h{n % 2}", tokens=part.tokens[n % 5 == 0 :])
        for n, part in enumerate(reference)
    ]
    whole = every_metric(reference, hypothesis)
    monkeypatch.setattr(combination, "PIECE_TOKENS", 20)
    assert every_metric(reference, hypothesis) == whole
    assert whole["orc"].errors == 12
    # words without times, or all at once, leave pieces empty: a worse bound, not a failure
    flat = [replace(part, start=0.0, end=0.0) for part in hypothesis]
    assert words.orc(reference, flat).errors >= 12


@pytest.mark.parametrize("module", ["cy_levenshtein", "greedy_combination_matching"])
def test_without_meeteval_cp_works_and_the_others_say_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "meeteval", None)
    monkeypatch.setitem(sys.modules, f"meeteval.wer.matching.{module}", None)
    assert not words.has_meeteval()
    assert words.cp(MEETING, MEETING).errors.errors == 0
    assert words.single_stream(MEETING, MEETING).errors == 0
    metrics = {
        "cy_levenshtein": lambda: words.tcp(MEETING, MEETING, collar=5),
        "greedy_combination_matching": lambda: words.orc(MEETING, MEETING),
    }
    with pytest.raises(DependencyError) as caught:
        metrics[module]()
    assert "pip install 'meetscribe[evaluate]'" in caught.value.hint


@needs_meeteval
@pytest.mark.parametrize(("start", "end"), [(math.nan, 1.0), (0.0, math.inf), (2.0, 1.0)])
def test_impossible_times_are_refused_by_timed_metrics(start: float, end: float) -> None:
    odd = [*MEETING, said("Cem", start, end, "odd")]
    for metric in (words.tcp, words.tcorc):
        with pytest.raises(FormatError, match="hypothesis, speaker Cem"):
            metric(MEETING, odd, collar=5)
        with pytest.raises(ConfigError, match="collar"):
            metric(MEETING, MEETING, collar=-1)


def test_a_long_monologue_is_aligned_in_little_memory() -> None:
    # a full matrix would take 14 GB
    count = 60_000
    spoken = [TokenSegment("A", n, n + 3, (f"w{n % 97}", "x")) for n in range(0, count, 2)]
    heard = [replace(part, tokens=part.tokens[: 2 - (part.start % 10 == 0)]) for part in spoken]
    left, right = streams(spoken, heard)
    right = right.widened(5)
    began = time.process_time()
    assert timed_edits(left, right).errors == edits(left, right).errors == count // 10
    assert time.process_time() - began < 30


@needs_meeteval
@pytest.mark.slow
def test_six_hours_of_eight_speakers_take_less_than_two_minutes() -> None:
    from benchmarks.scoring_speed import make_meeting

    reference, hypothesis = make_meeting(6, 8)
    began = time.process_time()
    found = words.tcp(reference, hypothesis, collar=5)
    assert time.process_time() - began < 120
    assert found.errors.length > 60_000
    assert found.assignment["R0"] == "spk3"
