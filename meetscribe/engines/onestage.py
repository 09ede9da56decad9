"""The one-stage engine: all microphones of an array and one speaker in, that speaker's words out.

channels -> Activity by voice and place (as the cascade has it) -> solo segments: where everybody
is -> regions of each speaker -> one network hears all channels and writes the speaker's words

Nothing is separated. The same path made the training's examples (``onestage.front_end``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.assign import assign_stream
from meetscribe.engines.device import check_present
from meetscribe.engines.engine import EngineBase
from meetscribe.engines.leakage import without_copies
from meetscribe.engines.mono_signal import layout_warnings, plan_signal
from meetscribe.engines.onestage_models import OnestageModels
from meetscribe.engines.onestage_settings import OnestageEngineSettings
from meetscribe.engines.onestage_writing import Item, Listening, regions_of
from meetscribe.engines.run import Run
from meetscribe.engines.timer import Timer
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.errors import ConfigError
from meetscribe.models import describe_model
from meetscribe.recognize import RecognizedRegion, convert_script, speech_regions
from meetscribe.types import (
    Activity,
    AudioReader,
    Layout,
    Progress,
    Recording,
    Store,
    Transcript,
    Utterance,
)

_FEWEST = 2


class OnestageEngine(EngineBase[OnestageEngineSettings, OnestageModels]):
    """Speaker activity, then a recogniser that listens to one speaker at a time."""

    name = "onestage"
    models_of = OnestageModels

    def transcribe(self, recording: Recording, *, store: Store, progress: Progress) -> Transcript:
        """Say who spoke what and when.

        Raises
        ------
        AudioError, ModelError
            If the recording cannot be read, or a model cannot be had or run.
        ConfigError
            If the recording is not of an array, or the device that was asked for is not there.
        """
        timer = Timer()
        check_present(self.models.device)
        check_layout(recording, self.settings)
        progress("models", 0.0)
        with timer("models"):
            self.models.fetch(progress)
        with timer("read"):
            plan = plan_signal(recording, self.settings)
            array = ingest.plan_channels(recording, self.settings.listed_channels)
            self._check_channels(recording, array)
            # as the cascade names its inputs: both share what the activity stage keeps
            inputs = config_hash(recording.content_hash, repr(plan), repr(array))
            run = Run(recording, inputs, store, progress, timer)
            audio = ingest.open_mono(recording, plan, progress=run.report("read"))
        with (
            audio,
            run.open_channels(array) as channels,
        ):
            with timer("activity"):
                activity = who_speaks(audio, run, self.models.shared, channels=channels)
            with timer("recognize"):
                language, heard, lost = self._words(audio, channels, activity, run)
            duration, notes = audio.duration, (*array.notes, *audio.notes)
        utterances = self._utterances(heard, language, activity)
        return Transcript(
            session_id=recording.session_id,
            utterances=utterances,
            turns=activity.turns,
            language=language if utterances else "",
            duration=duration,
            provenance=self.provenance(timer, regions=_counted(heard)),
            warnings=(
                *layout_warnings(recording, _how(len(array.channels))),
                *notes,
                *activity.notes,
                *_lost_notes(lost, activity),
            ),
        )

    def _check_channels(self, recording: Recording, array: ingest.ChannelPlan) -> None:
        """Refuse channels that the network cannot hear, after the faulty ones were left out."""
        found = len(array.channels)
        if found < _FEWEST:
            why = f" ({'; '.join(array.notes)})" if array.notes else ""
            raise ConfigError(
                f"{recording.session_id}: {found} channel of {recording.num_channels} can be "
                f"used{why}; the pipeline onestage needs at least two",
                hint="use --pipeline mono; or name the channels, such as --channels 0,1",
            )
        fixed = self.models.adapter.settings.embedding.num_channels
        if fixed not in {None, found}:
            raise ConfigError(
                f"{recording.session_id}: {found} channels, but this adapter was trained for "
                f"{fixed} (topology fixed)",
                hint="choose them with --channels, or use an adapter of another topology",
            )

    def _words(
        self, audio: AudioReader, channels: ingest.ChannelAudio, activity: Activity, run: Run
    ) -> tuple[str, dict[str, list[RecognizedRegion]], list[str]]:
        """Give the language, what every speaker says, and who could not be told apart."""
        if not activity.turns:
            return "", {}, []
        language = self._language(audio, activity, run)
        if not language:
            return "", {}, []
        listening = Listening(channels, activity, run, self.models)
        lost = listening.placeless()
        known = [turn for turn in activity.turns if turn.speaker not in lost]
        items = regions_of(known, audio, self.settings)
        return language, _by_speaker(items, listening.write(items, language), activity), lost

    def _language(self, audio: AudioReader, activity: Activity, run: Run) -> str:
        settings = self.settings
        if settings.language != "auto":
            return settings.language
        regions = speech_regions(activity, audio.duration)
        base = describe_model(self.models.adapter.settings.target.base)
        decided_by = (base, [(region.start, region.end) for region in regions])
        found: str = run.keep("language", decided_by, lambda: self.models.language(audio, regions))
        return found

    def _utterances(
        self, heard: Mapping[str, Sequence[RecognizedRegion]], language: str, activity: Activity
    ) -> tuple[Utterance, ...]:
        written = {
            speaker: convert_script(regions, language, self.settings.script)
            for speaker, regions in heard.items()
        }
        if self.settings.leakage is not None:
            written = without_copies(written, self.settings.leakage)
        return tuple(
            utterance
            for speaker, regions in written.items()
            for utterance in assign_stream(regions, speaker, activity)
        )


def check_layout(recording: Recording, settings: OnestageEngineSettings) -> None:
    """Refuse a recording that is not one of an array; nothing is read.

    Raises
    ------
    ConfigError
        With the pipeline that fits.
    """
    name, channels = recording.session_id, recording.num_channels
    if channels < _FEWEST:
        raise ConfigError(
            f"{name}: one channel, but the pipeline onestage listens with several microphones",
            hint="use --pipeline mono",
        )
    listed = settings.listed_channels
    if listed is not None and len(listed) < _FEWEST:
        raise ConfigError(
            f"{name}: --channels {settings.channels} is one channel; the pipeline onestage needs "
            "at least two",
            hint="name more of them, or use --pipeline mono",
        )
    if listed is None and recording.layout is not Layout.ARRAY:
        other = "per-speaker" if recording.layout is Layout.PER_SPEAKER else "mono"
        raise ConfigError(
            f"{name}: channels taken as {recording.layout} ({recording.layout_reason}); the "
            "pipeline onestage needs microphones that all hear everybody",
            hint=f"use --pipeline {other}, or --channels array if that is what they are",
        )


def _by_speaker(
    items: Sequence[Item], regions: Sequence[RecognizedRegion], activity: Activity
) -> dict[str, list[RecognizedRegion]]:
    heard: dict[str, list[RecognizedRegion]] = {speaker: [] for speaker in activity.speakers}
    for item, region in zip(items, regions, strict=True):
        heard[item.speaker].append(region)
    return {speaker: sorted(own, key=lambda region: region.start) for speaker, own in heard.items()}


def _how(num_channels: int) -> str:
    return f"each speaker heard with {num_channels} channels at once, without separating them"


def _lost_notes(lost: Sequence[str], activity: Activity) -> tuple[str, ...]:
    lines = []
    for speaker in lost:
        seconds = sum(turn.duration for turn in activity.turns if turn.speaker == speaker)
        lines.append(
            f"{speaker} is never heard alone, so nothing says which voice is his: the words of "
            f"{seconds:.1f} s are missing (--pipeline array writes them)"
        )
    return tuple(lines)


def _counted(heard: Mapping[str, Sequence[RecognizedRegion]]) -> dict[str, Any]:
    """Give what became of the regions, for the provenance."""
    regions = [region for own in heard.values() for region in own]
    return {
        "count": len(regions),
        "seconds": round(sum(region.end - region.start for region in regions), 2),
        "longest_s": round(max((region.end - region.start for region in regions), default=0.0), 2),
        "empty": sum(not region.words for region in regions),
        "unclear": sum("unclear" in region.flags for region in regions),
    }
