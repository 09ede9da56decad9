"""``meetscribe corpus``: make a corpus of what was downloaded, and say what is in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from meetscribe.cli.console import Reporter, aligned, reporter
from meetscribe.cli.options import progress_option
from meetscribe.errors import ConfigError
from meetscribe.evaluate.corpora.manifest import Corpus, CorpusSession
from meetscribe.types import Progress

F = TypeVar("F", bound=Callable[..., object])

EXIT_SOME_FAILED = 5
_SHOWN = 20
"""So many problems are printed; the manifest has them all."""

_ORDER = ("train", "dev", "eval", "test")

_folder = click.Path(path_type=Path, file_okay=False)


@click.group()
def corpus() -> None:
    """Prepare AMI, AliMeeting or your own recordings for scoring.

    A prepared corpus is a folder with corpus.json and the references as RTTM, SegLST and UEM;
    audio stays where it is. `meetscribe evaluate --corpus` scores a pipeline on it.
    """


@corpus.group()
def prepare() -> None:
    """Make a corpus of what was downloaded.

    What is missing or damaged is named and the rest goes on; the exit code is then 5. Running it
    again refreshes the corpus.
    """


def _shared_options(command: F) -> F:
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Show problems and errors only."),
        progress_option,
    ):
        command = option(command)
    return command


def _output(default: str) -> Callable[[F], F]:
    return click.option(
        "-o",
        "--output",
        type=_folder,
        default=None,
        help=f"Folder of the corpus (default: corpora/{default}).",
    )


@prepare.command(
    epilog="Example: meetscribe corpus prepare ami --audio amicorpus "
    "--annotations ami_public_manual_1.6.2.zip"
)
@click.option(
    "--audio",
    type=_folder,
    default=None,
    help="Folder with the official recordings, at any depth; without it references only.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    required=True,
    help="ami_public_manual_1.6.2: zip, tar.gz or folder.",
)
@_output("ami")
@_shared_options
def ami(
    audio: Path | None, annotations: Path, output: Path | None, progress: str, *, quiet: bool
) -> int:
    """Prepare the AMI Meeting Corpus.

    Conditions: ihm (a headset a speaker), ihm-mix, sdm (the first far microphone) and mdm (the 8
    of Array1). Partitions: full-corpus-asr (default), full-corpus, scenario-only.
    """
    from meetscribe.evaluate.corpora.ami import prepare_ami

    target = output or Path("corpora", "ami")
    return _prepare(
        "AMI",
        lambda report: prepare_ami(audio, annotations, target, progress=report),
        progress,
        quiet=quiet,
    )


@prepare.command(epilog="Example: meetscribe corpus prepare alimeeting --root AliMeeting")
@click.option(
    "--root",
    type=_folder,
    required=True,
    help="Folder in which the official archives were unpacked (Eval_Ali, Test_Ali, Train_Ali...).",
)
@_output("alimeeting")
@_shared_options
def alimeeting(root: Path, output: Path | None, progress: str, *, quiet: bool) -> int:
    """Prepare AliMeeting.

    Conditions: far (8 channels), far-ch1 (the first of them) and near (a headset a speaker).
    Splits: train, eval and test.
    """
    from meetscribe.evaluate.corpora.alimeeting import prepare_alimeeting

    target = output or Path("corpora", "alimeeting")
    return _prepare(
        "AliMeeting",
        lambda report: prepare_alimeeting(root, target, progress=report),
        progress,
        quiet=quiet,
    )


@prepare.command(
    epilog="Example: meetscribe corpus prepare folder my-meetings --name mine --language en"
)
@click.argument("folder", type=_folder)
@_output("NAME")
@click.option("--name", default=None, help="Name of the corpus (default: the folder's).")
@click.option("--language", default="", metavar="CODE", help="Language of all, such as en or zh.")
@_shared_options
def folder(
    folder: Path,
    output: Path | None,
    name: str | None,
    language: str,
    progress: str,
    *,
    quiet: bool,
) -> int:
    """Prepare your own recordings and references, paired by name.

    meeting1.wav goes with meeting1.rttm, .seglst.json, .stm, .TextGrid, .ctm or .json (and .uem);
    or audio.wav with ref.rttm and so on in a folder for each session.
    """
    from meetscribe.evaluate.corpora.folder import prepare_folder

    called = folder.resolve().name if name is None else name
    if not called or Path(called).name != called:
        raise ConfigError(f"'{called}' is no name for a corpus", hint="give one with --name")
    target = output or Path("corpora", called)
    return _prepare(
        called,
        lambda report: prepare_folder(
            folder, target, name=called, language=language, progress=report
        ),
        progress,
        quiet=quiet,
    )


@corpus.command(epilog="Example: meetscribe corpus show ami --sessions")
@click.argument("name", metavar="NAME|DIR")
@click.option("--sessions", is_flag=True, help="List every session.")
def show(name: str, *, sessions: bool) -> None:
    """Say what is in a prepared corpus, and what is missing or damaged.

    A name is looked for in corpora/ here and in $MEETSCRIBE_CORPORA.
    """
    from meetscribe.evaluate.corpora.manifest import load

    found = load(name)
    click.echo(f"{found.name}: {found.folder}")
    click.echo(f"reference: {found.reference}; licence: {found.licence or 'not stated'}\n")
    for line in _table(found):
        click.echo(line)
    if sessions:
        click.echo()
        for line in _session_table(found):
            click.echo(line)
    for title, lines in (("notes", found.notes), ("problems", found.problems)):
        if lines:
            click.echo(f"\n{title}:")
        for line in lines:
            click.echo(f"  {line}")


def _prepare(title: str, make: Callable[[Progress], Corpus], progress: str, *, quiet: bool) -> int:
    with reporter(progress, quiet=quiet) as shown:
        shown.start(f"preparing {title}")
        made = make(shown.progress)
        shown.finish()
        _tell(made, shown)
    if not quiet:
        for line in _table(made):
            click.echo(line)
    return EXIT_SOME_FAILED if made.problems else 0


def _tell(made: Corpus, shown: Reporter) -> None:
    for note in made.notes:
        shown.note(f"note: {note}")
    for problem in made.problems[:_SHOWN]:
        shown.error(problem, "")
    if len(made.problems) > _SHOWN:
        shown.error(
            f"and {len(made.problems) - _SHOWN} more problems",
            f"all of them: meetscribe corpus show {made.folder}",
        )
    shown.note(f"wrote {made.folder}")


def _table(made: Corpus) -> list[str]:
    """Count sessions, hours, and those with audio, a line for each split."""
    rows = [["", "sessions", "hours", *made.conditions]]
    for partition, split, inside in _splits(made):
        rows.append(
            [
                " ".join(filter(None, (partition, split))),
                str(len(inside)),
                f"{sum(session.duration or 0.0 for session in inside) / 3600:.2f}",
                *(str(sum(name in one.audio for one in inside)) for name in made.conditions),
            ]
        )
    lines = aligned(rows, right=range(1, len(rows[0])))
    return lines if made.conditions else [*lines, "no audio, references only"]


def _splits(made: Corpus) -> list[tuple[str, str, Sequence[CorpusSession]]]:
    there = {place for session in made.sessions for place in session.splits.items()}

    def rank(place: tuple[str, str]) -> tuple[bool, str, int, str]:
        partition, split = place
        known = _ORDER.index(split) if split in _ORDER else len(_ORDER)
        return partition != made.default_partition, partition, known, split

    found: list[tuple[str, str, Sequence[CorpusSession]]] = [
        (partition, split, made.select(split=split, partition=partition))
        for partition, split in sorted(there, key=rank)
    ]
    loose = [session for session in made.sessions if not session.splits]
    if loose:
        found.append(("", "in no split" if found else "all", loose))
    return found


def _session_table(made: Corpus) -> list[str]:
    rows = [["session", "minutes", "speakers", "words", "audio", "splits"]]
    rows += [
        [
            session.session_id,
            f"{(session.duration or 0.0) / 60:.1f}",
            str(len(session.speakers)),
            "yes" if session.seglst else "no",
            " ".join(session.audio) or "-",
            " ".join(f"{name}={split}" for name, split in session.splits.items()) or "-",
        ]
        for session in made.sessions
    ]
    return aligned(rows, right=(1, 2))
