"""Sound files of any kind as one session: what they are, and their samples at 16 kHz.

    probe(paths) -> Recording              headers, layout guessed (probe, layout)
    blocks(recording) -> samples_cn        all channels, block by block (decode)
    plan_mono, open_mono -> MonoAudio      one signal on disk, read in any order (mono)
    plan_channels -> ChannelPlan           which channels of an array are sound (faults)
    open_channels -> ChannelAudio          all channels, the same way (channels)
    InMemory, ChannelsInMemory             samples that are there already (memory)

Axes: C channel, N sample, T frame, F bin.
"""

from __future__ import annotations

from meetscribe.ingest.channels import ChannelAudio, open_channels
from meetscribe.ingest.decode import blocks
from meetscribe.ingest.faults import ChannelFault, ChannelPlan, Fault, plan_channels
from meetscribe.ingest.layout import guess_layout
from meetscribe.ingest.memory import ChannelsInMemory, InMemory
from meetscribe.ingest.mono import MonoAudio, MonoPlan, open_mono, plan_mono
from meetscribe.ingest.probe import AUDIO_SUFFIXES, content_hash, find_audio, probe

__all__ = [
    "AUDIO_SUFFIXES",
    "ChannelAudio",
    "ChannelFault",
    "ChannelPlan",
    "ChannelsInMemory",
    "Fault",
    "InMemory",
    "MonoAudio",
    "MonoPlan",
    "blocks",
    "content_hash",
    "find_audio",
    "guess_layout",
    "open_channels",
    "open_mono",
    "plan_channels",
    "plan_mono",
    "probe",
]
