"""``meetscribe pipelines``: which there are, and what they set."""

from __future__ import annotations

import click
import yaml

from meetscribe import resources
from meetscribe.pipeline.spec import load_spec


@click.group()
def pipelines() -> None:
    """List the pipelines and show their settings."""


@pipelines.command("list")
def list_pipelines() -> None:
    """List the pipelines by name."""
    found = resources.listing("pipelines")
    width = max(map(len, found), default=0)
    for name in found:
        click.echo(f"{name:<{width}}  {load_spec(name).summary}")


@pipelines.command()
@click.argument("name")
def show(name: str) -> None:
    """Show a pipeline with every setting filled in; NAME may be a YAML file.

    What it prints is a pipeline file: save it, change it, and give it to --pipeline.
    """
    spec = load_spec(name)
    click.echo(
        yaml.safe_dump(
            spec.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True
        ),
        nl=False,
    )
