"""Describe a recording by its files' headers, and find the files of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meetscribe.errors import AudioError, ConfigError
from meetscribe.ingest.layout import guess_layout
from meetscribe.ingest.opener import open_source
from meetscribe.ingest.source import SourceInfo
from meetscribe.types import AudioFile, Layout, Recording

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "rf64", "w64", "aif", "aiff", "aifc", "au", "snd", "caf", "sph", "flac"),
        *("ogg", "oga", "opus", "mp3", "mp2", "m4a", "m4b", "aac", "alac", "wma", "ac3", "amr"),
        *("ape", "wv", "mka", "mp4", "m4v", "mkv", "mov", "webm", "avi", "wmv", "asf", "3gp"),
        *("mpg", "mpeg", "mts", "m2ts"),
    )
)
"""Endings of files that are likely to be recordings; what is inside decides when one is opened."""

MAX_CHANNELS = 64
MIN_RATE_HZ = 1_000


def probe(
    paths: Sequence[str | Path],
    *,
    session_id: str | None = None,
    as_channels: bool = False,
    layout: Layout | None = None,
    stream: int | None = None,
) -> Recording:
    """Describe one session: read the headers, and guess what the channels are.

    Parameters
    ----------
    paths : one file, or with ``as_channels`` several that started together
    session_id : None takes the file's name without its ending, or what the names have in common
    as_channels : take several files as the channels of one session, in the order given
    layout : what the channels are; None listens to excerpts and guesses
    stream : index of the audio stream in containers with several (a video with two languages);
        None takes the first

    Returns
    -------
    Recording
        Its lengths are what the headers say; for compressed files they may be estimates.

    Raises
    ------
    AudioError
        If a file is missing, a folder, empty, not a recording, has no audio or more than 64
        channels in all, or if nothing in it can be decoded.
    ConfigError
        If there are several paths without ``as_channels``, or none.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ConfigError("no recording given, expected at least one file")
    if len(files) > 1 and not as_channels:
        raise ConfigError(
            f"{len(files)} files given, expected one recording",
            hint="--as-channels takes them as the channels of one session; else run one by one",
        )
    recording = Recording(
        session_id=session_id or _common_name([path.stem for path in files]),
        files=tuple(_probe_file(path, stream) for path in files),
    )
    channels = recording.num_channels
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{files[0]}: {channels} channels in all, expected at most {MAX_CHANNELS}",
            hint="split the channels into several recordings",
        )
    if channels == 1:
        return replace(recording, layout=Layout.MONO, layout_reason="one channel")
    if layout is Layout.MONO:
        raise AudioError(
            f"{files[0]}: {channels} channels, but the layout 'mono' has one",
            hint="choose 'mix' for a mix of the channels",
        )
    if layout is not None:
        return replace(recording, layout=layout, layout_reason="given")
    guess, reason = guess_layout(recording)
    return replace(recording, layout=guess, layout_reason=reason)


def content_hash(recording: Recording) -> str:
    """Give the sha256 over the bytes of the file, in hexadecimal as ``sha256sum`` prints it.

    Of several files it is the sha256 over their own, in order, one a line.

    Raises
    ------
    AudioError
        If a file cannot be read.
    """
    digests = [_file_hash(Path(file.path)) for file in recording.files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}", hint="check the path") from error
    return digest.hexdigest()


def find_audio(folder: Path) -> list[Path]:
    """List the files of a folder, not of its subfolders, whose ending is one of a recording.

    Hidden files are left out, and so are the "._" companions that macOS leaves on other disks.

    Raises
    ------
    AudioError
        If the folder cannot be read.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in AUDIO_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        )
    except OSError as error:
        raise AudioError(f"{folder}: {error.strerror or error}", hint="check the path") from error


def _probe_file(path: Path, stream: int | None) -> AudioFile:
    _check_file(path)
    source = open_source(path, stream)
    try:
        info = source.info
        if info.sample_rate_hz < MIN_RATE_HZ:
            raise AudioError(
                f"{path}: sampled at {info.sample_rate_hz} Hz, expected at least {MIN_RATE_HZ} Hz",
                hint="speech cannot be understood at this rate; use another recording",
            )
        if info.num_channels <= MAX_CHANNELS and not source.read(1).shape[1]:
            raise _no_samples(path, info)
    finally:
        source.close()
    return AudioFile(
        path=os.fspath(path),
        sample_rate_hz=info.sample_rate_hz,
        # a header may state 0 where the first sample has just been read
        num_samples=max(1, info.num_samples),
        num_channels=info.num_channels,
        codec=info.codec,
        stream=info.stream,
    )


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            some = find_audio(path)
            raise AudioError(
                f"{path}: a folder, expected a recording",
                hint=f"`meetscribe batch` takes its {len(some)} recordings one by one"
                if some
                else "there is no recording in it either; check the path",
            )
        if not path.exists():
            raise AudioError(f"{path}: no such file", hint="check the path and the spelling")
        if not path.is_file():
            raise AudioError(
                f"{path}: not a file that can be read twice, expected a recording",
                hint="save it to a file first",
            )
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: the file is empty", hint="copy or record it again")
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: {error}", hint="check the path") from error


def _no_samples(path: Path, info: SourceInfo) -> AudioError:
    if info.num_samples == 0:
        return AudioError(
            f"{path}: a sound file without samples, expected some sound", hint="record it again"
        )
    return AudioError(
        f"{path}: nothing of its audio ({info.codec}) can be decoded",
        hint="check that a player plays it; protected files cannot be read",
    )


def _common_name(stems: Sequence[str]) -> str:
    """Give what the names have in common, without a number cut in half or a trailing separator.

    >>> _common_name(["standup_ch01", "standup_ch02"]), _common_name(["anna", "bob"])
    ('standup_ch', 'anna')
    """
    common = os.path.commonprefix(list(stems))  # noqa: RUF071 - names, not folders
    if any(stem[len(common) :][:1].isdigit() for stem in stems):
        common = common.rstrip("0123456789")
    return common.rstrip(" -_.([") or stems[0]
