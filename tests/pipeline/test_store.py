"""Stages are kept, found again, and made again when what was kept is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meetscribe.errors import ConfigError
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


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, limit_bytes=2500)
    for number in range(2):
        store.get_or_make("activity", f"{number}abc", "01", lambda: "x" * 1000)
        os.utime(next(tmp_path.glob(f"{number}a/*.json")), (number + 1, number + 1))
    store.get_or_make("activity", "0abc", "01", lambda: "never")
    store.get_or_make("activity", "2abc", "01", lambda: "x" * 1000)
    assert sorted(path.name[0] for path in tmp_path.glob("*/*.json")) == ["0", "2"]


def test_info_and_clear(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "stages")
    assert (store.info().num_entries, store.clear()) == (0, (0, 0))
    for inputs in ("aa", "bb"):
        store.get_or_make("activity", inputs, "01", lambda: [1])
    store.get_or_make("words", "aa", "01", lambda: [1])
    kept = store.info()
    assert {stage: number for stage, (number, _) in kept.stages.items()} == {
        "activity": 2,
        "words": 1,
    }
    assert (kept.recordings, kept.num_entries) == (2, 3)
    assert store.clear(unused_days=1) == (0, 0)
    assert store.clear() == (3, kept.num_bytes)
    assert not list(store.folder.iterdir())


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom meetscribe import files\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "from meetscribe.pipeline.store import DiskStore\n"
        "DiskStore(Path(sys.argv[1])).get_or_make('a', 'aa', '01', lambda: [1])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (tmp_path / "aa" / f".00000000-{os.getpid()}-x.part").touch()  # another machine's
    assert len(list((tmp_path / "aa").iterdir())) == 2
    DiskStore(tmp_path).clear()
    assert [path.name[:9] for path in (tmp_path / "aa").iterdir()] == [".00000000"]


def test_limit_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEETSCRIBE_CACHE_LIMIT", "2 GB")
    assert DiskStore(tmp_path).limit_bytes == 2_000_000_000
    monkeypatch.setenv("MEETSCRIBE_CACHE_LIMIT", "some")
    with pytest.raises(ConfigError, match="MEETSCRIBE_CACHE_LIMIT: 'some'"):
        DiskStore(tmp_path)


def test_processes_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom meetscribe.pipeline.store import DiskStore\n"
        "store = DiskStore(Path(sys.argv[1]), limit_bytes=20_000)\n"
        "for number in range(60):\n"
        "    made = store.get_or_make('a', f'{number % 30:02}aa', '01', lambda: 'x' * 1000)\n"
        "    assert made == 'x' * 1000\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate()[1] for one in both] == ["", ""]
    assert not list(tmp_path.rglob("*.part"))
