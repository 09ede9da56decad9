"""The cascade: who speaks when, then what was said, then who said it.

    one signal    ``one_signal``   turns by voice, words of the signal, each word to a speaker
    an array      ``separated``    turns by voice and place, a stream and its words per speaker

On an array every speaker is recognised on a signal of his own (guided source separation), so that
words spoken over each other are all written. Other layouts go through one signal
(``ingest.plan_mono`` says which), and the transcript says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.device import check_name, check_present
from meetscribe.engines.one_signal import hear_one_signal
from meetscribe.engines.run import Heard, Run
from meetscribe.engines.separated import hear_array
from meetscribe.engines.settings import CascadeSettings, parse_channels
from meetscribe.engines.timer import Timer
from meetscribe.errors import ConfigError
from meetscribe.types import Layout, Progress, Recording, Store, Transcript


class CascadeEngine:
    """Speaker activity, recognition, attribution; the layout of the channels decides how.

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
        self.models = CascadeModels(settings, device=device, threads=threads, offline=offline)

    def describe(self) -> Mapping[str, Any]:
        """Give the settings and the models with their hashes."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "models": self.models.describe(),
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
            provenance={
                "engine": "cascade",
                **self.describe(),
                "device": self.models.device,
                "threads": self.models.threads,
                "timings_s": timer.seconds,
                "cpu_s": timer.cpu_seconds,
                "peak_memory_mb": timer.peak_mb,
            },
            warnings=(*_layout_warnings(recording, heard), *heard.notes, *heard.activity.notes),
        )

    def _hear(self, recording: Recording, store: Store, progress: Progress, timer: Timer) -> Heard:
        plan = self._plan(recording)
        used = self._array_channels(recording)
        inputs = config_hash(recording.content_hash, repr(plan))
        inputs = config_hash(inputs, used) if used else inputs
        run = Run(recording, inputs, store, progress, timer)
        if used:
            return hear_array(run, self.models, plan, used)
        return hear_one_signal(run, self.models, plan)

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

    def _array_channels(self, recording: Recording) -> tuple[int, ...]:
        """Give the channels to separate speakers with, none where there is nothing to separate."""
        if recording.layout is not Layout.ARRAY or self.settings.separation is None:
            return ()
        wanted = self.settings.channels
        listed = wanted != "auto" and wanted not in set(Layout)
        channels = parse_channels(wanted) if listed else ingest.usable_channels(recording)
        return channels if len(channels) > 1 else ()


def _layout_warnings(recording: Recording, heard: Heard) -> tuple[str, ...]:
    if recording.layout is Layout.MONO:
        return ()
    why = "" if recording.layout_reason in heard.how else f" ({recording.layout_reason})"
    return (f"channels taken as {recording.layout}{why}: {heard.how}",)
