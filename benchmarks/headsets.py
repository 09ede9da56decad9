"""Simulated meetings with a headset for everybody: one signal, per speaker, and with true turns.

    python benchmarks/headsets.py ../shared/data/speech/transcripts.tsv [--keep FOLDER] [--seed 202]

Makes the meetings (kept in FOLDER, if given) and prints DER, the number of speakers and cpWER of
each. The column "not muted" recognises channels as they are in the turns that were found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from ways import Ways, cascade_models, compare, of_streams

from meetscribe import ingest
from meetscribe.activity.crosstalk import CrosstalkSettings, Wearers, channel_power
from meetscribe.activity.segmentation import FRAME_STEP_S
from meetscribe.config import load
from meetscribe.engines.per_speaker import own_signals, recognise_signals
from meetscribe.pipeline.runner import Runner
from meetscribe.resources import find
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity, Layout, Recording, Transcript


def with_true_turns(runner: Runner, recording: Recording, truth: Transcript) -> Transcript:
    """Recognise every channel in the reference's turns."""
    scene = json.loads(Path(recording.files[0].path).with_suffix(".scene.json").read_text())
    channel_of = {one["speaker"]: one["channel"] for one in scene["speakers"]}
    activity = Activity(truth.turns)
    with ingest.open_channels(recording) as channels:
        power_ct = channel_power(channels, channels.num_channels)
        level_db_of = {}
        for speaker, channel in channel_of.items():
            spans = [
                slice(int(turn.start / FRAME_STEP_S), int(turn.end / FRAME_STEP_S))
                for turn in truth.turns
                if turn.speaker == speaker
            ]
            loud = np.percentile(np.concatenate([power_ct[channel, span] for span in spans]), 95)
            level_db_of[speaker] = float(10 * np.log10(loud))
        heard = recognise_signals(
            own_signals(channels, Wearers(activity, channel_of, level_db_of), CrosstalkSettings()),
            activity,
            cascade_models(runner).recognizer(),
            language="en",
        )
    return of_streams(recording, heard, activity)


def unmuted(runner: Runner) -> Runner:
    """Give a runner that leaves the channels as they are."""
    crosstalk = runner.spec.cascade.crosstalk or CrosstalkSettings()
    bleed = crosstalk.bleed.model_copy(update={"mute_db": 0.0})
    crosstalk = crosstalk.model_copy(update={"bleed": bleed})
    cascade = runner.spec.cascade.model_copy(update={"crosstalk": crosstalk})
    spec = runner.spec.model_copy(update={"cascade": cascade})
    return Runner("unmuted", spec, threads=runner.threads)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="folder for the meetings; reused if they are there"
    )
    parser.add_argument("--meetings", type=int, default=6)
    parser.add_argument("--array", choices=["headsets", "lapels"], default="headsets")
    parser.add_argument("--seed", type=int, default=202)
    options = parser.parse_args()
    base = load(SimulationSettings, find("configs/train", "headsets"))
    changes = {name: getattr(options, name) for name in ("meetings", "array", "seed")}
    settings = base.model_copy(update={"split": "train", **changes})
    with tempfile.TemporaryDirectory() as scratch:
        run(simulate(options.table, options.keep or Path(scratch), settings))


def run(meetings: list[Path]) -> None:
    """Transcribe every meeting in four ways and score it."""
    mono, auto = Runner.of("mono"), Runner.of("auto")
    raw = unmuted(auto)
    for audio in meetings:
        recording = auto.probe([audio])
        if recording.layout is not Layout.PER_SPEAKER:
            print(f"{audio.stem}: taken as {recording.layout}, {recording.layout_reason}")
    ways: Ways = {
        "one signal": lambda audio, _: mono.transcribe(auto.probe([audio])),
        "not muted": lambda audio, _: raw.transcribe(auto.probe([audio])),
        "per-speaker": lambda audio, _: auto.transcribe(auto.probe([audio])),
        "true turns": lambda audio, truth: with_true_turns(auto, auto.probe([audio]), truth),
    }
    compare(meetings, ways)


if __name__ == "__main__":
    main()
