"""One close microphone per speaker: each channel is one person, without those who bleed into it.

ChannelAudio -> own turns per channel -> each speaker's own signal -> words -> Utterances
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe import ingest
from meetscribe.activity.crosstalk import CrosstalkSettings, Wearers, find_wearers
from meetscribe.engines import stages
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.run import Heard, Run, part_of
from meetscribe.models import describe_model, fetch
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.spatial.bleed import OwnSignal
from meetscribe.types import Activity, Parts, Progress, all_at_once, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.recognize import Recognizer

_SEGMENTATION = "segmentation-3.0"
Words = dict[str, list[RecognizedRegion]]


def hear_per_speaker(run: Run, models: CascadeModels, used: tuple[int, ...]) -> Heard | None:
    """Transcribe a recording whose channels ``used`` are the microphones of one person each.

    None if no channel has a speaker of its own: then it is not such a recording.
    """
    settings = models.settings.crosstalk or CrosstalkSettings()
    with run.timer("read"):
        channels = ingest.open_channels(run.recording, used, progress=run.report("read"))
    with channels:
        with run.timer("activity"):
            found = _wearers(channels, run, models, settings)
        if not found.channel_of:
            return None
        with run.timer("recognize"):
            language, heard = _words(channels, found, run, models, settings)
        utterances = tuple(
            utterance
            for speaker, regions in heard.items()
            for utterance in assign_stream(regions, speaker, found.activity)
        )
        worn = len(used) - len(found.unused)
        how = f"one speaker in each of {worn} channels, recognised alone"
        notes = _notes(found, used, models.settings.speakers)
        return Heard(utterances, found.activity, language, channels.duration, how, notes)


def _wearers(
    channels: ingest.ChannelAudio, run: Run, models: CascadeModels, settings: CrosstalkSettings
) -> Wearers:
    """Say who speaks when into which channel, and keep it for the next run."""

    def make() -> dict[str, Any]:
        from meetscribe.activity import segmentation

        device = torch_device(models.device)
        found = find_wearers(
            channels,
            channels.num_channels,
            segmentation.load(fetch(_SEGMENTATION, offline=models.offline), device),
            settings,
            device=device,
            progress=run.report("activity"),
            keep=parts,
        )
        return {**asdict(found), "activity": stages.activity_to_json(found.activity)}

    run.progress("activity", 0.0)
    decided_by = ("per-speaker", settings, describe_model(_SEGMENTATION), channels.num_channels)
    parts = run.parts(
        "activity", decided_by, pack=stages.array_to_json, unpack=stages.array_from_json
    )
    made = run.keep("activity", decided_by, make, parts=[parts])
    run.progress("activity", 1.0)
    return Wearers(
        activity=stages.activity_from_json(made["activity"]),
        channel_of=made["channel_of"],
        level_db_of=made["level_db_of"],
        unknown=made["unknown"],
        unused=tuple(made["unused"]),
    )


class _Everybody:
    """All speakers' own signals at once, as an ``AudioReader``: to tell the language from."""

    def __init__(self, signals: list[OwnSignal], duration: float) -> None:
        self._signals = signals
        self.duration = duration

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        sum_n = np.sum([signal.read(start, end) for signal in self._signals], axis=0)
        return np.asarray(np.clip(sum_n, -1, 1), np.float32)


def _words(
    channels: ingest.ChannelAudio,
    found: Wearers,
    run: Run,
    models: CascadeModels,
    settings: CrosstalkSettings,
) -> tuple[str, Words]:
    """Recognise every speaker on his own signal."""

    def make() -> dict[str, Any]:
        signals = own_signals(channels, found, settings)
        everybody = _Everybody(list(signals.values()), channels.duration)
        language = models.language(everybody, speech_regions(found.activity, channels.duration))
        if not language:
            return {"language": "", "streams": {}}
        heard = recognise_signals(
            signals,
            found.activity,
            models.recognizer(),
            language=language,
            progress=run.report("recognize"),
            keep=parts,
        )
        streams = {name: stages.words_to_json(language, regions) for name, regions in heard.items()}
        return {"language": language, "streams": streams}

    run.progress("recognize", 0.0)
    decided_by = (
        "per-speaker",
        models.settings.recognizer,
        models.settings.language,
        settings.bleed,
        describe_model(models.settings.recognizer.model),
        stages.activity_to_json(found.activity),
        found.channel_of,
    )
    parts = models.word_parts(run, "streams", (*decided_by[0:1], *decided_by[2:]))
    made = run.keep("streams", decided_by, make, parts=[parts])
    run.progress("recognize", 1.0)
    language = made["language"]
    script = models.settings.script
    return language, {
        speaker: convert_script(stages.words_from_json(regions)[1], language, script)
        for speaker, regions in made["streams"].items()
    }


def own_signals(
    channels: ingest.ChannelAudio, found: Wearers, settings: CrosstalkSettings
) -> dict[str, OwnSignal]:
    """Give every speaker's own signal."""
    return {
        speaker: OwnSignal.of(
            channels,
            channel,
            [turn for turn in found.activity.turns if turn.speaker == speaker],
            settings.bleed,
            level_db=found.level_db_of[speaker],
        )
        for speaker, channel in found.channel_of.items()
    }


def recognise_signals(
    signals: Mapping[str, OwnSignal],
    activity: Activity,
    recognizer: Recognizer,
    *,
    language: str,
    progress: Progress = no_progress,
    keep: Parts[list[RecognizedRegion]] = all_at_once,
) -> Words:
    """Recognise every speaker's turns on his own signal.

    Parameters
    ----------
    progress : hears of ``recognize``
    keep : keeps what was recognised in every few pieces of a speaker
    """
    whole = sum(turn.duration for turn in activity.turns) or 1.0
    before = 0.0
    heard: Words = {}
    for speaker, signal in signals.items():
        turns = tuple(turn for turn in activity.turns if turn.speaker == speaker)
        share = sum(turn.duration for turn in turns) / whole
        heard[speaker] = recognizer.recognize(
            signal,
            speech_regions(Activity(turns), signal.duration),
            language=language,
            progress=part_of(progress, before, share),
            keep=partial(_of_speaker, keep, speaker),
        )
        before += share
    return heard


def _of_speaker(
    keep: Parts[list[RecognizedRegion]],
    speaker: str,
    name: object,
    make: Callable[[], list[RecognizedRegion]],
) -> list[RecognizedRegion]:
    return keep((speaker, name), make)


def _notes(found: Wearers, used: tuple[int, ...], wanted: int | None) -> tuple[str, ...]:
    """Say what a reader should know: who is where, who is nowhere, which channels are idle."""
    spoken = ", ".join(
        f"{speaker}: channel {used[channel]}"
        for speaker, channel in found.channel_of.items()
        if speaker != found.unknown
    )
    notes = [spoken]
    if found.unused:
        idle = ", ".join(str(used[channel]) for channel in found.unused)
        notes.append(f"nobody speaks into channel {idle} of his own")
    if found.unknown:
        seconds = sum(t.duration for t in found.activity.turns if t.speaker == found.unknown)
        notes.append(
            f"{found.unknown}: {seconds:.0f} s of somebody who has no microphone that works, "
            "heard in those of the others; words may be missing"
        )
    if wanted is not None and wanted != len(found.channel_of):
        notes.append(
            f"{len(found.channel_of)} speakers, one per channel, although {wanted} were asked for"
        )
    return tuple(notes)
