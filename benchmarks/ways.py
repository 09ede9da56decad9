"""Several ways to transcribe simulated meetings, beside each other: DER, speakers and cpWER.

DER with collar 0 and overlap scored; cpWER after the CHiME-8 normaliser; totals are sums of errors
over sums of reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import soundfile

from meetscribe import formats
from meetscribe.engines.assign import assign_stream
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.diarization import diarization_errors
from meetscribe.evaluate.scores import DiarizationErrors, WordErrors
from meetscribe.evaluate.words import TokenSegment
from meetscribe.pipeline.runner import Runner
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import Activity, Recording, Transcript

if TYPE_CHECKING:
    from meetscribe.engines.cascade import CascadeEngine
    from meetscribe.engines.cascade_models import CascadeModels

CHIME8 = normalise.get("chime8")
Way = Callable[[Path, Transcript], Transcript]
"""How the audio at a path, whose true turns are given, is transcribed."""
Ways = Mapping[str, Way]


def tokens(transcript: Transcript) -> list[TokenSegment]:
    """Cut utterances into normalised words."""
    return [
        TokenSegment(part.speaker, part.start, part.end, tuple(CHIME8(part.text).split()))
        for part in transcript.utterances
    ]


def of_streams(
    recording: Recording, heard: Mapping[str, list[RecognizedRegion]], activity: Activity
) -> Transcript:
    """Make a transcript of what was heard on each speaker's stream."""
    made = [
        utterance
        for speaker, regions in heard.items()
        for utterance in assign_stream(regions, speaker, activity)
    ]
    return Transcript(recording.session_id, tuple(made), activity.turns)


def cascade_models(runner: Runner) -> CascadeModels:
    """Give the models of a runner of a cascade."""
    return cast("CascadeEngine", runner.engine).models


def compare(meetings: list[Path], ways: Ways) -> None:
    """Transcribe every meeting in every way, and print the table of scores."""
    turns = dict.fromkeys(ways, DiarizationErrors())
    errors = dict.fromkeys(ways, WordErrors())
    right = dict.fromkeys(ways, 0)
    print(f"{'meeting':10}" + "".join(f"{way:>12} DER  spk  cpWER" for way in ways))
    for audio in meetings:
        said = formats.parse_file(audio.with_suffix(".seglst.json"))
        truth = formats.parse_file(audio.with_suffix(".rttm"))
        line = f"{audio.stem:10}"
        for way, transcribe in ways.items():
            transcript = transcribe(audio, truth)
            scored = [(0.0, soundfile.info(audio).duration)]
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
