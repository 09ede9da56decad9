"""``meetscribe batch``: the options, then the scheduler, then what came of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from meetscribe.batch.names import name_speakers
from meetscribe.batch.plan import Request
from meetscribe.batch.pool import ProcessPool
from meetscribe.batch.ray_pool import LOCAL, RayPool
from meetscribe.batch.run import Batch, Limits
from meetscribe.batch.start import Prepared, prepare
from meetscribe.batch.summary import State, Summary, write
from meetscribe.batch.tasks import Executor
from meetscribe.batch.workers import choose_workers
from meetscribe.cli.batch_view import BatchView, sayable, view
from meetscribe.cli.options import (
    KNOWN_WORDS,
    RUNNER_WORDS,
    known_speakers_options,
    make_runner,
    pipeline_options,
    render_options,
    run_options,
    shared_render_options,
)
from meetscribe.errors import MeetscribeError
from meetscribe.pipeline.outputs import parse_formats
from meetscribe.pipeline.store import parse_size
from meetscribe.speakers.naming import Known

EXIT_SOME_FAILED = 5

_EXAMPLES = """\b
Examples:
  meetscribe batch recordings -o transcripts
  meetscribe batch 'archive/2026-*/**/*.m4a' -o transcripts -f srt --workers 4
  meetscribe batch headsets -o out --group-channels '_ch\\d+'
  meetscribe batch list.csv -o out --memory 16GB
  meetscribe batch weekly -o out --enroll team --link-series
  meetscribe batch s3://archive/2026 -o s3://texts/2026 --ray auto --num-gpus 0.25
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
    "--ray",
    metavar="ADDRESS",
    help="Run on Ray: 'auto' for the cluster this machine is in, HOST:PORT, or 'local'.",
)
@click.option(
    "--num-gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="X",
    help="With --ray: GPUs of each worker; 0.25 puts four workers on one.",
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
@known_speakers_options
@click.option(
    "--link-series",
    is_flag=True,
    help="The same name for the same voice in all recordings: 'Voice 1' ..., if nobody knows it.",
)
@pipeline_options
@shared_render_options
@run_options
@click.option("-q", "--quiet", is_flag=True, help="Show errors only.")
def batch(inputs: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's options
    """Transcribe all recordings of folders, each in a process of its own, here or on a cluster.

    DIR is a folder, a file, a pattern, a manifest (.csv, .jsonl) or a URL that fsspec reads. What
    is done is not done again: run the same command after a stop, or when recordings have come.
    One that fails costs no other. At the end stand summary.csv, summary.json and summary.md.
    """
    workers, threads = _share_out(options)
    options = {**options, "threads": threads}
    runner = make_runner(options)
    link = options["link_series"] or options["remember"]
    naming = link or any(options[name] for name in KNOWN_WORDS)
    request = Request(
        output=options["output"],
        formats=tuple(dict.fromkeys(("json", *parse_formats(options["format_names"])))),
        described=runner.describe(),
        looks=render_options(options).model_dump(mode="json", exclude_defaults=True),
        force=options["force"],
        verify=options["verify"],
        retry_failed=options["retry_failed"],
        voices=naming,
    )
    with view(options["progress"], quiet=options["quiet"]) as shown, _ended_politely():
        prepared = prepare(
            inputs, request, group_channels=options["group_channels"], progress=shown.looking
        )
        if options["dry_run"]:
            return _tell_plan(prepared)
        known = None
        if naming:
            known = runner.know(**{name: options[name] for name in KNOWN_WORDS}) or Known()
        # a run that finds all done need not wait for Ray to start
        executor = _executor(options, workers, anything=bool(prepared.plan.todo))
        limits = Limits(options["timeout"], options["timeout_floor"], options["retries"])
        job = prepared.batch(executor, shown, limits)
        return _run(prepared, job, shown, known=known, link=link)


def _share_out(options: Mapping[str, Any]) -> tuple[int | None, int]:
    """Give how many workers there may be, None for as many as a cluster takes, and their threads.

    Raises
    ------
    UsageError
        If options exclude each other.
    """
    if options["num_gpus"] and not options["ray"]:
        raise click.UsageError("--num-gpus shares GPUs out among the workers of --ray")
    if options["ray"] in {None, LOCAL}:
        return choose_workers(
            options["workers"],
            options["threads"],
            memory=options["memory"],
            memory_a_worker=options["memory_per_worker"],
        )
    if options["memory"] is not None:
        raise click.UsageError("--memory is of this machine; on a cluster say --memory-per-worker")
    # many workers with one thread do more than one with many
    return options["workers"], options["threads"] or 1


def _executor(options: Mapping[str, Any], workers: int | None, *, anything: bool) -> Executor:
    words = {name: options[name] for name in RUNNER_WORDS}
    if options["ray"] is None or not anything:
        return ProcessPool(words, workers=workers or 1)
    return RayPool(
        words,
        address=options["ray"],
        workers=workers,
        threads=options["threads"],
        num_gpus=options["num_gpus"],
        memory=options["memory_per_worker"],
    )


def _run(
    prepared: Prepared,
    job: Batch,
    shown: BatchView,
    *,
    known: Known | None,
    link: bool,
) -> int:
    shown.start(len(prepared.sessions), len(prepared.plan.todo), job.executor.slots)
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
    unnamed = None
    if known is not None:
        try:
            summary, unnamed = name_speakers(prepared, summary, known, link=link, say=shown.note)
        except BaseException:
            # what was transcribed is told of, whatever became of the names
            _write(summary, prepared, shown)
            raise
        for note in known.notes:
            shown.note(f"note: {note}")
    places = write(summary, prepared.request.output)
    if unnamed is not None:
        raise unnamed
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
