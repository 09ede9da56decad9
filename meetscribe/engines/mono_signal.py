"""Which channels make the one signal that an engine hears, and what is said of them."""

from __future__ import annotations

from meetscribe import ingest
from meetscribe.engines.meeting_settings import MeetingSettings
from meetscribe.errors import ConfigError
from meetscribe.types import Layout, Recording


def plan_signal(recording: Recording, settings: MeetingSettings) -> ingest.MonoPlan:
    """Choose the channels of the mono signal: those listed, or as the layout decides.

    Raises
    ------
    AudioError
        If a file cannot be read.
    ConfigError
        If the recording has no such channel.
    """
    wanted = settings.listed_channels
    if wanted is None:
        return ingest.plan_mono(recording)
    if max(wanted) >= recording.num_channels:
        raise ConfigError(
            f"{recording.session_id}: no channel {max(wanted)}, "
            f"the recording has {recording.num_channels}",
            hint="channels are counted from 0",
        )
    share = 1.0 / len(wanted)
    return ingest.MonoPlan(wanted, (share,) * len(wanted), f"channels {settings.channels} as asked")


def layout_warnings(recording: Recording, how: str) -> tuple[str, ...]:
    """Say what the channels were taken for and why, and what was done with them (``how``)."""
    if recording.layout is Layout.MONO:
        return ()
    why = "" if recording.layout_reason in how else f" ({recording.layout_reason})"
    return (f"channels taken as {recording.layout}{why}: {how}",)
