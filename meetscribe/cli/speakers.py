"""``meetscribe speakers``: people whose voices are kept on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from meetscribe.cli.console import aligned, reporter
from meetscribe.cli.options import progress_option
from meetscribe.errors import ConfigError
from meetscribe.files import write_atomic
from meetscribe.pipeline.outputs import output_error
from meetscribe.speakers.enrol import enrol, find_people
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.store import SpeakerStore, default_path

F = TypeVar("F", bound=Callable[..., Any])


def _store(command: F) -> F:
    return click.option(
        "--store",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help="Another store than the default one (MEETSCRIBE_SPEAKERS).",
    )(command)


def _opened(path: Path | None) -> SpeakerStore:
    return SpeakerStore(path or default_path())


@click.group(epilog="Example: meetscribe speakers add Anna anna.wav")
def speakers() -> None:
    """Keep people's voices on this machine, name them, forget them.

    Nothing is kept unless you add somebody here, or ask for it with --remember. The speakers of
    a recording are compared with those who are kept by `--speakers-store default`.
    """


@speakers.command("list", epilog="Example: meetscribe speakers list")
@_store
def list_speakers(*, store: Path | None) -> None:
    """List who is kept, with how many recordings and seconds of speech."""
    opened = _opened(store)
    people = opened.people()
    rows = [("name", "recordings", "speech")]
    for person in people:
        seconds = sum(voice.seconds for voice in person.voices)
        rows.append((person.name, str(len(person.voices)), f"{seconds:.0f} s"))
    for line in aligned(rows, right={1, 2}) if people else ["nobody is kept"]:
        click.echo(line)
    click.echo(f"\nstore: {opened.path}", err=True)
    _tell(opened)


@speakers.command(epilog="Example: meetscribe speakers add Anna anna1.wav anna2.m4a")
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--offline", is_flag=True, help="Never open a network connection.")
@progress_option
@_store
def add(
    name: str,
    files: tuple[Path, ...],
    *,
    device: str,
    offline: bool,
    progress: str,
    store: Path | None,
) -> None:
    """Keep the voice of NAME, heard in FILES (or folders) in which nobody else speaks."""
    if not name.strip():
        raise ConfigError("expected a name, found none")
    recordings: list[Path] = []
    for path in files:
        found = find_people(path).values() if path.is_dir() else [[path]]
        recordings += chain.from_iterable(found)
    models = VoiceModels(device=device, offline=offline)
    with reporter(progress, quiet=False) as shown:
        made = enrol({name.strip(): recordings}, models, progress=shown.progress)
    opened = _opened(store)
    opened.add(made.people)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    seconds = sum(voice.seconds for person in made.people for voice in person.voices)
    click.echo(f"{name.strip()}: {seconds:.0f} s of speech kept")
    _tell(opened)


@speakers.command(epilog='Example: meetscribe speakers name "Voice 3" Anna')
@click.argument("old")
@click.argument("new")
@_store
def name(old: str, new: str, *, store: Path | None) -> None:
    """Give OLD the name NEW."""
    _opened(store).name(old, new.strip())


@speakers.command(epilog='Example: meetscribe speakers merge Anna "Voice 3"')
@click.argument("name")
@click.argument("others", nargs=-1, required=True)
@_store
def merge(name: str, others: tuple[str, ...], *, store: Path | None) -> None:
    """Make NAME and OTHERS one person, called NAME."""
    _opened(store).merge(name, others)


@speakers.command(
    epilog="Examples: meetscribe speakers forget Anna; meetscribe speakers forget --all"
)
@click.argument("names", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Delete the store and its key.")
@_store
def forget(names: tuple[str, ...], *, everybody: bool, store: Path | None) -> None:
    """Delete the voices of NAMES; their space in the file is overwritten.

    Names in transcripts stay: `meetscribe rename` takes them back.
    """
    if everybody == bool(names):
        raise ConfigError("expected names, or --all", hint="`meetscribe speakers list` names them")
    opened = _opened(store)
    if everybody:
        opened.forget_all()
    else:
        opened.forget(names)


@speakers.command(epilog="Example: meetscribe speakers export -o speakers.json")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write (default: print).",
)
@_store
def export(*, output: Path | None, store: Path | None) -> None:
    """Write everything that is kept as JSON, voiceprints included, not encrypted."""
    text = json.dumps(_opened(store).export(), ensure_ascii=False, indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomic({output: text})
        output.chmod(0o600)
    except OSError as error:
        raise output_error(output, error) from error


def _tell(opened: SpeakerStore) -> None:
    if opened.note:
        click.echo(f"note: {opened.note}", err=True)
