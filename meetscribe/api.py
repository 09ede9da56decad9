"""The Python API: the words of the command line, as functions.

>>> from meetscribe import transcribe
>>> transcript = transcribe("meeting.wav", speakers=3)  # doctest: +SKIP
>>> for utterance in transcript.utterances:  # doctest: +SKIP
...     print(utterance.start, transcript.name_of(utterance.speaker), utterance.text)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from meetscribe import formats
from meetscribe.errors import ConfigError
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.runner import Runner, with_names
from meetscribe.types import Progress, Transcript, no_progress


def transcribe(
    audio: str | Path | Sequence[str | Path],
    *,
    as_channels: bool = False,
    channels: str | None = None,
    pipeline: str | Path = "auto",
    model: str | Path | None = None,
    diarizer: str | None = None,
    language: str | None = None,
    script: str | None = None,
    speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    speaker_names: Mapping[str, str] | None = None,
    enroll: str | Path | None = None,
    speakers_store: str | Path | None = None,
    remember: bool = False,
    device: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    no_cache: bool = False,
    progress: Progress = no_progress,
) -> Transcript:
    """Say who spoke what and when in a recording.

    Nothing is written but the cache of stages (none with ``no_cache``), and voices into the store
    with ``remember``.

    Parameters
    ----------
    audio : one file, or several that are the channels of one session (``as_channels``)
    progress : called with a stage's name and the share of it that is done
    others : as the options of ``meetscribe transcribe``

    Raises
    ------
    AudioError
        If the recording cannot be read.
    ConfigError
        If an option makes no sense.
    ModelError
        If a model cannot be had or run.
    """
    try:
        paths = [Path(path) for path in ([audio] if isinstance(audio, str | Path) else audio)]
    except TypeError as error:
        raise ConfigError(f"audio: {error}; expected a path, or several") from error
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: found {threads}, expected at least 1, or None for all cores")
    runner = Runner.of(
        os.fspath(pipeline),
        channels=channels,
        diarizer=diarizer,
        language=language,
        script=script,
        speakers=speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        model=None if model is None else os.fspath(model),
        device=device,
        threads=threads,
        offline=offline,
        no_cache=no_cache,
    )
    recording = runner.probe(paths, as_channels=as_channels)
    known = runner.know(
        enroll=enroll, speakers_store=speakers_store, remember=remember, progress=progress
    )
    transcript = runner.transcribe(recording, progress=progress)
    transcript = runner.name_speakers(recording, transcript, known, progress=progress)
    return with_names(transcript, speaker_names or {})


def export(transcript: Transcript, format_name: str, options: RenderOptions | None = None) -> str:
    """Render a transcript in a format such as ``json``, ``txt``, ``srt``, ``vtt`` or ``rttm``.

    Raises
    ------
    NameNotFoundError
        If there is no such format.
    """
    return formats.render(transcript, format_name, options or RenderOptions())
