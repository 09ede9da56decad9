"""An array: every speaker recognised on a signal of his own, separated with all channels.

channels -> Activity by voice and place -> turns underneath -> streams -> words -> less leakage
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from meetscribe import ingest
from meetscribe.engines import stages
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import torch_device
from meetscribe.engines.leakage import LeakageSettings, by_voice, said_once, to_be_judged
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.settings import CascadeSettings
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.spatial.underneath import find_underneath, with_turns
from meetscribe.types import Activity, AudioReader, Progress, Segment, Turn, Utterance

if TYPE_CHECKING:
    from meetscribe.recognize import Recognizer

_JOIN_S = 1.0
"""Turns of a speaker with a shorter pause are heard together: Whisper needs context."""
_AROUND_S = 0.1
"""What a voiceprint hears before and after an utterance."""


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
        ingest.open_channels(
            run.recording,
            array.channels,
            delays_s=array.delays_s,
            signs=array.signs,
            progress=run.report("read"),
        ) as channels,
    ):
        with run.timer("activity"):
            activity = who_speaks(audio, run, models, channels=channels)
        with run.timer("recognize"):
            activity = _with_underneath(activity, channels, run, models)
            language, utterances = _stream_words(audio, channels, activity, run, models)
        how = f"speakers separated with {len(array.channels)} channels"
        notes = (*array.notes, *audio.notes)
        return Heard(utterances, activity, language, audio.duration, how, notes)


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
            heard = recognise_streams(
                streams, activity, models.recognizer(), language=language, progress=run.progress
            )
            # the same words as below, so that utterances are found again by their times
            written = _in_script(heard, language, settings)
            utterances = _utterances(written, activity, settings.leakage)
            likeness = _likeness(streams, utterances, activity.voiceprints, models)
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
    made = run.keep("streams", decided_by, make)
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
        copies = said_once(
            {
                speaker: [word for region in regions for word in region.words]
                for speaker, regions in heard.items()
            },
            settings,
        )
        heard = {
            speaker: [
                replace(
                    region,
                    words=tuple(word for word in region.words if word not in copies[speaker]),
                )
                for region in regions
            ]
            for speaker, regions in heard.items()
        }
    return tuple(
        utterance
        for speaker, regions in heard.items()
        for utterance in assign_stream(regions, speaker, activity)
    )


def _likeness(
    streams: SeparatedStreams,
    utterances: Iterable[Utterance],
    voices: Mapping[str, Sequence[float]],
    models: CascadeModels,
) -> list[tuple[str, float, float, dict[str, float]]]:
    """Say how like the voice of each short utterance, on its stream, is to every speaker's."""
    from meetscribe.activity import Diarizer

    settings, diarizer = models.settings.leakage, models.diarizer()
    if settings is None or len(voices) < 2 or not isinstance(diarizer, Diarizer):  # noqa: PLR2004
        return []
    made = []
    for one in utterances:
        if to_be_judged(one, settings):
            samples_n = streams.read(
                one.speaker, max(0.0, one.start - _AROUND_S), one.end + _AROUND_S
            )
            like = diarizer.likeness(samples_n, voices)
            made.append((one.speaker, one.start, one.end, like))
    return made


def _separation(models: CascadeModels) -> SeparationSettings:
    return models.settings.separation or SeparationSettings()


def recognise_streams(
    streams: SeparatedStreams,
    activity: Activity,
    recognizer: Recognizer,
    *,
    language: str,
    progress: Progress,
) -> dict[str, list[RecognizedRegion]]:
    """Recognise each speaker on his own stream.

    Parameters
    ----------
    activity : turns that guided the separation; overlapping ones are what it is for
    progress : called with ``recognize``, and by ``streams``

    Returns
    -------
    dict
        Speaker -> recognised pieces of his turns.
    """
    heard: dict[str, list[RecognizedRegion]] = {}
    spoken = {
        speaker: sum(turn.duration for turn in activity.turns if turn.speaker == speaker)
        for speaker in activity.speakers
    }
    whole = sum(spoken.values()) or 1.0
    before = 0.0
    for speaker, seconds in spoken.items():
        turns = tuple(turn for turn in activity.turns if turn.speaker == speaker)
        regions = speech_regions(Activity(turns), streams.duration)
        heard[speaker] = recognizer.recognize(
            streams.stream(speaker),
            _joined(regions, streams.settings.margin_s),
            language=language,
            progress=_part_of(progress, before / whole, seconds / whole),
        )
        before += seconds
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
