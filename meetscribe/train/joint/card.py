"""The model card of a trained joint model: what it is, what it learnt from, what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meetscribe.errors import OutputError
from meetscribe.files import write_atomic
from meetscribe.joint.whisper.checkpoint import LONGEST
from meetscribe.train.attribution import meeting_line, speech_lines
from meetscribe.train.joint.real import RealGroups
from meetscribe.train.joint.settings import JointTraining
from meetscribe.train.joint.trainee import Trainee
from meetscribe.version import __version__

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a card tells about a training.

    Parameters
    ----------
    speech : name of every corpus (the first folder of its paths) to its minutes in training
    held_out : speakers of the table who were kept out, to score on
    scored_groups : in the development set
    """

    settings: JointTraining
    speech: Mapping[str, float]
    speakers: int
    held_out: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    real: tuple[RealGroups, ...] = ()
    scored_groups: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a training is: stages that are done or under way with their steps, and scores.

    ``averaged`` checkpoints went into the weights, 1 if they are those of one step.
    """

    stages: tuple[tuple[str, int], ...]
    scores: Mapping[str, float]
    by_speakers: Mapping[int, Mapping[str, float]]
    averaged: int = 1


def export(trainee: Trainee, trained: Trained, reached: Reached, folder: Path) -> None:
    """Write the model and its card.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    about: dict[str, Any] = {
        "stages": [list(one) for one in reached.stages],
        "scores": dict(reached.scores),
        "averaged": reached.averaged,
        LONGEST: trained.settings.groups.length_s[1],
        "speech_minutes": dict(trained.speech),
        "meeting_minutes": {one.name: one.minutes for one in trained.real},
        "version": __version__,
    }
    trainee.save(folder, about)
    learnt = sum(one.numel() for one in trainee.network.parameters() if one.requires_grad)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        write_atomic({folder / CARD: card(trained, reached, learnt=learnt, size=size)})
    except OSError as error:
        raise OutputError(f"{folder / CARD}: cannot be written: {error}") from error


def card(trained: Trained, reached: Reached, *, learnt: int, size: int) -> str:
    """Give the model card, Markdown.

    Parameters
    ----------
    learnt : parameters of the last stage
    size : of the model's files, in bytes
    """
    settings = trained.settings
    groups = settings.groups
    stages = [f"- stage {name}: {steps} steps" for name, steps in reached.stages]
    if reached.averaged > 1:
        stages.append(f"- weights: the mean of the last {reached.averaged} checkpoints")
    scored = (
        f"Simulated groups of {len(trained.held_out)} speakers and of rooms that were kept out of "
        f"training ({trained.scored_groups} groups, {groups.length_s[0]:g} to "
        f"{groups.length_s[1]:g} s, up to {len(groups.voices)} speakers), "
        f"{'constrained' if settings.validation.constrained else 'unconstrained'} greedy writing. "
        "DER without collar, overlap scored. What cannot be read counts as deletions. The step was "
        "chosen on them, so they flatter it a little. Interval: bootstrap over groups, 95 %."
    )
    what = (
        f"Made by `meetscribe train joint` (meetscribe {__version__}): {_what(settings)} It writes "
        "who says what and when about a clip of some seconds, in one text."
    )
    nobody = "and nobody of a held-out split, was trained on."
    data = (
        f"Read speech of {trained.speakers} speakers, in simulated rooms (image sources); split "
        f"`{settings.speech.split}` of the table only. "
    )
    data += (
        "Nobody of a held-out split was trained on."
        if trained.real
        else f"No real meeting, {nobody}"
    )
    lines = [
        "# Joint model",
        "",
        what,
        "",
        *stages,
        f"- {learnt:,} parameters learnt in the last stage, {size / 1e6:.1f} MB in all",
        "",
        "## Scores",
        "",
        scored,
        "",
        *_table(reached.scores, reached.by_speakers),
        "",
        "## Data",
        "",
        data,
        "",
        *speech_lines(trained.speech),
        *map(_real, trained.real),
    ]
    lines += ["", "Left out:", ""] if trained.left_out else []
    lines += [f"- {line}" for line in trained.left_out]
    lines += ["", f"Kept out of training to score on: {', '.join(trained.held_out)}."]
    lines += ["", "## Limits", "", *_limits(trained)]
    licence = (
        "Apache-2.0, as meetscribe. The speech it learnt from is under the licences named above, "
        "and so are the models it is built on under theirs."
    )
    return "\n".join([*lines, "", "## Licence", "", licence, ""])


def _what(settings: JointTraining) -> str:
    model = settings.model
    if model.kind == "whisper":
        return (
            f"{model.whisper.base} with low-rank changes of rank {model.whisper.lora.rank}, a "
            f"stream of voices ({model.whisper.layout}) and tokens for "
            f"{model.whisper.speakers} speakers."
        )
    return "encoders of words and of voices, projectors, and a frozen language model."


def _limits(trained: Trained) -> list[str]:
    settings = trained.settings
    longest_s = settings.groups.length_s[1]
    real = "- Trained on read speech in simulated rooms; real meetings are harder."
    return [
        *([] if trained.real else [real]),
        f"- Language: {settings.speech.language}. Others were not tried.",
        f"- Clips of up to {longest_s:g} s; longer ones were never heard.",
        f"- More than {len(settings.groups.voices)} speakers in a clip were never heard.",
        "- Who a speaker is holds inside a clip only; meetings need speakers linked over clips.",
    ]


def _table(
    scores: Mapping[str, float], by_speakers: Mapping[int, Mapping[str, float]]
) -> list[str]:
    def row(name: str, own: Mapping[str, float]) -> str:
        return (
            f"| {name} | {own['cpwer']:.1%} ({own['cpwer_low']:.1%} to {own['cpwer_high']:.1%}) | "
            f"{own['der']:.1%} | {own['count_accuracy']:.1%} | {own['nothing']:.1%} |"
        )

    head: Sequence[str] = (
        "| groups | cpWER | DER | number of speakers right | nothing written |",
        "|---|---|---|---|---|",
    )
    rows = [
        row(f"{number} speaker{'s' if number > 1 else ''}", own)
        for number, own in by_speakers.items()
    ]
    return [*head, row("all", scores), *rows]


def _real(one: RealGroups) -> str:
    return meeting_line(
        one.name,
        licence=one.licence,
        reference=one.reference,
        meetings=one.meetings,
        minutes=one.minutes,
        share=one.share,
        of="batches",
    )
