"""Who speaks when on simulated array meetings, by voice alone and by voice and place together.

    python benchmarks/speaker_count.py ../shared/data/speech/transcripts.tsv

Twenty meetings of two minutes by default, two to five of many speakers each, on three shapes of
arrays. Prints DER (collar 0, overlap scored), how often the number of speakers is right, and by
how many it is off on average.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from meetscribe import formats, ingest
from meetscribe.evaluate.diarization import DiarizationErrors, diarization_errors
from meetscribe.pipeline.runner import Runner
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity

ARRAYS = ("circular", "linear", "ad-hoc")
SETTINGS = {
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
    parser.add_argument("--meetings", type=int, default=20)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--language", default="en")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    meetings: list[Path] = []
    with tempfile.TemporaryDirectory() as scratch:
        for index, array in enumerate(ARRAYS):
            share = range(index, options.meetings, len(ARRAYS))
            settings = SimulationSettings(
                meetings=len(share),
                channels=options.channels,
                array=array,
                language=options.language,
                seed=options.seed + index,
                **SETTINGS,
            )
            meetings += simulate(options.table, Path(scratch) / array, settings)
        run(meetings)


def run(meetings: list[Path]) -> None:
    """Diarize every meeting in two ways and score both."""
    runner = Runner.of("array")
    diarizer = runner.engine.models.diarizer()
    ways = ("voice", "voice and place")
    errors = dict.fromkeys(ways, DiarizationErrors())
    right, off = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0)
    for audio in meetings:
        truth = formats.parse_file(audio.with_suffix(".rttm"))
        recording = runner.probe([audio])
        with (
            ingest.open_mono(recording) as mono,
            ingest.open_channels(recording) as channels,
        ):
            made: dict[str, Activity] = {
                "voice": diarizer.diarize(mono),
                "voice and place": diarizer.diarize(mono, channels=channels),
            }
        line = f"{audio.parent.name:9} {audio.stem} speakers {len(truth.speakers)}"
        for way, activity in made.items():
            scored = [(0.0, recording.duration)]
            errors[way] += diarization_errors(truth.turns, activity.turns, scored=scored)
            wrong = abs(len(activity.speakers) - len(truth.speakers))
            right[way] += not wrong
            off[way] += wrong
            line += f"   {way}: {len(activity.speakers)}"
        print(line, flush=True)
    for way in ways:
        print(
            f"{way:16} DER {100 * (errors[way].der or 0):5.1f}"
            f"   count right {right[way]} of {len(meetings)}"
            f"   off by {off[way] / len(meetings):.2f}"
        )


if __name__ == "__main__":
    main()
