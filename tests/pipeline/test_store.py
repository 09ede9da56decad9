"""Stages are kept, found again, and made again when what was kept is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetscribe.pipeline.store import DiskStore


def test_second_time_nothing_is_made(tmp_path: Path) -> None:
    store, made = DiskStore(tmp_path), []

    def make() -> dict[str, int]:
        made.append(1)
        return {"a": 1}

    assert store.get_or_make("activity", "abcd", "01", make) == {"a": 1}
    assert store.get_or_make("activity", "abcd", "01", make) == {"a": 1}
    assert len(made) == 1
    for stage, inputs, config in (("words", "abcd", "01"), ("activity", "x", "01")):
        store.get_or_make(stage, inputs, config, make)
    store.get_or_make("activity", "abcd", "02", make)
    assert len(made) == 4


def test_damaged_entry_is_made_again(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.get_or_make("activity", "abcd", "01", lambda: [1])
    entry = next(tmp_path.glob("*/*.json"))
    entry.write_text("[1, ")
    assert store.get_or_make("activity", "abcd", "01", lambda: [2]) == [2]
    assert store.get_or_make("activity", "abcd", "01", lambda: [3]) == [2]


def test_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = DiskStore(tmp_path / "file" / "below")
    assert store.get_or_make("activity", "abcd", "01", lambda: [1]) == [1]


def test_size_is_limited_oldest_first(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, limit_bytes=2500)
    for number in range(6):
        store.get_or_make("activity", f"{number}abc", "01", lambda: "x" * 1000)
    entries = sorted(path.name[0] for path in tmp_path.glob("*/*.json"))
    assert entries == ["4", "5"]


@pytest.mark.parametrize("text", ["[]", '{"x": 1}', '{"meetscribe": "0.0.1", "value": [1]}'])
def test_entry_of_another_shape_or_version_is_made_again(tmp_path: Path, text: str) -> None:
    store = DiskStore(tmp_path)
    store.get_or_make("activity", "abcd", "01", lambda: [1])
    next(tmp_path.glob("*/*.json")).write_text(text)
    assert store.get_or_make("activity", "abcd", "01", lambda: [2]) == [2]
    assert store.get_or_make("activity", "abcd", "01", lambda: [3]) == [2]
