"""The adapter as a file, and its model card: what it is, what it learnt from, what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import OutputError
from meetscribe.files import write_atomic
from meetscribe.train.attribution import meeting_line, speech_lines
from meetscribe.train.checkpoint import write_whole
from meetscribe.train.onestage.corpora import MeetingSet
from meetscribe.train.onestage.settings import OnestageTraining
from meetscribe.version import __version__

if TYPE_CHECKING:
    from meetscribe.onestage.adapter import SpatialWhisper

CARD = "README.md"
LARGEST_BYTES = 25_000_000


@dataclass(frozen=True, slots=True)
class Trained:
    """What a card tells about a training."""

    settings: OnestageTraining
    speech: Mapping[str, float]
    """Name of every corpus (the first folder of its paths) to its minutes in training."""
    speakers: int
    held_out: tuple[str, ...]
    """Speakers of the table who were kept out, to score on."""
    left_out: tuple[str, ...] = ()
    baseline: Mapping[str, float] | None = None
    """Scores of plain Whisper on the same examples."""
    meetings: tuple[MeetingSet, ...] = ()
    """Real meetings that were trained on."""
    batches: int = 1
    """Of a step, in all processes."""
    steps_before: int = 0
    """Of the adapter that the training began with."""


def export(
    network: SpatialWhisper,
    trained: Trained,
    folder: Path,
    *,
    step: int,
    scores: Mapping[str, float],
) -> Path:
    """Write ``adapter.safetensors`` and its card.

    Raises
    ------
    OutputError
        If the folder cannot be written, or the file would be above 25 MB.
    """
    from meetscribe.onestage.adapter import FILE, save_adapter

    about: dict[str, Any] = {
        "step": step + trained.steps_before,
        "scores": dict(scores),
        "speech_minutes": dict(trained.speech),
        **_about_meetings(trained.meetings),
        "version": __version__,
    }
    data = save_adapter(network, trained.settings.model, about)
    if len(data) > LARGEST_BYTES:
        raise OutputError(
            f"adapter of {len(data) / 1e6:.1f} MB; expected {LARGEST_BYTES / 1e6:.0f} MB at most",
            hint="lower model.target.lora.rank, or model.embedding.trunk_width",
        )
    path = folder / FILE
    write_whole(path, data)
    parameters = sum(one.numel() for one in network.adapter().values())
    text = card(trained, step=step, scores=scores, parameters=parameters, size=len(data))
    try:
        write_atomic({folder / CARD: text})
    except OSError as error:
        raise OutputError(f"{folder / CARD}: cannot be written: {error}") from error
    return path


def card(
    trained: Trained, *, step: int, scores: Mapping[str, float], parameters: int, size: int
) -> str:
    """Give the model card, Markdown."""
    settings = trained.settings
    embedding, target = settings.model.embedding, settings.model.target
    corpora = speech_lines(trained.speech)
    stage = settings.scenes.stages[-1]
    examples = trained.batches * settings.scenes.batch * step
    regions = "regions" if trained.meetings else "simulated regions"
    left_out = [f"- {line}" for line in trained.left_out]
    what = (
        f"Made by `meetscribe train onestage` (meetscribe {__version__}) for {target.base}. It "
        "makes Whisper write what one speaker says, from all microphones of an array and a moment "
        "in which that speaker is heard alone, without separating the voices first."
    )
    network = (
        f"SpatialEmb, topology {embedding.topology}, {embedding.num_planes} planes per channel; "
        f"conditioning of encoder layers {', '.join(map(str, target.conditioning.layers))}; "
        f"low-rank changes of rank {target.lora.rank} in {', '.join(target.lora.places)}"
    )
    fewest, most = settings.scenes.channels
    scored = (
        f"Target-speaker word errors on simulated regions of {len(trained.held_out)} speakers and "
        f"of rooms that were kept out of training ({settings.scenes.dev_scenes} scenes, {fewest} "
        f"to {most} channels, up to {len(stage.voices)} voices, solo moments known). The step was "
        "chosen on them, so they flatter it a little. Intervals: bootstrap over scenes, 95 %."
    )
    data = (
        f"Read speech of {trained.speakers} speakers, in simulated rooms (image sources) with "
        f"{', '.join(settings.rooms.arrays)} arrays; split `{settings.speech.split}` of the table "
        "only. "
    )
    data += (
        "Nobody of a held-out split was trained on."
        if trained.meetings
        else "No real meeting, and nobody of a held-out split, was trained on."
    )
    lines = [
        "# One-stage adapter",
        "",
        what,
        "",
        f"- {network}",
        f"- {parameters:,} parameters, float16, {size / 1e6:.1f} MB; Whisper is no part of it",
        f"- {step} steps, {examples:,} {regions}",
    ]
    if trained.steps_before:
        lines.append(f"- begun with an adapter of {trained.steps_before} steps")
    lines += ["", "## Scores", "", scored, "", *_table(scores, trained.baseline)]
    lines += ["", "## Data", "", data, "", *corpora, *map(_real, trained.meetings)]
    lines += ["", "Left out:", "", *left_out] if left_out else []
    lines += ["", f"Kept out of training to score on: {', '.join(trained.held_out)}."]
    lines += ["", "## Limits", ""]
    if not trained.meetings:
        lines += ["- Trained on read speech in simulated rooms: real meetings are harder."]
    lines += [
        f"- Language: {settings.speech.language}. Others were not tried.",
        "- A speaker who is never heard alone for a second cannot be told apart.",
        "- At least two microphones that hear everybody; people stay in their seats.",
    ]
    licence = (
        "Apache-2.0, as meetscribe. The speech it learnt from is under the licences named above."
    )
    return "\n".join([*lines, "", "## Licence", "", licence, ""])


def _about_meetings(meetings: tuple[MeetingSet, ...]) -> dict[str, Any]:
    """Give nothing where there are none, so that such files stay as they are."""
    found = {one.name: sum(one.minutes) for one in meetings}
    return {"meeting_minutes": found} if found else {}


def _real(one: MeetingSet) -> str:
    return meeting_line(
        one.name,
        licence=one.licence,
        reference=one.reference,
        meetings=len(one.meetings),
        minutes=sum(one.minutes),
        share=one.share,
        of="regions",
    )


def _table(scores: Mapping[str, float], baseline: Mapping[str, float] | None) -> list[str]:
    def row(name: str, own: Mapping[str, float]) -> str:
        return (
            f"| {name} | {own['wer']:.1%} ({own['wer_low']:.1%} to {own['wer_high']:.1%}) | "
            f"{own['wer_overlapped']:.1%} | {own['silent_words']:.2f} |"
        )

    lines = ["| | WER | with two voices or more | words for a silent target |", "|---|---|---|---|"]
    if baseline is not None:
        lines.append(row("plain Whisper, best channel", baseline))
    return [*lines, row("this adapter", scores)]
