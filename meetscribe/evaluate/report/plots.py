"""Plots of scores as SVG: who errs where, without a window, a global state or a date inside.

matplotlib lives here. Text stays text, so that it can be read, searched and found by a screen
reader; equal scores give equal files.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from meetscribe.evaluate.report.contents import error_s
from meetscribe.evaluate.report.error_places import KINDS, TALKING, talking_at_once
from meetscribe.evaluate.report.sections import NONE, counted, percent, word_rate
from meetscribe.evaluate.scores import Scores, SessionScore, Total, WordErrors
from meetscribe.formats.tokens import clean

SHOWN = 40
"""At most so many sessions are in a plot: the worst."""

# of the palette of Okabe and Ito, told apart by colour-blind readers as well
_COLOURS = ("#0072B2", "#E69F00", "#CC3311")
_LABEL_LENGTH = 36
_WIDTH_INCH = 9.0
_BAR_INCH = 0.27
_FRAME_INCH = 1.1
_NAMED_IN_ALT = 5


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing: SVG to stand in a page, and the sentence below it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a plot: its name, the lengths of its stacked parts, what stands at its end."""

    label: str
    parts: tuple[float, ...]
    end: str


def draw(scores: Scores) -> dict[str, Plot]:
    """Draw what these scores have: ``sessions``, ``overlap``, ``speakers``, ``words``."""
    made: dict[str, Plot | None] = {
        "sessions": _by_session(scores),
        "words": _words_by_session(scores),
        "speakers": _by_speakers(scores),
        "overlap": _by_overlap(scores),
    }
    return {name: plot for name, plot in made.items() if plot is not None}


def _by_session(scores: Scores) -> Plot | None:
    found = [
        (session.session_id, session.diarization)
        for session in scores.sessions
        if session.diarization is not None
    ]
    found.sort(key=lambda item: (-error_s(item[1]), item[0]))
    bars = [
        Bar(
            name,
            (errors.miss_s, errors.falarm_s, errors.confusion_s),
            f"{percent(errors.der)} %" if errors.total_s else "no reference speech",
        )
        for name, errors in found[:SHOWN]
    ]
    if not bars:
        return None
    caption = f"Seconds of diarization error by session, most first; DER at the end{_of(found)}."
    return _plot(bars, tuple(KINDS.values()), "seconds of error", caption)


def _words_by_session(scores: Scores) -> Plot | None:
    words = scores.total.words
    metrics = [metric for metric in words if metric.startswith("cp")] or list(words)[:1]
    if not metrics:
        return None
    found = [
        (session.session_id, metric, session.words[metric])
        for session in scores.sessions
        for metric in metrics
        if metric in session.words
    ]
    found.sort(key=lambda item: (-(item[2].rate or 0.0), item[0]))
    several = len(metrics) > 1
    bars = [
        Bar(f"{name} ({metric})" if several else name, _word_parts(errors), _word_end(errors))
        for name, metric, errors in found[:SHOWN]
    ]
    caption = f"{' and '.join(metrics)} by session, highest first{_of(found)}."
    kinds = ("substitutions", "deletions", "insertions")
    return _plot(bars, kinds, "% of reference", caption)


def _by_speakers(scores: Scores) -> Plot | None:
    groups: dict[int, list[SessionScore]] = {}
    for session in scores.sessions:
        if session.diarization is not None:
            groups.setdefault(session.reference_speakers, []).append(session)
    bars = []
    for number, sessions in sorted(groups.items()):
        errors = Total.of(sessions).diarization
        if errors is None or not errors.total_s:
            continue
        parts = (errors.miss_s, errors.falarm_s, errors.confusion_s)
        bars.append(
            Bar(
                f"{counted(number, 'speaker')}, {counted(len(sessions), 'session')}",
                tuple(100 * part / errors.total_s for part in parts),
                f"{percent(errors.der)} %",
            )
        )
    if not bars:
        return None
    caption = "DER and its parts by true number of speakers."
    return _plot(bars, tuple(KINDS.values()), "% of reference speaker time", caption)


def _by_overlap(scores: Scores) -> Plot | None:
    spans = [span for session in scores.sessions for span in session.spans]
    if not spans:
        return None
    sums = talking_at_once(spans)
    bars = []
    for column, talking in enumerate(TALKING):
        parts = tuple(sums[kind][column] for kind in KINDS)
        bars.append(Bar(talking, parts, f"{sum(parts):.1f} s"))
    caption = "Seconds of diarization error by how many reference speakers talk at once."
    return _plot(bars, tuple(KINDS.values()), "seconds of error", caption)


def _word_parts(errors: WordErrors) -> tuple[float, ...]:
    parts = (errors.substitutions, errors.deletions, errors.insertions)
    return tuple(100 * part / errors.length if errors.length else 0.0 for part in parts)


def _word_end(errors: WordErrors) -> str:
    rate = word_rate(errors)
    return f"no reference, {errors.insertions} insertions" if rate == NONE else f"{rate} %"


def _of(found: Sequence[object]) -> str:
    return f"; the worst {SHOWN} of {len(found)}" if len(found) > SHOWN else ""


def _plot(bars: Sequence[Bar], kinds: Sequence[str], axis: str, caption: str) -> Plot:
    named = "; ".join(f"{clean(bar.label)} {bar.end}" for bar in bars[:_NAMED_IN_ALT])
    more = f"; and {len(bars) - _NAMED_IN_ALT} more" if len(bars) > _NAMED_IN_ALT else ""
    return Plot(_drawn(bars, kinds, axis, caption, f"{named}{more}"), caption)


def _drawn(bars: Sequence[Bar], kinds: Sequence[str], axis: str, caption: str, values: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        # the settings of the person at the keyboard do not change the report
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        # names of the parts of an image, which must not meet those of another in one page
        mpl.rcParams["svg.hashsalt"] = caption
        # a reader's browser has the letters that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        height = _FRAME_INCH + _BAR_INCH * (len(bars) + 1)
        figure = Figure(figsize=(_WIDTH_INCH, height))
        axes = figure.add_subplot()
        places = range(len(bars))
        starts = [0.0] * len(bars)
        for column, kind in enumerate(kinds):
            lengths = [bar.parts[column] for bar in bars]
            axes.barh(places, lengths, left=starts, color=_COLOURS[column], label=kind)
            starts = [start + length for start, length in zip(starts, lengths, strict=True)]
        for place, start, bar in zip(places, starts, bars, strict=True):
            axes.annotate(bar.end, (start, place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, [_short(bar.label) for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        # room for what stands at the end of the longest bar
        axes.set_xlim(0, 1.25 * max(starts) or 1.0)
        axes.set_xlabel(axis)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(kinds), frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata=_NO_METADATA)
    return _inline(file.getvalue(), f"{caption} {values}")


_SETTINGS: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
}
_NO_METADATA: dict[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def _short(label: str) -> str:
    label = clean(label)
    half = _LABEL_LENGTH // 2
    return label if len(label) <= _LABEL_LENGTH else f"{label[:half]}…{label[-half + 1 :]}"


def _inline(svg: str, label: str) -> str:
    """Make an SVG file a part of a page: no prologue, no ids that meet, a label."""
    svg = svg[svg.index("<svg") :].strip()
    # names like "axes_1" are in every plot; what clips and repeats has a hash for a name
    svg = re.sub(r'<g id="[A-Za-z0-9.]+_[0-9]+">', "<g>", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(clean(label))}" ', 1)
