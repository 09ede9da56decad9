"""Each speaker's signal out of a recording of any length, separated when somebody reads it.

The recording is read and separated block by block; what was made is kept in a scratch file, so
that reading one speaker after the other costs no more than reading all at once, and memory does
not grow with the recording.

Axes: C channel, N sample.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Protocol, Self

import numpy as np

from meetscribe.errors import AudioError, NameNotFoundError, OutputError
from meetscribe.spatial.blocks import plan_blocks
from meetscribe.spatial.separate import (
    Separation,
    SeparationSettings,
    Span,
    separate,
    working_device,
)
from meetscribe.spatial.workers import run_all
from meetscribe.types import SAMPLE_RATE_HZ, Progress, Turn, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.beamform import Beamformer

log = logging.getLogger(__name__)

STAGE = "separate"
_FADE = 256
"""Samples on either side of a cut through a turn over which one filter gives way to the next."""
_BYTES = 4


class ChannelReader(Protocol):
    """All channels of a recording at 16 kHz, of which any piece can be read."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        ...

    def read_cn(self, start: float, end: float) -> NDArray[np.float32]:
        """Give float32 samples, shape (C, N), of [start, end) seconds, inside the recording."""
        ...


@dataclass(frozen=True, slots=True)
class SpeakerStream:
    """The signal of one speaker, as an ``AudioReader``; made by ``SeparatedStreams.stream``."""

    streams: SeparatedStreams
    speaker: str

    @property
    def duration(self) -> float:
        """Length in seconds, of the whole recording."""
        return self.streams.duration

    def read(self, start: float, end: float) -> NDArray[np.float32]:
        """Give the samples from ``start`` to ``end`` in seconds, float32, shape (N,)."""
        return self.streams.read(self.speaker, start, end)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Part of a speaker's signal in the scratch file: samples [first, last) from ``offset``."""

    first: int
    last: int
    offset: int


_Made = tuple[str, int, "NDArray[np.float32]"]
"""Speaker, first sample and signal of a stretch."""


class SeparatedStreams:
    """Enhanced signals of all speakers of a recording.

    Parameters
    ----------
    reader : all channels of the recording
    turns : who speaks when; overlapping turns are what this is for
    settings : how to separate
    device : torch device that does the work
    threads : cores to use, None as many as torch has
    progress : called with ``separate`` and the share of the blocks with speech that are done

    Notes
    -----
    Blocks are separated one at a time, also when several threads read. A turn that a block cut
    goes through is filtered on both sides with statistics of what both blocks hear of it, and
    the two filters are cross-faded over 32 ms.
    """

    def __init__(
        self,
        reader: ChannelReader,
        turns: Iterable[Turn],
        settings: SeparationSettings | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.settings = settings or SeparationSettings()
        self.duration = reader.duration
        self._reader = reader
        self._device = working_device(device)
        self._threads = threads
        self._progress = progress
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._size = 0
        self._num_samples = round(reader.duration * SAMPLE_RATE_HZ)
        ordered = sorted(turns)
        self.speakers = tuple(dict.fromkeys(turn.speaker for turn in ordered))
        self._spans = {
            speaker: _union(ordered, speaker, self._num_samples) for speaker in self.speakers
        }
        margin = round(self.settings.margin_s * SAMPLE_RATE_HZ)
        self._wide = {
            speaker: _merged([(a - margin, b + margin) for a, b in spans])
            for speaker, spans in self._spans.items()
        }
        self._pieces: dict[str, list[_Piece]] = {speaker: [] for speaker in self.speakers}
        self._blocks = self._plan()
        self._made = [False] * len(self._blocks)
        self._outputs = [self._outputs_of(block) for block in self._blocks]
        self._speech = [index for index, outputs in enumerate(self._outputs) if outputs]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the scratch file; nothing can be read any more."""
        if self._file is not None:
            self._file.close()

    def stream(self, speaker: str) -> SpeakerStream:
        """Give the signal of one speaker; nothing is computed yet.

        Raises
        ------
        NameNotFoundError
            If no turn is this speaker's.
        """
        self._check(speaker)
        return SpeakerStream(self, speaker)

    def read(self, speaker: str, start: float, end: float) -> NDArray[np.float32]:
        """Give a speaker's samples from ``start`` to ``end`` in seconds, float32, shape (N,).

        Zero outside the speaker's turns (and ``margin_s`` around them), and outside the
        recording. May take long the first time, as blocks are separated then. Full scale of the
        recording is 1; single samples may be beyond it.

        Raises
        ------
        NameNotFoundError
            If no turn is this speaker's.
        ValueError
            If ``end`` is before ``start``.
        AudioError
            If the recording cannot be read, or gives another number of samples than it promised.
        OutputError
            If the scratch file cannot be written.
        """
        self._check(speaker)
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        if last < first:
            raise ValueError(f"read {start} to {end}: expected start <= end")
        samples_n = np.zeros(last - first, np.float32)
        with self._lock:
            for index in self._needed(speaker, first, last):
                self._make(index)
            for piece in self._pieces[speaker]:
                low, high = max(first, piece.first), min(last, piece.last)
                if low < high:
                    samples_n[low - first : high - first] += self._load(piece, low, high)
        return samples_n

    def _check(self, speaker: str) -> None:
        if speaker not in self._spans:
            raise NameNotFoundError(
                f"speaker '{speaker}' has no turn", hint=f"speakers: {', '.join(self.speakers)}"
            )

    def _plan(self) -> list[Span]:
        spans = [span for spans in self._spans.values() for span in spans]
        seconds = [(a / SAMPLE_RATE_HZ, b / SAMPLE_RATE_HZ) for a, b in spans]
        if not self._num_samples:
            return []
        plan = plan_blocks(seconds, self.duration, self.settings.block_s)
        cuts = [round(start * SAMPLE_RATE_HZ) for start, _ in plan] + [self._num_samples]
        return list(pairwise(cuts))

    def _needed(self, speaker: str, first: int, last: int) -> list[int]:
        """Give the blocks to make before these samples of a speaker can be read."""
        return [
            index
            for index in self._speech
            if not self._made[index]
            and any(a < last and first < b for a, b in self._outputs[index].get(speaker, ()))
        ]

    def _outputs_of(self, block: Span) -> dict[str, list[Span]]:
        """Give what a block makes of the turns of each speaker, with the fades around its cuts."""
        low, high = max(0, block[0] - _FADE), min(self._num_samples, block[1] + _FADE)
        outputs = {}
        for speaker, wide in self._wide.items():
            inside = [(max(a, low), min(b, high)) for a, b in wide if a < high and b > low]
            if inside:
                outputs[speaker] = inside
        return outputs

    def _make(self, index: int) -> None:
        """Separate a block and keep the signals of all its speakers."""
        import torch

        began = time.monotonic()
        block = self._blocks[index]
        context = round(self.settings.context_s * SAMPLE_RATE_HZ)
        heard = max(0, block[0] - context), min(self._num_samples, block[1] + context)
        spans = {speaker: self._within(speaker, heard) for speaker in self.speakers}
        present = [speaker for speaker in self.speakers if spans[speaker]]
        with torch.inference_mode():
            separation = separate(
                torch.from_numpy(self._read(heard)).to(self._device),
                [spans[speaker] for speaker in present],
                self.settings,
                core=(block[0] - heard[0], block[1] - heard[0]),
                threads=self._threads,
                progress=lambda done: self._report(index, done),
            )

            def enhance(speaker: str, output: Span) -> _Made:
                inside = output[0] - heard[0], output[1] - heard[0]
                source = present.index(speaker)
                beamformer = self._beamformer(separation, source, spans[speaker], inside)
                signal_n = separation.filtered(beamformer, inside).float().cpu().numpy()
                return speaker, output[0], self._faded(signal_n, output[0], block)

            calls = [
                partial(enhance, speaker, output)
                for speaker in present
                for output in self._outputs[index].get(speaker, ())
            ]
            made = run_all(calls, device=separation.stft_cft.device, threads=self._threads)
        self._keep(made)
        self._made[index] = True
        self._report(index, 1.0)
        start, end = block[0] / SAMPLE_RATE_HZ, block[1] / SAMPLE_RATE_HZ
        spent = time.monotonic() - began
        log.info("separated %.1f to %.1f s, %d speakers: %.1f s", start, end, len(present), spent)

    def _within(self, speaker: str, heard: Span) -> list[Span]:
        """Give a speaker's turns inside a span, counted from its first sample."""
        return [
            (max(a, heard[0]) - heard[0], min(b, heard[1]) - heard[0])
            for a, b in self._spans[speaker]
            if a < heard[1] and b > heard[0]
        ]

    def _beamformer(
        self, separation: Separation, source: int, spans: list[Span], output: Span
    ) -> Beamformer:
        """Make the filter for a stretch of output from the turns in it, or from all turns."""
        if self.settings.statistics == "turn":
            margin = round(self.settings.margin_s * SAMPLE_RATE_HZ)
            low, high = output[0] - margin, output[1] + margin
            # the margins of a turn may reach into the block although the turn does not
            spans = [(a, b) for a, b in spans if a < high and b > low] or spans
        return separation.beamformer(source, spans, reference=self.settings.reference)

    def _read(self, span: Span) -> NDArray[np.float32]:
        """Give all channels of a span, shape (C, N); a file that ends early ends in silence."""
        start, end = span[0] / SAMPLE_RATE_HZ, span[1] / SAMPLE_RATE_HZ
        read_cn = np.asarray(self._reader.read_cn(start, end), dtype=np.float32)
        if read_cn.ndim != len("CN") or not len(read_cn):
            raise AudioError(
                f"recording, {start:.1f} to {end:.1f} s: samples of shape {read_cn.shape},"
                " expected (channels, samples)"
            )
        samples_cn = np.zeros((len(read_cn), span[1] - span[0]), np.float32)
        common = min(samples_cn.shape[1], read_cn.shape[1])
        samples_cn[:, :common] = read_cn[:, :common]
        return samples_cn

    def _report(self, index: int, done: float) -> None:
        """Report the share of the blocks with speech that are done."""
        made = sum(self._made[position] for position in self._speech if position != index)
        self._progress(STAGE, (made + done) / len(self._speech))

    def _keep(self, made: list[_Made]) -> None:
        """Write the signals of a block: all of them count, or after an error none."""
        pieces: list[tuple[str, _Piece]] = []
        size = self._size
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="meetscribe-")  # noqa: SIM115
            self._file.seek(size)
            for speaker, first, signal_n in made:
                self._file.write(signal_n.tobytes())
                pieces.append((speaker, _Piece(first, first + len(signal_n), size)))
                size += len(signal_n) * _BYTES
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"scratch file in {tempfile.gettempdir()}: {error.strerror or error}",
                hint="free some space, or set TMPDIR to a folder with more",
            ) from error
        self._size = size
        for speaker, piece in pieces:
            self._pieces[speaker].append(piece)

    def _faded(self, signal_n: NDArray[np.float32], first: int, block: Span) -> NDArray[np.float32]:
        """Fade a signal in and out around the cuts of its block, to be added to its neighbours."""
        time_n = np.arange(first, first + len(signal_n))
        gain_n = np.ones(len(signal_n))
        if block[0] > 0:
            gain_n *= np.clip((time_n - block[0] + _FADE) / (2 * _FADE), 0, 1)
        if block[1] < self._num_samples:
            gain_n *= np.clip((block[1] + _FADE - time_n) / (2 * _FADE), 0, 1)
        return (signal_n * gain_n).astype(np.float32)

    def _load(self, piece: _Piece, low: int, high: int) -> NDArray[np.float32]:
        """Give samples [low, high) of a piece."""
        assert self._file is not None  # noqa: S101 - a piece is only made with the file
        self._file.seek(piece.offset + (low - piece.first) * _BYTES)
        return np.frombuffer(self._file.read((high - low) * _BYTES), np.float32)


def _union(turns: list[Turn], speaker: str, num_samples: int) -> list[Span]:
    """Give the spans of samples in which a speaker is active, ascending and apart."""
    spans = []
    for turn in turns:
        if turn.speaker == speaker:
            first = max(0, round(turn.start * SAMPLE_RATE_HZ))
            last = min(num_samples, round(turn.end * SAMPLE_RATE_HZ))
            if first < last:
                spans.append((first, last))
    return _merged(spans)


def _merged(spans: list[Span]) -> list[Span]:
    """Join spans that touch or overlap."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged
