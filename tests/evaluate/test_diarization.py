"""DER and JER: the goldens, a brute-force oracle on a grid, and what must hold for any turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.evaluate.diarization import diarization_errors, error_spans, jaccard_errors
from meetscribe.evaluate.scores import DiarizationErrors, JaccardErrors
from meetscribe.formats import rttm, uem
from meetscribe.types import Turn
from tests.conftest import DATA

GOLDENS = DATA.parent / "goldens" / "scoring"
HALF_S = 0.25
"""md-eval's usual collar."""

REFERENCE = (Turn(0, 4, "Anna"), Turn(3, 6, "Ben"), Turn(8, 10, "Anna"))
WHOLE = ((0.0, 10.0),)

# (our options, the key of pyannote.metrics after merging, or None where only the raw one is given)
CONVENTIONS = {
    "collar_0": ({}, "collar_0_same_speaker_segments_merged_first"),
    "collar_0.25": ({"collar": HALF_S}, "collar_0.5_same_speaker_segments_merged_first"),
    "collar_0_no_overlap": ({"score_overlap": False}, None),
    "collar_0.25_no_overlap": ({"collar": HALF_S, "score_overlap": False}, None),
}
# the README of the goldens, traps 3 and 5: mapping fixed earlier, collar of an empty segment
NOT_LIKE_MD_EVAL = {
    ("11_time_shift_3s_and_7s5", "collar_0.25"),
    ("18_more_hyp_speakers", "collar_0.25_no_overlap"),
    ("24_degenerate_segments", "collar_0.25"),
    ("24_degenerate_segments", "collar_0.25_no_overlap"),
}


def golden_cases() -> list[str]:
    folder = GOLDENS / "cases"
    return sorted(case.name for case in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((GOLDENS / "expected.json").read_text(encoding="utf-8"))["cases"]


Session = tuple[Sequence[Turn], Sequence[Turn], Sequence[tuple[float, float]]]


def sessions(case: str) -> Iterator[tuple[str, Session]]:
    folder = GOLDENS / "cases" / case
    sides = [
        {
            found.session_id: found.turns
            for found in rttm.parse_sessions((folder / name).read_text())
        }
        for name in ("ref.rttm", "hyp.rttm")
    ]
    for session, regions in uem.parse((folder / "all.uem").read_text()).items():
        yield session, (sides[0].get(session, ()), sides[1].get(session, ()), regions)


@pytest.mark.skipif(not golden_cases(), reason="no goldens here (MEETSCRIBE_TEST_DATA)")
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("case", golden_cases())
def test_der_of_the_goldens(case: str, convention: str, expected: dict[str, Any]) -> None:
    options, merged_key = CONVENTIONS[convention]
    found = DiarizationErrors()
    for _, (reference, hypothesis, scored) in sessions(case):
        found += diarization_errors(reference, hypothesis, scored=scored, **options)

    numbers = expected[case]["diarization"]
    if merged_key:
        pyannote = numbers["pyannote_metrics"][merged_key]
        assert found.der == pytest.approx(pyannote["der"], abs=1e-5)
        assert found.total_s == pytest.approx(pyannote["total_s"], abs=1e-3)
        assert found.miss_s == pytest.approx(pyannote["miss_s"], abs=1e-3)
        assert found.falarm_s == pytest.approx(pyannote["falarm_s"], abs=1e-3)
        assert found.confusion_s == pytest.approx(pyannote["confusion_s"], abs=1e-3)
    md_eval = numbers["md_eval_22"][convention]
    if (case, convention) not in NOT_LIKE_MD_EVAL:
        assert found.der == (md_eval["der"] and pytest.approx(md_eval["der"], abs=1e-4))


@pytest.mark.skipif(not golden_cases(), reason="no goldens here (MEETSCRIBE_TEST_DATA)")
def test_der_of_every_session_of_a_golden_with_three(expected: dict[str, Any]) -> None:
    per_session = expected["20_three_sessions"]["diarization"]["md_eval_22"]["per_session"]
    for session, (reference, hypothesis, scored) in sessions("20_three_sessions"):
        for collar in (0.0, HALF_S):
            found = diarization_errors(reference, hypothesis, scored=scored, collar=collar)
            der = per_session[session][f"collar_{collar:g}"]["der"]
            assert found.der == pytest.approx(der, abs=1e-4)


@pytest.mark.skipif(not golden_cases(), reason="no goldens here (MEETSCRIBE_TEST_DATA)")
@pytest.mark.parametrize("case", golden_cases())
def test_jer_of_the_goldens(case: str, expected: dict[str, Any]) -> None:
    found = JaccardErrors()
    for _, (reference, hypothesis, scored) in sessions(case):
        found += jaccard_errors(reference, hypothesis, scored=scored)
    # without reference speakers pyannote says 1, whatever the hypothesis; we say that there is none
    rate = 1.0 if found.jer is None else found.jer
    assert (found.jer is None) == (case == "17_empty_reference")
    assert rate == pytest.approx(expected[case]["jer"]["pyannote_metrics"], abs=1e-5)


# --- a brute-force oracle on a grid of quarter seconds, on which floats are exact

STEP_S = 0.25
STEPS = 24


@st.composite
def grid_turns(draw: st.DrawFn, speakers: str) -> tuple[Turn, ...]:
    turns = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, STEPS - 1))
        end = draw(st.integers(start + 1, STEPS))
        turns.append(Turn(start * STEP_S, end * STEP_S, draw(st.sampled_from(speakers))))
    return tuple(turns)


@st.composite
def grid_regions(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    marks = sorted(draw(st.sets(st.integers(0, STEPS), min_size=2, max_size=4)))
    pairs = zip(marks[::2], marks[1::2], strict=False)
    return tuple((start * STEP_S, end * STEP_S) for start, end in pairs)


def frames(turns: Sequence[Turn]) -> list[set[str]]:
    spoken: list[set[str]] = [set() for _ in range(STEPS)]
    for turn in turns:
        for step in range(int(turn.start / STEP_S), int(turn.end / STEP_S)):
            spoken[step].add(turn.speaker)
    return spoken


def is_scored(
    step: int,
    reference: Sequence[Turn],
    scored: Sequence[tuple[float, float]],
    collar: float,
    score_overlap: bool,
) -> bool:
    start = step * STEP_S
    spoken = frames(reference)
    segments = sum(turn.start <= start < turn.end for turn in reference)
    inside = any(first <= start < last for first, last in scored)
    speakers = {speaker for names in spoken for speaker in names}
    edges = [
        edge
        for speaker in speakers
        for edge in range(STEPS + 1)
        if (edge > 0 and speaker in spoken[edge - 1]) != (edge < STEPS and speaker in spoken[edge])
    ]
    near = any(abs(start + STEP_S / 2 - edge * STEP_S) < collar for edge in edges)
    return inside and not near and (score_overlap or segments <= 1)


def mappings(reference: Sequence[str], hypothesis: Sequence[str]) -> list[dict[str, str]]:
    spare = [*reference, *(f"nobody {n}" for n in range(len(hypothesis)))]
    return [
        dict(zip(hypothesis, chosen, strict=True))
        for chosen in permutations(spare, len(hypothesis))
    ]


ORACLE = settings(max_examples=60, deadline=None)


@ORACLE
@given(
    grid_turns("ABC"),
    grid_turns("xAy"),
    grid_regions(),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.booleans(),
)
def test_der_equals_brute_force(
    reference: tuple[Turn, ...],
    hypothesis: tuple[Turn, ...],
    scored: tuple[tuple[float, float], ...],
    collar: float,
    score_overlap: bool,
) -> None:
    spoken, found = frames(reference), frames(hypothesis)
    steps = [s for s in range(STEPS) if is_scored(s, reference, scored, collar, score_overlap)]
    right = max(
        sum(len(spoken[s] & {mapping[name] for name in found[s]}) for s in steps)
        for mapping in mappings("ABC", "xAy")
    )
    both = sum(min(len(spoken[s]), len(found[s])) for s in steps)

    errors = diarization_errors(
        reference, hypothesis, scored=scored, collar=collar, score_overlap=score_overlap
    )

    assert errors.total_s == pytest.approx(STEP_S * sum(len(spoken[s]) for s in steps))
    assert errors.miss_s == pytest.approx(
        STEP_S * sum(max(0, len(spoken[s]) - len(found[s])) for s in steps)
    )
    assert errors.falarm_s == pytest.approx(
        STEP_S * sum(max(0, len(found[s]) - len(spoken[s])) for s in steps)
    )
    assert errors.confusion_s == pytest.approx(STEP_S * (both - right))


@ORACLE
@given(grid_turns("ABC"), grid_turns("xAy"), grid_regions())
def test_jer_equals_that_of_a_best_mapping(
    reference: tuple[Turn, ...],
    hypothesis: tuple[Turn, ...],
    scored: tuple[tuple[float, float], ...],
) -> None:
    spoken, found = frames(reference), frames(hypothesis)
    steps = [s for s in range(STEPS) if is_scored(s, reference, scored, 0.0, score_overlap=True)]
    speakers = sorted({name for s in steps for name in spoken[s]})
    by_common_time: dict[int, list[float]] = {}
    for mapping in mappings("ABC", "xAy"):
        partner = {theirs: ours for ours, theirs in mapping.items()}
        common, errors = 0, 0.0
        for name in speakers:
            of_name = {s for s in steps if name in spoken[s]}
            of_partner = {s for s in steps if partner.get(name) in found[s]}
            shared = len(of_name & of_partner)
            common += shared
            errors += 1 - shared / len(of_name | of_partner) if shared else 1
        by_common_time.setdefault(common, []).append(errors)

    jaccard = jaccard_errors(reference, hypothesis, scored=scored)

    assert jaccard.speakers == len(speakers)
    best = by_common_time[max(by_common_time)]  # several mappings may be equally good
    assert any(jaccard.error_sum == pytest.approx(errors) for errors in best)


# --- what must hold for any turns

# several windows of a minute
_times = st.floats(0, 200, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def any_turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    spans = draw(st.lists(st.tuples(_times, _times, st.sampled_from(["A", "B", "C", ""]))))
    return tuple(Turn(min(a, b), max(a, b), speaker) for a, b, speaker in spans)


PROPERTY = settings(max_examples=50, deadline=None)
LONG = ((0.0, 200.0),)


@PROPERTY
@given(any_turns())
def test_a_perfect_hypothesis_has_no_errors_whatever_its_labels(turns: tuple[Turn, ...]) -> None:
    relabelled = [Turn(turn.start, turn.end, f"{turn.speaker}'") for turn in turns]
    swapped = [Turn(t.start, t.end, {"A": "B", "B": "A"}.get(t.speaker, t.speaker)) for t in turns]
    for hypothesis in (turns, relabelled, swapped):
        errors = diarization_errors(turns, hypothesis, scored=LONG)
        assert errors.miss_s + errors.falarm_s + errors.confusion_s == pytest.approx(0, abs=1e-9)
        assert jaccard_errors(turns, hypothesis, scored=LONG).error_sum == pytest.approx(0)
        assert error_spans(turns, hypothesis, scored=LONG) == ()


@PROPERTY
@given(any_turns(), any_turns())
def test_labels_do_not_matter(reference: tuple[Turn, ...], hypothesis: tuple[Turn, ...]) -> None:
    renamed = [Turn(t.start, t.end, {"A": "C", "C": "z"}.get(t.speaker, "A")) for t in hypothesis]
    known = {turn.speaker for turn in hypothesis}
    if {"B", ""} <= known:  # renaming must keep speakers apart
        return
    plain = diarization_errors(reference, hypothesis, scored=LONG)
    assert diarization_errors(reference, renamed, scored=LONG) == pytest.approx(plain)


@PROPERTY
@given(
    any_turns(),
    any_turns(),
    st.lists(st.tuples(_times, _times).map(lambda pair: (min(pair), max(pair))), max_size=3),
    st.sampled_from([0.0, 0.1, HALF_S]),
    st.booleans(),
)
def test_error_spans_sum_to_the_parts_of_der(
    reference: tuple[Turn, ...],
    hypothesis: tuple[Turn, ...],
    scored: list[tuple[float, float]],
    collar: float,
    score_overlap: bool,
) -> None:
    options = {"scored": scored, "collar": collar, "score_overlap": score_overlap}
    errors = diarization_errors(reference, hypothesis, **options)
    spans = error_spans(reference, hypothesis, **options)

    for kind in ("miss", "falarm", "confusion"):
        length = sum(span.end - span.start for span in spans if span.kind == kind)
        assert length == pytest.approx(getattr(errors, f"{kind}_s"), abs=1e-6)
    for span in spans:
        assert any(
            start - 1e-6 <= span.start and span.end <= end + 1e-6
            for start, end in uem.joined(scored)
        )
        assert span.speakers <= (4 if score_overlap else 1)
    assert list(spans) == sorted(spans, key=lambda span: span.start)


@PROPERTY
@given(
    any_turns(),
    any_turns(),
    st.lists(st.tuples(_times, _times).map(lambda pair: (min(pair), max(pair))), max_size=3),
    st.sampled_from([0.0, 0.1, HALF_S]),
)
def test_der_equals_that_of_pyannote_on_the_whole_session(
    reference: tuple[Turn, ...],
    hypothesis: tuple[Turn, ...],
    scored: list[tuple[float, float]],
    collar: float,
) -> None:
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    sides = []
    for turns in (reference, hypothesis):
        annotation = Annotation()
        for number, turn in enumerate(turns):
            if turn.start < turn.end:
                annotation[Segment(turn.start, turn.end), number] = turn.speaker
        sides.append(annotation.support())
    regions = Timeline([Segment(*region) for region in scored]).support()
    whole = DiarizationErrorRate(collar=2 * collar)(*sides, uem=regions, detailed=True)

    errors = diarization_errors(reference, hypothesis, scored=scored, collar=collar)

    assert errors.total_s == pytest.approx(whole["total"], abs=1e-9)
    assert errors.miss_s == pytest.approx(whole["missed detection"], abs=1e-9)
    assert errors.falarm_s == pytest.approx(whole["false alarm"], abs=1e-9)
    assert errors.confusion_s == pytest.approx(whole["confusion"], abs=1e-9)


def test_a_speaker_has_one_counterpart_in_all_of_a_long_session() -> None:
    """x is A for a minute and B for two: B it is, so the first minute is confused."""
    reference = (Turn(0, 60, "A"), Turn(60, 180, "B"))
    hypothesis = (Turn(0, 180, "x"),)
    found = diarization_errors(reference, hypothesis, scored=LONG)
    assert found == DiarizationErrors(total_s=180.0, confusion_s=60.0)
    spans = error_spans(reference, (), scored=LONG)
    assert [(span.start, span.end) for span in spans] == [(0.0, 180.0)]  # not cut at windows


def test_an_unmapped_speaker_of_a_reference_name_is_wrong_all_the_same() -> None:
    reference = (Turn(0, 5, "A"), Turn(5, 6, "B"))
    hypothesis = (Turn(0, 5, "B"), Turn(5, 6, "B"), Turn(6, 8, "A"))
    assert diarization_errors(reference, hypothesis, scored=WHOLE) == DiarizationErrors(
        total_s=6.0, falarm_s=2.0, confusion_s=1.0
    )


def test_an_empty_hypothesis_misses_everything() -> None:
    errors = diarization_errors(REFERENCE, (), scored=WHOLE)
    assert (errors.der, errors.miss_s) == (1.0, errors.total_s)
    assert jaccard_errors(REFERENCE, (), scored=WHOLE) == JaccardErrors(2.0, 2)


def test_an_empty_reference_has_no_rate_but_its_false_alarm_in_seconds() -> None:
    errors = diarization_errors((), REFERENCE, scored=WHOLE)
    assert errors == DiarizationErrors(0.0, 0.0, 9.0, 0.0)
    assert errors.der is None
    assert jaccard_errors((), REFERENCE, scored=WHOLE).jer is None


def test_no_scored_region_scores_nothing() -> None:
    for collar in (0.0, HALF_S):
        found = diarization_errors(REFERENCE, REFERENCE, scored=(), collar=collar)
        assert found == DiarizationErrors()
    assert jaccard_errors(REFERENCE, (), scored=()) == JaccardErrors()
    assert error_spans(REFERENCE, (), scored=()) == ()


def test_a_shift_of_a_fifth_second_is_an_error_only_without_collar() -> None:
    shifted = [Turn(turn.start + 0.2, turn.end + 0.2, turn.speaker) for turn in REFERENCE]
    assert diarization_errors(REFERENCE, shifted, scored=WHOLE).der == pytest.approx(
        (3 * 0.2 + 2 * 0.2) / 9  # the last 0.2 s of false alarm lie beyond the scored region
    )
    assert diarization_errors(REFERENCE, shifted, scored=WHOLE, collar=HALF_S).der == 0


def test_the_collar_is_on_either_side() -> None:
    """0.5 s of false alarm beside a turn: half of it is within ±0.25 s."""
    hypothesis = (Turn(0, 4.5, "x"),)
    found = diarization_errors((Turn(0, 4, "A"),), hypothesis, scored=WHOLE, collar=HALF_S)
    assert found == DiarizationErrors(total_s=3.5, falarm_s=0.25)


def test_touching_turns_of_one_speaker_have_no_boundary_between_them() -> None:
    cut = (Turn(0, 2, "A"), Turn(2, 4, "A"))
    assert diarization_errors(cut, cut, scored=WHOLE, collar=HALF_S).total_s == 3.5


def test_a_speaker_who_overlaps_himself_counts_once() -> None:
    doubled = (*REFERENCE, Turn(1, 3, "Anna"))
    found = diarization_errors(REFERENCE, doubled, scored=WHOLE)
    assert (found.der, found.total_s) == (0.0, 9.0)


def test_time_without_overlap_has_one_segment_even_of_one_speaker() -> None:
    """As md-eval and pyannote have it (golden 12)."""
    doubled = (*REFERENCE, Turn(1, 2, "Anna"))
    found = diarization_errors(doubled, (), scored=WHOLE, score_overlap=False)
    assert found == DiarizationErrors(total_s=6.0, miss_s=6.0)


def test_what_lies_outside_of_the_scored_regions_is_cut() -> None:
    hypothesis = (*REFERENCE, Turn(20, 30, "Anna"), Turn(40, 50, "C"))
    found = diarization_errors(REFERENCE, hypothesis, scored=((0, 5), (9, 25)))
    assert found == DiarizationErrors(total_s=7.0, falarm_s=5.0)
    assert [
        (s.start, s.end) for s in error_spans(REFERENCE, hypothesis, scored=((0, 5), (9, 25)))
    ] == [(20.0, 25.0)]


def test_merged_speakers_match_a_count_by_hand() -> None:
    """One label for both: Anna is it (6 s against 3); Ben is confused, and missed in overlap."""
    merged = [Turn(turn.start, turn.end, "x") for turn in REFERENCE]
    found = diarization_errors(REFERENCE, merged, scored=WHOLE)
    assert found == DiarizationErrors(total_s=9.0, miss_s=1.0, confusion_s=2.0)
    spans = [
        (s.start, s.end, s.kind, s.speakers) for s in error_spans(REFERENCE, merged, scored=WHOLE)
    ]
    assert spans == [(3.0, 4.0, "miss", 2), (4.0, 6.0, "confusion", 1)]


def test_two_speakers_missed_at_once_are_two_spans() -> None:
    both = (Turn(0, 2, "A"), Turn(0, 2, "B"))
    spans = error_spans(both, (), scored=WHOLE)
    assert [(s.start, s.end, s.kind, s.speakers) for s in spans] == [(0.0, 2.0, "miss", 2)] * 2


def test_scoring_imports_neither_torch_nor_pyannote_audio_and_warns_of_nothing() -> None:
    code = (
        "import sys\n"
        "from meetscribe.types import Turn\n"
        "from meetscribe.evaluate.diarization import *\n"
        "assert 'pyannote' not in sys.modules\n"
        "t = (Turn(0, 1, 'A'), Turn(0.5, 2, 'B'))\n"
        "o = {'scored': ((0, 2),)}\n"
        "diarization_errors(t, t, **o); jaccard_errors(t, t, **o); error_spans(t, t, **o)\n"
        "assert not {'torch', 'pyannote.audio'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_long_meeting_of_late_turns(data: Path) -> None:
    """The longest of AMI's dev and test meetings: what is late is wrong at its two ends alone."""
    paths = sorted((data / "ami" / "rttm_only_words").rglob("*.rttm"))
    reference = rttm.parse(max(paths, key=lambda path: path.stat().st_size).read_text())
    late = [Turn(turn.start + 0.1, turn.end + 0.1, turn.speaker) for turn in reference.turns]
    scored = ((0.0, reference.duration),)
    errors = diarization_errors(reference.turns, late, scored=scored)
    wrong_s = errors.miss_s + errors.falarm_s + errors.confusion_s
    # less where a turn is shorter than it is late, or another one follows at once
    assert 0.15 * len(late) < wrong_s <= 0.2 * len(late)
    spans = error_spans(reference.turns, late, scored=scored)
    assert sum(span.end - span.start for span in spans) == pytest.approx(wrong_s)
    made = jaccard_errors(reference.turns, late, scored=scored)
    assert made.jer == pytest.approx(wrong_s / errors.total_s, abs=0.02)


def test_a_uem_without_end_costs_nothing() -> None:
    endless = ((0.0, 4e9),)
    hypothesis = (Turn(0, 5, "x"), Turn(70, 71, "y"))
    errors = diarization_errors(REFERENCE, hypothesis, scored=endless)
    assert errors == diarization_errors(REFERENCE, hypothesis, scored=((0.0, 100.0),))
