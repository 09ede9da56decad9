"""From pairs of reference and hypothesis to scores: normalise, cut into tokens, count errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from meetscribe.errors import ConfigError, DependencyError, FormatError
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.diarization import diarization_errors, error_spans, jaccard_errors
from meetscribe.evaluate.normalise import Normaliser
from meetscribe.evaluate.scores import ErrorSpan, Scores, SessionScore, WordErrors
from meetscribe.evaluate.sessions import Pair, Session
from meetscribe.evaluate.settings import (
    BY_DEFAULT,
    METRICS,
    NEED_MEETEVAL,
    EvaluateSettings,
    TokenUnit,
)
from meetscribe.evaluate.words import CpErrors, TokenSegment
from meetscribe.types import Progress, Utterance, no_progress

_OF_TURNS = ("der", "jer")
_NOTHING_LEFT = "collar, overlap and UEM leave nothing of the reference for DER to score"
_TIMED = ("tcp", "tcorc")
_PREFIX = {"wer": "", "cp": "cp", "tcp": "tcp", "orc": "ORC-", "tcorc": "tcORC-"}
_RATE = {"word": "WER", "char": "CER", "mixed": "MER"}


def score(
    pairs: Sequence[Pair],
    settings: EvaluateSettings,
    *,
    name: str,
    protocol: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Scores:
    """Score every session and say how.

    Parameters
    ----------
    name : of the run, for tables and comparisons
    protocol : what the caller knows of the run (corpus, channels, segmentation, speakers ...);
        how it was scored is added here
    failed : session -> why it has no hypothesis; such a session counts as lost

    Raises
    ------
    DependencyError
        If a metric was asked for by name whose library is not installed.
    FormatError
        If a metric was asked for by name that a session has no times for.
    """
    wanted, notes = _available(settings)
    scores, used = [], Counter[str]()
    for number, pair in enumerate(pairs):
        progress("score", number / len(pairs))
        why = (failed or {}).get(pair.session_id, "")
        made, how = _score_session(pair, settings, wanted, why)
        scores.append(made)
        if made.words:
            used[how] += 1
    progress("score", 1.0)
    lost = sum(bool(made.failed) for made in scores)
    return Scores(
        name=name,
        sessions=tuple(scores),
        protocol={
            **(protocol or {}),
            **_protocol(settings, wanted, used),
            "aggregation": "errors and reference summed over sessions",
            "failed": f"{lost}/{len(scores)} (as deletions)",
        },
        notes=tuple(notes),
    )


def _available(settings: EvaluateSettings) -> tuple[tuple[str, ...], list[str]]:
    """Give the metrics to compute: those asked for, or all that this installation can."""
    if unknown := [metric for metric in settings.metrics if metric not in METRICS]:
        raise ConfigError(
            f"metrics: unknown '{unknown[0]}'", hint=f"there are: {', '.join(METRICS)}"
        )
    wanted = settings.metrics or BY_DEFAULT
    missing = [metric for metric in wanted if metric in NEED_MEETEVAL]
    if not missing or words.has_meeteval():
        return wanted, []
    if settings.metrics:
        raise DependencyError(
            f"metrics: {', '.join(missing)} need meeteval, which is not installed",
            hint="pip install 'meetscribe[evaluate]', or leave them out of --metrics",
        )
    note = f"{', '.join(missing)} not scored: pip install 'meetscribe[evaluate]' brings them"
    return tuple(metric for metric in wanted if metric not in missing), [note]


def _protocol(
    settings: EvaluateSettings, wanted: Iterable[str], used: Counter[str]
) -> dict[str, str]:
    lines: dict[str, str] = {}
    wanted = set(wanted)
    if wanted & set(_OF_TURNS):
        lines["collar"] = f"±{settings.collar:g} s"
        lines["overlap"] = "scored" if settings.score_overlap else "not scored"
    if used:
        if wanted & set(_TIMED):
            lines["tcp"] = f"{settings.tcp_collar:g} s"
        several = len(used) > 1
        lines["normaliser"] = "; ".join(
            f"{how} ({count} session{'s' if count > 1 else ''})" if several else how
            for how, count in used.items()
        )
    return lines


def _score_session(
    pair: Pair, settings: EvaluateSettings, wanted: Sequence[str], failed: str
) -> tuple[SessionScore, str]:
    reference, hypothesis = pair.reference, pair.hypothesis or _nothing(pair.session_id)
    normaliser, unit = _how(pair, settings)
    diarization = jaccard = None
    nothing = False
    spans: tuple[ErrorSpan, ...] = ()
    ours, theirs, scored = reference.turns, hypothesis.turns, pair.scored
    timed = reference.has_turns and hypothesis.has_turns
    if "der" in wanted and timed:
        collar, overlap = settings.collar, settings.score_overlap
        diarization = diarization_errors(
            ours, theirs, scored=scored, collar=collar, score_overlap=overlap
        )
        spans = error_spans(ours, theirs, scored=scored, collar=collar, score_overlap=overlap)
        nothing = bool(ours) and not diarization.total_s
    if "jer" in wanted and timed:
        jaccard = jaccard_errors(ours, theirs, scored=scored)
    errors, assignment, notes = _score_words(pair, hypothesis, (normaliser, unit), settings, wanted)
    count = len(_speakers(reference))
    made = SessionScore(
        session_id=pair.session_id,
        reference_speakers=count,
        hypothesis_speakers=len(_speakers(hypothesis)),
        duration=sum(end - start for start, end in scored),
        diarization=diarization,
        jaccard=jaccard,
        words=errors,
        assignment=assignment,
        conditions={"speakers": str(count), "tokens": unit},
        spans=spans,
        notes=(*pair.notes, *notes, *[_NOTHING_LEFT] * nothing),
        failed=failed or ("" if pair.hypothesis else "no hypothesis"),
    )
    return made, f"{normaliser.version} by {unit}"


def _score_words(
    pair: Pair,
    hypothesis: Session,
    how: tuple[Normaliser, TokenUnit],
    settings: EvaluateSettings,
    wanted: Sequence[str],
) -> tuple[dict[str, WordErrors], Mapping[str, str | None], list[str]]:
    metrics = [metric for metric in wanted if metric not in _OF_TURNS]
    if not metrics:
        return {}, {}, []
    for side, session in (("reference", pair.reference), ("hypothesis", hypothesis)):
        # an empty hypothesis is scored, a hypothesis that never meant to have words is not
        if not session.has_words and (session.turns or side == "reference"):
            return {}, {}, [f"no words in the {side}: words are not scored"]
    normaliser, unit = how
    ours = _segments(pair.reference.utterances, normaliser, unit)
    theirs = _segments(hypothesis.utterances, normaliser, unit)
    errors: dict[str, WordErrors] = {}
    notes = list(_odd_tokens(pair, hypothesis, ours, theirs, how))
    assignment: Mapping[str, str | None] = {}
    for metric in metrics:
        if metric in _TIMED and (untimed := _untimed(pair.reference, hypothesis)):
            line = f"{metric}: {untimed}, and a time-constrained metric needs them"
            if settings.metrics:
                raise FormatError(line, hint="leave it out of --metrics")
            notes.append(line)
            continue
        found = _word_metric(metric, ours, theirs, collar=settings.tcp_collar)
        if isinstance(found, CpErrors):
            assignment = found.assignment if metric == "cp" else assignment
            found = found.errors
        errors[_PREFIX[metric] + _RATE[unit]] = found
    return errors, assignment, notes


def _odd_tokens(
    pair: Pair,
    hypothesis: Session,
    ours: Sequence[TokenSegment],
    theirs: Sequence[TokenSegment],
    how: tuple[Normaliser, TokenUnit],
) -> Iterator[str]:
    """Say where tokens are not what a reader of the rates would think."""
    normaliser, unit = how
    sides = (("reference", pair.reference, ours), ("hypothesis", hypothesis, theirs))
    for name, session, segments in sides:
        if any(part.text.strip() for part in session.utterances) and not any(
            segment.tokens for segment in segments
        ):
            yield f"{normaliser.name} leaves no word of the {name}"
    if unit == "word" and normalise.is_chinese(part.text for part in pair.reference.utterances):
        yield "Chinese by words: a token is all that stands between two spaces; --unit char?"


def _word_metric(
    metric: str,
    ours: Sequence[TokenSegment],
    theirs: Sequence[TokenSegment],
    *,
    collar: float,
) -> WordErrors | CpErrors:
    match metric:
        case "wer":
            return words.single_stream(ours, theirs)
        case "cp":
            return words.cp(ours, theirs)
        case "tcp":
            return words.tcp(ours, theirs, collar=collar)
        case "orc":
            return words.orc(ours, theirs)
        case _:
            return words.tcorc(ours, theirs, collar=collar)


def _how(pair: Pair, settings: EvaluateSettings) -> tuple[Normaliser, TokenUnit]:
    """Choose normaliser and unit by the reference: a session is of one language or the other."""
    sides = (pair.reference, pair.hypothesis or pair.reference)
    said = [[utterance.text for utterance in side.utterances] for side in sides]
    # an empty reference has no language: then what was heard is counted in the units of its own
    texts = next((own for own in said if any(text.strip() for text in own)), [])
    chinese: TokenUnit = "char" if normalise.is_chinese(texts) else "word"
    unit = chinese if settings.unit == "auto" else settings.unit
    made = normalise.choose(
        settings.normaliser, texts, fillers=settings.fillers, numerals=settings.numerals
    )
    return made, unit


def _segments(
    utterances: Iterable[Utterance], normaliser: Normaliser, unit: TokenUnit
) -> list[TokenSegment]:
    return [
        TokenSegment(
            utterance.speaker,
            utterance.start,
            utterance.end,
            tuple(normalise.tokens(normaliser(utterance.text), unit)),
        )
        for utterance in utterances
    ]


def _untimed(*sessions: Session) -> str:
    for session in sessions:
        if session.utterances and not session.has_times:
            return f"{session.source or session.session_id} has words without times"
    return ""


def _speakers(session: Session) -> set[str]:
    return {part.speaker for part in session.turns or session.utterances}


def _nothing(session_id: str) -> Session:
    return Session(
        session_id=session_id,
        utterances=(),
        turns=(),
        duration=None,
        language="",
        source="",
        has_words=False,
        has_times=True,
        has_turns=True,
        notes=(),
    )
