"""Samples in memory are read as those of a file: by seconds, with silence beyond the end."""

from __future__ import annotations

import numpy as np

from meetscribe.ingest import ChannelsInMemory, InMemory


def test_pieces_are_read_by_seconds_and_end_in_silence() -> None:
    samples_cn = np.arange(1, 48_001, dtype=np.float32).reshape(3, 16_000)
    channels = ChannelsInMemory(samples_cn)
    assert (channels.num_channels, channels.duration) == (3, 1.0)
    assert np.array_equal(channels.read_cn(0.25, 0.5), samples_cn[:, 4_000:8_000])
    beyond_cn = channels.read_cn(0.75, 1.5)
    assert np.array_equal(beyond_cn[:, :4_000], samples_cn[:, 12_000:])
    assert beyond_cn.shape == (3, 12_000)
    assert not beyond_cn[:, 4_000:].any()
    assert not channels.read_cn(2.0, 2.5).any()
    assert np.array_equal(InMemory(samples_cn[1]).read(0.75, 1.5), beyond_cn[1])
