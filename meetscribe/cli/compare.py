"""``meetscribe compare``: two scored runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meetscribe.cli.console import aligned
from meetscribe.errors import OutputError
from meetscribe.files import write_atomic

if TYPE_CHECKING:
    from meetscribe.evaluate.report.sections import Section

_EXAMPLES = """\b
Examples:
  meetscribe compare results/mono results/array
  meetscribe compare mono/results.json array/results.json -o comparison.md
"""


@click.command(epilog=_EXAMPLES)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the comparison to a Markdown file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
def compare(a: Path, b: Path, *, output: Path | None, as_json: bool, force: bool) -> None:
    """Compare run B with run A: results.json, or folders of `meetscribe evaluate -o`.

    Over the sessions both have, with a paired bootstrap. Differences in how the two were scored
    that make their numbers incomparable are said first.
    """
    from meetscribe.evaluate.compare import compare as compared
    from meetscribe.evaluate.compare import load
    from meetscribe.evaluate.report import comparison as report

    if output is not None and output.exists() and not force:
        raise OutputError(
            f"{output} is there already", hint="replace it with --force, or choose another -o"
        )
    comparison = compared(load(a), load(b))
    if as_json:
        click.echo(report.to_json(comparison), nl=False)
    else:
        protocol = report.protocol_lines(comparison)
        click.echo("\n".join(_lines(report.to_sections(comparison), protocol)))
    if output is not None:
        _write(output, report.to_markdown(comparison))
        click.echo(f"wrote {output}", err=True)


def _lines(sections: Sequence[Section], protocol: Sequence[str]) -> Iterator[str]:
    for number, section in enumerate(sections):
        if number:
            yield ""
        yield section.title
        yield from section.lines
        yield from (f"  {item}" for item in section.items)
        if section.table is not None:
            header, rows = section.table.header, section.table.rows
            numbers = range(section.table.text_columns, len(header))
            yield ""
            yield from aligned([header, *rows], right=numbers)
            yield ""
            yield from protocol


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic({path: text})
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}", hint="choose another -o"
        ) from error
