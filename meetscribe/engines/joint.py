"""The joint engine: one model writes who spoke what and when, group after group of a meeting.

one signal -> turns by voice (as the cascade has them) -> utterance groups -> text of each
-> turns on the meeting's clock -> persons, by voice -> Transcript

Of an array the model hears the best channel, or this and the places of the speakers, or each
speaker's separated stream: ``joint_signal``. Streams have a speaker, so nobody is linked there.

The turns and words are the model's. Those of the activity stage only say where groups begin and
end, and who in one group is who in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.device import check_present
from meetscribe.engines.engine import EngineBase
from meetscribe.engines.joint_models import JointModels
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.engines.joint_signal import OneSignal, StreamSignal, open_signal
from meetscribe.engines.joint_streams import own_words
from meetscribe.engines.joint_turns import (
    Reading,
    language_of,
    link_speakers,
    read_answers,
    turns_of,
)
from meetscribe.engines.joint_writing import Written, write
from meetscribe.engines.mono_signal import layout_warnings, plan_signal
from meetscribe.engines.run import Run
from meetscribe.engines.separated import with_underneath
from meetscribe.engines.timer import Timer
from meetscribe.engines.who_speaks import who_speaks
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


class JointEngine(EngineBase[JointSettings, JointModels]):
    """Speaker activity, then a joint model on every group, then speakers linked by voice."""

    name = "joint"
    models_of = JointModels

    def transcribe(self, recording: Recording, *, store: Store, progress: Progress) -> Transcript:
        """Say who spoke what and when.

        Raises
        ------
        AudioError, ModelError
            If the recording cannot be read, or a model cannot be had or run.
        ConfigError
            If what is named is no joint model, or the device that was asked for is not there.
        """
        timer = Timer()
        check_present(self.models.device)
        progress("models", 0.0)
        with timer("models"):
            self.models.fetch(progress)
        plan = plan_signal(recording, self.settings)
        array = plan_array(recording, self.settings)
        # as the cascade names its inputs: both share what the activity stage keeps
        planned = (plan,) if array is None else (plan, array)
        inputs = config_hash(recording.content_hash, *map(repr, planned))
        run = Run(recording, inputs, store, progress, timer)
        with ExitStack() as opened:
            with timer("read"):
                report = run.report("read")
                audio = opened.enter_context(ingest.open_mono(recording, plan, progress=report))
                channels = None
                if array is not None:
                    channels = opened.enter_context(run.open_channels(array))
            with timer("activity"):
                activity = self._activity(audio, channels, run)
            written, reading, linked, more = self._hear(audio, channels, activity, run)
            duration, notes = audio.duration, audio.notes
        language = self._language(linked)
        utterances = tuple(one for one in _in_script(linked, language, self.settings) if one.text)
        return Transcript(
            session_id=recording.session_id,
            utterances=utterances,
            turns=turns_of(linked),
            language=language if utterances else "",
            duration=duration,
            provenance=self.provenance(timer, groups={**_counted(written, reading), **more}),
            warnings=(
                *layout_warnings(recording, _how(plan, array, self.settings)),
                *_array_notes(array, self.settings),
                *notes,
                *activity.notes,
                *_reading_warnings(written, reading),
                *_leakage_warnings(more),
            ),
        )

    def _activity(
        self, audio: AudioReader, channels: ingest.ChannelAudio | None, run: Run
    ) -> Activity:
        """Say who speaks when; before speakers are separated, also who speaks under others."""
        activity = who_speaks(audio, run, self.models.activity, channels=channels)
        if channels is None or self.settings.signal != "separated":
            return activity
        return with_underneath(activity, channels, run, self.models.activity)

    def _hear(
        self,
        audio: AudioReader,
        channels: ingest.ChannelAudio | None,
        activity: Activity,
        run: Run,
    ) -> tuple[list[Written], Reading, tuple[Utterance, ...], dict[str, int]]:
        """Give what was written, what could be read of it, whose it is, and what was left out."""
        with run.timer("recognize"):
            with open_signal(audio, channels, activity, run, self.models) as signal:
                written = self._write(signal, run)
            reading = read_answers(written)
        if isinstance(signal, StreamSignal):
            own = own_words(written, reading, self.settings.leakage)
            return written, reading, own.utterances, {"leaked": own.leaked, "copied": own.copied}
        with run.timer("link"):
            linked = link_speakers(
                reading, written, activity, audio=audio, run=run, models=self.models
            )
        return written, reading, linked, {}

    def _write(self, signal: OneSignal, run: Run) -> list[Written]:
        if not signal.turns:
            return []
        run.progress("recognize", 0.0)
        longest_s = self.models.kind().longest_s(self.settings)
        settings = self.settings.groups.model_copy(update={"longest_s": longest_s})
        written = write(signal.items(settings), signal, run, self.models)
        run.progress("recognize", 1.0)
        return written

    def _language(self, utterances: tuple[Utterance, ...]) -> str:
        given = self.settings.language
        return language_of(utterances) if given == "auto" else given


def plan_array(recording: Recording, settings: JointSettings) -> ingest.ChannelPlan | None:
    """Choose the channels that are heard together; None where the model hears one signal.

    Raises
    ------
    AudioError
        If a file cannot be read.
    """
    if settings.signal == "best-channel" or recording.layout is not Layout.ARRAY:
        return None
    array = ingest.plan_channels(recording, settings.listed_channels)
    return array if len(array.channels) > 1 else None


def _how(plan: ingest.MonoPlan, array: ingest.ChannelPlan | None, settings: JointSettings) -> str:
    if array is None:
        return plan.reason
    if settings.signal == "separated":
        return f"speakers separated with {len(array.channels)} channels"
    return f"{plan.reason}; places of the speakers heard with {len(array.channels)} channels"


def _array_notes(array: ingest.ChannelPlan | None, settings: JointSettings) -> tuple[str, ...]:
    if array is not None:
        return array.notes
    if settings.signal == "best-channel":
        return ()
    found = "not several microphones that all hear everybody"
    return (f"signal {settings.signal}: {found}, so one signal was heard",)


def _in_script(
    utterances: tuple[Utterance, ...], language: str, settings: JointSettings
) -> tuple[Utterance, ...]:
    if language not in {"zh", "yue"} or settings.script == "as-is":
        return utterances
    from meetscribe.recognize.script import convert_text

    return tuple(replace(one, text=convert_text(one.text, settings.script)) for one in utterances)


def _counted(written: list[Written], reading: Reading) -> dict[str, Any]:
    """Give what became of the groups, for the provenance."""
    return {
        "count": len(written),
        "longest_s": round(max((one.group.duration for one in written), default=0.0), 2),
        "tokens": sum(one.answer.num_tokens for one in written),
        "out_of_tokens": sum(one.answer.full for one in written),
        "failed": len(reading.failed),
        "failed_s": round(sum(group.duration for group in reading.failed), 2),
        "repaired": reading.repaired,
        "repairs": dict(sorted(reading.faults.items())),
    }


def _leakage_warnings(counted: Mapping[str, int]) -> tuple[str, ...]:
    said = {
        "leaked": "utterances of other voices left out of the speakers' streams",
        "copied": "words in the streams of two speakers, left to one of them",
    }
    return tuple(f"{line}: {counted[name]}" for name, line in said.items() if counted.get(name))


def _reading_warnings(written: list[Written], reading: Reading) -> tuple[str, ...]:
    lines = []
    if reading.failed:
        seconds = sum(group.duration for group in reading.failed)
        lines.append(
            f"of {len(reading.failed)} of {len(written)} groups of speech ({seconds:.1f} s) "
            "nothing could be read: their words are missing"
        )
    full = [one.group for one in written if one.answer.full]
    if full:
        lines.append(
            f"the model ran out of tokens in {len(full)} of {len(written)} groups of speech, the "
            f"first at {full[0].start:.1f} s: words may be missing at their ends"
        )
    if reading.faults:
        faults = ", ".join(f"{name} {count}" for name, count in reading.faults.most_common(3))
        lines.append(f"the model's text was repaired in {reading.repaired} groups ({faults})")
    return tuple(lines)
