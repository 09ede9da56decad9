"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from meetscribe.config import build
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])

_RENDER = (
    "overlap",
    "max_line_chars",
    "max_wide_chars",
    "max_lines",
    "max_cue_s",
    "speaker_labels",
)

PIPELINE_WORDS = (
    "pipeline",
    "channels",
    "model",
    "diarizer",
    "language",
    "script",
    "speakers",
    "min_speakers",
    "max_speakers",
)
"""Names of the options that ``pipeline_options`` adds."""

RUNNER_WORDS = (*PIPELINE_WORDS, "device", "threads", "offline", "no_cache")
"""What ``Runner.of`` takes: these and the options of ``run_options``."""

KNOWN_WORDS = ("enroll", "speakers_store", "remember")
"""What ``Runner.know`` takes: the options that ``known_speakers_options`` adds."""

progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How to show progress, on standard error.",
)

speaker_names_option = click.option(
    "--speaker-names",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="YAML file with lines such as 'Speaker 1: Anna'.",
)
"""Names for speakers, read by ``read_names``."""


def known_speakers_options(command: F) -> F:
    """Add the options that say whom voices are compared with."""
    for option in reversed(
        (
            click.option(
                "--enroll",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help="Name speakers who sound like one of these: an audio file or a folder of "
                "them a person, named as the person is.",
            ),
            click.option(
                "--speakers-store",
                metavar="PATH",
                help="Name speakers who are kept there; 'default' is where `meetscribe speakers` "
                "keeps them.",
            ),
            click.option(
                "--remember",
                is_flag=True,
                help="Keep voices that nobody has yet in the store, as 'Voice 1' ...",
            ),
        )
    ):
        command = option(command)
    return command


def shared_render_options(command: F) -> F:
    """Add the options that decide how subtitles look."""
    for option in (
        click.option(
            "--max-cue-s", type=click.FloatRange(min=1), help="Longest subtitle in s (default: 7)."
        ),
        click.option("--max-lines", type=click.IntRange(min=1), help="Most lines (default: 2)."),
        click.option(
            "--max-wide-chars",
            type=click.IntRange(min=5),
            help="Width of a line in Chinese or Japanese characters (default: 18).",
        ),
        click.option(
            "--max-line-chars", type=click.IntRange(min=10), help="Width of a line (default: 42)."
        ),
        click.option(
            "--no-speaker-labels",
            "speaker_labels",
            flag_value=False,
            default=None,
            help="Leave names out of subtitles.",
        ),
        click.option(
            "--overlap",
            type=click.Choice(["stack", "split", "dominant"]),
            help="Subtitles where people speak at once: all together (stack, default), one after "
            "the other (split), or only who says more (dominant, loses words).",
        ),
    ):
        command = option(command)
    return command


def pipeline_options(command: F) -> F:
    """Add the options that decide what runs: see ``make_runner``."""
    for option in reversed(
        (
            click.option(
                "--pipeline",
                default="auto",
                show_default=True,
                metavar="NAME",
                help="Name or YAML file; see: meetscribe pipelines list.",
            ),
            click.option(
                "--channels",
                metavar="WHAT",
                help="What the channels are: auto, array, per-speaker, mix, or which to use: "
                "0,2-3.",
            ),
            click.option("--model", help="Whisper size, hub name or folder (default: base)."),
            click.option(
                "--diarizer",
                metavar="NAME",
                help="A pyannote.audio pipeline on the hub in place of meetscribe's own.",
            ),
            click.option("--language", help="Language code such as en or zh (default: heard)."),
            click.option(
                "--script",
                type=click.Choice(["simplified", "traditional", "as-is"]),
                help="Chinese characters to write (default: simplified).",
            ),
            click.option(
                "--speakers", type=click.IntRange(min=1), help="Exactly so many speakers."
            ),
            click.option(
                "--min-speakers", type=click.IntRange(min=1), help="At least so many speakers."
            ),
            click.option(
                "--max-speakers", type=click.IntRange(min=1), help="At most so many speakers."
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add the options that decide how it runs, and change no result."""
    for option in reversed(
        (
            click.option(
                "--device",
                default="auto",
                show_default=True,
                help="auto, cpu, cuda, cuda:N or mps.",
            ),
            click.option(
                "--threads",
                type=click.IntRange(min=1),
                help="CPU cores for recognition (default: all).",
            ),
            click.option("--offline", is_flag=True, help="Never open a network connection."),
            click.option(
                "--no-cache", is_flag=True, help="Keep no finished stages for the next run."
            ),
            progress_option,
        )
    ):
        command = option(command)
    return command


def make_runner(options: Mapping[str, Any], **others: Any) -> Runner:  # noqa: ANN401
    """Make the runner that ``pipeline_options`` and ``run_options`` ask for.

    ``others`` takes the place of what was given.
    """
    return Runner.of(**{name: options[name] for name in RUNNER_WORDS} | others)


def render_options(options: dict[str, Any]) -> RenderOptions:
    """Collect them."""
    given = {name: options[name] for name in _RENDER if options.get(name) is not None}
    return build(RenderOptions, given, where="options")
