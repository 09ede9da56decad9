"""``meetscribe rename``: names for speakers, in the transcript and in what was made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meetscribe.cli.options import (
    render_options,
    shared_render_options,
    speaker_names_option,
)
from meetscribe.errors import ConfigError
from meetscribe.pipeline.outputs import (
    SessionFiles,
    check_names,
    read_names,
    read_transcript,
    rewrite,
)
from meetscribe.types import Transcript

_EXAMPLES = """\b
Examples:
  meetscribe rename meeting.json "Speaker 1=Anna" "Speaker 2=Ben"
  meetscribe rename meeting.json --speaker-names names.yaml
  meetscribe rename meeting.json                 # lists the speakers
"""


@click.command(epilog=_EXAMPLES)
@click.argument("transcript", type=click.Path(path_type=Path))
@click.argument("pairs", nargs=-1, metavar="[LABEL=NAME]...")
@speaker_names_option
@shared_render_options
@click.option("--force", is_flag=True, help="Replace files that were edited by hand, too.")
def rename(transcript: Path, pairs: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Give the speakers of TRANSCRIPT (meetscribe JSON) names.

    The files beside it that were made from it are written again with the new names; one that was
    edited by hand is left alone. An empty name ("Speaker 1=") takes a name back.
    """
    source = read_transcript(transcript)
    names = read_names(options["speaker_names"]) if options["speaker_names"] else {}
    names.update(_pair(text, source) for text in pairs)
    if not names:
        for label in source.speakers:
            click.echo(f"{label}: {source.name_of(label)}")
        return 0
    check_names(names, source)
    files = SessionFiles(transcript.parent, source.session_id)
    if files.transcript.name != transcript.name:
        raise ConfigError(
            f"{transcript}: expected {files.transcript.name}, the transcript itself",
            hint="rename needs the .json that `meetscribe transcribe` wrote",
        )
    given = {name: value for name, value in options.items() if value is not None}
    looks = render_options({**source.provenance.get("render_options", {}), **given})
    written, left = rewrite(source, source.renamed(names), files, looks, force=options["force"])
    for path in written:
        click.echo(f"wrote {path}", err=True)
    for path in left:
        click.echo(f"left alone: {path} (edited, or other options; --force replaces it)", err=True)
    return 0


def _pair(text: str, source: Transcript) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not equals:
        raise ConfigError(f"'{text}': expected LABEL=NAME", hint='for example "Speaker 1=Anna"')
    label = label.strip()
    named = [speaker for speaker in source.speakers if source.name_of(speaker) == label]
    if label in source.speakers or not named:
        return label, name.strip()
    if len(named) > 1:
        raise ConfigError(
            f"'{label}' is the name of {len(named)} speakers", hint=f"use {' or '.join(named)}"
        )
    return named[0], name.strip()
