"""``meetscribe train``: make models better, or new ones, from data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meetscribe import resources
from meetscribe.cli.console import reporter
from meetscribe.cli.options import progress_option
from meetscribe.config import build, read

if TYPE_CHECKING:
    from meetscribe.train.joint.settings import JointTraining
    from meetscribe.train.loop import Result
    from meetscribe.train.onestage.settings import OnestageTraining

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    epilog="Example: meetscribe train onestage --speech speech/transcripts.tsv -o runs/one"
)
def train() -> None:
    """Train the models that meetscribe has of its own.

    A run can be stopped with Ctrl-C, or killed: the same command goes on from its last checkpoint.
    """


def _training_options(name: str, *, steps: str, model: str) -> Callable[[F], F]:
    """Add what all trainings have; ``name`` is that of the settings used by default."""
    options = (
        click.option(
            "--config",
            metavar="NAME",
            default=name,
            show_default=True,
            help="YAML file, or a name in configs/train; options win.",
        ),
        click.option(
            "--speech",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Table of read speech (default: speech/transcripts.tsv).",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the run (default: runs/NAME).",
        ),
        click.option(
            "--work",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for speech and rooms, which runs may share (default: work, in that of "
            "the run).",
        ),
        click.option("--steps", type=click.IntRange(min=1), help=steps),
        click.option(
            "--minutes",
            type=click.FloatRange(min=0, min_open=True),
            help="Save and end after so long; the same command goes on.",
        ),
        click.option("--seed", type=click.IntRange(min=0), help="Of everything that is drawn."),
        click.option("--model", help=model),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            help="Processes that make examples (default: all cores but one with a GPU, else one).",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="CPU cores that train."),
        click.option(
            "--prepare",
            "only_prepare",
            is_flag=True,
            help="Cut the speech and compute the rooms only.",
        ),
        progress_option,
        click.option("-q", "--quiet", is_flag=True, help="Show errors only."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@train.command(
    epilog="Example: meetscribe train onestage --config onestage-small "
    "--speech speech/transcripts.tsv -o runs/small"
)
@_training_options(
    "onestage",
    steps="Steps of the optimiser.",
    model="Whisper that is conditioned (default: as the settings say).",
)
def onestage(config: str, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Train the one-stage recogniser: what one speaker says, from all microphones.

    It learns from simulated meetings of read speech, whose table has the columns path, speaker,
    text, and split; the settings may add real meetings. In the folder of the run: log.csv with the
    losses, scores.csv with the word error rates on speakers kept out of training, checkpoints, and
    the best so far as adapter. Several GPUs: accelerate launch --multi_gpu -m meetscribe train ...
    """
    path = resources.find("configs/train", config)
    settings = _onestage_settings(path, options)
    from meetscribe.train.onestage.run import prepare, run

    return _train(path, settings, options, prepare=prepare, run=run)


@train.command(
    epilog="Examples: meetscribe train joint --config joint-small "
    "--speech speech/transcripts.tsv -o runs/joint; meetscribe train joint --model joint-small"
)
@_training_options(
    "joint",
    steps="Steps of every stage.",
    model="Joint model to begin with (joint-small, or a folder), or the Whisper that a small one "
    "is made of (default: as the settings say).",
)
def joint(config: str, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Train a joint model: who says what and when, written in one go.

    It learns from utterance groups, simulated of read speech (a table as for onestage) and, if the
    settings say so, cut out of real meetings made ready by `meetscribe corpus prepare`. Stage
    after stage: the encoder, projectors, low-rank changes of the language model, each begun with
    the best of the one before. In the folder of the run: a folder for every stage with log.csv,
    scores.csv (cpWER, DER on speakers kept out of training) and checkpoints, and the best as
    model. Several GPUs: accelerate launch --multi_gpu -m meetscribe train ...
    """
    path = resources.find("configs/train", config)
    settings = _joint_settings(path, options)
    from meetscribe.train.joint.parts import gather
    from meetscribe.train.joint.run import run

    def prepare(
        settings: JointTraining,
        output: Path,
        work: Path | None,
        machine: Any,  # noqa: ANN401 - of a package that takes long to load
        **about: Any,  # noqa: ANN401
    ) -> None:
        workers = machine.workers_for("cuda")
        gather(settings, work or output / "work", workers=workers, **about)

    return _train(path, settings, options, prepare=prepare, run=run)


def _train(
    path: Path,
    settings: Any,  # noqa: ANN401 - of either training
    options: Mapping[str, Any],
    *,
    prepare: Callable[..., object],
    run: Callable[..., Result],
) -> int:
    """Prepare or run a training, and say how it ended."""
    from meetscribe.train.interrupt import StopRequest
    from meetscribe.train.machine import Machine
    from meetscribe.train.processes import launch

    output: Path = options["output"] or Path("runs") / path.stem
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


def _onestage_settings(path: Path, options: Mapping[str, Any]) -> OnestageTraining:
    """Read the settings, with what the options say laid over them."""
    from meetscribe.train.onestage.settings import OnestageTraining

    given = _given(path, options)
    if options["steps"] is not None:
        given["loop"] = {**(given.get("loop") or {}), "steps": options["steps"]}
    if options["model"] is not None:
        model = dict(given.get("model") or {})
        given["model"] = {
            **model,
            "target": {**(model.get("target") or {}), "base": options["model"]},
        }
    return build(OnestageTraining, given, where=path.name)


def _joint_settings(path: Path, options: Mapping[str, Any]) -> JointTraining:
    """Read the settings, with what the options say laid over them."""
    from meetscribe.engines.joint_models import is_in_catalogue, resolve_joint
    from meetscribe.joint.whisper.checkpoint import is_whisper_joint
    from meetscribe.train.joint.settings import JointTraining

    given = _given(path, options)
    name = options["model"]
    if name is not None:
        if is_in_catalogue(name):
            name = str(resolve_joint(name))
        model = dict(given.get("model") or {})
        if model.get("kind") == "llm" or is_whisper_joint(Path(name).expanduser()):
            model["start"] = name
        else:
            model["whisper"] = {**(model.get("whisper") or {}), "base": name}
        given["model"] = model
    settings = build(JointTraining, given, where=path.name)
    steps = options["steps"]
    if steps is None:
        return settings
    stages = tuple(one.model_copy(update={"steps": steps}) for one in settings.stages)
    return settings.model_copy(update={"stages": stages})


def _given(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    given = read(path)
    for place, name, value in (
        ("speech", "table", options["speech"] and str(options["speech"])),
        ("loop", "seed", options["seed"]),
    ):
        if value is not None:
            given[place] = {**(given.get(place) or {}), name: value}
    return given


def _line(result: Result, output: Path) -> str:
    """Say in one line how it ended."""
    end = f"{output}: {'stopped at' if result.stopped else 'done,'} step {result.step}"
    if result.best_step < 0:
        return f"{end}; no scores yet"
    return f"{end}; best at step {result.best_step}: {result.best:.1%} of words wrong"
