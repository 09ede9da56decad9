"""Who speaks when on simulated array meetings, by voice alone and by voice and place together.

    python benchmarks/speaker_count.py ../shared/data/speech/transcripts.tsv [--moved]

Twenty meetings of two minutes by default, two to five of many speakers each, on three shapes of
arrays. Prints DER (collar 0, overlap scored), how often the number of speakers is right, and by
how many it is off on average, of each shape and of all. ``--moved`` takes the three speakers with
the most speech instead, who all change their places (and the room) in the middle.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import soundfile
from ways import cascade_models

from meetscribe import formats, ingest
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors
from meetscribe.pipeline.runner import Runner
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity, Transcript, Turn

if TYPE_CHECKING:
    from meetscribe.activity import Diarizer

ARRAYS: tuple[Any, ...] = ("circular", "linear", "ad-hoc")
SETTINGS: dict[str, Any] = {
    "minutes": 2.0,
    "speakers": (2, 5),
    "rt60_s": (0.3, 0.7),
    "overlap": (0.05, 0.35),
    "split": "train",
    "repeat": True,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--meetings", type=int, default=20, help="at least 3, one for each array")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--language", default="en")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--moved", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = moved(options, Path(scratch)) if options.moved else seated(options, Path(scratch))
        run([(audio, formats.parse_file(audio.with_suffix(".rttm"))) for audio in made])


def seated(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Simulate meetings on all shapes of arrays."""
    meetings: list[Path] = []
    for index, array in enumerate(ARRAYS):
        settings = SimulationSettings(
            meetings=len(range(index, options.meetings, len(ARRAYS))),
            channels=options.channels,
            array=array,
            language=options.language,
            seed=options.seed + index,
            **SETTINGS,
        )
        meetings += simulate(options.table, folder / array, settings)
    return meetings


def moved(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Simulate pairs of meetings of the same people, and put each pair into one recording."""
    table = folder / "three.tsv"
    with options.table.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["split"] == "train"]
    seconds: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        seconds[row["speaker"]] += float(row["duration_s"])
    most = set(sorted(seconds, key=seconds.__getitem__, reverse=True)[:3])
    with table.open("w", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, rows[0], delimiter="\t")
        writer.writeheader()
        for row in rows:
            if row["speaker"] in most:
                path = (options.table.parent / row["path"]).resolve()
                writer.writerow({**row, "path": str(path)})
    halves = [
        simulate(
            table,
            folder / half,
            SimulationSettings(
                meetings=options.meetings // 2,
                minutes=1.5,
                speakers=(3, 3),
                overlap=(0.1, 0.3),
                channels=options.channels,
                seed=options.seed + index,
            ),
        )
        for index, half in enumerate(("before", "after"))
    ]
    return [_joined(before, after, folder) for before, after in zip(*halves, strict=True)]


def _joined(before: Path, after: Path, folder: Path) -> Path:
    first_nc, rate = soundfile.read(before, dtype="int16")
    second_nc, _ = soundfile.read(after, dtype="int16")
    path = folder / f"moved-{before.name}"
    soundfile.write(path, np.concatenate([first_nc, second_nc]), rate)
    later = len(first_nc) / rate
    turns = [
        *formats.parse_file(before.with_suffix(".rttm")).turns,
        *(
            Turn(turn.start + later, turn.end + later, turn.speaker)
            for turn in formats.parse_file(after.with_suffix(".rttm")).turns
        ),
    ]
    transcript = Transcript(path.stem, (), tuple(turns))
    path.with_suffix(".rttm").write_text(formats.render(transcript, "rttm"), encoding="utf-8")
    return path


@dataclass
class Tally:
    """What a way has made of some meetings."""

    errors: DiarizationErrors = field(default_factory=DiarizationErrors)
    wrong: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        right, num = self.wrong.count(0), len(self.wrong)
        return (
            f"DER {100 * (self.errors.der or 0):5.1f}   count right {right:2} of {num:2}"
            f"   off by {sum(self.wrong) / num:.2f}"
        )


def run(meetings: list[tuple[Path, Transcript]]) -> None:
    """Diarize every meeting in two ways and score both."""
    runner = Runner.of("array")
    diarizer = cast("Diarizer", cascade_models(runner).diarizer())
    tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
    for audio, truth in meetings:
        recording = runner.probe([audio])
        with (
            ingest.open_mono(recording) as mono,
            ingest.open_channels(recording) as channels,
        ):
            made: dict[str, Activity] = {
                "voice": diarizer.diarize(mono),
                "voice and place": diarizer.diarize(mono, channels=channels),
            }
        shape = audio.parent.name
        line = f"{shape:9} {audio.stem} speakers {len(truth.speakers)}"
        for way, activity in made.items():
            scored = [(0.0, recording.duration)]
            found = diarization_errors(truth.turns, activity.turns, scored=scored)
            wrong = abs(len(activity.speakers) - len(truth.speakers))
            for tally in (tallies[shape, way], tallies["all", way]):
                tally.errors += found
                tally.wrong.append(wrong)
            line += f"   {way}: {len(activity.speakers)}"
        print(line, flush=True)
    for (shape, way), tally in sorted(tallies.items(), key=lambda item: item[0][0] == "all"):
        print(f"{shape:9} {way:16} {tally}")


if __name__ == "__main__":
    main()
