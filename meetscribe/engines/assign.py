"""Who said which word: words of the mixed signal and the turns of speakers, put together.

Speakers are chosen for all words of a piece at once: a word wants the speaker whose turn it lies
in, and a change of speaker costs more in the middle of a sentence than at its end or in a pause.
Nothing here knows a language.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.config import Settings
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Activity, Turn, Utterance, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOBODY = "speaker1"
"""Who said the words of a recording in which the diarizer found nobody."""

_SENTENCE_ENDS = frozenset(".?!…。？！")
_CLAUSE_ENDS = frozenset(",;:，；：、")
_CLOSERS = "\"'”’)]}»」』）】"
_EPSILON_S = 1e-3


class AssignSettings(Settings):
    """How words find their speakers.

    The costs are in units of one word that lies fully in a turn.
    """

    pause_s: float = 0.8
    """A longer pause begins a new utterance."""
    reach_s: float = 1.0
    """A word this far outside of a turn has no reason left to belong to it."""
    margin_s: float = 0.1
    """Word times are uncertain by about this much."""
    exclusive: float = 0.15
    """What the exclusive view weighs beside the turns with overlap: it breaks ties."""
    change: float = 1.5
    """Cost of a change of speaker inside a sentence."""
    change_clause: float = 0.9
    change_sentence: float = 0.2
    change_pause_s: float = 0.5
    """A pause this long halves the cost of a change."""
    overlap_s: float = 0.2
    """Somebody else must speak this long before an utterance is flagged ``overlap``."""
    unclear_confidence: float = 0.35
    """An utterance with a lower mean confidence is flagged ``unclear``."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """A word, and whether its region was unclear."""

    word: Word
    unclear: bool


def assign(
    regions: Sequence[RecognizedRegion],
    activity: Activity,
    settings: AssignSettings | None = None,
) -> tuple[Utterance, ...]:
    """Give every word to a speaker, and group the words of each into utterances.

    Parameters
    ----------
    regions : recognised pieces; words in order within each
    activity : turns that may overlap, and their exclusive view

    Returns
    -------
    Sorted by start. Every word of ``regions`` is in exactly one utterance. The words of a speaker
    are in order of time; utterances of different speakers may overlap.
    """
    options = settings or AssignSettings()
    heard = _in_time(regions)
    speakers = activity.speakers or (NOBODY,)
    labels = _likeliest_speakers([one.word for one in heard], activity, speakers, options)
    runs = _runs(heard, labels, options)
    utterances = [_utterance(run, labels, heard, activity, options) for run in runs]
    return tuple(sorted(utterances, key=lambda made: (made.start, made.end, made.speaker)))


def assign_stream(
    regions: Sequence[RecognizedRegion],
    speaker: str,
    activity: Activity,
    settings: AssignSettings | None = None,
) -> tuple[Utterance, ...]:
    """Group the words of a stream that holds one speaker into his utterances.

    ``activity`` has everybody's turns: they tell which utterances others talk over.
    """
    options = settings or AssignSettings()
    heard = _in_time(regions)
    labels = [speaker] * len(heard)
    runs = _runs(heard, labels, options)
    return tuple(_utterance(run, labels, heard, activity, options) for run in runs)


def _in_time(regions: Sequence[RecognizedRegion]) -> list[_Heard]:
    return sorted(
        (_Heard(word, "unclear" in region.flags) for region in regions for word in region.words),
        key=lambda one: (one.word.start, one.word.end),
    )


def _likeliest_speakers(
    words: Sequence[Word], activity: Activity, speakers: Sequence[str], options: AssignSettings
) -> list[str]:
    """Choose a speaker for each word, by the Viterbi algorithm."""
    if not words:
        return []
    support_wk = _support(words, activity, speakers, options)
    count = len(speakers)
    score_k = support_wk[0]
    back_wk = np.zeros((len(words), count), dtype=np.intp)
    for at, (before, word) in enumerate(pairwise(words), start=1):
        step_kk = score_k[:, None] - _change_cost(before, word, options) * (1 - np.eye(count))
        back_wk[at] = np.argmax(step_kk, axis=0)
        score_k = step_kk[back_wk[at], np.arange(count)] + support_wk[at]
    chosen = [int(np.argmax(score_k))]
    for at in range(len(words) - 1, 0, -1):
        chosen.append(int(back_wk[at, chosen[-1]]))
    return [speakers[index] for index in reversed(chosen)]


def _support(
    words: Sequence[Word], activity: Activity, speakers: Sequence[str], options: AssignSettings
) -> NDArray[np.float64]:
    """Give how much each word lies in the turns of each speaker; shape (W, K), from -1 on."""
    middles_w = np.array([(word.start + word.end) / 2 for word in words])
    halves_w = np.array([(word.end - word.start) / 2 for word in words]) + options.margin_s
    support_wk = np.zeros((len(words), len(speakers)))
    for index, speaker in enumerate(speakers):
        inside_w = np.zeros(len(words))
        distance_w = np.full(len(words), np.inf)
        alone_w = np.zeros(len(words))
        for turn in activity.turns:
            if turn.speaker == speaker:
                inside_w += _overlap(middles_w, halves_w, turn)
                gap_w = np.maximum(turn.start - middles_w, middles_w - turn.end)
                distance_w = np.minimum(distance_w, np.maximum(gap_w, 0.0))
        for turn in activity.exclusive or activity.turns:
            if turn.speaker == speaker:
                alone_w += _overlap(middles_w, halves_w, turn)
        away_w = np.minimum(distance_w / options.reach_s, 1.0)
        inside_w = np.minimum(inside_w, 1.0) + options.exclusive * np.minimum(alone_w, 1.0)
        support_wk[:, index] = inside_w - away_w
    return support_wk


def _overlap(
    middles_w: NDArray[np.float64], halves_w: NDArray[np.float64], turn: Turn
) -> NDArray[np.float64]:
    low_w = np.maximum(middles_w - halves_w, turn.start)
    high_w = np.minimum(middles_w + halves_w, turn.end)
    return np.asarray(np.maximum(high_w - low_w, 0.0) / (2 * halves_w))


def _change_cost(before: Word, word: Word, options: AssignSettings) -> float:
    last = before.text.rstrip(_CLOSERS)[-1:]
    cost = options.change
    if last in _SENTENCE_ENDS:
        cost = options.change_sentence
    elif last in _CLAUSE_ENDS:
        cost = options.change_clause
    pause = max(0.0, word.start - before.end)
    return cost * float(0.5 ** (pause / options.change_pause_s))


def _runs(
    heard: Sequence[_Heard], labels: Sequence[str], options: AssignSettings
) -> Iterator[list[int]]:
    """Give the indices of words that make one utterance each."""
    run: list[int] = []
    for at, (one, label) in enumerate(zip(heard, labels, strict=True)):
        if run and (
            labels[run[-1]] != label or one.word.start - heard[run[-1]].word.end > options.pause_s
        ):
            yield run
            run = []
        run.append(at)
    if run:
        yield run


def _utterance(
    run: Sequence[int],
    labels: Sequence[str],
    heard: Sequence[_Heard],
    activity: Activity,
    options: AssignSettings,
) -> Utterance:
    speaker = labels[run[0]]
    words = [heard[at].word for at in run]
    start, end = words[0].start, max(word.end for word in words)
    others = sum(
        max(0.0, min(turn.end, end) - max(turn.start, start))
        for turn in activity.turns
        if turn.speaker != speaker
    )
    known = [word.confidence for word in words if word.confidence is not None]
    doubtful = bool(known) and sum(known) / len(known) < options.unclear_confidence
    flags = []
    if others >= min(options.overlap_s, max(end - start, _EPSILON_S)):
        flags.append("overlap")
    if doubtful or any(heard[at].unclear for at in run):
        flags.append("unclear")
    return Utterance.from_words(speaker, words, flags)
