"""What a file's own bytes promise, where the decoding libraries do not tell.

Only the first bytes and the chunk sizes are read, never samples. The answers say whether a file
was cut off: libsndfile silently shortens a WAV file to what is there, and FFmpeg estimates the
length of an MP3 file that does not state it.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CHUNK = struct.Struct("<4sI")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_FIELDS = struct.Struct("<40xQ8xQI")
_UNKNOWN_SIZE = 0x7FFF_F000
"""Chunk sizes from here on are what programs write when they cannot go back to fix the header."""

_SIZE_IN_DS64 = 0xFFFF_FFFF
_PCM_MAGIC = (b"RIFF", b"RF64", b"RIFX", b"FORM", b"caff", b".snd", b"riff", b"NIST")


def is_pcm_container(path: Path) -> bool:
    """Tell whether a file starts like WAV, RF64, W64, AIFF, CAF, AU or SPHERE.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as file:
        return file.read(4) in _PCM_MAGIC


def wav_promised_samples(path: Path) -> int | None:
    """Give the samples per channel that a WAV or RF64 header promises, None if it does not say.

    Notes
    -----
    RIFF chunks as in the Multimedia Programming Interface 1.0 (1991); RF64 as in EBU Tech 3306.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in {b"RIFF", b"RF64"} or head[8:12] != b"WAVE":
            return None
        block_align, size_rf64 = 0, None
        for name, size in _riff_chunks(file):
            if name == b"ds64":
                size_rf64 = int.from_bytes(file.read(16)[8:16], "little")
            elif name == b"fmt ":
                block_align = int.from_bytes(file.read(14)[12:14], "little")
            elif name == b"data":
                promised = size_rf64 if size_rf64 is not None and size == _SIZE_IN_DS64 else size
                unknown = promised == 0 or (size_rf64 is None and promised >= _UNKNOWN_SIZE)
                return None if unknown or not block_align else promised // block_align
    return None


def _riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Give name and size of each chunk, the file standing at the start of its content."""
    at = 12
    while len(head := _read_at(file, at, _CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(head)
        yield name, size
        at += _CHUNK.size + size + size % 2


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def mp3_states_length(path: Path) -> bool:
    """Tell whether the first frame of an MP3 file holds a Xing, Info or VBRI table."""
    with path.open("rb") as file:
        head = file.read(10).ljust(10, b"\0")
        start = 0
        if head[:3] == b"ID3":
            # the size is 4 times 7 bits; a footer repeats the 10 bytes of the header
            size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
            start = 10 + size + (10 if head[5] & 0x10 else 0)
        first = _read_at(file, start, 2048)
    return any(tag in first for tag in (b"Xing", b"Info", b"VBRI"))


def asf_stated_length_s(path: Path) -> float | None:
    """Give the play time in seconds that a WMA or ASF header states, None if it is a live stream.

    Notes
    -----
    File Properties Object, section 3.2 of the Advanced Systems Format specification (2004). FFmpeg
    takes the length from it only where the file's size is as stated, so not when it was cut off.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(_ASF_FILE_PROPERTIES)
    fields = head[at + 24 : at + 24 + _ASF_FIELDS.size]
    if at < 0 or len(fields) < _ASF_FIELDS.size:
        return None
    play_100ns, preroll_ms, flags = _ASF_FIELDS.unpack(fields)
    length_s = float(play_100ns / 1e7 - preroll_ms / 1e3)
    return length_s if length_s > 0 and not flags & 1 else None


def mp4_lacks_index(path: Path) -> bool:
    """Tell whether an MP4 file has no ``moov`` box, without which nothing can be decoded.

    Recorders write it last: a file that was cut off, or whose recorder died, has none.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        if _read_at(file, 4, 4) != b"ftyp":
            return False
        at = 0
        while at < total:
            head = _read_at(file, at, 16)
            if head[4:8] == b"moov":
                return False
            size = int.from_bytes(head[:4])
            if size == 1:  # the size follows in 64 bits
                size = int.from_bytes(head[8:])
            if size < _CHUNK.size:  # 0 means up to the end of the file, the rest makes no sense
                break
            at += size
    return True


def looks_like_text(path: Path) -> bool:
    """Tell whether a file begins with readable text rather than with samples."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head or b"\0" in head:
        return False
    try:
        # not final: the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=False)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\r\n\t" for char in text)
