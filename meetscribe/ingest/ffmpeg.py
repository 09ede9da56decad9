"""Compressed sound files and the audio of videos, decoded by FFmpeg's libraries inside PyAV.

What a damaged file still holds is given, and its time stamps are kept: where packets are missing
there is silence of the same length, so that words stay where they were said.

Axes: C channel, N sample.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meetscribe.errors import AudioError
from meetscribe.ingest import headers
from meetscribe.ingest.source import Samples, SourceInfo

_GAP_S = 0.1
"""Silence that a container leaves out by its time stamps is put back from this length on."""
_LONGEST_GAP_S = 4 * 3600.0
_SEEK_EARLY_S = 0.5
"""Compressed codecs need some sound before the wanted place to be exact there."""
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


@dataclass
class _Progress:
    """Where the decoder stands: samples given since the container's start, and what went wrong."""

    position: int = 0
    seeking: bool = False
    damaged: int = 0
    filled: int = 0
    last_end_s: float = 0.0
    rest: list[Samples] = field(default_factory=list)


class FFmpegSource:
    """A compressed file, or the audio of a video, decoded by FFmpeg's libraries."""

    def __init__(self, path: Path, stream: int | None, num_samples: int) -> None:
        self._path = path
        self._container = _open_container(path)
        self.problems: list[str] = []
        try:
            self._stream = _choose_stream(path, self._container, stream)
            self.info = _describe(path, self._container, self._stream, num_samples)
        except BaseException:
            self._container.close()
            raise
        self._resamplers: dict[tuple[str, str, int], Any] = {}
        self._at = _Progress()
        self._pieces = self._decode()

    def read(self, num_samples: int) -> Samples:
        """Give the next samples, shape (C, n)."""
        rest = self._at.rest
        have = sum(piece.shape[1] for piece in rest)
        while have < num_samples:
            piece = next(self._pieces, None)
            if piece is None:
                break
            rest.append(piece)
            have += piece.shape[1]
        if not rest:
            return np.zeros((self.info.num_channels, 0), np.float32)
        joined = rest[0] if len(rest) == 1 else np.concatenate(rest, axis=1)
        rest[:] = [joined[:, num_samples:]] if have > num_samples else []
        return joined[:, :num_samples]

    def seek(self, sample: int) -> None:
        """Continue reading at this sample."""
        import av

        wanted_s = max(0.0, sample / self.info.sample_rate_hz - _SEEK_EARLY_S) + self._origin_s
        try:
            self._container.seek(round(wanted_s * av.time_base))
        except av.FFmpegError:
            # not seekable: read from the start and drop
            self._container.close()
            self._container = _open_container(self._path)
            self._stream = self._container.streams[self.info.stream]
        self._at = _Progress(position=sample, seeking=True)
        self._pieces = self._decode()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    @property
    def _origin_s(self) -> float:
        # the times that a player shows count from the start of the container
        start = self._container.start_time
        return start / 1e6 if start is not None else 0.0

    def _decode(self) -> Iterator[Samples]:
        """Give the decoded pieces in order, with gaps in time filled by silence."""
        import av

        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                if packet.stream_index != self._stream.index:
                    self._note_end(packet)
                    continue
                frames = packet.decode()
            except (av.InvalidDataError, av.error.BugError):
                self._at.damaged += 1
                continue
            except av.FFmpegError as error:
                self.problems.append(f"reading stopped: {error.strerror or error}")
                break
            for frame in frames:
                yield from self._placed(frame)
        self._finish()

    def _note_end(self, packet: Any) -> None:  # noqa: ANN401 - PyAV is untyped here
        if packet.pts is not None and packet.time_base is not None:
            end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._at.last_end_s = max(self._at.last_end_s, end_s - self._origin_s)

    def _placed(self, frame: Any) -> Iterator[Samples]:  # noqa: ANN401
        """Give a frame's samples where its time stamp says: after a gap, or cut after a seek."""
        rate = self.info.sample_rate_hz
        at = None if frame.time is None else round((frame.time - self._origin_s) * rate)
        for samples_cn in self._as_float(frame):
            now, piece = self._at, samples_cn
            if at is not None and now.seeking:
                piece = piece[:, max(0, now.position - at) :]
                if not piece.shape[1]:
                    continue
                now.seeking = False
            if at is not None and _GAP_S * rate < at - now.position < _LONGEST_GAP_S * rate:
                yield from self._silence(at - now.position)
            self._at.position += piece.shape[1]
            at = None
            yield piece

    def _silence(self, num_samples: int) -> Iterator[Samples]:
        self._at.filled += num_samples
        self._at.position += num_samples
        while num_samples > 0:
            part = min(num_samples, self.info.sample_rate_hz)
            yield np.zeros((self.info.num_channels, part), np.float32)
            num_samples -= part

    def _as_float(self, frame: Any) -> Iterator[Samples]:  # noqa: ANN401
        """Turn a frame into float32 (C, N), converting where rate or channels change midway."""
        channels = frame.layout.nb_channels
        if channels == self.info.num_channels and frame.sample_rate == self.info.sample_rate_hz:
            yield _frame_to_float(frame)
            return
        import av

        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key not in self._resamplers:
            self._resamplers[key] = av.AudioResampler(
                format="fltp",
                layout=self._stream.codec_context.layout.name
                if self._stream.codec_context.layout.nb_channels == self.info.num_channels
                else f"{self.info.num_channels}c",
                rate=self.info.sample_rate_hz,
            )
        frame.pts = None
        for changed in self._resamplers[key].resample(frame):
            yield _frame_to_float(changed)

    def _finish(self) -> None:
        rate = self.info.sample_rate_hz
        if self._at.damaged:
            self.problems.append(f"{self._at.damaged} damaged packets could not be decoded")
        if self._at.filled:
            self.problems.append(
                f"{self._at.filled / rate:.1f} s that the file leaves out were taken as silence"
            )
        if self.info.promised_samples is not None and self._at.last_end_s * rate > (
            self.info.promised_samples - rate
        ):
            # the other streams reach the end that the container states: the audio is just shorter
            self.info.promised_samples = None


def _open_container(path: Path) -> Any:  # noqa: ANN401
    """Open a container; nothing but this very file may be read, and no socket opened."""
    import av

    try:
        # an absolute path cannot be taken for the name of a protocol ("10:30 standup.mp3")
        return av.open(
            os.fspath(path.absolute()),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise
        raise _not_audio(path) from error


def _not_audio(path: Path) -> AudioError:
    if path.stat().st_size == 0:
        return AudioError(f"{path}: the file is empty", hint="copy or record it again")
    if headers.mp4_lacks_index(path):
        return AudioError(
            f"{path}: cut off before its index (the moov box at its end), nothing can be decoded",
            hint="copy or download it again, or have the recording program repair it",
        )
    return AudioError(
        f"{path}: not a sound file of a known kind, or damaged at its beginning",
        hint="check that a player opens it; else convert it to WAV or FLAC",
    )


def _choose_stream(path: Path, container: Any, wanted: int | None) -> Any:  # noqa: ANN401
    streams = list(container.streams.audio)
    if not streams:
        raise AudioError(
            f"{path}: no audio stream in it, expected at least one",
            hint="check that the recording has sound",
        )
    indices = [stream.index for stream in streams]
    if wanted is None:
        chosen = streams[0]
    elif wanted in indices:
        chosen = streams[indices.index(wanted)]
    else:
        known = ", ".join(str(index) for index in indices)
        raise AudioError(f"{path}: stream {wanted} is no audio stream", hint=f"there are: {known}")
    if chosen.codec_context is None:
        raise AudioError(
            f"{path}: its audio codec is not supported",
            hint="convert it to WAV or FLAC with the program that made it",
        )
    return chosen


_TRUSTED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "ogg", "wav", "w64", "rf64", "avi")
"""Containers (FFmpeg's names) that state their length, where others estimate it."""


def _describe(
    path: Path,
    container: Any,  # noqa: ANN401
    stream: Any,  # noqa: ANN401
    known_samples: int,
) -> SourceInfo:
    context = stream.codec_context
    rate, channels = int(context.sample_rate or 0), int(context.layout.nb_channels)
    if not rate or not channels:
        raise AudioError(
            f"{path}: its audio ({context.name}) could not be decoded",
            hint="check that a player plays it; protected files cannot be read",
        )
    name = container.format.name
    stated_s = _stated_length_s(path, container, stream)
    length_s = stated_s or known_samples / rate or _scan_length_s(path, stream.index)
    samples = round(length_s * rate)
    return SourceInfo(
        codec=f"{name.split(',')[0]}/{context.name}",
        sample_rate_hz=rate,
        num_channels=channels,
        num_samples=samples,
        promised_samples=samples if stated_s else None,
        stream=stream.index,
        audio_streams=tuple(other.index for other in container.streams.audio),
    )


def _stated_length_s(path: Path, container: Any, stream: Any) -> float | None:  # noqa: ANN401
    """Give the stated end in seconds after the container's start, None where it is a guess."""
    name = container.format.name
    if name == "asf":
        return headers.asf_stated_length_s(path)
    if name not in _TRUSTED and not (name == "mp3" and headers.mp3_states_length(path)):
        return None
    origin_s = container.start_time / 1e6 if container.start_time is not None else 0.0
    if stream.duration and stream.time_base:
        start = stream.start_time if stream.start_time is not None else 0
        begin_s = float(start * stream.time_base)
        return max(0.0, begin_s - origin_s) + float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return float(container.duration) / 1e6
    return None


def _scan_length_s(path: Path, index: int) -> float:
    """Find the end by walking over the packets without decoding them.

    Recordings made by web browsers (MediaRecorder) state no length at all.
    """
    import av

    end_s = 0.0
    container = _open_container(path)
    try:
        origin_s = container.start_time / 1e6 if container.start_time is not None else 0.0
        for packet in container.demux(container.streams[index]):
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                end_s = max(end_s, end - origin_s)
    except av.FFmpegError:
        pass  # what was found before the damage is the length
    finally:
        container.close()
    return end_s


def _frame_to_float(frame: Any) -> Samples:  # noqa: ANN401
    """Give a frame of any sample format as float32, shape (C, N), full scale 1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    scale = _FULL_SCALE.get(frame.format.name.rstrip("p"))
    if scale is None:
        with np.errstate(over="ignore"):  # becomes infinite, and is counted and cleaned later
            return array.astype(np.float32)  # type: ignore[no-any-return]
    zero = 128.0 if array.dtype == np.uint8 else 0.0
    samples_cn: Samples = ((array - np.float32(zero)) / np.float32(scale)).astype(np.float32)
    return samples_cn
