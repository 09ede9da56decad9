"""The manifest of a prepared corpus: its sessions, where audio and references are, what is amiss.

``corpus.json`` in the corpus folder; reading is strict, for a manifest that is half understood
would score other sessions than were meant.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from meetscribe.errors import ConfigError, NameNotFoundError
from meetscribe.files import write_atomic
from meetscribe.formats.json_reading import Reader, load_json
from meetscribe.formats.reading import read_text

SCHEMA = "meetscribe.corpus/1"
FILE_NAME = "corpus.json"
FOLDER_VARIABLE = "MEETSCRIBE_CORPORA"


@dataclass(frozen=True)
class CorpusSession:
    """One session: its recordings by condition, and its reference.

    Parameters
    ----------
    audio : condition (such as ``sdm``) -> files in the order of channels; absolute paths, or
        relative to the corpus folder
    channels : condition -> what ``--channels`` is to be given: a layout (``array``,
        ``per-speaker``, ``mono``, ``mix``), ``auto``, or channels counted from 0
    splits : partition -> split, such as ``{"full-corpus-asr": "test"}``
    duration : seconds of the recording, None where nothing states it
    language : ISO 639-1 code, "" if nobody said it
    speakers : those who speak, as the references call them
    rttm, seglst, uem : files relative to the corpus folder; ``seglst`` is "" where the reference
        has no words that may be scored
    """

    session_id: str
    audio: Mapping[str, tuple[str, ...]]
    channels: Mapping[str, str]
    splits: Mapping[str, str]
    duration: float | None
    language: str
    speakers: tuple[str, ...]
    rttm: str
    seglst: str
    uem: str


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus.

    Parameters
    ----------
    reference : which references these are, such as ``only_words-1.6.2``; goes beside every score
    default_partition : the partition that is meant where none is named, "" if there are none
    problems : what is missing or damaged, a line each, every file named
    notes : what a reader of scores should know, though nothing is wrong
    """

    name: str
    folder: Path
    reference: str
    licence: str
    default_partition: str
    sessions: tuple[CorpusSession, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def path(self, part: str) -> Path:
        """Give the path of a file that the manifest names."""
        return self.folder / part

    @property
    def conditions(self) -> tuple[str, ...]:
        """Give all conditions that some session has audio of."""
        return _distinct(condition for session in self.sessions for condition in session.audio)

    def select(
        self,
        *,
        condition: str | None = None,
        split: str | None = None,
        partition: str | None = None,
    ) -> tuple[CorpusSession, ...]:
        """Give the sessions of a part of the corpus.

        Parameters
        ----------
        condition : only sessions that have audio of it; None takes all, those without audio too
        split : None takes every split of the partition
        partition : None takes the default one; a session in none of its splits is left out

        Raises
        ------
        ConfigError
            If there is no such partition, split or condition, or no session in all three.
        """
        found = self._in_split(split, partition or self.default_partition)
        if condition is None:
            return found
        if condition not in self.conditions:
            raise self._unknown("condition", condition, self.conditions)
        having = tuple(session for session in found if session.audio.get(condition))
        if not having:
            others = _distinct(name for session in found for name in session.audio)
            raise ConfigError(
                f"corpus {self.name}: none of the {len(found)} sessions of {split or 'this part'} "
                f"has audio of condition '{condition}'",
                hint=_listing("there is audio of", others)
                or "prepare the corpus again with its audio",
            )
        return having

    def only_condition(self, sessions: Iterable[CorpusSession]) -> str:
        """Give the one condition that the sessions have audio of.

        Raises
        ------
        ConfigError
            If they have none or several; the hint lists them.
        """
        found = _distinct(condition for session in sessions for condition in session.audio)
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"corpus {self.name}: {len(found)} conditions, expected one to be named",
                hint=_listing("choose with --condition:", found),
            )
        raise ConfigError(
            f"corpus {self.name}: no audio, references only",
            hint="prepare the corpus again with its audio",
        )

    def _in_split(self, split: str | None, partition: str) -> tuple[CorpusSession, ...]:
        partitions = _distinct(name for session in self.sessions for name in session.splits)
        if not partition:
            if split is not None:
                raise ConfigError(
                    f"corpus {self.name}: no split '{split}', this corpus is not divided",
                    hint="leave out --split",
                )
            return self.sessions
        if partition not in partitions:
            raise self._unknown("partition", partition, partitions)
        inside = tuple(session for session in self.sessions if partition in session.splits)
        if split is None:
            return inside
        found = tuple(session for session in inside if session.splits[partition] == split)
        if not found:
            there = _distinct(session.splits[partition] for session in inside)
            raise self._unknown("split", split, there)
        return found

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> ConfigError:
        return ConfigError(
            f"corpus {self.name}: no {kind} '{name}'",
            hint=_listing("there are:", known) or f"this corpus has no {kind}s",
        )


def load(name_or_folder: str | Path) -> Corpus:
    """Read a prepared corpus: its folder, or its name.

    A name is looked for in ``corpora/`` of the working directory, then in the folder that
    ``MEETSCRIBE_CORPORA`` names.

    Raises
    ------
    NameNotFoundError
        If there is no such corpus; the hint lists those there are.
    FormatError
        With path and place, if its manifest does not fit.
    """
    given = Path(name_or_folder)
    shelves = _shelves()
    places = [given, *(shelf / given for shelf in shelves if not given.is_absolute())]
    for folder in places:
        if (folder / FILE_NAME).is_file():
            return parse(read_text(folder / FILE_NAME), folder / FILE_NAME)
    if given.name == FILE_NAME and given.is_file():
        return parse(read_text(given), given)
    known = _distinct(
        manifest.parent.name
        for shelf in shelves
        if shelf.is_dir()
        for manifest in sorted(shelf.glob(f"*/{FILE_NAME}"))
    )
    raise NameNotFoundError(
        f"{name_or_folder}: no prepared corpus (no {FILE_NAME})",
        hint=_listing("there are:", known) or "make one: meetscribe corpus prepare --help",
    )


def save(corpus: Corpus) -> None:
    """Write the manifest into the corpus folder, which must be there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_atomic({corpus.folder / FILE_NAME: render(corpus)})


def render(corpus: Corpus) -> str:
    """Write the manifest as JSON, a session a line; the folder is where it lies, so not in it."""
    top = {
        "schema": SCHEMA,
        **{key: getattr(corpus, key) for key in _TOP_TEXTS},
        "problems": corpus.problems,
        "notes": corpus.notes,
    }
    head = json.dumps(top, ensure_ascii=False, indent=1).removesuffix("\n}")
    lines = [json.dumps(asdict(session), ensure_ascii=False) for session in corpus.sessions]
    body = "[\n  " + ",\n  ".join(lines) + "\n ]" if lines else "[]"
    return f'{head},\n "sessions": {body}\n}}\n'


_TOP_TEXTS = ("name", "reference", "licence", "default_partition")
_TOP_KEYS = ("schema", *_TOP_TEXTS, "problems", "notes", "sessions")
_SESSION_KEYS = tuple(field.name for field in fields(CorpusSession))


def parse(text: str, path: Path) -> Corpus:
    """Read a manifest; its folder is that of ``path``.

    Raises
    ------
    FormatError
        With path and place, if it is not JSON, of another schema, a key is missing, unknown or
        of the wrong kind, or two sessions have one name.
    """
    top = Reader(load_json(text, str(path)), str(path))
    schema = top.value("schema")
    if schema != SCHEMA:
        top.fail(
            "schema",
            f"found {schema!r:.60}, expected '{SCHEMA}'",
            "prepare the corpus again: meetscribe corpus prepare --help",
        )
    top.known_keys(_TOP_KEYS)
    sessions = tuple(_read_session(item) for item in top.objects("sessions"))
    names = [session.session_id for session in sessions]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        top.fail("sessions", f"two sessions are called '{twice}'")
    return Corpus(
        **{key: top.text(key) for key in _TOP_TEXTS},
        folder=path.parent,
        sessions=sessions,
        problems=top.texts("problems"),
        notes=top.texts("notes"),
    )


def _read_session(item: Reader) -> CorpusSession:
    item.known_keys(_SESSION_KEYS)
    return CorpusSession(
        session_id=item.text("session_id"),
        audio={
            name: tuple(files)
            for name, files in _mapping(item, "audio", _is_texts, "a list of files").items()
        },
        channels=_mapping(item, "channels", _is_text, "a string"),
        splits=_mapping(item, "splits", _is_text, "a string"),
        duration=item.number_or_null("duration"),
        language=item.text("language"),
        speakers=item.texts("speakers"),
        rttm=item.text("rttm"),
        seglst=item.text("seglst"),
        uem=item.text("uem"),
    )


def _mapping(
    item: Reader, key: str, fits: Callable[[object], bool], expected: str
) -> dict[str, Any]:
    found = item.mapping(key)
    for name, value in found.items():
        if not fits(value):
            item.fail(f"{key}.{name}", f"found {value!r:.40}, expected {expected}")
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _shelves() -> list[Path]:
    own = os.environ.get(FOLDER_VARIABLE, "")
    return [Path("corpora"), *([Path(own)] if own else [])]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _listing(lead: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"{lead} {listed}" if listed else ""
