"""What a report of scores says, as sections: totals, where the errors are, sessions, notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from meetscribe.evaluate.bootstrap import Difference, interval, paired
from meetscribe.evaluate.report.error_places import KINDS, minutes_section, overlap_section
from meetscribe.evaluate.report.sections import (
    NONE,
    Section,
    Table,
    between,
    counted,
    ends_of,
    percent,
    with_sign,
    word_rate,
)
from meetscribe.evaluate.scores import (
    DiarizationErrors,
    Scores,
    SessionScore,
    SpeakerCounts,
    Total,
    WordErrors,
)
from meetscribe.formats.tokens import clean

_NAMED = 3


def sections(scores: Scores, *, audio: Mapping[str, str] | None = None) -> list[Section]:
    """Build the report; ``audio`` names the recording of a session, for commands to listen."""
    made = [_total(scores)]
    if scores.total.diarization is not None:
        made.append(_diarization(scores))
    if scores.total.words:
        made.append(_words(scores))
    if scores.total.failed:
        made.append(_failed(scores))
    made.append(_sessions(scores))
    made += [_condition(scores, key) for key in _keys_to_break_down(scores)]
    if any(session.spans for session in scores.sessions):
        made += [overlap_section(scores), minutes_section(scores, audio or {})]
    return [*made, _notes(scores)]


def gap_of(sessions: Iterable[SessionScore], unit: str) -> Difference:
    """Give the attribution gap, the cp rate less the ORC rate; unit WER, CER or MER.

    It is what wrong attribution to speakers costs. Sessions that lack one of the two are left
    out of both rates, which would be of different recordings otherwise.
    """
    both = _both(sessions, unit)
    return paired(word_pairs(cp for cp, _ in both), word_pairs(orc for _, orc in both))


def _both(sessions: Iterable[SessionScore], unit: str) -> list[tuple[WordErrors, WordErrors]]:
    metrics = (f"cp{unit}", f"ORC-{unit}")
    return [
        (session.words[metrics[0]], session.words[metrics[1]])
        for session in sessions
        if set(metrics) <= set(session.words)
    ]


def units_with_gap(words: Mapping[str, WordErrors]) -> list[str]:
    """Name the units (WER, CER, MER) for which there is an attribution gap."""
    return [
        metric[2:] for metric in words if metric.startswith("cp") and f"ORC-{metric[2:]}" in words
    ]


def word_pairs(errors: Iterable[WordErrors]) -> list[tuple[float, float]]:
    """Give errors and length of each, for the bootstrap."""
    return [(each.errors, each.length) for each in errors]


def error_s(errors: DiarizationErrors) -> float:
    """Sum the seconds of all kinds of error."""
    return errors.miss_s + errors.falarm_s + errors.confusion_s


def parts_of(errors: DiarizationErrors | None) -> tuple[str, str, str]:
    """Write miss, false alarm and confusion in percent; in seconds without reference speech."""
    if errors is None:
        return NONE, NONE, NONE
    parts = (errors.miss_s, errors.falarm_s, errors.confusion_s)
    if not errors.total_s:
        return f"{parts[0]:.1f} s", f"{parts[1]:.1f} s", f"{parts[2]:.1f} s"
    first, second, third = (percent(part / errors.total_s) for part in parts)
    return first, second, third


def natural(text: str) -> list[tuple[int, int, str]]:
    """Order names as people do: 2 before 10.

    >>> sorted(["10", "2", "a"], key=natural)
    ['2', '10', 'a']
    """
    parts = re.split(r"([0-9]+)", text)
    return [(0, int(part), "") if n % 2 else (1, 0, part) for n, part in enumerate(parts) if part]


def rates_of(total: Total, metrics: Iterable[str]) -> list[str]:
    """Write DER, its parts, JER (where there are any) and the rates of word metrics."""
    cells = []
    if total.diarization is not None:
        cells += [percent(total.diarization.der), *parts_of(total.diarization)]
    if total.jaccard is not None:
        cells.append(percent(total.jaccard.jer))
    return [*cells, *(word_rate(total.words.get(metric)) for metric in metrics)]


def rates_header(total: Total) -> list[str]:
    """Name the columns of ``rates_of``."""
    header = ["DER %", "miss %", "FA %", "conf %"] if total.diarization is not None else []
    header += ["JER %"] if total.jaccard is not None else []
    return [*header, *(f"{metric} %" for metric in total.words)]


def session_table(scores: Scores) -> Table:
    """Give a row a session and one for the total."""
    total = scores.total
    rows = []
    for session in scores.sessions:
        mark = " (failed)" if session.failed else ""
        rows.append(
            (
                clean(session.session_id) + mark,
                f"{session.hypothesis_speakers}/{session.reference_speakers}",
                *_like(total, Total.of([session])),
            )
        )
    counts = total.speaker_counts
    right = f"{counts.exact} of {counts.sessions} right" if counts.sessions else NONE
    last = ("total", right, *rates_of(total, total.words))
    return Table(("session", "speakers found/true", *rates_header(total)), (*rows, last))


def _like(total: Total, part: Total) -> list[str]:
    """Write the rates of a part of the sessions under the columns of the total."""
    cells = []
    if total.diarization is not None:
        cells += [percent(part.diarization.der if part.diarization else None)]
        cells += parts_of(part.diarization)
    if total.jaccard is not None:
        cells.append(percent(part.jaccard.jer if part.jaccard else None))
    return [*cells, *(word_rate(part.words.get(metric)) for metric in total.words)]


def _total(scores: Scores) -> Section:
    total = scores.total
    rows: list[tuple[str, ...]] = []
    if total.diarization is not None:
        turns = [session.diarization for session in scores.sessions if session.diarization]
        pairs = [(error_s(each), each.total_s) for each in turns]
        rows.append(
            (
                "DER",
                with_sign(percent(total.diarization.der)),
                with_sign(between(interval(pairs))),
                f"{error_s(total.diarization):.1f} s",
                f"{total.diarization.total_s:.1f} s",
                str(len(turns)),
            )
        )
    if total.jaccard is not None:
        jaccard = [session.jaccard for session in scores.sessions if session.jaccard]
        pairs = [(each.error_sum, float(each.speakers)) for each in jaccard]
        rows.append(
            (
                "JER",
                with_sign(percent(total.jaccard.jer)),
                with_sign(between(interval(pairs))),
                f"{total.jaccard.error_sum:.2f}",
                counted(total.jaccard.speakers, "speaker"),
                str(len(jaccard)),
            )
        )
    rows += [_word_row(scores, metric) for metric in total.words]
    rows += [_gap_row(scores, unit) for unit in units_with_gap(total.words)]
    header = ("metric", "rate", "95 % interval", "errors", "reference", "sessions")
    failed = f", {total.failed} failed" if total.failed else ""
    lines = [f"{counted(total.sessions, 'session')}{failed}."]
    if rows:
        lines.append(
            "Intervals are by bootstrap over sessions; with fewer than about ten sessions they "
            "are too narrow."
        )
    return Section("Total", tuple(lines), table=Table(header, tuple(rows)) if rows else None)


def _word_row(scores: Scores, metric: str) -> tuple[str, ...]:
    errors = [session.words[metric] for session in scores.sessions if metric in session.words]
    total = scores.total.words[metric]
    return (
        metric,
        with_sign(word_rate(total)),
        with_sign(between(interval(word_pairs(errors)))),
        str(total.errors),
        str(total.length),
        str(len(errors)),
    )


def _gap_row(scores: Scores, unit: str) -> tuple[str, ...]:
    both = _both(scores.sessions, unit)
    cp, orc = [first for first, _ in both], [second for _, second in both]
    found = gap_of(scores.sessions, unit)
    rate = percent(found.point)
    if found.point is not None and not all(each.exact for each in orc):
        rate = f"≥ {rate} (ORC-{unit} is a bound)"
    return (
        f"attribution gap (cp{unit} − ORC-{unit})",
        with_sign(rate),
        with_sign(between(ends_of(found))),
        str(sum(each.errors for each in cp) - sum(each.errors for each in orc)),
        str(sum(each.length for each in cp)),
        str(len(both)),
    )


def _diarization(scores: Scores) -> Section:
    errors = scores.total.diarization or DiarizationErrors()
    seconds = (errors.miss_s, errors.falarm_s, errors.confusion_s)
    rows = [
        (name, f"{part:.1f}", percent(part / errors.total_s if errors.total_s else None))
        for name, part in zip(KINDS.values(), seconds, strict=True)
    ]
    rows.append(("DER", f"{sum(seconds):.1f}", percent(errors.der)))
    silent = [
        f"{clean(session.session_id)}: no reference speech, so DER is undefined; "
        f"{session.diarization.falarm_s:.1f} s of false alarm, which the total counts"
        for session in scores.sessions
        if session.diarization and not session.diarization.total_s
    ]
    return Section(
        "Who spoke when",
        (_counts(scores.total.speaker_counts),),
        items=tuple(silent),
        table=Table(("error", "seconds", "% of reference speaker time"), tuple(rows)),
    )


def _counts(counts: SpeakerCounts) -> str:
    off = NONE if counts.mean_absolute_error is None else f"{counts.mean_absolute_error:.2f}"
    return (
        f"Number of speakers right in {counts.exact} of {counted(counts.sessions, 'session')} "
        f"({percent(counts.accuracy)} %), mean absolute error {off}."
    )


def _words(scores: Scores) -> Section:
    rows = [
        (
            metric,
            word_rate(errors),
            *(
                f"{part} ({percent(part / errors.length if errors.length else None)} %)"
                for part in (errors.substitutions, errors.deletions, errors.insertions)
            ),
            str(errors.errors),
            str(errors.length),
        )
        for metric, errors in scores.total.words.items()
    ]
    lines = []
    if not all(errors.exact for errors in scores.total.words.values()):
        lines.append(
            "≤ marks an upper bound: the assignment was searched greedily, the exact one would "
            "take too long."
        )
    empty = [
        f"{clean(session.session_id)}: no reference words, so {metric} is undefined; "
        f"{counted(errors.insertions, 'insertion')}, which the total counts"
        for session in scores.sessions
        for metric, errors in session.words.items()
        if not errors.length
    ]
    header = ("metric", "%", "substitutions", "deletions", "insertions", "errors", "reference")
    return Section(
        "Who said what", tuple(lines), items=tuple(empty), table=Table(header, tuple(rows))
    )


def _failed(scores: Scores) -> Section:
    failed = [session for session in scores.sessions if session.failed]
    rest = Total.of(session for session in scores.sessions if not session.failed)
    total = scores.total
    rows = (
        ("all, failed ones as lost", str(total.sessions), *_like(total, total)),
        ("without failed ones", str(rest.sessions), *_like(total, rest)),
    )
    line = (
        f"{len(failed)} of {counted(total.sessions, 'session')} failed. They count as lost: "
        "every reference word is a deletion, all reference speech is missed."
    )
    return Section(
        "Failed sessions",
        (line,),
        items=tuple(f"{clean(each.session_id)}: {clean(each.failed)}" for each in failed),
        table=Table(("sessions", "number", *rates_header(total)), rows),
    )


def _sessions(scores: Scores) -> Section:
    return Section(
        "Sessions",
        ("Without reference speech, diarization errors are in seconds.",),
        table=session_table(scores),
        plots=("sessions", "words"),
    )


def _conditions_of(session: SessionScore) -> dict[str, str]:
    return {"speakers": str(session.reference_speakers), **session.conditions}


def _keys_to_break_down(scores: Scores) -> list[str]:
    """Give the conditions in which sessions differ, and the true number of speakers always."""
    values: dict[str, set[str]] = {}
    for session in scores.sessions:
        for key, value in _conditions_of(session).items():
            values.setdefault(key, set()).add(value)
    lacking = {
        key
        for key in values
        if any(key not in _conditions_of(session) for session in scores.sessions)
    }
    return [
        key
        for key, found in values.items()
        if key == "speakers" or len(found) > 1 or key in lacking
    ]


def _condition(scores: Scores, key: str) -> Section:
    groups: dict[str, list[SessionScore]] = {}
    for session in scores.sessions:
        groups.setdefault(_conditions_of(session).get(key, NONE), []).append(session)
    rows = []
    for value in sorted(groups, key=natural):
        part = Total.of(groups[value])
        counts = part.speaker_counts
        right = f"{counts.exact} of {counts.sessions}" if counts.sessions else NONE
        cells = _like(scores.total, part)
        rows.append((clean(value), str(part.sessions), right, *cells))
    header = (clean(key), "sessions", "speaker count right", *rates_header(scores.total))
    title = "true number of speakers" if key == "speakers" else clean(key)
    return Section(
        f"By {title}",
        table=Table(header, tuple(rows)),
        plots=("speakers",) if key == "speakers" else (),
    )


def notes(scores: Scores) -> list[str]:
    """Give the notes of a run, one line for all sessions that have the same."""
    noted: dict[str, list[str]] = {}
    for session in scores.sessions:
        for note in session.notes:
            noted.setdefault(clean(note), []).append(clean(session.session_id))
    lines = [clean(note) for note in scores.notes]
    for note, names in noted.items():
        shown = ", ".join(names[:_NAMED])
        many = len(names) > _NAMED
        lines.append(f"{len(names)} sessions ({shown} ...): {note}" if many else f"{shown}: {note}")
    return lines


def _notes(scores: Scores) -> Section:
    items = notes(scores)
    return Section("Notes", () if items else ("None.",), items=tuple(items))
