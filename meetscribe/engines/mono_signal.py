"""Which channels make the one signal that an engine hears."""

from __future__ import annotations

from meetscribe import ingest
from meetscribe.engines.settings import parse_channels
from meetscribe.errors import ConfigError
from meetscribe.types import Layout, Recording


def plan_signal(recording: Recording, channels: str) -> ingest.MonoPlan:
    """Choose the channels of the mono signal: those listed, or as the layout decides.

    Parameters
    ----------
    channels : ``auto``, a layout, or a list such as ``0,2-3``

    Raises
    ------
    AudioError
        If a file cannot be read.
    ConfigError
        If the recording has no such channel.
    """
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
