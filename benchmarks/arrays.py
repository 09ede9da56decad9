"""Simulated array meetings: one signal, the array, and the array with true turns.

    python benchmarks/arrays.py ../shared/data/speech/transcripts.tsv
    python benchmarks/arrays.py TABLE --array linear --channels 8 4 2 --keep FOLDER
    python benchmarks/arrays.py TABLE --split heldout --onestage

Makes the meetings (kept in FOLDER, if given) and prints DER, the number of speakers and cpWER of
each. Everything is automatic but for the last way, which is given who speaks when. Fewer channels
are taken from the same recordings, evenly. ``--onestage`` adds the one-stage recogniser, whose
adapter was trained on split ``train`` of the table: use ``heldout`` with it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from ways import Way, cascade_models, compare, of_streams

from meetscribe import ingest
from meetscribe.engines.stream_words import recognise_streams
from meetscribe.pipeline.runner import Runner
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity, Recording, Transcript, no_progress

SETTINGS: dict[str, Any] = {
    "minutes": 3.0,
    "speakers": (3, 4),
    "channels": 8,
    "rt60_s": (0.3, 0.7),
    "overlap": (0.2, 0.4),
    "seed": 1,
}


def with_true_turns(runner: Runner, recording: Recording, truth: Transcript) -> Transcript:
    """Separate and recognise with the reference's turns."""
    models, activity = cascade_models(runner), Activity(truth.turns)
    with (
        ingest.open_channels(recording) as channels,
        SeparatedStreams(
            channels, activity.turns, models.settings.separation, threads=runner.threads
        ) as streams,
    ):
        heard = recognise_streams(
            streams, activity, models.recognizer(), language="en", progress=no_progress
        )
    return of_streams(recording, heard, activity)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="folder for the meetings; reused if they are there"
    )
    parser.add_argument("--meetings", type=int, default=6)
    parser.add_argument("--array", default="circular", choices=("circular", "linear", "ad-hoc"))
    parser.add_argument("--channels", type=int, nargs="+", default=[8])
    parser.add_argument("--split", default="train", help="of the table")
    parser.add_argument("--onestage", action="store_true", help="add pipeline onestage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        settings = SimulationSettings(
            meetings=options.meetings,
            array=options.array,
            split=options.split,
            # hardly twenty minutes are held out
            repeat=options.split != "train",
            **SETTINGS,
        )
        meetings = simulate(options.table, folder, settings)
        run(meetings, options.channels, Path(scratch), onestage=options.onestage)


def with_channels(audio: Path, number: int, folder: Path) -> Path:
    """Write some channels of a meeting, evenly chosen, to a file of their own."""
    samples_nc, rate = soundfile.read(audio, dtype="int16")
    kept = np.linspace(0, samples_nc.shape[1], number, endpoint=False).astype(int)
    path = folder / f"{audio.stem}-{number}.flac"
    soundfile.write(path, samples_nc[:, kept], rate)
    return path


def run(
    meetings: list[Path], channels: list[int], scratch: Path, *, onestage: bool = False
) -> None:
    """Transcribe every meeting in all ways and score it."""
    mono, array = Runner.of("mono"), Runner.of("array")

    def with_some(number: int) -> Way:
        return lambda audio, _: array.transcribe(
            array.probe([with_channels(audio, number, scratch)])
        )

    ways: dict[str, Way] = {
        "one signal": lambda audio, _: mono.transcribe(mono.probe([audio])),
        **{f"{number} channels": with_some(number) for number in channels},
        "true turns": lambda audio, truth: with_true_turns(array, array.probe([audio]), truth),
    }
    if onestage:
        network = Runner.of("onestage")
        ways["onestage"] = lambda audio, _: network.transcribe(network.probe([audio]))
    compare(meetings, ways)


if __name__ == "__main__":
    main()
