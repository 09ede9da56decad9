"""The cascade: who speaks when, then what was said, then who said it.

    one signal    MonoAudio -> Activity -> regions -> words -> Utterances
    an array      MonoAudio -> Activity -> a stream for each speaker -> words -> Utterances

On an array every speaker is recognised on a signal of his own (guided source separation), so that
words spoken over each other are all written. Other layouts go through one signal
(``ingest.plan_mono`` says which), and the transcript says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines import stages
from meetscribe.engines.assign import assign, assign_stream
from meetscribe.engines.device import check_name, check_present, torch_device
from meetscribe.engines.second_voice import find_gaps, with_second_voices
from meetscribe.engines.separated import recognise_streams
from meetscribe.engines.settings import OWN_DIARIZER, CascadeSettings, parse_channels
from meetscribe.engines.timer import Timer
from meetscribe.errors import ConfigError
from meetscribe.models import describe_model, fetch, resolve_whisper
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.underneath import find_underneath, with_turns
from meetscribe.types import (
    Activity,
    AudioReader,
    Layout,
    Progress,
    Recording,
    Segment,
    Store,
    Transcript,
    Turn,
    Utterance,
)

if TYPE_CHECKING:
    from meetscribe.activity import Diarizer, PyannoteDiarizer
    from meetscribe.recognize import Recognizer


VAD = "silero-vad"
"""Tells the recogniser which stretches sound like speech; faster-whisper carries it."""


class CascadeEngine:
    """Speaker activity, recognition over the mixed signal, attribution of words.

    Parameters
    ----------
    settings : what to run
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``
    threads : cores to use on the CPU
    offline : never open a socket
    """

    def __init__(
        self, settings: CascadeSettings, *, device: str, threads: int, offline: bool
    ) -> None:
        check_name(device)
        self.settings = settings
        self.device = device
        self.threads = threads
        self.offline = offline
        self._diarizer: Diarizer | PyannoteDiarizer | None = None
        self._recognizer: Recognizer | None = None

    def describe(self) -> Mapping[str, Any]:
        """Give the settings and the models with their hashes."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "models": {name: describe_model(name) for name in [*self._model_names(), VAD]},
        }

    def transcribe(self, recording: Recording, *, store: Store, progress: Progress) -> Transcript:
        """Say who spoke what and when.

        Raises
        ------
        AudioError, ModelError
            If the recording cannot be read, or a model cannot be had or run.
        ConfigError
            If the device that was asked for is not there.
        """
        timer = Timer()
        check_present(self.device)
        progress("models", 0.0)
        with timer("models"):
            self._fetch_models(progress)
        plan = self._plan(recording)
        used = self._array_channels(recording)
        inputs = config_hash(recording.content_hash, repr(plan))
        inputs = config_hash(inputs, used) if used else inputs
        with timer("read"):
            audio = ingest.open_mono(recording, plan, progress=_stage(progress, "read"))
        with audio, self._open_channels(recording, used, progress) as channels:
            with timer("activity"):
                activity = self._activity(audio, channels, inputs, store, progress)
            with timer("recognize"):
                if channels is not None:
                    activity = self._with_underneath(activity, channels, inputs, store, progress)
                    reason = f"speakers separated with {len(used)} channels"
                    language, streams = self._stream_words(
                        audio, channels, activity, inputs, store=store, progress=progress
                    )
                    utterances = _of_streams(streams, activity)
                else:
                    reason = plan.reason
                    language, regions = self._words(audio, activity, inputs, store, progress)
                    utterances = assign(regions, activity)
            if channels is None:
                with timer("overlap"):
                    utterances = self._second_voices(
                        utterances,
                        language,
                        audio,
                        activity,
                        inputs=inputs,
                        store=store,
                        progress=progress,
                    )
        return Transcript(
            session_id=recording.session_id,
            utterances=utterances,
            turns=activity.turns,
            language=language if utterances else "",
            duration=audio.duration,
            provenance={
                "engine": "cascade",
                **self.describe(),
                "device": self.device,
                "threads": self.threads,
                "timings_s": timer.seconds,
                "cpu_s": timer.cpu_seconds,
                "peak_memory_mb": timer.peak_mb,
            },
            warnings=(*_layout_warnings(recording, reason), *audio.notes, *activity.notes),
        )

    def _plan(self, recording: Recording) -> ingest.MonoPlan:
        channels = self.settings.channels
        if channels == "auto" or channels in set(Layout):
            return ingest.plan_mono(recording)
        wanted = parse_channels(channels)
        if max(wanted) >= recording.num_channels:
            raise ConfigError(
                f"{recording.session_id}: no channel {max(wanted)}, "
                f"the recording has {recording.num_channels}",
                hint="channels are counted from 0",
            )
        share = 1.0 / len(wanted)
        return ingest.MonoPlan(wanted, (share,) * len(wanted), f"channels {channels} as asked")

    def _model_names(self) -> list[str]:
        own = ["segmentation-3.0", "campplus-zh-en"]
        diarizer = own if self.settings.diarizer == OWN_DIARIZER else [self.settings.diarizer]
        return [*diarizer, self.settings.recognizer.model]

    def _fetch_models(self, progress: Progress) -> None:
        # before the audio is decoded: a missing model should be said at once
        report = _stage(progress, "models")
        whisper = resolve_whisper(
            self.settings.recognizer.model, offline=self.offline, progress=report
        )
        self._check_language(whisper)
        if self.settings.diarizer == OWN_DIARIZER:
            for name in self._model_names()[:2]:
                fetch(name, offline=self.offline, progress=report)

    def _check_language(self, whisper: Path) -> None:
        # the recogniser would say so itself, but only after the whole recording was diarized
        language, tokenizer = self.settings.language, whisper / "tokenizer.json"
        if language == "auto" or not tokenizer.is_file():
            return
        if f'"<|{language}|>"' not in tokenizer.read_text(encoding="utf-8"):
            raise ConfigError(
                f"language '{language}': the model {self.settings.recognizer.model} "
                "does not know it",
                hint="give an ISO 639-1 code such as en or zh, or auto",
            )

    def _activity(
        self,
        audio: AudioReader,
        channels: ingest.ChannelAudio | None,
        inputs: str,
        store: Store,
        progress: Progress,
    ) -> Activity:
        count = self.settings
        limits = (count.speakers, count.min_speakers, count.max_speakers)
        own = count.diarizer == OWN_DIARIZER

        def make() -> dict[str, Any]:
            diarizer = self._load_diarizer()
            report = _stage(progress, "activity")
            # a pyannote.audio pipeline hears one channel
            places = {} if channels is None or not own else {"channels": channels}
            activity = diarizer.diarize(
                audio,
                num_speakers=count.speakers,
                min_speakers=count.min_speakers,
                max_speakers=count.max_speakers,
                progress=report,
                **places,
            )
            return stages.activity_to_json(activity)

        progress("activity", 0.0)
        models = [describe_model(name) for name in self._model_names()[:-1]]
        num = 1 if channels is None or not own else channels.num_channels
        key = config_hash(count.activity, count.diarizer, limits, models, num)
        made = store.get_or_make("activity", inputs, key, make)
        progress("activity", 1.0)
        return stages.activity_from_json(made)

    def _words(
        self, audio: AudioReader, activity: Activity, inputs: str, store: Store, progress: Progress
    ) -> tuple[str, list[RecognizedRegion]]:
        settings = self.settings
        if not activity.turns:
            return "", []

        def make() -> dict[str, Any]:
            recognizer = self.load_recognizer()
            regions = speech_regions(activity, audio.duration)
            language = self._language(recognizer, audio, regions)
            if not language:
                return stages.words_to_json("", [])
            words = recognizer.recognize(
                audio, regions, language=language, progress=_stage(progress, "recognize")
            )
            return stages.words_to_json(language, words)

        progress("recognize", 0.0)
        key = config_hash(
            settings.recognizer,
            settings.language,
            describe_model(settings.recognizer.model),
            stages.activity_to_json(activity),
        )
        made = store.get_or_make("words", inputs, key, make)
        progress("recognize", 1.0)
        language, regions = stages.words_from_json(made)
        return language, convert_script(regions, language, settings.script)

    def _second_voices(
        self,
        utterances: tuple[Utterance, ...],
        language: str,
        audio: AudioReader,
        activity: Activity,
        *,
        inputs: str,
        store: Store,
        progress: Progress,
    ) -> tuple[Utterance, ...]:
        """Add words under somebody else's, where the first hearing left a speaker without."""
        settings = self.settings
        gaps = find_gaps(activity.turns, utterances, settings.second_voice)
        if not gaps or not utterances:
            return utterances
        segments = [gap.heard for gap in gaps]

        def make() -> list[dict[str, Any]]:
            ways = self.load_recognizer().hear_again(
                audio, segments, language=language, progress=_stage(progress, "overlap")
            )
            return [stages.words_to_json(language, heard) for heard in ways]

        progress("overlap", 0.0)
        key = config_hash(
            settings.recognizer,
            language,
            describe_model(settings.recognizer.model),
            [(segment.start, segment.end) for segment in segments],
        )
        made = store.get_or_make("overlap", inputs, key, make)
        progress("overlap", 1.0)
        ways = [
            convert_script(stages.words_from_json(heard)[1], language, settings.script)
            for heard in made
        ]
        return with_second_voices(utterances, gaps, ways, settings.second_voice)

    def _array_channels(self, recording: Recording) -> tuple[int, ...]:
        """Give the channels to separate speakers with, none where there is nothing to separate."""
        if recording.layout is not Layout.ARRAY or self.settings.separation is None:
            return ()
        wanted = self.settings.channels
        listed = wanted != "auto" and wanted not in set(Layout)
        channels = parse_channels(wanted) if listed else ingest.usable_channels(recording)
        return channels if len(channels) > 1 else ()

    def _open_channels(
        self, recording: Recording, channels: tuple[int, ...], progress: Progress
    ) -> AbstractContextManager[ingest.ChannelAudio | None]:
        if not channels:
            return nullcontext()
        return ingest.open_channels(recording, channels, progress=_stage(progress, "read"))

    def _with_underneath(
        self,
        activity: Activity,
        channels: ingest.ChannelAudio,
        inputs: str,
        store: Store,
        progress: Progress,
    ) -> Activity:
        """Add the turns under others' that only all channels together reveal."""
        settings, separation = self.settings.underneath, self.settings.separation
        if settings is None or separation is None:
            return activity

        def make() -> list[dict[str, Any]]:
            found = find_underneath(
                channels,
                activity.turns,
                settings,
                separation,
                device=torch_device(self.device),
                threads=self.threads,
                progress=progress,
            )
            return [asdict(turn) for turn in found]

        key = config_hash(
            settings, separation, channels.num_channels, stages.activity_to_json(activity)
        )
        found = store.get_or_make("underneath", inputs, key, make)
        return with_turns(activity, [Turn(**turn) for turn in found])

    def _stream_words(
        self,
        audio: AudioReader,
        channels: ingest.ChannelAudio,
        activity: Activity,
        inputs: str,
        *,
        store: Store,
        progress: Progress,
    ) -> tuple[str, dict[str, list[RecognizedRegion]]]:
        """Recognise every speaker on a stream of his own."""
        settings = self.settings
        if not activity.turns:
            return "", {}

        def make() -> dict[str, Any]:
            recognizer = self.load_recognizer()
            regions = speech_regions(activity, audio.duration)
            language = self._language(recognizer, audio, regions)
            if not language:
                return {"language": "", "streams": {}}
            heard = recognise_streams(
                channels,
                activity,
                recognizer,
                language=language,
                separation=settings.separation or SeparationSettings(),
                device=self.device,
                threads=self.threads,
                progress=progress,
            )
            return {
                "language": language,
                "streams": {
                    speaker: stages.words_to_json(language, regions)
                    for speaker, regions in heard.items()
                },
            }

        key = config_hash(
            settings.recognizer,
            settings.language,
            settings.separation,
            describe_model(settings.recognizer.model),
            stages.activity_to_json(activity),
        )
        made = store.get_or_make("streams", inputs, key, make)
        language = made["language"]
        heard = {
            speaker: stages.words_from_json(regions)[1]
            for speaker, regions in made["streams"].items()
        }
        return language, {
            speaker: convert_script(regions, language, settings.script)
            for speaker, regions in heard.items()
        }

    def _load_diarizer(self) -> Diarizer | PyannoteDiarizer:
        if self._diarizer is None:
            from meetscribe.activity import Diarizer, PyannoteDiarizer

            if self.settings.diarizer == OWN_DIARIZER:
                segmentation, voiceprint = self._model_names()[:2]
                self._diarizer = Diarizer(
                    self.settings.activity,
                    segmentation=fetch(segmentation, offline=self.offline),
                    voiceprint=fetch(voiceprint, offline=self.offline),
                    device=self.device,
                )
            else:
                self._diarizer = PyannoteDiarizer(
                    self.settings.diarizer, device=self.device, offline=self.offline
                )
        return self._diarizer

    def _language(
        self, recognizer: Recognizer, audio: AudioReader, regions: Sequence[Segment]
    ) -> str:
        """Give the language asked for or heard; "" if what passed for activity is not speech."""
        if self.settings.language != "auto":
            return self.settings.language
        return recognizer.detect_language(audio, regions)[0]

    def load_recognizer(self) -> Recognizer:
        """Give the recogniser, loaded once."""
        if self._recognizer is None:
            from meetscribe.recognize import Recognizer

            self._recognizer = Recognizer(
                self.settings.recognizer,
                model_dir=resolve_whisper(self.settings.recognizer.model, offline=self.offline),
                device=self.device,
                threads=self.threads,
            )
        return self._recognizer


def _of_streams(
    streams: Mapping[str, list[RecognizedRegion]], activity: Activity
) -> tuple[Utterance, ...]:
    made = (assign_stream(regions, speaker, activity) for speaker, regions in streams.items())
    return tuple(utterance for utterances in made for utterance in utterances)


def _stage(progress: Progress, name: str) -> Progress:
    """Report the inner steps of a stage under one name."""
    return lambda _inner, done: progress(name, done)


def _layout_warnings(recording: Recording, reason: str) -> tuple[str, ...]:
    if recording.layout is Layout.MONO:
        return ()
    why = "" if recording.layout_reason in reason else f" ({recording.layout_reason})"
    return (f"channels taken as {recording.layout}{why}: {reason}",)
