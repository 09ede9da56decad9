"""The files of a session: which there are, whether they may be written, writing them whole."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meetscribe import config, formats
from meetscribe.errors import ConfigError, FormatError, OutputError
from meetscribe.files import write_atomic
from meetscribe.formats import RenderOptions
from meetscribe.types import Transcript

DEFAULT_FORMATS = ("json", "txt", "srt", "rttm")


@dataclass(frozen=True)
class SessionFiles:
    """The output files of one session in one folder."""

    folder: Path
    session_id: str

    @property
    def transcript(self) -> Path:
        """The canonical transcript."""
        return self.path("json")

    def path(self, format_name: str) -> Path:
        """Where a format goes."""
        # ids of foreign files may hold what would lead to another folder
        name = re.sub(r"[/\\\0]", "_", self.session_id) or "session"
        return self.folder / f"{name}{formats.suffix(format_name)}"

    def existing(self, format_names: Iterable[str]) -> list[Path]:
        """Which of these are there already."""
        return [path for name in format_names if (path := self.path(name)).exists()]

    def check_writable(self) -> None:
        """Fail before any work is done if nothing can be written here.

        Raises
        ------
        OutputError
            With the folder and the reason.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"meetscribe")
        except OSError as error:
            raise output_error(self.folder, error) from error


def parse_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Turn ``-f`` options (lists with commas, ``all``) into format names; none means the defaults.

    Raises
    ------
    NameNotFoundError
        If there is no format of a name.
    """
    wanted: list[str] = []
    for name in (part.strip().lower() for text in names for part in text.split(",")):
        if name == "all":
            wanted += formats.names()
        elif name:
            formats.suffix(name)
            wanted.append(name)
    return tuple(dict.fromkeys(wanted)) or DEFAULT_FORMATS


def write_formats(
    transcript: Transcript, files: SessionFiles, names: Sequence[str], options: RenderOptions
) -> list[Path]:
    """Render every format first, then write all of them or none; gives their paths.

    Raises
    ------
    OutputError
        If one cannot be written; nothing half-written is left.
    """
    texts = {files.path(name): formats.render(transcript, name, options) for name in names}
    # The transcript says what the other files were made from. A new one goes first and one that is
    # replaced last: whoever is killed between two files leaves nothing that cannot be made good.
    if files.transcript in texts:
        own = {files.transcript: texts.pop(files.transcript)}
        texts = texts | own if files.transcript.exists() else own | texts
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(texts)
    except OSError as error:
        raise output_error(Path(error.filename or files.folder), error) from error
    return [files.path(name) for name in names]


def rewrite(
    before: Transcript,
    after: Transcript,
    files: SessionFiles,
    options: RenderOptions,
    *,
    force: bool = False,
) -> tuple[list[Path], list[Path]]:
    """Write a changed transcript and the files that were made from it; what is missing stays so.

    Returns
    -------
    The paths written, and those left alone because somebody edited them (none with ``force``).

    Raises
    ------
    OutputError
        If a file cannot be read or written.
    """
    ours, edited = ["json"], []
    for name in formats.names():
        path = files.path(name)
        if name == "json" or not path.exists():
            continue
        made = formats.render(before, name, options).removeprefix("\ufeff")
        try:
            same = path.read_text(encoding="utf-8-sig") == made
        except UnicodeDecodeError:
            same = False
        except OSError as error:
            raise output_error(path, error) from error
        if same or force:
            ours.append(name)
        else:
            edited.append(path)
    return write_formats(after, files, ours, options), edited


def read_transcript(path: Path) -> Transcript:
    """Read a transcript in any format that can be parsed.

    Raises
    ------
    FormatError
        If it is missing or cannot be parsed.
    """
    if not path.is_file():
        raise FormatError(f"{path}: no such transcript", hint="check the path")
    return formats.parse_file(path)


def read_names(path: Path) -> dict[str, str]:
    """Read speaker names from a YAML file: one line a speaker, ``Speaker 1: Anna``.

    Raises
    ------
    ConfigError
        If it is not such a mapping.
    """
    hint = "one line a speaker, for example: Speaker 1: Anna"
    try:
        mapping = config.read(path)
    except ConfigError as error:
        raise ConfigError(error.message, hint=hint) from error
    for label, name in mapping.items():
        # YAML reads yes, no, on and off as bool
        if isinstance(name, bool) or not isinstance(name, str | int):
            quoted = f'; other words in quotes, {label}: "{name}"' if name is not None else ""
            raise ConfigError(
                f"{path}: {label}: expected a name, found {name!r}", hint=f"{hint}{quoted}"
            )
    return {str(label): str(name) for label, name in mapping.items()}


def check_names(names: dict[str, str], transcript: Transcript) -> None:
    """Refuse names for speakers that the transcript does not have.

    Raises
    ------
    ConfigError
        With the labels there are.
    """
    unknown = sorted(set(names) - set(transcript.speakers))
    if unknown:
        known = ", ".join(transcript.speakers) or "none"
        raise ConfigError(
            f"{transcript.session_id}: no speaker '{unknown[0]}'", hint=f"speakers are: {known}"
        )


def output_error(path: Path, error: OSError) -> OutputError:
    """Turn a failed write into one clear line with the next step."""
    reason = error.strerror or str(error)
    hints = {
        errno.ENOSPC: "the disk is full: free some space, or choose another folder with -o",
        errno.EDQUOT: "the quota is used up: free some space, or choose another folder with -o",
    }
    hint = hints.get(error.errno or 0, "choose another folder with -o")
    return OutputError(f"{path}: cannot be written: {reason}", hint=hint)
