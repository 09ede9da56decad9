"""Open one sound file with the library that reads it best, chosen by its first bytes.

libsndfile reads uncompressed files: exact, with random access. FFmpeg's libraries, which PyAV
carries, read everything else. libsndfile would read MP3, Opus and FLAC too, but prints warnings
of its MP3 decoder and gives up at the first damaged FLAC frame, where FFmpeg goes on.
"""

from __future__ import annotations

from pathlib import Path

from meetscribe.errors import AudioError
from meetscribe.ingest import headers
from meetscribe.ingest.ffmpeg import FFmpegSource
from meetscribe.ingest.pcm import open_pcm
from meetscribe.ingest.source import Source


def open_source(path: Path, stream: int | None = None, *, num_samples: int = 0) -> Source:
    """Open a file that exists.

    Parameters
    ----------
    path : the file
    stream : index of an audio stream in a container with several; None takes the first
    num_samples : its length where that is known already; saves looking for it

    Raises
    ------
    AudioError
        If it holds no audio that can be decoded here.
    """
    try:
        if headers.is_pcm_container(path):
            source = open_pcm(path)
            if source is not None and stream:
                source.close()
                raise AudioError(f"{path}: stream {stream} is no audio stream", hint="there are: 0")
            if source is not None:
                return source
        if headers.looks_like_text(path):
            # FFmpeg would play some texts: playlists, which name other files, and ANSI art
            raise AudioError(
                f"{path}: text, expected a sound recording",
                hint="give the recording itself; its name may have been mixed up",
            )
        return FFmpegSource(path, stream, num_samples)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}", hint="check the path") from error
