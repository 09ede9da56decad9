"""``meetscribe export``: from one transcript to other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meetscribe import formats
from meetscribe.cli.options import (
    render_options,
    shared_render_options,
    speaker_names_option,
)
from meetscribe.errors import OutputError
from meetscribe.pipeline.outputs import (
    SessionFiles,
    check_names,
    parse_formats,
    read_names,
    read_transcript,
    write_formats,
)

_EXAMPLES = """\b
Examples:
  meetscribe export meeting.json -f srt
  meetscribe export meeting.json -f all -o results
  meetscribe export meeting.json -f vtt -o - > meeting.vtt
"""


@click.command(epilog=_EXAMPLES)
@click.argument("transcript", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--format",
    "format_names",
    multiple=True,
    required=True,
    metavar="LIST",
    help="Formats, with commas, or 'all'.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    default=None,
    help="Folder (default: beside the transcript), or - to print one format.",
)
@speaker_names_option
@shared_render_options
@click.option("--force", is_flag=True, help="Replace files that are there already.")
def export(transcript: Path, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Turn TRANSCRIPT (meetscribe JSON, or a format that can be read) into other formats.

    No model runs: everything comes from the transcript.
    """
    source = read_transcript(transcript)
    if options["speaker_names"]:
        names = read_names(options["speaker_names"])
        check_names(names, source)
        source = source.renamed(names)
    wanted = parse_formats(options["format_names"])
    output: Path | None = options["output"]
    if output is not None and str(output) == "-":
        if len(wanted) != 1:
            raise click.UsageError("-o - prints one format; give one with -f")
        click.echo(formats.render(source, wanted[0], render_options(options)), nl=False)
        return 0
    files = SessionFiles(output or transcript.parent, source.session_id)
    files.check_writable()
    there = files.existing(wanted)
    if there and not options["force"]:
        raise OutputError(
            f"{there[0]} is there already", hint="replace it with --force, or choose -o DIR"
        )
    for path in write_formats(source, files, wanted, render_options(options)):
        click.echo(f"wrote {path}", err=True)
    return 0
