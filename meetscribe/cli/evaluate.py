"""``meetscribe evaluate``: score files against files, or run a pipeline over a corpus and score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from meetscribe.cli.console import Reporter, aligned, reporter
from meetscribe.cli.options import PIPELINE_WORDS, make_runner, pipeline_options, run_options
from meetscribe.config import build, load, read
from meetscribe.errors import OutputError
from meetscribe.evaluate.corpora.manifest import Corpus
from meetscribe.evaluate.scores import Scores
from meetscribe.evaluate.settings import METRICS, EvaluateSettings
from meetscribe.resources import find

EXIT_SOME_FAILED = 5
_NOTES_SHOWN = 12
_NOT_STATED = "not stated"

_EXAMPLES = """\b
Examples:
  meetscribe evaluate --ref meeting.stm --hyp meeting.json
  meetscribe evaluate --ref references/ --hyp results/ --collar 0.25 -o scores
  meetscribe evaluate --corpus ami --condition sdm --split test -o results
  meetscribe compare results/mono results/array
"""

_SCORING = (
    "collar",
    "score_overlap",
    "tcp_collar",
    "normaliser",
    "fillers",
    "numerals",
    "unit",
    "metrics",
    "partial",
)

_OF_CORPUS = (
    "condition",
    "split",
    "partition",
    "sessions",
    *PIPELINE_WORDS,
)
_SAID_BY_SCORING = (
    "sessions",
    "scored",
    "collar",
    "overlap",
    "tcp",
    "normaliser",
    "aggregation",
    "failed",
)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--ref",
    type=click.Path(path_type=Path),
    help="References: a file or a folder of SegLST, STM, CTM, RTTM, TextGrid or meetscribe JSON.",
)
@click.option(
    "--hyp", type=click.Path(path_type=Path), help="Hypotheses, in any of the same formats."
)
@click.option(
    "--corpus",
    metavar="NAME|DIR",
    help="What to transcribe and score: a corpus (see: meetscribe corpus prepare), or a folder of "
    "recordings with references of the same names.",
)
@click.option("--condition", help="Which microphones of the corpus, such as sdm or mdm.")
@click.option("--split", help="Which part of the corpus, such as dev or test.")
@click.option("--partition", help="Which way to split it (default: the corpus's own).")
@click.option(
    "--session", "sessions", multiple=True, metavar="ID", help="Only this session (repeatable)."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for results.json, results.csv, report.md and report.html; with --corpus also "
    "for the transcripts.",
)
@click.option("--uem", type=click.Path(path_type=Path), help="What to score: UEM file or folder.")
@click.option(
    "--protocol",
    default="strict",
    show_default=True,
    metavar="NAME",
    help="Scoring protocol: strict, m2met, or a YAML file; the options below go before it.",
)
@click.option(
    "--collar",
    type=click.FloatRange(min=0),
    help="Leave ±SECONDS around reference boundaries unscored in DER (as md-eval; default: 0).",
)
@click.option(
    "--no-overlap",
    "score_overlap",
    flag_value=False,
    default=None,
    help="Leave overlapped speech out of DER.",
)
@click.option("--tcp-collar", type=click.FloatRange(min=0), help="Seconds for tcpWER (default: 5).")
@click.option(
    "--normaliser",
    metavar="NAME",
    help="auto, basic, chime8, whisper, ami, m2met or zh (default: auto: chime8, zh for Chinese).",
)
@click.option(
    "--fillers", type=click.Choice(["keep", "drop"]), help="Words like 嗯 (default: keep)."
)
@click.option(
    "--numerals",
    type=click.Choice(["keep", "unify"]),
    help="Whether 二十 and 20 are the same (default: keep).",
)
@click.option(
    "--unit",
    type=click.Choice(["auto", "word", "char", "mixed"]),
    help="Tokens: auto is char for Chinese, word else; mixed keeps Latin words whole.",
)
@click.option(
    "--metrics",
    metavar="LIST",
    help=f"With commas, of {','.join(METRICS)} (default: all but the last).",
)
@click.option(
    "--partial",
    is_flag=True,
    default=None,
    help="Leave out sessions without a hypothesis, instead of counting them as lost.",
)
@click.option(
    "--state",
    multiple=True,
    metavar="KEY=VALUE",
    help="What else the protocol line should say of --hyp, such as channels=sdm (repeatable).",
)
@click.option("--name", help="Name of the run in tables (default: the hypotheses' or pipeline's).")
@click.option("--force", is_flag=True, help="Replace results that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json in place of the table.")
@pipeline_options
@run_options
@click.pass_context
def evaluate(context: click.Context, /, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Score transcripts against references: DER, JER, WER, cpWER, tcpWER, ORC-WER.

    Either --ref and --hyp, or --corpus, which transcribes what is not transcribed yet and scores
    it; stopping and starting again loses nothing. Under the table stands how it was scored.
    """
    _check_usage(context, options)
    settings = _settings(options)
    with reporter(options["progress"], quiet=False) as shown:
        if options["corpus"]:
            scores = _run_corpus(options, settings, shown)
        else:
            scores = _score_files(options, settings, shown)
        shown.finish()
        _note(scores, shown)
    _print(scores, as_json=options["as_json"])
    return EXIT_SOME_FAILED if scores.total.failed else 0


def _check_usage(context: click.Context, options: dict[str, Any]) -> None:
    if options["corpus"]:
        if options["ref"] or options["hyp"]:
            raise click.UsageError("--corpus has its own references; leave out --ref and --hyp")
        if not options["output"]:
            raise click.UsageError("--corpus needs -o DIR, for transcripts and results")
        if options["uem"]:
            raise click.UsageError("--corpus has its own UEM; leave out --uem")
        if options["state"]:
            raise click.UsageError("--state is of --hyp; what --corpus runs is known")
        return
    if not (options["ref"] and options["hyp"]):
        raise click.UsageError("give --ref and --hyp, or --corpus")
    given = click.core.ParameterSource.DEFAULT
    for name in _OF_CORPUS:
        if context.get_parameter_source(name) != given:
            option = "session" if name == "sessions" else name.replace("_", "-")
            raise click.UsageError(f"--{option} belongs to --corpus; --hyp is scored as it is")


def _settings(options: dict[str, Any]) -> EvaluateSettings:
    given = {name: options[name] for name in _SCORING if options[name] is not None}
    if "metrics" in given:
        given["metrics"] = [part.strip() for part in given["metrics"].split(",") if part.strip()]
    protocol = find("configs/evaluate", options["protocol"])
    load(EvaluateSettings, protocol)  # its own mistakes are named with its own name
    return build(EvaluateSettings, {**read(protocol), **given}, where="options")


def _stated(lines: tuple[str, ...]) -> dict[str, str]:
    said = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if not (equals and key.strip() and value.strip()):
            raise click.UsageError(f"--state {line}: expected KEY=VALUE")
        if key.strip() in _SAID_BY_SCORING:
            raise click.UsageError(f"--state {line}: the protocol line says what was done")
        said[key.strip()] = value.strip()
    return said


def _score_files(options: dict[str, Any], settings: EvaluateSettings, shown: Reporter) -> Scores:
    from meetscribe.evaluate import sessions
    from meetscribe.evaluate.report import write
    from meetscribe.evaluate.score import score

    stated = _stated(options["state"])
    folder: Path | None = options["output"]
    if folder:
        _refuse_existing(folder, force=options["force"])
    references, hypotheses = (
        sessions.read(options["ref"], references=True),
        sessions.read(options["hyp"]),
    )
    uem = sessions.read_uem(options["uem"]) if options["uem"] else None
    pairs = sessions.pair(references, hypotheses, uem=uem, partial=settings.partial)
    notes = sessions.left_out(references, hypotheses, partial=settings.partial)
    shown.start(f"scoring {len(pairs)} session{'s' if len(pairs) > 1 else ''}")
    name = options["name"] or options["hyp"].resolve().name
    protocol = {
        "sessions": str(len(pairs)),
        **dict.fromkeys(("channels", "segmentation", "speaker count"), _NOT_STATED),
        "reference": options["ref"].name or str(options["ref"]),
        **stated,
        "scored": options["uem"].name if options["uem"] else "whole sessions (no UEM)",
    }
    scores = score(pairs, settings, name=name, protocol=protocol, progress=shown.progress)
    scores = replace(scores, notes=(*notes, *scores.notes))
    if folder:
        shown.finish()
        for path in write(scores, folder):
            shown.note(f"wrote {path}")
    return scores


def _run_corpus(options: dict[str, Any], settings: EvaluateSettings, shown: Reporter) -> Scores:
    from meetscribe.batch.evaluation import Selection, run_and_score

    corpus = _corpus(options["corpus"], options["output"], shown)
    selection = Selection(
        condition=options["condition"],
        split=options["split"],
        partition=options["partition"],
        sessions=options["sessions"],
    )
    return run_and_score(
        corpus,
        selection,
        lambda channels: make_runner(options, channels=options["channels"] or channels),
        settings,
        folder=options["output"],
        name=options["name"] or Path(options["pipeline"]).stem,
        force=options["force"],
        watch=shown,
    )


def _corpus(name: str, output: Path, shown: Reporter) -> Corpus:
    """Find a prepared corpus, or prepare a folder of recordings with references on the way."""
    from meetscribe.evaluate.corpora import manifest
    from meetscribe.evaluate.corpora.folder import prepare_folder

    folder = Path(name)
    if not folder.is_dir() or (folder / manifest.FILE_NAME).is_file():
        return manifest.load(name)
    shown.start(f"preparing {folder}")
    made = prepare_folder(folder, output / "corpus", progress=shown.progress)
    shown.finish()
    for line in (*made.notes, *made.problems):
        shown.note(f"note: {line}")
    return made


def _refuse_existing(folder: Path, *, force: bool) -> None:
    from meetscribe.evaluate.report import FILES

    there = next((folder / name for name in FILES if (folder / name).exists()), None)
    if there and not force:
        raise OutputError(
            f"{there} is there already", hint="replace it with --force, or choose another -o"
        )


def _note(scores: Scores, shown: Reporter) -> None:
    from meetscribe.evaluate.report.contents import notes

    lines = notes(scores)
    for line in lines[:_NOTES_SHOWN]:
        shown.note(f"note: {line}")
    if more := lines[_NOTES_SHOWN:]:
        shown.note(f"note: {len(more)} more, in report.md of -o DIR")


def _print(scores: Scores, *, as_json: bool) -> None:
    from meetscribe.evaluate import report

    if as_json:
        click.echo(report.to_json(scores), nl=False)
        return
    rows = report.table(scores)
    for line in aligned(rows, right=range(1, len(rows[0]))):
        click.echo(line)
    click.echo(f"\n{scores.protocol_line}")
