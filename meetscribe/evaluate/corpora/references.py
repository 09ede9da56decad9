"""What preparing any corpus shares: checking recordings, writing references and the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from meetscribe import ingest
from meetscribe.errors import AudioError, FormatError, OutputError
from meetscribe.evaluate.corpora.manifest import FILE_NAME, Corpus, CorpusSession, parse, render
from meetscribe.files import write_atomic
from meetscribe.formats import render as render_transcript
from meetscribe.formats import uem
from meetscribe.formats.reading import read_text
from meetscribe.formats.tokens import column, speaker_columns
from meetscribe.ingest.headers import wav_promised_samples
from meetscribe.types import AudioFile, Layout, Transcript

_KINDS = ("rttm", "seglst", "uem")
_CUT_OFF_S = 0.5
"""A header may promise this much more than there is; recorders and editors are not exact."""


@dataclass
class Findings:
    """What is amiss, and what a reader should know; grows while a corpus is prepared."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prepared:
    """A session and the text of its reference files, by their path in the corpus folder."""

    session: CorpusSession
    texts: Mapping[str, str]


def prepared(
    reference: Transcript,
    *,
    audio: Mapping[str, Sequence[Path]],
    channels: Mapping[str, str],
    splits: Mapping[str, str],
    has_words: bool = True,
    scored: Sequence[tuple[float, float]] = (),
) -> Prepared:
    """Make the reference files of a session and its entry in the manifest.

    Parameters
    ----------
    reference : turns and utterances; its duration is that of the recording
    audio, channels : condition -> files, condition -> what ``--channels`` is to be given
    has_words : False where the words are missing or may not be scored
    scored : regions in seconds, none for the whole recording
    """
    name = column(reference.session_id)
    regions = scored or [(0.0, reference.duration)]
    texts = {
        f"rttm/{name}.rttm": render_transcript(reference, "rttm"),
        f"uem/{name}.uem": uem.render({name: regions}),
    }
    if has_words:
        texts[f"seglst/{name}.seglst.json"] = render_transcript(reference, "seglst")
    session = CorpusSession(
        session_id=name,
        audio={key: tuple(str(file.absolute()) for file in files) for key, files in audio.items()},
        channels=dict(channels),
        splits=dict(splits),
        duration=reference.duration or None,
        language=reference.language,
        speakers=tuple(sorted(set(speaker_columns(reference).values()))),
        rttm=f"rttm/{name}.rttm",
        seglst=f"seglst/{name}.seglst.json" if has_words else "",
        uem=f"uem/{name}.uem",
    )
    return Prepared(session, texts)


def publish(corpus: Corpus, sessions: Sequence[Prepared]) -> None:
    """Write manifest and references, all or nothing; a corpus prepared before is refreshed.

    Reference files of sessions that are gone are removed, if a manifest of ours names them.

    Raises
    ------
    OutputError
        If the folder holds another corpus or files that meetscribe did not write, or cannot be
        written.
    """
    texts = {part: text for one in sessions for part, text in one.texts.items()}
    before = _written_before(corpus, texts)
    try:
        for kind in _KINDS:
            (corpus.folder / kind).mkdir(parents=True, exist_ok=True)
        files = {corpus.folder / part: text for part, text in texts.items()}
        # the manifest last: what it names is there
        write_atomic({**files, corpus.folder / FILE_NAME: render(corpus)})
    except OSError as error:
        raise OutputError(
            f"{error.filename or corpus.folder}: {error.strerror or error}",
            hint="choose another folder with -o, or make room",
        ) from error
    for part in before - texts.keys():
        with suppress(OSError):
            (corpus.folder / part).unlink()


def _written_before(corpus: Corpus, texts: Mapping[str, str]) -> set[str]:
    """Give the files that an earlier run wrote; refuse a folder that belongs to something else."""
    manifest = corpus.folder / FILE_NAME
    if not manifest.exists():
        there = next((part for part in texts if (corpus.folder / part).exists()), None)
        if there:
            raise OutputError(
                f"{corpus.folder / there} is there already, and no {FILE_NAME} that names it",
                hint="choose another folder with -o",
            )
        return set()
    try:
        before = parse(read_text(manifest), manifest)
    except FormatError:
        return set()  # damaged, or of another version: written anew
    if before.name != corpus.name:
        raise OutputError(
            f"{corpus.folder} holds the corpus '{before.name}', expected '{corpus.name}'",
            hint="choose another folder with -o",
        )
    parts = {part for one in before.sessions for part in (one.rttm, one.seglst, one.uem) if part}
    return {part for part in parts if _is_ours(PurePosixPath(part))}


def _is_ours(part: PurePosixPath) -> bool:
    return part.parts[0] in _KINDS and len(part.parts) == 2  # noqa: PLR2004 - kind and file


def check_recording(path: Path) -> AudioFile:
    """Read the header of a recording, and see that all it promises is there.

    Raises
    ------
    AudioError
        With the path, if it is no recording, has no samples, or was cut off.
    """
    (file,) = ingest.probe([path], layout=Layout.MIX).files
    promised = wav_promised_samples(path)
    if promised and promised - file.num_samples > _CUT_OFF_S * file.sample_rate_hz:
        raise AudioError(
            f"{path}: cut off, {file.duration:.1f} s of {promised / file.sample_rate_hz:.1f} s",
            hint="download it again",
        )
    return file


def files_below(folder: Path) -> Iterator[Path]:
    """Give every file below a folder, sorted within each; links are followed, circles are not.

    Hidden files and folders are left out.

    Raises
    ------
    AudioError
        If the folder cannot be read.
    """
    if not folder.is_dir():
        raise AudioError(f"{folder}: no such folder", hint="check the path")
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
