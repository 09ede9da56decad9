"""An array: every speaker recognised on a signal of his own, separated with all channels.

ChannelAudio -> Activity by voice and place -> turns underneath -> streams -> words -> Utterances
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from meetscribe import ingest
from meetscribe.engines import stages
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.spatial.underneath import find_underneath, with_turns
from meetscribe.types import Activity, AudioReader, Progress, Segment, Turn

if TYPE_CHECKING:
    from meetscribe.recognize import Recognizer

_JOIN_S = 1.0
"""Turns of a speaker with a shorter pause are heard together: Whisper needs context."""


def hear_array(
    run: Run,
    models: CascadeModels,
    plan: ingest.MonoPlan,
    used: tuple[int, ...],
) -> Heard:
    """Transcribe a recording whose channels ``used`` all hear everybody.

    ``plan`` makes the one signal by which voices are told apart at first.
    """
    with run.timer("read"):
        audio = ingest.open_mono(run.recording, plan, progress=run.report("read"))
    with (
        audio,
        ingest.open_channels(run.recording, used, progress=run.report("read")) as channels,
    ):
        with run.timer("activity"):
            activity = who_speaks(audio, run, models, channels=channels)
        with run.timer("recognize"):
            activity = _with_underneath(activity, channels, run, models)
            language, streams = _stream_words(audio, channels, activity, run, models)
        utterances = tuple(
            utterance
            for speaker, regions in streams.items()
            for utterance in assign_stream(regions, speaker, activity)
        )
        how = f"speakers separated with {len(used)} channels"
        return Heard(utterances, activity, language, audio.duration, how, audio.notes)


def _with_underneath(
    activity: Activity,
    channels: ingest.ChannelAudio,
    run: Run,
    models: CascadeModels,
) -> Activity:
    """Add the turns under others' that only all channels together reveal."""
    settings, separation = models.settings.underneath, _separation(models)
    if settings is None:
        return activity

    def make() -> list[dict[str, Any]]:
        found = find_underneath(
            channels,
            activity.turns,
            settings,
            separation,
            device=torch_device(models.device),
            threads=models.threads,
            progress=run.progress,
        )
        return [asdict(turn) for turn in found]

    decided_by = (settings, separation, channels.num_channels, stages.activity_to_json(activity))
    found = run.keep("underneath", decided_by, make)
    return with_turns(activity, [Turn(**turn) for turn in found])


def _stream_words(
    audio: AudioReader,
    channels: ingest.ChannelAudio,
    activity: Activity,
    run: Run,
    models: CascadeModels,
) -> tuple[str, dict[str, list[RecognizedRegion]]]:
    """Recognise every speaker on a stream of his own."""
    settings, separation = models.settings, _separation(models)
    if not activity.turns:
        return "", {}

    def make() -> dict[str, Any]:
        regions = speech_regions(activity, audio.duration)
        language = models.language(audio, regions)
        if not language:
            return {"language": "", "streams": {}}
        heard = recognise_streams(
            channels,
            activity,
            models.recognizer(),
            language=language,
            separation=separation,
            device=models.device,
            threads=models.threads,
            progress=run.progress,
        )
        return {
            "language": language,
            "streams": {
                speaker: stages.words_to_json(language, regions)
                for speaker, regions in heard.items()
            },
        }

    decided_by = (
        settings.recognizer,
        settings.language,
        separation,
        describe_model(settings.recognizer.model),
        stages.activity_to_json(activity),
    )
    made = run.keep("streams", decided_by, make)
    language = made["language"]
    heard = {
        speaker: stages.words_from_json(regions)[1] for speaker, regions in made["streams"].items()
    }
    return language, {
        speaker: convert_script(regions, language, settings.script)
        for speaker, regions in heard.items()
    }


def _separation(models: CascadeModels) -> SeparationSettings:
    return models.settings.separation or SeparationSettings()


def recognise_streams(
    channels: ingest.ChannelAudio,
    activity: Activity,
    recognizer: Recognizer,
    *,
    language: str,
    separation: SeparationSettings,
    device: str,
    threads: int,
    progress: Progress,
) -> dict[str, list[RecognizedRegion]]:
    """Separate the speakers of an array recording and recognise each.

    Parameters
    ----------
    channels : microphones that hear everybody
    activity : turns that guide the separation; overlapping ones are what it is for
    progress : called with ``separate`` and ``recognize``

    Returns
    -------
    dict
        Speaker -> recognised pieces of his turns.
    """
    heard: dict[str, list[RecognizedRegion]] = {}
    margin_s = separation.margin_s
    with SeparatedStreams(
        channels,
        activity.turns,
        separation,
        device=torch_device(device),
        threads=threads,
        progress=progress,
    ) as streams:
        speakers = activity.speakers
        spoken = {
            speaker: sum(turn.duration for turn in activity.turns if turn.speaker == speaker)
            for speaker in speakers
        }
        whole = sum(spoken.values()) or 1.0
        before = 0.0
        for speaker in speakers:
            turns = tuple(turn for turn in activity.turns if turn.speaker == speaker)
            regions = _joined(speech_regions(Activity(turns), channels.duration), margin_s)
            heard[speaker] = recognizer.recognize(
                streams.stream(speaker),
                regions,
                language=language,
                progress=_part_of(progress, before / whole, spoken[speaker] / whole),
            )
            before += spoken[speaker]
    progress("recognize", 1.0)
    return heard


def _part_of(progress: Progress, before: float, share: float) -> Progress:
    return lambda stage, done: progress(stage, before + share * done)


def _joined(segments: Iterable[Segment], margin_s: float) -> list[Segment]:
    """Widen regions by the margin that the streams have, and join those that come close."""
    joined: list[Segment] = []
    for segment in segments:
        wide = Segment(max(0.0, segment.start - margin_s), segment.end + margin_s)
        if joined and wide.start - joined[-1].end < _JOIN_S:
            joined[-1] = Segment(joined[-1].start, max(joined[-1].end, wide.end))
        else:
            joined.append(wide)
    return joined
