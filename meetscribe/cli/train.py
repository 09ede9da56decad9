"""``meetscribe train``: make models better, or new ones, from data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meetscribe import resources
from meetscribe.cli.console import reporter
from meetscribe.cli.options import progress_option
from meetscribe.config import build, read

if TYPE_CHECKING:
    from meetscribe.train.loop import Result
    from meetscribe.train.onestage.settings import OnestageTraining


@click.group(
    epilog="Example: meetscribe train onestage --speech speech/transcripts.tsv -o runs/one"
)
def train() -> None:
    """Train the models that meetscribe has of its own.

    A run can be stopped with Ctrl-C, or killed: the same command goes on from its last checkpoint.
    """


@train.command(
    epilog="Example: meetscribe train onestage --config onestage-small "
    "--speech speech/transcripts.tsv -o runs/small"
)
@click.option(
    "--config",
    metavar="NAME",
    default="onestage",
    show_default=True,
    help="YAML file, or a name in configs/train; options win.",
)
@click.option(
    "--speech",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of read speech (default: speech/transcripts.tsv).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run (default: runs/NAME).",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for speech and rooms, which runs may share (default: work, in that of the run).",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the optimiser.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Save and end after so long; the same command goes on.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that is drawn.")
@click.option("--model", help="Whisper that is conditioned (default: as the settings say).")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that make examples (default: all cores but one with a GPU, else one).",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU cores that train.")
@click.option(
    "--prepare", "only_prepare", is_flag=True, help="Cut the speech and compute the rooms only."
)
@progress_option
@click.option("-q", "--quiet", is_flag=True, help="Show errors only.")
def onestage(config: str, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Train the one-stage recogniser: what one speaker says, from all microphones.

    It learns from simulated meetings of read speech, whose table has the columns path, speaker,
    text, and split; the settings may add real meetings. In the folder of the run: log.csv with the
    losses, scores.csv with the word error rates on speakers kept out of training, checkpoints, and
    the best so far as adapter. Several GPUs: accelerate launch --multi_gpu -m meetscribe train ...
    """
    path = resources.find("configs/train", config)
    settings = _settings(path, options)
    output: Path = options["output"] or Path("runs") / path.stem
    from meetscribe.train.interrupt import StopRequest
    from meetscribe.train.onestage.run import Machine, prepare, run
    from meetscribe.train.processes import launch

    first = launch().rank == 0
    # of processes that train together one speaks for all
    quiet: bool = options["quiet"] or not first
    machine = Machine(options["device"], options["workers"], options["threads"], options["minutes"])
    with reporter(options["progress"], quiet=quiet) as shown:
        shown.start(f"{path.stem} -> {output}")
        about: dict[str, Any] = {"work": options["work"], "machine": machine}
        about |= {"progress": shown.progress, "note": shown.note}
        if options["only_prepare"]:
            if first:
                prepare(settings, output, **about)
            return 0
        with StopRequest() as stop:
            result = run(settings, output, stop=stop, **about)
        shown.finish()
    if not quiet:
        click.echo(_line(result, output))
    if stop():
        raise KeyboardInterrupt
    return 0


def _settings(path: Path, options: dict[str, Any]) -> OnestageTraining:
    """Read the settings, with what the options say laid over them."""
    from meetscribe.train.onestage.settings import OnestageTraining

    given = read(path)
    for place, name, value in (
        ("speech", "table", options["speech"] and str(options["speech"])),
        ("loop", "steps", options["steps"]),
        ("loop", "seed", options["seed"]),
    ):
        if value is not None:
            given[place] = {**(given.get(place) or {}), name: value}
    if options["model"] is not None:
        model = dict(given.get("model") or {})
        given["model"] = {
            **model,
            "target": {**(model.get("target") or {}), "base": options["model"]},
        }
    return build(OnestageTraining, given, where=path.name)


def _line(result: Result, output: Path) -> str:
    """Say in one line how it ended."""
    end = f"{output}: {'stopped at' if result.stopped else 'done,'} step {result.step}"
    if result.best_step < 0:
        return f"{end}; no scores yet"
    return f"{end}; best at step {result.best_step}: {result.best:.1%} of words wrong"
