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

from meetscribe import formats, ingest
from meetscribe.activity.crosstalk import CrosstalkSettings, Wearers, channel_power
from meetscribe.activity.segmentation import FRAME_STEP_S
from meetscribe.config import load
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade import CascadeEngine
from meetscribe.engines.per_speaker import own_signals, recognise_signals
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors, WordErrors
from meetscribe.evaluate.words import TokenSegment
from meetscribe.pipeline.runner import Runner
from meetscribe.resources import find
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Activity, Layout, Recording, Transcript

CHIME8 = normalise.get("chime8")
WAYS = ("one signal", "not muted", "per-speaker", "true turns")


def tokens(transcript: Transcript) -> list[TokenSegment]:
    """Cut utterances into normalised words."""
    return [
        TokenSegment(part.speaker, part.start, part.end, tuple(CHIME8(part.text).split()))
        for part in transcript.utterances
    ]


def with_true_turns(runner: Runner, recording: Recording, truth: Transcript) -> Transcript:
    """Recognise every channel in the reference's turns."""
    engine = CascadeEngine(runner.spec.cascade, device="cpu", threads=runner.threads, offline=False)
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
            engine.models.recognizer(),
            language="en",
        )
    made = [
        utterance
        for speaker, regions in heard.items()
        for utterance in assign_stream(regions, speaker, activity)
    ]
    return Transcript(recording.session_id, tuple(made), truth.turns)


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
    turns = dict.fromkeys(WAYS, DiarizationErrors())
    errors = dict.fromkeys(WAYS, WordErrors())
    right = dict.fromkeys(WAYS, 0)
    print(f"{'meeting':10}" + "".join(f"{way:>12} DER  spk  cpWER" for way in WAYS))
    for audio in meetings:
        said = formats.parse_file(audio.with_suffix(".seglst.json"))
        truth = formats.parse_file(audio.with_suffix(".rttm"))
        recording = auto.probe([audio])
        if recording.layout is not Layout.PER_SPEAKER:
            print(f"{audio.stem}: taken as {recording.layout}, {recording.layout_reason}")
        made = {
            "one signal": mono.transcribe(recording),
            "not muted": raw.transcribe(recording),
            "per-speaker": auto.transcribe(recording),
            "true turns": with_true_turns(auto, recording, truth),
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
    for way in WAYS:
        line += f"{'':10}{100 * (turns[way].der or 0):6.1f} {right[way]:3d}/{len(meetings)}"
        line += f"{100 * (errors[way].rate or 0):7.1f}"
    print(line)


if __name__ == "__main__":
    main()
