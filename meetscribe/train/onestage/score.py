"""Target-speaker word error rates of a network on packed examples.

Axes: B item, S frame of the encoder, D feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meetscribe.evaluate import normalise
from meetscribe.evaluate.bootstrap import interval
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words.alignment import edits
from meetscribe.evaluate.words.streams import Numbering, TokenSegment
from meetscribe.recognize.guard import token_budget
from meetscribe.train.onestage.examples import Packed
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.onestage.adapter import Inputs, SpatialWhisper
    from meetscribe.onestage.tokens import Vocabulary

COLUMNS = ("wer", "wer_low", "wer_high", "wer_overlapped", "silent_words", "empty_share")


@dataclass(frozen=True, slots=True)
class Scored:
    """One target of one scene."""

    scene: int
    voices: int
    errors: WordErrors
    written: int


def transcribe(
    network: SpatialWhisper,
    vocabulary: Vocabulary,
    packed: Packed,
    *,
    language: str,
    device: str,
    plain: bool = False,
) -> list[str]:
    """Write what every target of a batch says; ``plain`` leaves everything learnt aside."""
    inputs = packed.inputs(device)
    encoded_bsd = _plainly(network, inputs) if plain else network.encode(inputs)
    from meetscribe.onestage.decode import decode

    heard = decode(
        network.target.whisper,
        encoded_bsd.float(),
        vocabulary,
        steps=packed.steps,
        durations=packed.seconds_b,
        budgets=[token_budget(seconds) for seconds in packed.seconds_b],
        start=vocabulary.start(language, timestamps=False),
    )
    return [one.text for one in heard]


def _plainly(network: SpatialWhisper, inputs: Inputs) -> Tensor:
    from meetscribe.train.onestage.plain import plain_encodings

    return plain_encodings(network.target, inputs.mel_bft, inputs.steps)


def score(
    written: Callable[[Packed], Sequence[str]],
    examples: Sequence[Packed],
    *,
    progress: Progress = no_progress,
) -> list[Scored]:
    """Count the errors of every target.

    Parameters
    ----------
    written : gives the texts of a batch
    progress : called with ``"score"``
    """
    normaliser = normalise.choose("auto", [text for one in examples for text in one.texts])
    unit: Literal["word", "char"] = "char" if normaliser.name == "zh" else "word"
    made = []
    for number, packed in enumerate(examples):
        rows = zip(packed.texts, written(packed), packed.scene_b, packed.voices_b, strict=True)
        for reference, hypothesis, scene, voices in rows:
            own = tuple(normalise.tokens(normaliser(reference), unit))
            found = tuple(normalise.tokens(normaliser(hypothesis), unit))
            numbers = Numbering()
            errors = edits(
                numbers.stream([TokenSegment("", 0.0, 0.0, own)]),
                numbers.stream([TokenSegment("", 0.0, 0.0, found)]),
            )
            made.append(Scored(scene, voices, errors, len(found)))
        progress("score", (number + 1) / len(examples))
    return made


def summary(scored: Sequence[Scored]) -> dict[str, float]:
    """Give the values of ``COLUMNS``.

    ``wer`` counts errors over the words of all references, what is written for silent targets
    included; its interval is that of other scenes of the kind. ``wer_overlapped`` is of regions
    with two voices or more; ``silent_words`` the mean number of words written for a silent target,
    ``empty_share`` the share of talking targets for whom nothing was written. What there is
    nothing of is 0.
    """
    by_scene: dict[int, WordErrors] = {}
    for one in scored:
        by_scene[one.scene] = by_scene.get(one.scene, WordErrors()) + one.errors
    low, high = interval([(e.errors, e.length) for e in by_scene.values()]) or (0.0, 1.0)
    silent = [one for one in scored if not one.errors.length]
    talking = [one for one in scored if one.errors.length]
    return {
        "wer": _rate(scored),
        "wer_low": low,
        "wer_high": high,
        "wer_overlapped": _rate(one for one in scored if one.voices > 1),
        "silent_words": sum(one.written for one in silent) / max(1, len(silent)),
        "empty_share": sum(not one.written for one in talking) / max(1, len(talking)),
    }


def _rate(scored: Iterable[Scored]) -> float:
    return sum((one.errors for one in scored), WordErrors()).rate or 0.0
