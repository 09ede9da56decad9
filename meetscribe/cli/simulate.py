"""``meetscribe simulate``: meetings made of read speech, with their reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meetscribe import resources
from meetscribe.cli.console import reporter
from meetscribe.config import build, read

if TYPE_CHECKING:
    from meetscribe.train.settings import SimulationSettings
    from meetscribe.train.simulate import Made

_EXAMPLES = """\b
Examples:
  meetscribe simulate speech/transcripts.tsv -o sim
  meetscribe simulate speech/transcripts.tsv -o sim --meetings 6 --minutes 3 --speakers 3-4 \\
      --channels 8 --array circular --rt60 0.3-0.7 --overlap 20-40 --seed 1
  meetscribe simulate speech/transcripts.tsv -o sim --config mine.yaml
"""

F = TypeVar("F", bound=Callable[..., Any])

_NUMBER = r"-?\d+(?:\.\d*)?|-?\.\d+"


def _range_option(*names: str, help: str, whole: bool = False) -> Callable[[F], F]:  # noqa: A002
    """Make an option that takes a range, or one number for both of its ends."""
    number: type[float] = int if whole else float
    expected = "whole numbers such as 3-4 or 4" if whole else "numbers such as 0.3-0.7 or 0.5"

    def ends(
        _ctx: click.Context, _param: click.Parameter, value: str | None
    ) -> tuple[float, ...] | None:
        return None if value is None else _ends(value, number, expected)

    return click.option(*names, callback=ends, metavar="RANGE", help=help)


def _ends(text: str, number: type[float], expected: str) -> tuple[float, ...]:
    """Read a range, or one number for both ends; click names the option."""
    found = re.fullmatch(rf"({_NUMBER})(?:-({_NUMBER}))?", text.strip())
    try:
        ends = [number(part) for part in (found.groups() if found else ()) if part is not None]
        return ends[0], ends[-1]
    except (ValueError, IndexError) as error:
        raise click.BadParameter(f"'{text}': expected {expected}") from error


@click.command(epilog=_EXAMPLES)
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the meetings.",
)
@click.option("--meetings", type=click.IntRange(min=1), help="How many (default: 1).")
@click.option("--minutes", type=float, help="Length of each at most (default: 3).")
@_range_option("--speakers", help="People in each (default: 3-4).", whole=True)
@_range_option(
    "--overlap", help="Percent of the speech time in which two or more speak (default: 5-25)."
)
@click.option(
    "--channels", type=click.IntRange(min=1), help="Microphones (default: 8, or one per speaker)."
)
@click.option(
    "--array",
    type=click.Choice(["circular", "linear", "ad-hoc", "headsets", "lapels"]),
    help="How they stand, or who wears them (default: circular).",
)
@_range_option("--radius", "radius_m", help="Of a circle, m (default: 0.05-0.10).")
@_range_option("--spacing", "spacing_m", help="Of a line's neighbours, m (default: 0.03-0.06).")
@_range_option("--rt60", "rt60_s", help="Reverberation time, s (default: 0.3-0.7).")
@_range_option("--distance", "distance_m", help="Array to speakers, m (default: 0.8-1.8).")
@_range_option("--snr", "snr_db", help="Speech to noise, dB (default: 15-30).")
@_range_option("--point-noises", help="Noise sources with a place (default: 0).", whole=True)
@click.option("--split", help="Only rows of the table with this split.")
@click.option("--language", help="Only rows of the table with this language.")
@click.option(
    "--repeat", is_flag=True, help="Utterances may be said again when a speaker runs out of them."
)
@click.option("--images", is_flag=True, help="Write what is heard of every speaker alone, too.")
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(["flac", "wav"]),
    help="Of the audio (default: flac).",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Same seed, same meetings, bit for bit (default: 0)."
)
@click.option(
    "--config",
    metavar="NAME",
    help="YAML file, or a name in configs/train, with these and further settings; options win.",
)
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How to show progress, on standard error.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show errors only; write the files.")
def simulate(table: Path, output: Path, **options: Any) -> int:  # noqa: ANN401 - click's options
    """Make meetings from the read speech that TABLE lists.

    TABLE has tabs or commas and the columns path, speaker and text; duration_s, language and
    split are used where they are. Every meeting is a multi-channel recording with .rttm,
    .seglst.json, .uem and .scene.json. Finished meetings of an interrupted run are kept.
    """
    settings = _settings(options)
    from meetscribe.train.casting import check_speakers
    from meetscribe.train.simulate import make_meeting, session_name
    from meetscribe.train.speech import load_corpus

    quiet: bool = options["quiet"]
    with reporter(options["progress"], quiet=quiet) as shown:
        corpus = load_corpus(table, settings, progress=shown.progress)
        shown.finish()
        for note in corpus.notes:
            shown.note(f"note: {note}")
        check_speakers(corpus.readings, settings)
        for number in range(1, settings.meetings + 1):
            shown.start(f"{session_name(number)} ({number} of {settings.meetings})")
            made = make_meeting(
                corpus,
                output,
                settings,
                number,
                force=options["force"],
                progress=shown.progress,
            )
            shown.finish()
            for note in made.notes:
                shown.note(f"note: {note}")
            if made.kept:
                shown.note("already done; --force does it again")
            if not quiet:
                click.echo(_line(made))
    return 0


_NOT_SETTINGS = {"config", "force", "progress", "quiet"}


def _settings(options: dict[str, Any]) -> SimulationSettings:
    from meetscribe.train.settings import SimulationSettings

    given: dict[str, Any] = {}
    where = "options"
    if options["config"]:
        path = resources.find("configs/train", options["config"])
        given, where = read(path), path.name
    for name, value in options.items():
        # a flag that is not set leaves what the file says
        if name not in _NOT_SETTINGS and value is not None and value is not False:
            given[name] = tuple(end / 100 for end in value) if name == "overlap" else value
    return build(SimulationSettings, given, where=where)


def _line(made: Made) -> str:
    """Say in one line what was made."""
    scene = made.scene
    minutes, seconds = divmod(round(scene["duration"]), 60)
    return (
        f"{made.audio}: {minutes}:{seconds:02}, {len(scene['speakers'])} speakers, "
        f"{scene['statistics']['overlap']:.0%} overlap, RT60 {scene['rt60_s']:.2f} s, "
        f"SNR {scene['snr_db']:.0f} dB"
    )
