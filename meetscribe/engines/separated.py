"""An array: every speaker recognised on a signal of his own, separated with all channels.

channels -> Activity by voice and place -> turns underneath -> streams -> words -> less leakage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meetscribe import ingest
from meetscribe.engines import stages
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.leakage import LeakageSettings, by_voice, to_be_judged, without_copies
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.settings import CascadeSettings
from meetscribe.engines.stream_words import Judge, likeness_of, recognise_streams
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.spatial.underneath import find_underneath, with_turns
from meetscribe.types import Activity, AudioReader, Utterance

_TWO = 2
"""Fewer voices need not be compared."""


def hear_array(
    run: Run,
    models: CascadeModels,
    plan: ingest.MonoPlan,
    array: ingest.ChannelPlan,
) -> Heard:
    """Transcribe a recording whose channels all hear everybody.

    ``plan`` makes the one signal by which voices are told apart at first, ``array`` says which
    channels are good for separating speakers.
    """
    with run.timer("read"):
        audio = ingest.open_mono(run.recording, plan, progress=run.report("read"))
    with (
        audio,
        run.open_channels(array) as channels,
    ):
        with run.timer("activity"):
            activity = who_speaks(audio, run, models, channels=channels)
        with run.timer("recognize"):
            activity = with_underneath(activity, channels, run, models)
            language, utterances = _stream_words(audio, channels, activity, run, models)
        how = f"speakers separated with {len(array.channels)} channels"
        notes = (*array.notes, *audio.notes)
        return Heard(utterances, activity, language, audio.duration, how, notes)


def with_underneath(
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
            keep=parts,
        )
        return stages.turns_to_json(found)

    decided_by = (settings, separation, channels.num_channels, stages.activity_to_json(activity))
    parts = run.parts(
        "underneath", decided_by, pack=stages.turns_to_json, unpack=stages.turns_from_json
    )
    found = run.keep("underneath", decided_by, make, parts=[parts])
    return with_turns(activity, stages.turns_from_json(found))


def _stream_words(
    audio: AudioReader,
    channels: ingest.ChannelAudio,
    activity: Activity,
    run: Run,
    models: CascadeModels,
) -> tuple[str, tuple[Utterance, ...]]:
    """Recognise every speaker on a stream of his own, and leave out what is not his in it."""
    settings, separation = models.settings, _separation(models)
    if not activity.turns:
        return "", ()

    def make() -> dict[str, Any]:
        regions = speech_regions(activity, audio.duration)
        language = models.language(audio, regions)
        if not language:
            return {"language": "", "streams": {}, "likeness": []}
        with SeparatedStreams(
            channels,
            activity.turns,
            separation,
            device=torch_device(models.device),
            threads=models.threads,
            progress=run.progress,
        ) as streams:
            judge = Judge(
                lambda heard: _to_be_judged(heard, language, activity, models),
                lambda some: likeness_of(some, streams, activity.voiceprints, models.diarizer()),
                keep=likes,
            )
            heard = recognise_streams(
                streams,
                activity,
                models.recognizer(),
                language=language,
                progress=run.progress,
                keep=words,
                keep_cuts=cuts,
                heard_until=judge.so_far,
            )
            likeness = judge.all_of(heard)
        return {
            "language": language,
            "streams": {
                speaker: stages.words_to_json(language, regions)
                for speaker, regions in heard.items()
            },
            "likeness": likeness,
        }

    decided_by = (
        settings.recognizer,
        settings.language,
        separation,
        settings.leakage,
        describe_model(settings.recognizer.model),
        stages.activity_to_json(activity),
    )
    words = models.word_parts(run, "streams", decided_by[1:])
    cuts = run.parts(
        "streams-cuts", decided_by, pack=stages.segments_to_json, unpack=stages.segments_from_json
    )
    likes = run.parts("streams-voices", decided_by, pack=list, unpack=list)
    made = run.keep("streams", decided_by, make, parts=[words, cuts, likes])
    language = made["language"]
    heard = {
        speaker: stages.words_from_json(regions)[1] for speaker, regions in made["streams"].items()
    }
    written = _in_script(heard, language, settings)
    utterances = _utterances(written, activity, settings.leakage)
    if settings.leakage is not None:
        likeness = {(speaker, *span): like for speaker, *span, like in made["likeness"]}
        utterances = by_voice(utterances, likeness, settings.leakage)
    return language, utterances


def _in_script(
    heard: Mapping[str, list[RecognizedRegion]], language: str, settings: CascadeSettings
) -> dict[str, list[RecognizedRegion]]:
    return {
        speaker: convert_script(regions, language, settings.script)
        for speaker, regions in heard.items()
    }


def _utterances(
    heard: Mapping[str, Sequence[RecognizedRegion]],
    activity: Activity,
    settings: LeakageSettings | None,
) -> tuple[Utterance, ...]:
    """Group the words of all streams, each word that two streams share in one of them only."""
    if settings is not None:
        heard = without_copies(heard, settings)
    return tuple(
        utterance
        for speaker, regions in heard.items()
        for utterance in assign_stream(regions, speaker, activity)
    )


def _to_be_judged(
    heard: Mapping[str, list[RecognizedRegion]],
    language: str,
    activity: Activity,
    models: CascadeModels,
) -> list[Utterance]:
    """Give the utterances whose voices are to be compared, by words so far or by all."""
    settings = models.settings
    if settings.leakage is None or not models.own_diarizer or len(activity.voiceprints) < _TWO:
        return []
    # the same words as in the end, so that utterances are found again by their times
    written = _in_script(heard, language, settings)
    utterances = _utterances(written, activity, settings.leakage)
    return [one for one in utterances if to_be_judged(one, settings.leakage)]


def _separation(models: CascadeModels) -> SeparationSettings:
    return models.settings.separation or SeparationSettings()
