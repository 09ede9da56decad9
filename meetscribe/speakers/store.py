"""People kept on this machine: names and voiceprints in one SQLite file of the user's own.

Nothing is kept unless somebody asks for it. Every person is one sealed row: encrypted where the
platform's keyring serves (``keys``), plain otherwise. What is deleted is overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meetscribe.errors import (
    ConfigError,
    FormatError,
    MeetscribeError,
    NameNotFoundError,
    OutputError,
)
from meetscribe.speakers.keys import Vault, find_vault, forget_key, new_vault
from meetscribe.speakers.matching import NEW, Person
from meetscribe.speakers.voices import Voice
from meetscribe.version import __version__

VARIABLE = "MEETSCRIBE_SPEAKERS"
SCHEMA = "meetscribe.speakers/1"
_WAIT_S = 30.0
_OTHERS = ("-journal", "-wal", "-shm")
_TABLES = (
    "CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS people (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
)

Change = Callable[[dict[str, Person]], None]


def default_path() -> Path:
    """Give where the store is: ``MEETSCRIBE_SPEAKERS``, else the platform's own place for data."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif os.name == "nt":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        folder = base if base.is_absolute() else Path.home() / ".local" / "share"
    return folder / "meetscribe" / "speakers.sqlite"


class SpeakerStore:
    """People by name; made when the first one is added.

    Parameters
    ----------
    path : of the file
    must_exist : whether one that is not there is a mistake

    Raises
    ------
    ConfigError
        If it must be there and is not.
    FormatError, DependencyError, OutputError
        By every method: if the file is something else, cannot be opened without the keyring, or
        cannot be written.
    """

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        self.path = path
        if must_exist and not path.exists():
            raise ConfigError(
                f"{path}: no such store of speakers",
                hint="`meetscribe speakers add NAME FILE` makes one, and so does --remember",
            )

    @property
    def note(self) -> str:
        """What the reader should know about how it is kept; "" if encrypted, or not there."""
        if not self.path.exists():
            return ""
        with self._open() as database:
            if _about(database).get("key_id"):
                return ""
        return (
            f"{self.path}: not encrypted, readable for this user only; with a keyring and "
            "`pip install 'meetscribe[speakers]'` it is"
        )

    def check_writable(self) -> None:
        """Say before any work that nobody could be added; a missing file stays so.

        Raises
        ------
        OutputError
            If the file, or its folder, cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite writes a journal beside the file
            places = [self.path.parent, *([self.path] if self.path.exists() else [])]
            if not all(os.access(place, os.W_OK) for place in places):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._cannot_write(error) from error

    def people(self) -> tuple[Person, ...]:
        """Give everybody, in the order in which they came."""
        if not self.path.exists():
            return ()
        with self._open() as database:
            return tuple(_read(database, self._vault(database)).values())

    def add(self, people: Iterable[Person]) -> None:
        """Add people, and voices to those who are there; a voice that is there stays one."""
        new = list(people)
        if not new:
            return

        def change(known: dict[str, Person]) -> None:
            for person in new:
                before = known.get(person.name)
                known[person.name] = _joined(before, person) if before else person

        self._change(change)

    def add_new(self, people: Iterable[Person]) -> dict[str, str]:
        """Add people who are nobody yet, under names that nobody has got meanwhile.

        Returns
        -------
        dict
            The names that were asked for -> those they have got.
        """
        called: dict[str, str] = {}

        def change(known: dict[str, Person]) -> None:
            called.clear()
            for person in people:
                name, number = person.name, 1
                # another run may have remembered somebody else under this name just now
                while name in known and known[name] != person:
                    name, number = f"{NEW} {number}", number + 1
                called[person.name] = name
                known[name] = replace(person, name=name)

        self._change(change)
        return called

    def name(self, old: str, new: str) -> None:
        """Give somebody another name.

        Raises
        ------
        NameNotFoundError
            If there is no such person.
        ConfigError
            If somebody else has the new name.
        """
        if not new.strip():
            raise ConfigError("expected a name, found none")

        def change(known: dict[str, Person]) -> None:
            person = self._person(known, old)
            if new in known and new != old:
                raise ConfigError(
                    f"{self.path}: there is a '{new}' already",
                    hint=f'if both are one person: meetscribe speakers merge "{new}" "{old}"',
                )
            everybody = list(known.items())
            known.clear()
            for name, one in everybody:
                renamed = replace(person, name=new) if name == old else one
                known[renamed.name] = renamed

        self._change(change)

    def merge(self, name: str, others: Sequence[str]) -> None:
        """Make several one person, with the first one's name.

        Raises
        ------
        NameNotFoundError
            If one of them is not there.
        """

        def change(known: dict[str, Person]) -> None:
            person = self._person(known, name)
            joined = [self._person(known, other) for other in dict.fromkeys(others)]
            for other in joined:
                if other.name != name:
                    person = _joined(person, known.pop(other.name))
            known[name] = person

        self._change(change)

    def forget(self, names: Sequence[str]) -> None:
        """Delete people.

        Raises
        ------
        NameNotFoundError
            If one of them is not there; then nobody is deleted.
        """

        def change(known: dict[str, Person]) -> None:
            for person in [self._person(known, name) for name in dict.fromkeys(names)]:
                del known[person.name]

        self._change(change)

    def forget_all(self) -> None:
        """Delete the file, whatever it holds, and its key; no keyring is needed for that."""
        try:
            with self._open() as database:
                key_id = _about(database).get("key_id", "")
                with database:
                    database.execute("DELETE FROM people")
                database.execute("VACUUM")
        except MeetscribeError:
            key_id = ""
        if key_id:
            forget_key(key_id)
        try:
            for path in (self.path, *(Path(f"{self.path}{other}") for other in _OTHERS)):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    def export(self) -> dict[str, Any]:
        """Give everything that is kept, as plain lists and mappings."""
        return {
            "schema": SCHEMA,
            "meetscribe": __version__,
            "people": [_plain(person) for person in self.people()],
        }

    def _person(self, known: dict[str, Person], name: str) -> Person:
        if name not in known:
            names = ", ".join(known) or "nobody"
            raise NameNotFoundError(f"{self.path}: no '{name}'", hint=f"there are: {names}")
        return known[name]

    def _change(self, change: Change) -> None:
        """Read everybody, change that, and write it; others wait meanwhile."""
        if not self.path.exists():
            known: dict[str, Person] = {}
            change(known)
            if not known:
                return
            self._make()
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                vault = self._vault(database)
                known = _read(database, vault)
                change(known)
                if vault is None:
                    vault = _new_key(database)
                database.execute("DELETE FROM people")
                rows = [(_sealed(person, vault),) for person in known.values()]
                database.executemany("INSERT INTO people (sealed) VALUES (?)", rows)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            # what was deleted must not be left in free pages
            database.execute("VACUUM")

    def _make(self) -> None:
        """Make an empty file that only this user can read."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._cannot_write(error) from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise FormatError(f"{self.path}: {error}", hint="check the path") from error
        try:
            database.execute("PRAGMA secure_delete = ON")
            if self.path.stat().st_size == 0:
                _make_tables(database)
            _check_schema(database, self.path)
            yield database
        except sqlite3.OperationalError as error:
            raise self._cannot_write(error) from error
        except sqlite3.DatabaseError as error:
            raise FormatError(
                f"{self.path}: not a store of speakers ({error})",
                hint="`meetscribe speakers forget --all` deletes it",
            ) from error
        finally:
            database.close()

    def _vault(self, database: sqlite3.Connection) -> Vault | None:
        key_id = _about(database).get("key_id")
        return find_vault(key_id, where=str(self.path)) if key_id else None

    def _cannot_write(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(
            f"{self.path}: cannot be opened or written: {reason}",
            hint=f"check the rights to it, or name another place with {VARIABLE}",
        )


def _make_tables(database: sqlite3.Connection) -> None:
    # at one stroke: nobody may find the file with one table of the two
    database.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        database.execute(table)
    database.execute("COMMIT")


def _check_schema(database: sqlite3.Connection, path: Path) -> None:
    found = _about(database).get("schema")
    if found is None:
        database.execute("INSERT OR IGNORE INTO about VALUES ('schema', ?)", (SCHEMA,))
    elif found != SCHEMA:
        raise FormatError(
            f"{path}: found schema '{found}', expected '{SCHEMA}'",
            hint="it was written by another version of meetscribe",
        )


def _about(database: sqlite3.Connection) -> dict[str, str]:
    return dict(database.execute("SELECT key, value FROM about").fetchall())


def _new_key(database: sqlite3.Connection) -> Vault | None:
    """Encrypt from now on, where that can be had."""
    key_id = secrets.token_hex(8)
    vault = new_vault(key_id)
    if vault is not None:
        database.execute("INSERT INTO about VALUES ('key_id', ?)", (key_id,))
    return vault


def _read(database: sqlite3.Connection, vault: Vault | None) -> dict[str, Person]:
    known = {}
    for (sealed,) in database.execute("SELECT sealed FROM people ORDER BY id"):
        try:
            text = vault.decrypt(sealed) if vault is not None else sealed
            made = json.loads(text)
            person = Person(made["name"], tuple(map(Voice.from_json, made["voices"])))
        except (ValueError, TypeError, KeyError) as error:
            raise sqlite3.DatabaseError(f"a damaged row: {error}") from error
        known[person.name] = person
    return known


def _sealed(person: Person, vault: Vault | None) -> bytes:
    text = json.dumps(_plain(person), ensure_ascii=True).encode()
    return vault.encrypt(text) if vault is not None else text


def _plain(person: Person) -> dict[str, Any]:
    return {"name": person.name, "voices": [voice.to_json() for voice in person.voices]}


def _joined(person: Person, other: Person) -> Person:
    known = {voice.key for voice in person.voices}
    new = tuple(voice for voice in other.voices if voice.key not in known)
    return replace(person, voices=(*person.voices, *new))
