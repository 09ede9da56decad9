"""``meetscribe transcribe``: the options, then the runner, then what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meetscribe import formats
from meetscribe.cli.console import Reporter, reporter
from meetscribe.cli.options import (
    KNOWN_WORDS,
    known_speakers_options,
    make_runner,
    pipeline_options,
    render_options,
    run_options,
    shared_render_options,
    speaker_names_option,
)
from meetscribe.errors import AudioError, ConfigError, MeetscribeError
from meetscribe.pipeline.outputs import parse_formats, read_names
from meetscribe.pipeline.runner import Outputs, Result, Runner
from meetscribe.speakers.naming import Known, matches_in

EXIT_SOME_FAILED = 5

_EXAMPLES = """\b
Examples:
  meetscribe transcribe meeting.wav
  meetscribe transcribe call.mp4 -o results -f srt,vtt --speakers 2
  meetscribe transcribe a.wav b.wav c.wav --as-channels
  meetscribe transcribe 会议.m4a --language zh --model small
"""


@click.command(epilog=_EXAMPLES)
@click.argument("audio", nargs=-1, required=True, metavar="AUDIO...")
@click.option(
    "--as-channels", is_flag=True, help="The files are the channels of one session, not several."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for the results (default: beside the audio).",
)
@click.option(
    "-f",
    "--format",
    "format_names",
    multiple=True,
    metavar="LIST",
    help="Formats, with commas, or 'all' (default: txt,srt,rttm; json is always written).",
)
@click.option("--force", is_flag=True, help="Replace results that are there already.")
@pipeline_options
@speaker_names_option
@known_speakers_options
@shared_render_options
@run_options
@click.option("-q", "--quiet", is_flag=True, help="Show errors only; write the files.")
def transcribe(audio: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's options
    """Say who spoke what and when in each AUDIO file.

    Prints the transcript and writes <session>.json (from which `meetscribe export` makes every
    format), .txt, .srt and .rttm. Nothing is overwritten without --force. Several files are
    several sessions, unless --as-channels makes them one.
    """
    one_by_one = [[path] for path in dict.fromkeys(audio)]
    sessions = [list(audio)] if options["as_channels"] else one_by_one
    for path in audio:
        _refuse_folder(Path(path))
    names = read_names(options["speaker_names"]) if options["speaker_names"] else {}
    outputs = Outputs(
        folder=options["output"],
        formats=tuple(dict.fromkeys(("json", *parse_formats(options["format_names"])))),
        options=render_options(options),
        force=options["force"],
    )
    _refuse_same_results(sessions, outputs.folder)
    runner = make_runner(options)
    failed = 0
    with reporter(options["progress"], quiet=options["quiet"]) as shown:
        known = runner.know(
            **{name: options[name] for name in KNOWN_WORDS}, progress=shown.progress
        )
        for number, paths in enumerate(sessions):
            try:
                _one(
                    runner,
                    paths,
                    outputs,
                    shown,
                    names=names,
                    known=known,
                    as_channels=options["as_channels"],
                    quiet=options["quiet"],
                )
                if number + 1 < len(sessions) and not options["quiet"]:
                    click.echo()
            except MeetscribeError as error:
                if len(sessions) == 1:
                    raise
                # one bad recording does not cost the others
                shown.error(error.message, error.hint)
                failed += 1
        for note in known.notes if known is not None else ():
            shown.note(f"note: {note}")
        if failed:
            shown.error(f"{failed} of {len(sessions)} recordings failed, see above", "")
    return EXIT_SOME_FAILED if failed else 0


def _one(
    runner: Runner,
    paths: list[str],
    outputs: Outputs,
    shown: Reporter,
    *,
    names: dict[str, str],
    known: Known | None,
    as_channels: bool,
    quiet: bool,
) -> None:
    recording = runner.probe(paths, as_channels=as_channels)
    channels = recording.num_channels
    shown.start(
        f"{recording.session_id}: {_clock(recording.duration)}, "
        f"{channels} channel{'s' if channels > 1 else ''}"
    )
    result = runner.run(recording, outputs, names=names, known=known, progress=shown.progress)
    _show(result, outputs, shown, told=known is not None, quiet=quiet)


def _show(result: Result, outputs: Outputs, shown: Reporter, *, told: bool, quiet: bool) -> None:
    transcript = result.transcript
    shown.finish()
    if result.already_done and not result.written:
        shown.note("already done; --force does it again")
    for warning in transcript.warnings:
        shown.note(f"note: {warning}")
    for label, match in matches_in(transcript).items() if told else ():
        shown.note(f"note: {match.line(label)}")
    if not transcript.utterances:
        shown.note("no speech was found")
    if not result.already_done:
        seconds = transcript.provenance["timings_s"]["total"]
        speed = f" ({seconds / transcript.duration:.2f} of real time)"
        shown.note(f"done in {_clock(seconds)}{speed if transcript.duration >= 1 else ''}")
    for path in result.written:
        shown.note(f"wrote {path}")
    if not quiet:
        click.echo(formats.render(transcript, "txt", outputs.options), nl=False)


def _refuse_folder(path: Path) -> None:
    if not path.is_dir():
        return
    from meetscribe.ingest import find_audio

    found = find_audio(path)
    if not found:
        raise AudioError(f"{path}: a folder without recordings", hint="give a recording")
    raise ConfigError(
        f"{path}: a folder with {len(found)} recordings, expected files",
        hint=f"`meetscribe batch {path} -o DIR` takes them all; or name files, such as {found[0]}",
    )


def _refuse_same_results(sessions: list[list[str]], folder: Path | None) -> None:
    """Refuse recordings whose results would have the same names: one would replace the other."""
    seen: dict[Path, str] = {}
    for path in (paths[0] for paths in sessions):
        place = (folder or Path(path).parent).resolve() / Path(path).stem
        if place in seen:
            raise ConfigError(
                f"{seen[place]} and {path}: the results of both would be {place.name}.json",
                hint="run them one by one with -o, each with a folder of its own",
            )
        seen[place] = path


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
