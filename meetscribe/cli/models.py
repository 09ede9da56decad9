"""``meetscribe models``: which weights there are, fetch them, check them."""

from __future__ import annotations

import click

from meetscribe.cli.console import aligned, reporter
from meetscribe.errors import WeightsError
from meetscribe.models import (
    ModelCard,
    cache_dir,
    default_models,
    fetch,
    is_cached,
    known,
    load_catalogue,
    resolve_whisper,
    verify,
)

_offline = click.option("--offline", is_flag=True, help="Never open a socket.")


@click.group()
def models() -> None:
    """List, fetch and verify model weights."""


@models.command("list", epilog="Example: meetscribe models list")
def list_models() -> None:
    """List the models of the catalogue, and which of them are here.

    The default pipeline needs those with a star.
    """
    rows = [("", "name", "task", "size", "licence", "hashes", "here", "origin")]
    for name, model in load_catalogue().items():
        rows.append(
            (
                "*" if model.default else "",
                name,
                model.task.value,
                _size(model.size),
                model.licence,
                "pinned" if model.pinned else "not pinned",
                "yes" if is_cached(name) else "no",
                model.origin + (" (asks for an account)" if _is_gated(model) else ""),
            )
        )
    for line in aligned(rows):
        click.echo(line)
    click.echo(f"\ncache: {cache_dir()}")


@models.command(
    epilog="Examples: meetscribe models pull; meetscribe models pull whisper-small",
)
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@_offline
@click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How progress is shown.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def pull(names: tuple[str, ...], *, offline: bool, progress: str, quiet: bool) -> None:
    """Fetch models into the cache; without NAMES those of the default pipeline.

    NAMES are of `meetscribe models list`, Whisper sizes (small, turbo ...), or hub ids of Whisper
    models (owner/name). What is here already is checked and kept.
    """
    lines = []
    with reporter(progress, quiet=quiet) as shown:
        for name in names or default_models():
            fetched = fetch if known(name) else resolve_whisper
            lines.append(f"{name}: {fetched(name, offline=offline, progress=shown.progress)}")
    # after the bars, which would be drawn over them
    for line in lines:
        click.echo(line)


@models.command("verify", epilog="Example: meetscribe models verify whisper-base")
@click.argument("names", nargs=-1, metavar="[NAMES]...")
def verify_models(names: tuple[str, ...]) -> None:
    """Check the files of models against their pinned sha256; without NAMES all that are here.

    Nothing is fetched. The exit code is 4 when a file is missing or damaged.
    """
    bad, shown = [], 0
    for name in names or load_catalogue():
        states = verify(name)
        if not states and names:
            bad.append(name)
            click.echo(f"MISSING  {name}")
        for state in states:
            verdict = state.problem or ("ok" if state.pinned else "here, not pinned")
            click.echo(f"{'BAD' if state.problem else 'ok':<7}  {name}  {state.path}: {verdict}")
            if state.problem:
                bad.append(name)
        shown += len(states)
    if not shown and not bad:
        click.echo("nothing is here yet: meetscribe models pull")
    if bad:
        wrong = " ".join(dict.fromkeys(bad))
        raise WeightsError(
            f"missing or damaged: {wrong}", hint=f"with a network: meetscribe models pull {wrong}"
        )


def _is_gated(model: ModelCard) -> bool:
    return model.hub is not None and model.hub.gated and not model.pinned


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.0f} MB"
