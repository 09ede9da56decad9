"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from meetscribe.config import build
from meetscribe.formats import RenderOptions

F = TypeVar("F", bound=Callable[..., Any])

_RENDER = (
    "overlap",
    "max_line_chars",
    "max_wide_chars",
    "max_lines",
    "max_cue_s",
    "speaker_labels",
)


speaker_names_option = click.option(
    "--speaker-names",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="YAML file with lines such as 'Speaker 1: Anna'.",
)
"""Names for speakers, read by ``read_names``."""


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


def render_options(options: dict[str, Any]) -> RenderOptions:
    """Collect them."""
    given = {name: options[name] for name in _RENDER if options.get(name) is not None}
    return build(RenderOptions, given, where="options")
