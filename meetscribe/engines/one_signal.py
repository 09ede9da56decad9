"""One signal for everybody: turns by voice, words of the signal, each word to a speaker.

MonoAudio -> Activity -> regions -> words -> Utterances -> words of second voices
"""

from __future__ import annotations

from typing import Any

from meetscribe import ingest
from meetscribe.engines import stages
from meetscribe.engines.assign import assign
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.second_voice import find_gaps, with_second_voices
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.types import Activity, AudioReader, Utterance


def hear_one_signal(run: Run, models: CascadeModels, plan: ingest.MonoPlan) -> Heard:
    """Transcribe a recording by one signal that is made of its channels as ``plan`` says."""
    with run.timer("read"):
        audio = ingest.open_mono(run.recording, plan, progress=run.report("read"))
    with audio:
        with run.timer("activity"):
            activity = who_speaks(audio, run, models)
        with run.timer("recognize"):
            language, regions = _words(audio, activity, run, models)
            utterances = assign(regions, activity)
        with run.timer("overlap"):
            utterances = _second_voices(
                utterances, language, audio, activity, run=run, models=models
            )
        return Heard(utterances, activity, language, audio.duration, plan.reason, audio.notes)


def _words(
    audio: AudioReader, activity: Activity, run: Run, models: CascadeModels
) -> tuple[str, list[RecognizedRegion]]:
    settings = models.settings
    if not activity.turns:
        return "", []

    def make() -> dict[str, Any]:
        regions = speech_regions(activity, audio.duration)
        language = models.language(audio, regions)
        if not language:
            return stages.words_to_json("", [])
        words = models.recognizer().recognize(
            audio, regions, language=language, progress=run.report("recognize"), keep=parts
        )
        return stages.words_to_json(language, words)

    run.progress("recognize", 0.0)
    decided_by = (
        settings.recognizer,
        settings.language,
        describe_model(settings.recognizer.model),
        stages.activity_to_json(activity),
    )
    parts = models.word_parts(run, "words", decided_by[1:])
    made = run.keep("words", decided_by, make, parts=[parts])
    run.progress("recognize", 1.0)
    language, regions = stages.words_from_json(made)
    return language, convert_script(regions, language, settings.script)


def _second_voices(
    utterances: tuple[Utterance, ...],
    language: str,
    audio: AudioReader,
    activity: Activity,
    *,
    run: Run,
    models: CascadeModels,
) -> tuple[Utterance, ...]:
    """Add words under somebody else's, where the first hearing left a speaker without."""
    settings = models.settings
    gaps = find_gaps(activity.turns, utterances, settings.second_voice)
    if not gaps or not utterances:
        return utterances
    segments = [gap.heard for gap in gaps]

    def make() -> list[dict[str, Any]]:
        ways = models.recognizer().hear_again(
            audio, segments, language=language, progress=run.report("overlap"), keep=parts
        )
        return [stages.words_to_json(language, heard) for heard in ways]

    run.progress("overlap", 0.0)
    decided_by = (
        settings.recognizer,
        language,
        describe_model(settings.recognizer.model),
        [(segment.start, segment.end) for segment in segments],
    )
    parts = models.word_parts(run, "overlap", decided_by[1:])
    made = run.keep("overlap", decided_by, make, parts=[parts])
    run.progress("overlap", 1.0)
    ways = [
        convert_script(stages.words_from_json(heard)[1], language, settings.script)
        for heard in made
    ]
    return with_second_voices(utterances, gaps, ways, settings.second_voice)
