"""``meetscribe cache``: what finished stages are kept for the next run, and away with them."""

from __future__ import annotations

import json

import click

from meetscribe.cli.console import aligned
from meetscribe.models import cache_dir
from meetscribe.pipeline.store import LIMIT_VARIABLE, DiskStore


@click.group(epilog="Example: meetscribe cache info")
def cache() -> None:
    """Say what finished stages are kept, and delete them.

    A run that was stopped goes on from its finished stages, and from the finished parts of the one
    it was in; another recogniser takes over who speaks when. They hold the words that were said.
    Models lie beside them and stay: see `meetscribe models list`.
    """


@cache.command(epilog="Example: meetscribe cache info")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def info(*, as_json: bool) -> None:
    """Print what is kept, by stage, where, and how much it may be."""
    store = DiskStore(cache_dir() / "stages")
    kept = store.info()
    if as_json:
        made = {
            "folder": str(store.folder),
            "bytes": kept.num_bytes,
            "limit_bytes": kept.limit_bytes,
            "entries": kept.num_entries,
            "stages": {
                stage: {"entries": number, "bytes": size}
                for stage, (number, size) in kept.stages.items()
            },
        }
        click.echo(json.dumps(made, indent=1))
        return
    rows = [("stage", "results", "size")]
    rows += [(stage, str(number), _size(size)) for stage, (number, size) in kept.stages.items()]
    rows.append(("all", str(kept.num_entries), _size(kept.num_bytes)))
    for line in aligned(rows, right={1, 2}):
        click.echo(line)
    click.echo(f"\nat most {_size(kept.limit_bytes)} ({LIMIT_VARIABLE}); folder: {store.folder}")


@cache.command(epilog="Examples: meetscribe cache clear; meetscribe cache clear --unused-days 30")
@click.option(
    "--unused-days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
    help="Only what no run has used for so many days (default: everything).",
)
def clear(*, unused_days: float) -> None:
    """Delete finished stages; transcripts and models stay."""
    number, size = DiskStore(cache_dir() / "stages").clear(unused_days=unused_days)
    click.echo(f"deleted {number} result{'' if number == 1 else 's'}, {_size(size)}")


def _size(num_bytes: int) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= length:
            return f"{num_bytes / length:.1f} {unit}"
    return f"{num_bytes} B"
