"""The joint engine: one model writes who spoke what and when, group after group of a meeting.

one signal -> turns by voice (as the cascade has them) -> utterance groups -> text of each
-> turns on the meeting's clock -> persons, by voice -> Transcript

The turns and words are the model's. Those of the activity stage only say where groups begin and
end, and who in one group is who in another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.device import check_present
from meetscribe.engines.engine import EngineBase
from meetscribe.engines.joint_groups import utterance_groups
from meetscribe.engines.joint_models import JointModels
from meetscribe.engines.joint_settings import JointSettings
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
from meetscribe.engines.timer import Timer
from meetscribe.engines.who_speaks import who_speaks
from meetscribe.types import (
    Activity,
    AudioReader,
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
            If no model is named, or the device that was asked for is not there.
        """
        timer = Timer()
        check_present(self.models.device)
        progress("models", 0.0)
        with timer("models"):
            self.models.fetch(progress)
        plan = plan_signal(recording, self.settings)
        # as the cascade names its inputs: both share what the activity stage keeps
        inputs = config_hash(recording.content_hash, repr(plan))
        run = Run(recording, inputs, store, progress, timer)
        with timer("read"):
            audio = ingest.open_mono(recording, plan, progress=run.report("read"))
        with audio:
            with timer("activity"):
                activity = who_speaks(audio, run, self.models.activity)
            with timer("recognize"):
                written = self._write(audio, activity, run)
                reading = read_answers(written)
            with timer("link"):
                linked = link_speakers(
                    reading, written, activity, audio=audio, run=run, models=self.models
                )
            duration, notes = audio.duration, audio.notes
        language = self._language(linked)
        utterances = tuple(one for one in _in_script(linked, language, self.settings) if one.text)
        return Transcript(
            session_id=recording.session_id,
            utterances=utterances,
            turns=turns_of(linked),
            language=language if utterances else "",
            duration=duration,
            provenance=self.provenance(timer, groups=_counted(written, reading)),
            warnings=(
                *layout_warnings(recording, plan.reason),
                *notes,
                *activity.notes,
                *_reading_warnings(written, reading),
            ),
        )

    def _write(self, audio: AudioReader, activity: Activity, run: Run) -> list[Written]:
        if not activity.turns:
            return []
        run.progress("recognize", 0.0)
        longest_s = self.models.kind().longest_s(self.settings)
        settings = self.settings.groups.model_copy(update={"longest_s": longest_s})
        groups = utterance_groups(activity.turns, audio, settings)
        written = write(groups, activity.turns, audio, run, self.models)
        run.progress("recognize", 1.0)
        return written

    def _language(self, utterances: tuple[Utterance, ...]) -> str:
        given = self.settings.language
        return language_of(utterances) if given == "auto" else given


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
