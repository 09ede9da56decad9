"""Simulated array meetings: one signal, the array, and the array with true turns.

    python benchmarks/arrays.py ../shared/data/speech/transcripts.tsv [--keep FOLDER] [--meetings 6]

Makes the meetings (kept in FOLDER, if given) and prints DER, the number of speakers and cpWER of
each. Everything is automatic in the first two columns; the third is given who speaks when.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from meetscribe import formats, ingest
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade import CascadeEngine
from meetscribe.engines.separated import recognise_streams
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors, WordErrors
from meetscribe.evaluate.words import TokenSegment
from meetscribe.pipeline.runner import Runner
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity, Recording, Transcript, no_progress

CHIME8 = normalise.get("chime8")
SETTINGS = {
    "minutes": 3.0,
    "speakers": (3, 4),
    "channels": 8,
    "array": "circular",
    "rt60_s": (0.3, 0.7),
    "overlap": (0.2, 0.4),
    "split": "train",
    "seed": 1,
}


def tokens(transcript: Transcript) -> list[TokenSegment]:
    """Cut utterances into normalised words."""
    return [
        TokenSegment(part.speaker, part.start, part.end, tuple(CHIME8(part.text).split()))
        for part in transcript.utterances
    ]


def with_true_turns(runner: Runner, recording: Recording, truth: Transcript) -> Transcript:
    """Separate and recognise with the reference's turns."""
    settings = runner.spec.cascade
    engine = CascadeEngine(settings, device="cpu", threads=runner.threads, offline=False)
    activity = Activity(truth.turns)
    with ingest.open_channels(recording) as channels:
        heard = recognise_streams(
            channels,
            activity,
            engine.models.recognizer(),
            language="en",
            separation=settings.separation or SeparationSettings(),
            device="cpu",
            threads=runner.threads,
            progress=no_progress,
        )
    made = [
        utterance
        for speaker, regions in heard.items()
        for utterance in assign_stream(regions, speaker, activity)
    ]
    return Transcript(recording.session_id, tuple(made), truth.turns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="folder for the meetings; reused if they are there"
    )
    parser.add_argument("--meetings", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        settings = SimulationSettings(meetings=options.meetings, **SETTINGS)
        run(simulate(options.table, folder, settings))


def run(meetings: list[Path]) -> None:
    """Transcribe every meeting in three ways and score it."""
    mono, array = Runner.of("mono"), Runner.of("auto")
    ways = ("one signal", "array", "true turns")
    turns = dict.fromkeys(ways, DiarizationErrors())
    errors = dict.fromkeys(ways, WordErrors())
    right = dict.fromkeys(ways, 0)
    print(f"{'meeting':10}" + "".join(f"{way:>12} DER  spk  cpWER" for way in ways))
    for audio in meetings:
        said = formats.parse_file(audio.with_suffix(".seglst.json"))
        truth = formats.parse_file(audio.with_suffix(".rttm"))
        recording = array.probe([audio])
        made = {
            "one signal": mono.transcribe(recording),
            "array": array.transcribe(recording),
            "true turns": with_true_turns(array, recording, truth),
        }
        line = f"{audio.stem:10}"
        for way, transcript in made.items():
            scored = [(0.0, recording.duration)]
            der = diarization_errors(truth.turns, transcript.turns, scored=scored)
            cp = words.cp(tokens(said), tokens(transcript)).errors
            turns[way] += der
            errors[way] += cp
            found = len({turn.speaker for turn in transcript.turns})
            right[way] += found == len(truth.speakers)
            line += f"{'':10}{100 * (der.der or 0):6.1f} {found:3d}/{len(truth.speakers)}"
            line += f"{100 * (cp.rate or 0):7.1f}"
        print(line, flush=True)
    line = f"{'total':10}"
    for way in ways:
        line += f"{'':10}{100 * (turns[way].der or 0):6.1f} {right[way]:3d}/{len(meetings)}"
        line += f"{100 * (errors[way].rate or 0):7.1f}"
    print(line)


if __name__ == "__main__":
    main()
