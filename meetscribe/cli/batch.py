"""``meetscribe batch``: the options, then the scheduler, then what came of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from meetscribe.batch.plan import Request
from meetscribe.batch.pool import ProcessPool
from meetscribe.batch.run import Batch, Limits
from meetscribe.batch.start import Prepared, prepare
from meetscribe.batch.summary import State, Summary, write
from meetscribe.batch.workers import choose_workers
from meetscribe.cli.batch_view import BatchView, sayable, view
from meetscribe.cli.options import (
    RUNNER_WORDS,
    make_runner,
    pipeline_options,
    render_options,
    run_options,
    shared_render_options,
)
from meetscribe.errors import MeetscribeError
from meetscribe.pipeline.outputs import parse_formats
from meetscribe.pipeline.store import parse_size

EXIT_SOME_FAILED = 5

_EXAMPLES = """\b
Examples:
  meetscribe batch recordings -o transcripts
  meetscribe batch 'archive/2026-*/**/*.m4a' -o transcripts -f srt --workers 4
  meetscribe batch headsets -o out --group-channels '_ch\\d+'
  meetscribe batch list.csv -o out --memory 16GB
"""


def _bytes(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=_EXAMPLES)
@click.argument("inputs", nargs=-1, required=True, metavar="DIR...")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder (or URL) for results.")
@click.option(
    "-f",
    "--format",
    "format_names",
    multiple=True,
    metavar="LIST",
    help="Formats, with commas, or 'all' (default: txt,srt,rttm; json is always written).",
)
@click.option(
    "--group-channels",
    metavar="REGEX",
    help="Files of a folder whose names differ only in what this matches are the channels of one "
    "session.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Recordings at once (default: by memory, cores)."
)
@click.option(
    "--memory", callback=_bytes, metavar="SIZE", help="What all workers may take, such as 16GB."
)
@click.option(
    "--memory-per-worker",
    callback=_bytes,
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="What one worker is taken to need.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="X",
    help="An attempt may take X times the length of the recording, plus --timeout-floor.",
)
@click.option(
    "--timeout-floor",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds that any attempt may take.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Attempts after a crash, a hang or want of memory; the last one with little memory.",
)
@click.option("--retry-failed", is_flag=True, help="Try again what was found to be no good.")
@click.option("--verify", is_flag=True, help="Read all audio again to see whether it changed.")
@click.option(
    "--force", is_flag=True, help="Replace results made from other audio or with other options."
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and stop.")
@pipeline_options
@shared_render_options
@run_options
@click.option("-q", "--quiet", is_flag=True, help="Show errors only.")
def batch(inputs: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's options
    """Transcribe all recordings of folders, each in a process of its own.

    DIR is a folder, a file, a pattern, a manifest (.csv, .jsonl) or a URL that fsspec reads. What
    is done is not done again: run the same command after a stop, or when recordings have come.
    One that fails costs no other. At the end stand summary.csv, summary.json and summary.md.
    """
    workers, threads = choose_workers(
        options["workers"],
        options["threads"],
        memory=options["memory"],
        memory_a_worker=options["memory_per_worker"],
    )
    options = {**options, "threads": threads}
    runner = make_runner(options)
    request = Request(
        output=options["output"],
        formats=tuple(dict.fromkeys(("json", *parse_formats(options["format_names"])))),
        described=runner.describe(),
        looks=render_options(options).model_dump(mode="json", exclude_defaults=True),
        force=options["force"],
        verify=options["verify"],
        retry_failed=options["retry_failed"],
    )
    with view(options["progress"], quiet=options["quiet"]) as shown, _ended_politely():
        prepared = prepare(
            inputs, request, group_channels=options["group_channels"], progress=shown.looking
        )
        if options["dry_run"]:
            return _tell_plan(prepared)
        pool = ProcessPool({name: options[name] for name in RUNNER_WORDS}, workers=workers)
        limits = Limits(options["timeout"], options["timeout_floor"], options["retries"])
        return _run(prepared, prepared.batch(pool, shown, limits), shown, workers)


def _run(prepared: Prepared, job: Batch, shown: BatchView, workers: int) -> int:
    shown.start(len(prepared.sessions), len(prepared.plan.todo), workers)
    for problem in prepared.problems:
        shown.error(f"{problem.place}: {problem.reason}", "check the rights; the others go on")
    try:
        summary = prepared.with_problems(job.run(prepared.sessions, prepared.plan))
    except BaseException:
        # a stop leaves a summary too, if that can be had
        _write(prepared.with_problems(Summary(job.rows)), prepared, shown)
        raise
    if job.stopped is not None:
        _write(summary, prepared, shown)
        raise job.stopped
    places = write(summary, prepared.request.output)
    shown.close()
    failed = summary.count(State.FAILED)
    if not shown.silent or failed:
        done = summary.count(State.DONE)
        click.echo(f"{done} done, {failed} failed; see {places[-1]}")
    return EXIT_SOME_FAILED if failed else 0


def _write(summary: Summary, prepared: Prepared, shown: BatchView) -> None:
    try:
        write(summary, prepared.request.output)
    except MeetscribeError as error:
        shown.error(error.message, error.hint)


def _tell_plan(prepared: Prepared) -> int:
    todo = {session.name for session in prepared.plan.todo}
    for session in prepared.sessions:
        record = prepared.plan.known.get(session.name)
        state = "to do" if session.name in todo else str(record and record.outcome.verdict)
        line = f"{state:<6} {session.name}  <- {', '.join(session.sources)}"
        click.echo(sayable(line))
    for problem in prepared.problems:
        click.echo(f"cannot {problem.place}: {problem.reason}")
    click.echo(f"{len(todo)} of {len(prepared.sessions)} to do")
    return 0


@contextmanager
def _ended_politely() -> Iterator[None]:
    """Take a request to end as Ctrl-C: workers are ended, the summary is written."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
