"""The cascade: who speaks when, then what was said, then who said it.

    one signal      ``one_signal``    turns by voice, words of the signal, each word to a speaker
    an array        ``separated``     turns by voice and place, a stream and its words per speaker
    one per speaker ``per_speaker``   turns by level, each channel and its words a speaker

On an array every speaker is recognised on a signal of his own (guided source separation), and so
he is where everybody wears a microphone: words spoken over each other are all written. Other
layouts go through one signal (``ingest.plan_mono`` says which), and the transcript says so.
"""

from __future__ import annotations

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import check_present
from meetscribe.engines.engine import EngineBase
from meetscribe.engines.mono_signal import layout_warnings, plan_signal
from meetscribe.engines.one_signal import hear_one_signal
from meetscribe.engines.per_speaker import hear_per_speaker
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.separated import hear_array
from meetscribe.engines.settings import CascadeSettings
from meetscribe.engines.timer import Timer
from meetscribe.types import Layout, Progress, Recording, Store, Transcript


class CascadeEngine(EngineBase[CascadeSettings, CascadeModels]):
    """Speaker activity, recognition, attribution; the layout of the channels decides how."""

    name = "cascade"
    models_of = CascadeModels

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
        check_present(self.models.device)
        progress("models", 0.0)
        with timer("models"):
            self.models.fetch(progress)
        heard = self._hear(recording, store, progress, timer)
        return Transcript(
            session_id=recording.session_id,
            utterances=heard.utterances,
            turns=heard.activity.turns,
            language=heard.language if heard.utterances else "",
            duration=heard.duration,
            provenance=self.provenance(timer),
            warnings=(*layout_warnings(recording, heard.how), *heard.notes, *heard.activity.notes),
        )

    def _hear(self, recording: Recording, store: Store, progress: Progress, timer: Timer) -> Heard:
        plan = plan_signal(recording, self.settings)
        listed = self.settings.listed_channels

        def run(*heard: object) -> Run:
            inputs = config_hash(recording.content_hash, *map(repr, heard))
            return Run(recording, inputs, store, progress, timer)

        if recording.layout is Layout.ARRAY and self.settings.separation is not None:
            array = ingest.plan_channels(recording, listed)
            if len(array.channels) > 1:
                return hear_array(run(plan, array), self.models, plan, array)
        if recording.layout is Layout.PER_SPEAKER and self.settings.crosstalk is not None:
            worn = listed or tuple(range(recording.num_channels))
            heard = hear_per_speaker(run(worn), self.models, worn) if len(worn) > 1 else None
            if heard is not None:
                return heard
        return hear_one_signal(run(plan), self.models, plan)
