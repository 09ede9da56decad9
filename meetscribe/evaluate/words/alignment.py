"""Edit distances between two streams of tokens, and what kinds of error they are made of.

Untimed ones are rapidfuzz's. In the time-constrained ones two tokens may be paired, as correct or
as a substitution, only if their times overlap by more than zero (T. von Neumann et al., "MeetEval:
A toolkit for computation of word error rates for meeting transcription systems", CHiME 2023).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.errors import DependencyError
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words.streams import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray


def has_meeteval() -> bool:
    """Tell whether meeteval is installed, which tcp, orc and tcorc need."""
    return importlib.util.find_spec("meeteval") is not None


def meeteval(module: str) -> Any:  # noqa: ANN401 - a module of a library without types
    """Give a module of meeteval, named below ``meeteval.wer.matching``.

    Raises
    ------
    DependencyError
        If meeteval is missing or its compiled part does not load.
    """
    try:
        return importlib.import_module(f"meeteval.wer.matching.{module}")
    except ImportError as error:
        raise DependencyError(
            f"this metric needs meeteval, which does not load: {error}",
            hint="pip install 'meetscribe[evaluate]' (it is compiled: a C++ compiler is needed)",
        ) from error


def distance(reference: Stream, hypothesis: Stream) -> int:
    """Give the smallest number of substitutions, deletions and insertions."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(reference.ids, hypothesis.ids))


def edits(reference: Stream, hypothesis: Stream) -> WordErrors:
    """Give the errors of one alignment of the smallest distance, by kind.

    rapidfuzz divides long pairs (Hirschberg), so memory grows with the length, not its square.
    """
    from rapidfuzz.distance import Levenshtein

    found = [tag for tag, _, _ in Levenshtein.editops(reference.ids, hypothesis.ids)]
    return WordErrors(
        len(found),
        len(reference),
        substitutions=found.count("replace"),
        deletions=found.count("delete"),
        insertions=found.count("insert"),
    )


def timed_distance(reference: Stream, hypothesis: Stream) -> int:
    """Give the time-constrained distance, by meeteval.

    Raises
    ------
    DependencyError
        If meeteval is missing.
    """
    matching = meeteval("cy_levenshtein")
    # Told to find out by itself, meeteval takes a token that starts before zero for disorder, as
    # the collar makes it, and then fills the whole matrix instead of a band.
    sides = (reference.times_n2, hypothesis.times_n2)
    in_order = all(bool(np.all(np.diff(times_n2[:, 0]) >= 0)) for times_n2 in sides)
    found = matching.time_constrained_levenshtein_distance(
        reference.ids,
        hypothesis.ids,
        [(start, end) for start, end in reference.times_n2.tolist()],
        [(start, end) for start, end in hypothesis.times_n2.tolist()],
        prune=in_order,
    )
    return int(found)


def timed_edits(reference: Stream, hypothesis: Stream) -> WordErrors:
    """Give the errors of the time-constrained alignment, by kind.

    Of the alignments of the smallest distance, the kinds are those of one with the fewest
    substitutions, so they are unique. meeteval has such an alignment too, but keeps the whole
    matrix (14 GB for one speaker with 60,000 words); here it is one row. Errors equal
    ``timed_distance``.
    """
    rows, columns = len(reference), len(hypothesis)
    # With K above any number of substitutions, K * errors + substitutions orders alignments by
    # errors first. Nothing paired costs K * (rows + columns); a pair gains what is here.
    scale = min(rows, columns) + 1
    gain = _best_gain(reference, hypothesis, correct=2 * scale, substituted=scale - 1)
    errors, substitutions = divmod(scale * (rows + columns) - gain, scale)
    deletions = (errors - substitutions + rows - columns) // 2
    insertions = errors - substitutions - deletions
    return WordErrors(errors, rows, substitutions, deletions, insertions)


def _best_gain(reference: Stream, hypothesis: Stream, *, correct: int, substituted: int) -> int:
    """Give the largest sum of gains over pairs of tokens in order whose times overlap."""
    tokens_m = np.asarray(hypothesis.ids, dtype=np.int64)
    starts_m, ends_m = hypothesis.times_n2[:, 0], hypothesis.times_n2[:, 1]
    low_n, high_n = _reach(reference.times_n2, hypothesis.times_n2)
    # best[j]: with the rows so far and the first j columns; it rises with j, and is constant from
    # `last` on, as no pair lies there yet: only the band around the row need be filled
    best = np.zeros(len(hypothesis) + 1, dtype=np.int64)
    last = 0
    spans = reference.times_n2.tolist()
    for token, (start, end), low, high in zip(
        reference.ids, spans, low_n.tolist(), high_n.tolist(), strict=True
    ):
        if low >= high:
            continue
        if high > last:
            best[last + 1 : high + 1] = best[last]
            last = high
        gains = np.where(tokens_m[low:high] == token, correct, substituted)
        # where segments overlap themselves the tokens are not in order of time
        gains *= (ends_m[low:high] > start) & (starts_m[low:high] < end)
        gains += best[low:high]
        row = best[low + 1 : last + 1]
        np.maximum(row[: high - low], gains, out=row[: high - low])
        np.maximum.accumulate(row, out=row)
    return int(best[last])


def _reach(
    rows_n2: NDArray[np.float64], columns_m2: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give, per row, the columns [low, high) outside of which no column's time overlaps it."""
    latest_m = np.maximum.accumulate(columns_m2[:, 1])
    earliest_m = np.minimum.accumulate(columns_m2[::-1, 0])[::-1]
    low_n = np.searchsorted(latest_m, rows_n2[:, 0], side="right")
    high_n = np.searchsorted(earliest_m, rows_n2[:, 1], side="left")
    return low_n, high_n
