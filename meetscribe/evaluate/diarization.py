"""Who spoke when: diarization error rate (DER), Jaccard error rate (JER), and where errors are.

``pyannote.metrics`` computes; this module gives it the conventions of md-eval and dscore: the
segments of one speaker are merged first (it counts every track, they take the union), and a
collar of c removes c on either side of a reference boundary (its own is the whole width, so it is
given 2c). Time without overlap is where the reference has at most one segment, as in both: a
speaker's segments that overlap each other are overlap too. Two differences from md-eval remain:
the speaker mapping is chosen on the time that is scored, md-eval's before collar and overlap are
taken off; and a reference segment of length 0 has no collar.

For DER a session is cut into windows under one mapping, because pyannote compares every segment
with all that begin before it: six hours of eight speakers took 80 s whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from meetscribe.evaluate.scores import DiarizationErrors, ErrorSpan, JaccardErrors
from meetscribe.types import Turn

if TYPE_CHECKING:
    from pyannote.core import Annotation, Segment, Timeline

Regions = Sequence[tuple[float, float]]
"""Stretches (start, end) in seconds that are scored, as a UEM gives them; they may overlap."""

_KINDS = {
    "correct": "correct",
    "missed detection": "miss",
    "false alarm": "falarm",
    "confusion": "confusion",
}
_WINDOW_S = 60.0
"""Long enough that few turns are cut, short enough that a window has few turns."""


def diarization_errors(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    *,
    scored: Regions,
    collar: float = 0.0,
    score_overlap: bool = True,
) -> DiarizationErrors:
    """Count the seconds missed, falsely alarmed and confused, under the best speaker mapping.

    Parameters
    ----------
    reference, hypothesis : turns in any order; those of one speaker may touch or overlap
    scored : what lies outside of these regions does not count
    collar : seconds on either side of every reference boundary that do not count (md-eval's)
    score_overlap : count the time in which the reference has several speakers

    Notes
    -----
    One mapping, one to one, for the whole session: the one with the most common time. Without
    reference speech ``der`` is None, but the false alarm is there in seconds.
    """
    parts = {"correct": 0.0, "miss": 0.0, "falarm": 0.0, "confusion": 0.0}
    regions = _regions(reference, scored, collar=collar, score_overlap=score_overlap)
    for start, end, kinds in _compared(reference, hypothesis, regions):
        for kind, speakers in kinds.items():
            parts[kind] += speakers * (end - start)
    return DiarizationErrors(
        total_s=parts["correct"] + parts["miss"] + parts["confusion"],
        miss_s=parts["miss"],
        falarm_s=parts["falarm"],
        confusion_s=parts["confusion"],
    )


def jaccard_errors(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], *, scored: Regions
) -> JaccardErrors:
    """Sum the Jaccard errors of the reference speakers, each 0 (right) to 1 (lost).

    Hypothesis speakers who are nobody's counterpart cost nothing. Reference speakers who say
    nothing in the scored regions do not count.

    Notes
    -----
    Ryant et al., Second DIHARD Challenge Evaluation Plan, 2019.
    """
    from pyannote.metrics.diarization import JaccardErrorRate

    parts = JaccardErrorRate()(  # type: ignore[no-untyped-call]
        _annotation(reference), _annotation(hypothesis), uem=_timeline(scored), detailed=True
    )
    return JaccardErrors(float(parts["speaker error"]), int(parts["speaker count"]))


def error_spans(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    *,
    scored: Regions,
    collar: float = 0.0,
    score_overlap: bool = True,
) -> tuple[ErrorSpan, ...]:
    """Say where the errors of ``diarization_errors`` are, by start; parameters as there.

    Two speakers missed at once are two spans, so that the lengths of the spans of a kind sum to
    the seconds of that kind. A span ends where the kind or the number of reference speakers
    changes.
    """
    regions = _regions(reference, scored, collar=collar, score_overlap=score_overlap)
    growing: dict[tuple[str, int, int], tuple[float, float]] = {}
    spans: list[ErrorSpan] = []

    def close(key: tuple[str, int, int]) -> None:
        start, end = growing.pop(key)
        spans.append(ErrorSpan(start, end, key[0], key[1]))

    for start, end, kinds in _compared(reference, hypothesis, regions):
        speakers = kinds["correct"] + kinds["miss"] + kinds["confusion"]
        wrong = Counter({kind: count for kind, count in kinds.items() if kind != "correct"})
        for key in ((kind, speakers, n) for kind in wrong for n in range(wrong[kind])):
            if key in growing and growing[key][1] != start:
                close(key)
            growing[key] = (growing.get(key, (start, end))[0], end)
    for key in list(growing):
        close(key)
    return tuple(sorted(spans, key=lambda span: (span.start, span.end, span.kind)))


def _compared(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], regions: Timeline
) -> Iterator[tuple[float, float, Counter[str]]]:
    """Give every stretch (start, end) in which nothing changes, by start, and what is in it.

    That is how many speakers are correct, miss, falarm or confusion; ``_KINDS`` are the names.
    """
    from pyannote.metrics.errors.identification import IdentificationErrorAnalysis

    windows = _windows(_annotation(reference), _annotation(hypothesis), regions)
    mapping = _mapping((ours, theirs) for ours, theirs, _ in windows)
    for ours, theirs, uem in windows:
        # a speaker without counterpart must not meet a reference speaker of the same name
        names = {name: mapping.get(name, (name, "unmapped")) for name in theirs.labels()}
        mapped = theirs.rename_labels(mapping=names)
        difference = IdentificationErrorAnalysis().difference(ours, mapped, uem=uem)
        for segment in difference.itersegments():
            labels = difference.get_labels(segment, unique=False)
            kinds = Counter(_KINDS[status] for status, _, _ in labels)
            yield segment.start, segment.end, kinds


def _mapping(windows: Iterable[tuple[Annotation, Annotation]]) -> dict[str, str]:
    """Pair hypothesis speakers with reference speakers so that the common time is longest."""
    from scipy.optimize import linear_sum_assignment

    common_s: Counter[tuple[str, str]] = Counter()
    for ours, theirs in windows:
        for row, name in zip(ours * theirs, ours.labels(), strict=True):
            common_s.update(
                {
                    (name, other): float(time)
                    for other, time in zip(theirs.labels(), row, strict=True)
                }
            )
    if not common_s:
        return {}
    names = sorted({name for name, _ in common_s})
    others = sorted({other for _, other in common_s})
    matrix = [[common_s[name, other] for other in others] for name in names]
    pairs = zip(*linear_sum_assignment(matrix, maximize=True), strict=True)
    return {others[j]: names[i] for i, j in pairs if matrix[i][j] > 0}


def _windows(
    reference: Annotation, hypothesis: Annotation, regions: Timeline
) -> list[tuple[Annotation, Annotation, Timeline]]:
    """Cut a session into windows: both sides, limited to the scored regions, and the regions."""
    from pyannote.core import Annotation, Segment, Timeline

    sides: tuple[dict[int, Annotation], dict[int, Annotation]] = ({}, {})
    for side, annotation in zip(sides, (reference, hypothesis), strict=True):
        for segment, track, label in annotation.itertracks(yield_label=True):
            for window, piece in _pieces(segment):
                side.setdefault(window, Annotation())[piece, track] = label
    ours, theirs = sides
    # a UEM may say "all" with an end that no recording has: only where somebody speaks is looked at
    spoken = ours.keys() | theirs.keys()
    end = (max(spoken, default=-1) + 1) * _WINDOW_S
    uems: dict[int, Timeline] = {}
    for segment in regions:
        for window, piece in _pieces(segment & Segment(0.0, end)):
            if window in spoken:
                uems.setdefault(window, Timeline()).add(piece)
    return [
        (
            ours.get(window, Annotation()).crop(uems[window]),
            theirs.get(window, Annotation()).crop(uems[window]),
            uems[window],
        )
        for window in sorted(uems)
    ]


def _pieces(segment: Segment) -> Iterator[tuple[int, Segment]]:
    """Cut a segment at the borders of the windows."""
    from pyannote.core import Segment

    first, stop = math.floor(segment.start / _WINDOW_S), math.ceil(segment.end / _WINDOW_S)
    for window in range(first, stop):
        piece = segment & Segment(window * _WINDOW_S, (window + 1) * _WINDOW_S)
        if piece:
            yield window, piece


def _annotation(turns: Iterable[Turn]) -> Annotation:
    """Give the turns of each speaker, those that touch or overlap merged, empty ones left out."""
    return _labelled((turn, turn.speaker) for turn in turns).support()


def _labelled(turns: Iterable[tuple[Turn, object]]) -> Annotation:
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for track, (turn, label) in enumerate(turns):
        segment = Segment(turn.start, turn.end)
        if segment:
            annotation[segment, track] = label
    return annotation


def _timeline(regions: Regions) -> Timeline:
    from pyannote.core import Segment, Timeline

    return Timeline([Segment(start, end) for start, end in regions]).support()


def _regions(
    reference: Sequence[Turn], scored: Regions, *, collar: float, score_overlap: bool
) -> Timeline:
    """Take the collars, and on demand the time in which the reference overlaps, out of the UEM."""
    from pyannote.metrics.utils import UEMSupportMixin

    regions = _timeline(scored)
    if not score_overlap:
        # a label for every segment, so that those of one speaker overlap each other too
        segments = _labelled((turn, number) for number, turn in enumerate(reference))
        regions = segments.get_overlap().gaps(support=regions)
    return UEMSupportMixin().extrude(regions, _annotation(reference), collar=2 * collar)
