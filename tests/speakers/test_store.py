"""People kept on this machine: only what was asked for, and gone when it is to go."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meetscribe.errors import (
    ConfigError,
    DependencyError,
    FormatError,
    NameNotFoundError,
    OutputError,
)
from meetscribe.speakers import keys
from meetscribe.speakers.store import SpeakerStore, default_path
from tests.speakers.builders import person, voice


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeakerStore:
    """Give a store on a machine without the libraries for encryption."""

    def none() -> tuple[object, object]:
        raise ImportError("not installed", name="keyring")

    monkeypatch.setattr(keys, "_libraries", none)
    return SpeakerStore(tmp_path / "data" / "speakers.sqlite")


@pytest.fixture
def keyring() -> Iterator[dict[tuple[str, str], str]]:
    """Give what a keyring in memory holds; the one of this machine is left alone."""
    library = pytest.importorskip("keyring")
    pytest.importorskip("cryptography.fernet")
    from keyring.backend import KeyringBackend
    from keyring.errors import PasswordDeleteError

    held: dict[tuple[str, str], str] = {}

    class Memory(KeyringBackend):
        priority = 1

        def set_password(self, service: str, username: str, password: str) -> None:
            held[service, username] = password

        def get_password(self, service: str, username: str) -> str | None:
            return held.get((service, username))

        def delete_password(self, service: str, username: str) -> None:
            if held.pop((service, username), None) is None:
                raise PasswordDeleteError("not there")

    before = library.get_keyring()
    library.set_keyring(Memory())
    yield held
    library.set_keyring(before)


def test_nothing_is_there_until_somebody_is_added(store: SpeakerStore) -> None:
    assert store.people() == ()
    assert store.note == ""
    store.add([])
    with pytest.raises(NameNotFoundError, match="no 'Anna'"):
        store.forget(["Anna"])
    assert not store.path.exists()
    with pytest.raises(ConfigError, match="no such store"):
        SpeakerStore(store.path, must_exist=True)


def test_people_come_back_as_they_were(store: SpeakerStore) -> None:
    people = [person("Zoë 王", 0, changes=2), person("Anna", 1)]
    store.add(people)
    store.add([person("Anna", 1)])
    assert list(SpeakerStore(store.path).people()) == people
    assert "not encrypted" in store.note
    exported = json.loads(json.dumps(store.export()))
    assert [one["name"] for one in exported["people"]] == ["Zoë 王", "Anna"]
    assert len(exported["people"][0]["voices"][0]["print"]) == 192


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
def test_only_this_user_can_read_it(store: SpeakerStore) -> None:
    before = os.umask(0)
    try:
        store.add([person("Anna", 0)])
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_names_change_and_people_become_one(store: SpeakerStore) -> None:
    store.add([person("Voice 1", 0), person("Voice 2", 1), person("Voice 3", 2)])
    store.name("Voice 2", "Anna")
    assert [one.name for one in store.people()] == ["Voice 1", "Anna", "Voice 3"]
    with pytest.raises(ConfigError, match="there is a 'Anna' already"):
        store.name("Voice 1", "Anna")
    with pytest.raises(ConfigError, match="expected a name"):
        store.name("Voice 1", " ")
    store.merge("Anna", ["Voice 3", "Voice 3", "Anna"])
    assert [(one.name, len(one.voices)) for one in store.people()] == [("Voice 1", 1), ("Anna", 2)]
    with pytest.raises(NameNotFoundError, match="no 'Ben'") as caught:
        store.merge("Anna", ["Voice 1", "Ben"])
    assert "Voice 1, Anna" in caught.value.hint
    assert len(store.people()) == 2


def test_who_is_forgotten_is_in_no_byte_of_the_file(store: SpeakerStore) -> None:
    store.add([person("Annabella", number, changes=3) for number in range(3)])
    store.add([person("Ben", 5)])
    mark = str(person("Annabella", 0).voices[0].print_d[0]).encode()
    assert b"Annabella" in store.path.read_bytes()
    assert mark in store.path.read_bytes()
    with pytest.raises(NameNotFoundError):
        store.forget(["Annabella", "Nobody"])
    assert len(store.people()) == 2
    store.forget(["Annabella"])
    assert b"Annabella" not in store.path.read_bytes()
    assert mark not in store.path.read_bytes()
    assert [one.name for one in store.people()] == ["Ben"]
    store.forget_all()
    assert list(store.path.parent.iterdir()) == []
    store.forget_all()


@pytest.mark.parametrize("text", [b"", b"no database at all" * 100])
def test_what_is_no_store_is_said(store: SpeakerStore, text: bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(text)
    if not text:
        assert store.people() == ()
        return
    with pytest.raises(FormatError, match=r"speakers\.sqlite: not a store"):
        store.people()
    with pytest.raises(FormatError, match="not a store"):
        store.add([person("Anna", 0)])
    store.forget_all()
    assert not store.path.exists()


def test_other_databases_and_damaged_rows_are_said(store: SpeakerStore) -> None:
    store.add([person("Anna", 0)])
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE people SET sealed = '{\"name\": 3}'")
    database.close()
    with pytest.raises(FormatError, match="damaged"):
        store.people()
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE about SET value = 'other/9'")
    database.close()
    with pytest.raises(FormatError, match="other/9"):
        store.people()
    store.path.unlink()
    with sqlite3.connect(store.path) as database:
        database.execute("CREATE TABLE mine (a)")
    database.close()
    with pytest.raises((FormatError, OutputError)):
        store.people()


def test_a_change_that_fails_changes_nothing(store: SpeakerStore) -> None:
    store.add([person("Anna", 0), person("Ben", 1)])
    before = store.people()
    with pytest.raises(ConfigError):
        store.name("Anna", "Ben")
    assert store.people() == before


def test_many_writers_lose_nobody(store: SpeakerStore) -> None:
    writers = 6
    for round_ in range(12):
        path = store.path.with_name(f"{round_}.sqlite")
        together = threading.Barrier(writers)

        def write(number: int, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            SpeakerStore(path).add([person(f"Person {number}", number)])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        known = {one.name for one in SpeakerStore(path).people()}
        assert known == {f"Person {number}" for number in range(writers)}


def test_new_people_get_names_that_nobody_has(store: SpeakerStore) -> None:
    assert store.add_new([person("Voice 1", 0)]) == {"Voice 1": "Voice 1"}
    assert store.add_new([person("Voice 1", 0)]) == {"Voice 1": "Voice 1"}
    assert store.add_new([person("Voice 1", 1)]) == {"Voice 1": "Voice 2"}
    assert len(store.people()) == 2


def test_the_place_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEETSCRIBE_SPEAKERS", str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"
    monkeypatch.delenv("MEETSCRIBE_SPEAKERS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path().name == "speakers.sqlite"


def test_encrypted_where_the_keyring_serves(
    tmp_path: Path, keyring: dict[tuple[str, str], str]
) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    store.add([person("Annabella", 0)])
    assert store.note == ""
    assert b"Annabella" not in store.path.read_bytes()
    assert len(keyring) == 1
    store.add([person("Ben", 1)])
    assert len(keyring) == 1
    assert [one.name for one in SpeakerStore(store.path).people()] == ["Annabella", "Ben"]
    held = dict(keyring)
    keyring.clear()
    with pytest.raises(DependencyError, match="encrypted"):
        store.people()
    keyring.update(dict.fromkeys(held, "A" * 43 + "="))
    with pytest.raises(FormatError, match="key of the keyring"):
        store.people()
    keyring.update(held)
    store.forget_all()
    assert not keyring
    assert not store.path.exists()


def test_what_was_plain_is_encrypted_with_the_next_change(
    tmp_path: Path, keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    with monkeypatch.context() as without:
        without.setattr(keys, "new_vault", lambda _: None)
        without.setattr("meetscribe.speakers.store.new_vault", lambda _: None)
        store.add([person("Annabella", 0)])
    assert b"Annabella" in store.path.read_bytes()
    store.add([person("Ben", 1)])
    assert keyring
    assert b"Annabella" not in store.path.read_bytes()
    assert [one.name for one in store.people()] == ["Annabella", "Ben"]


def test_without_the_libraries_an_encrypted_store_says_what_to_install(
    tmp_path: Path, keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    store.add([person("Anna", 0)])
    assert keyring

    def none() -> tuple[object, object]:
        raise ImportError("not installed", name="cryptography")

    monkeypatch.setattr(keys, "_libraries", none)
    with pytest.raises(DependencyError, match="cryptography is not installed") as caught:
        store.people()
    assert "meetscribe[speakers]" in caught.value.hint
    assert voice(0).seconds == 20
