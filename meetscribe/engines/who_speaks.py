"""The first stage of the cascade: who speaks when, kept for the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meetscribe.engines import stages
from meetscribe.engines.cascade_models import CascadeModels
from meetscribe.engines.run import Run
from meetscribe.models import describe_model
from meetscribe.types import Activity, AudioReader

if TYPE_CHECKING:
    from meetscribe.ingest import ChannelAudio


def who_speaks(
    audio: AudioReader, run: Run, models: CascadeModels, *, channels: ChannelAudio | None = None
) -> Activity:
    """Say who speaks when in one signal; with all channels of an array, by place as well."""
    settings = models.settings
    # a pyannote.audio pipeline hears one channel, and in one go
    places = channels if models.own_diarizer else None
    decided_by = (
        settings.activity,
        settings.diarizer,
        (settings.speakers, settings.min_speakers, settings.max_speakers),
        [describe_model(name) for name in models.of_activity],
        places.num_channels if places is not None else 1,
    )
    parts = run.parts(
        "activity", decided_by, pack=stages.array_to_json, unpack=stages.array_from_json
    )

    own: dict[str, Any] = {"channels": places, "keep": parts} if models.own_diarizer else {}

    def make() -> dict[str, Any]:
        activity = models.diarizer().diarize(
            audio,
            num_speakers=settings.speakers,
            min_speakers=settings.min_speakers,
            max_speakers=settings.max_speakers,
            progress=run.report("activity"),
            **own,
        )
        return stages.activity_to_json(activity)

    run.progress("activity", 0.0)
    made = run.keep("activity", decided_by, make, parts=[parts])
    run.progress("activity", 1.0)
    return stages.activity_from_json(made)
