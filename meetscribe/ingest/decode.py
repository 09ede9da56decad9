"""Read the channels of a recording as blocks at 16 kHz, whatever files they come from.

Several files start together at 0; a shorter one is followed by silence. NaN and infinite samples
are taken as 0 and counted. Never more than a block and a piece of a file are in memory.

Axes: C channel, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from meetscribe.errors import AudioError, ShapeError
from meetscribe.ingest.opener import open_source
from meetscribe.ingest.source import Samples
from meetscribe.types import SAMPLE_RATE_HZ, AudioFile, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PIECE_VALUES = 1 << 20
"""Samples of all channels read from a file at once: 4 MB."""
_FULL_SCALE = 0.999
_EARLY_END_S = 0.5
"""Encoders pad and trim; a file that misses less than this is whole."""
_SHORTER_S = 0.05
_NARROW_BAND_HZ = 8_000


def at_16k(num_samples: int, rate_hz: int) -> int:
    """Give the number of samples at 16 kHz that ``num_samples`` at another rate become.

    >>> at_16k(44_100, 44_100), at_16k(3, 48_000)
    (16000, 1)
    """
    return (2 * num_samples * SAMPLE_RATE_HZ + rate_hz) // (2 * rate_hz)


class Track:
    """Some channels of one file, resampled as they are read.

    Parameters
    ----------
    file : the file
    channels : indices of its channels, in the order wanted
    start, duration : seconds; only this part is read, None means up to the end

    Raises
    ------
    AudioError
        If it cannot be opened any more.
    """

    def __init__(
        self,
        file: AudioFile,
        channels: Sequence[int],
        *,
        start: float = 0.0,
        duration: float | None = None,
    ) -> None:
        self.file = file
        self._channels = list(channels)
        self._source = open_source(Path(file.path), file.stream, num_samples=file.num_samples)
        self._rate = self._source.info.sample_rate_hz
        if self._source.info.num_channels <= max(self._channels):
            self._source.close()
            raise AudioError(
                f"{file.path}: {self._source.info.num_channels} channels, "
                f"had {file.num_channels} when it was opened first",
                hint="leave the file alone while it is read",
            )
        if start > 0:
            self._source.seek(round(start * self._rate))
        self._wanted = None if duration is None else round(duration * self._rate)
        self._piece = max(1, _PIECE_VALUES // self._source.info.num_channels)
        self._resampler = _resampler(self._rate, len(self._channels))
        self._ready: list[Samples] = []
        self._num_read = self._num_given = self._num_out = 0
        self._ended = False
        self._last_c1 = np.zeros((len(self._channels), 1), np.float32)
        self.num_nonfinite = 0
        self.num_clipped_c = np.zeros(len(self._channels), np.int64)

    @property
    def num_read(self) -> int:
        """Samples per channel read so far, at the file's own rate."""
        return self._num_read

    @property
    def share_done(self) -> float:
        """Share of the file that has been given, at most 1."""
        expected = at_16k(max(1, self.file.num_samples), self.file.sample_rate_hz)
        return min(1.0, self._num_out / max(1, expected))

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def take(self, num_samples: int) -> Samples:
        """Give the next samples at 16 kHz, shape (C, n); n is smaller only at the end."""
        have = sum(part.shape[1] for part in self._ready)
        while have < num_samples and not self._ended:
            part = self._next()
            self._ready.append(part)
            have += part.shape[1]
        joined = (
            np.concatenate(self._ready, axis=1)
            if self._ready
            else np.zeros((len(self._channels), 0), np.float32)
        )
        self._ready = [joined[:, num_samples:]] if have > num_samples else []
        given = joined[:, :num_samples]
        self._num_out += given.shape[1]
        return given

    def problems(self) -> Iterator[str]:
        """Say what a reader should know about the file, once all of it has been read."""
        yield from self._source.problems
        promised = self._source.info.promised_samples
        if promised is not None and promised - self._num_read > _EARLY_END_S * self._rate:
            have, whole = self._num_read / self._rate, promised / self._rate
            yield f"the file ends early: {have:.1f} s of {whole:.1f} s could be read"
        others = len(self._source.info.audio_streams) - 1
        if others:
            yield f"audio stream {self._source.info.stream} used, {others} more left aside"
        if self._rate < _NARROW_BAND_HZ:
            yield f"sampled at {self._rate} Hz: most of what makes speech clear is missing"

    def _next(self) -> Samples:
        """Read, clean and resample one piece."""
        left = self._piece
        if self._wanted is not None:
            left = min(left, self._wanted - self._num_read)
        piece_cn = self._source.read(left) if left > 0 else None
        if piece_cn is None or not piece_cn.shape[1]:
            self._ended = True
            empty_cn = np.zeros((len(self._channels), 0), np.float32)
            tail_cn = self._resample(empty_cn, last=True)
            return self._fitted(tail_cn, at_16k(self._num_read, self._rate) - self._num_given)
        self._num_read += piece_cn.shape[1]
        clean_cn = self._clean(piece_cn[self._channels])
        out_cn = self._resample(clean_cn, last=False)
        room = at_16k(self._num_read, self._rate) - self._num_given
        return self._fitted(out_cn, min(room, out_cn.shape[1]))

    def _fitted(self, samples_cn: Samples, num_samples: int) -> Samples:
        """Cut or pad with silence, so that the total length is exact."""
        missing = num_samples - samples_cn.shape[1]
        if missing > 0:
            samples_cn = np.pad(samples_cn, ((0, 0), (0, missing)))
        self._num_given += num_samples
        return samples_cn[:, :num_samples]

    def _resample(self, samples_cn: Samples, *, last: bool) -> Samples:
        if self._resampler is None:
            return samples_cn
        out_nc = self._resampler.resample_chunk(np.ascontiguousarray(samples_cn.T), last=last)
        out_cn: Samples = out_nc.reshape(-1, len(self._channels)).T
        return out_cn

    def _clean(self, samples_cn: Samples) -> Samples:
        """Replace what is not a number, and count samples that stay at full scale."""
        peak = float(np.max(np.abs(samples_cn)))
        if not math.isfinite(peak):
            bad_cn = ~np.isfinite(samples_cn)
            self.num_nonfinite += int(np.count_nonzero(bad_cn))
            samples_cn = np.where(bad_cn, np.float32(0), samples_cn)
        if not peak < _FULL_SCALE:
            # a clipped wave stays where it is; a loud but whole one only touches full scale
            before_cn = np.concatenate([self._last_c1, samples_cn[:, :-1]], axis=1)
            flat_cn = (np.abs(samples_cn) >= _FULL_SCALE) & (samples_cn == before_cn)
            self.num_clipped_c += np.count_nonzero(flat_cn, axis=1)
        self._last_c1 = samples_cn[:, -1:].copy()
        return samples_cn


def _resampler(rate_hz: int, num_channels: int) -> Any:  # noqa: ANN401 - soxr is untyped
    if rate_hz == SAMPLE_RATE_HZ:
        return None
    import soxr

    return soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, num_channels, dtype="float32")


class Decoder:
    """All wanted channels of a recording, read in step; close it, or use it in a ``with``.

    Parameters
    ----------
    recording : what to read
    channels : indices over all files together, in the order wanted; None means all
    start, duration : seconds; only this part is read

    Raises
    ------
    ShapeError
        If a channel does not exist.
    AudioError
        If a file cannot be opened any more.
    """

    def __init__(
        self,
        recording: Recording,
        channels: Sequence[int] | None = None,
        *,
        start: float = 0.0,
        duration: float | None = None,
    ) -> None:
        wanted = list(range(recording.num_channels)) if channels is None else list(channels)
        if not wanted or not all(0 <= channel < recording.num_channels for channel in wanted):
            raise ShapeError(
                f"{recording.session_id}: channels {wanted}, "
                f"expected some of 0 to {recording.num_channels - 1}"
            )
        self._num_channels = len(wanted)
        self._tracks: list[tuple[Track, list[int]]] = []
        self._stack = ExitStack()
        with ExitStack() as opened:
            first = 0
            for file in recording.files:
                inside = range(first, first + file.num_channels)
                rows = [row for row, channel in enumerate(wanted) if channel in inside]
                first += file.num_channels
                if rows:
                    own = [wanted[row] - inside.start for row in rows]
                    track = Track(file, own, start=start, duration=duration)
                    opened.callback(track.close)
                    self._tracks.append((track, rows))
            self._stack = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._stack.close()

    def blocks(self, block_s: float) -> Iterator[Samples]:
        """Give float32 (C, N) blocks at 16 kHz, all of the same length but the last."""
        block = max(1, round(block_s * SAMPLE_RATE_HZ))
        while True:
            parts = [(track.take(block), rows) for track, rows in self._tracks]
            longest = max(part_cn.shape[1] for part_cn, _ in parts)
            if not longest:
                return
            if len(parts) == 1:
                yield np.ascontiguousarray(parts[0][0])
            else:
                block_cn = np.zeros((self._num_channels, longest), np.float32)
                for part_cn, rows in parts:
                    block_cn[rows, : part_cn.shape[1]] = part_cn
                yield block_cn
            if longest < block:
                return

    @property
    def share_done(self) -> float:
        """Share that has been given, by the files' own word, at most 1."""
        return max(track.share_done for track, _ in self._tracks)

    @property
    def num_nonfinite(self) -> int:
        """NaN and infinite samples met so far."""
        return sum(track.num_nonfinite for track, _ in self._tracks)

    @property
    def clipped_share_c(self) -> NDArray[np.float64]:
        """Share of samples that stay at full scale, per channel, shape (C,)."""
        share_c = np.zeros(self._num_channels)
        for track, rows in self._tracks:
            share_c[rows] = track.num_clipped_c / max(1, track.num_read)
        return share_c

    def notes(self) -> tuple[str, ...]:
        """Say what a reader should know, once everything has been read."""
        found = [
            f"{Path(track.file.path).name}: {problem}"
            for track, _ in self._tracks
            for problem in track.problems()
        ]
        if self.num_nonfinite:
            found.append(f"{self.num_nonfinite} samples were not numbers (NaN, Inf); taken as 0")
        lengths = [
            (track.num_read / track.file.sample_rate_hz, Path(track.file.path).name)
            for track, _ in self._tracks
        ]
        longest = max(lengths)[0]
        found += [
            f"{name}: {longest - length:.1f} s shorter than the longest file; silence was added"
            for length, name in lengths
            if longest - length >= _SHORTER_S
        ]
        return tuple(found)


def blocks(
    recording: Recording, *, block_s: float = 30.0, channels: Sequence[int] | None = None
) -> Iterator[Samples]:
    """Give a recording as blocks at 16 kHz, from its start to its end.

    Parameters
    ----------
    recording : made by ``probe``
    block_s : seconds per block; the last one may be shorter
    channels : indices over all files together, in the order wanted; None means all

    Yields
    ------
    float32, shape (C, N), full scale 1
        No NaN, no infinity. The lengths add up to the longest file's, rounded to a sample.

    Raises
    ------
    AudioError
        If a file cannot be read, or nothing in it can be decoded.
    ShapeError
        If a channel does not exist.

    Notes
    -----
    Resampled by soxr's streaming high-quality filter, which keeps its state from block to block.
    """
    with Decoder(recording, channels) as decoder:
        some = False
        for block_cn in decoder.blocks(block_s):
            some = True
            yield block_cn
    if not some:
        raise nothing_decoded(recording)


def nothing_decoded(recording: Recording) -> AudioError:
    """Make the error for a recording whose files open but give no sample."""
    names = ", ".join(file.path for file in recording.files)
    return AudioError(
        f"{names}: no audio could be decoded",
        hint="check that a player plays it; protected files cannot be read",
    )
