"""One owner a recording, whatever clocks say and whoever dies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from meetscribe.batch.locks import STALE_S, Locks


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("meetscribe.batch.locks.time", made)
    return made


def test_one_owner(tmp_path: Path) -> None:
    first, second = Locks(tmp_path), Locks(tmp_path)
    assert first.take("a")
    assert not second.take("a")
    assert second.take("b")
    first.release("a")
    assert second.take("a")
    second.release_all()
    assert not list(tmp_path.glob("*.lock"))


def test_owner_and_age_are_said(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    locks.take("a")
    assert locks.owner("a").startswith(f"process {os.getpid()} on ")
    about = json.loads(next(tmp_path.iterdir()).read_text())
    assert set(about) == {"host", "boot", "pid", "began", "count"}


def test_dead_owner_here_is_followed_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom meetscribe.batch.locks import Locks\n"
        "Locks(Path(sys.argv[1])).take('a')\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert Locks(tmp_path).take("a")


def test_a_container_of_the_same_name_counts_its_processes_itself(tmp_path: Path) -> None:
    Locks(tmp_path).take("a")
    lock = next(tmp_path.iterdir())
    about = json.loads(lock.read_text())
    if not about["boot"]:
        pytest.skip("this system has no name for who counts its processes")
    boot = about["boot"].replace("pid:[", "pid:[1")
    # no process here has this number, nor began then
    lock.write_text(json.dumps({**about, "boot": boot, "pid": 2**22 + 1, "began": "1"}))
    assert not Locks(tmp_path).take("a")


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    Locks(tmp_path).take("a")
    lock = next(tmp_path.iterdir())
    about = json.loads(lock.read_text())
    if not about["began"]:
        pytest.skip("this system does not say when a process began")
    lock.write_text(json.dumps({**about, "began": "1"}))
    assert Locks(tmp_path).take("a")


def elsewhere(folder: Path, **changed: object) -> Path:
    Locks(folder).take("a")
    lock = next(folder.glob("*.lock"))
    about = json.loads(lock.read_text())
    lock.write_text(json.dumps({**about, "host": "far away", **changed}))
    return lock


def test_silent_owner_elsewhere_is_followed_after_a_while(tmp_path: Path, clock: Clock) -> None:
    lock = elsewhere(tmp_path)
    # a wrong clock: the file comes from the future
    os.utime(lock, (4e9, 4e9))
    locks = Locks(tmp_path)
    assert not locks.take("a")
    clock.now += STALE_S - 1
    assert not locks.take("a")
    clock.now += 2
    assert locks.take("a")


def test_owner_elsewhere_that_lives_stays_the_owner(tmp_path: Path, clock: Clock) -> None:
    lock = elsewhere(tmp_path)
    os.utime(lock, (0, 0))
    locks = Locks(tmp_path)
    for count in range(3):
        assert not locks.take("a")
        clock.now += STALE_S - 1
        about = json.loads(lock.read_text())
        lock.write_text(json.dumps({**about, "count": count + 1}))


def test_damaged_lock_is_followed_after_a_while(tmp_path: Path, clock: Clock) -> None:
    lock = elsewhere(tmp_path)
    lock.write_text('{"ho')
    locks = Locks(tmp_path)
    assert not locks.take("a")
    clock.now += STALE_S + 1
    assert locks.take("a")


def test_lock_that_went_to_another_is_left_alone(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    locks.take("a")
    lock = next(tmp_path.glob("*.lock"))
    lock.write_text(lock.read_text().replace('"pid": ', '"pid": 1'))
    locks.release("a")
    assert lock.exists()


def test_lock_that_is_being_made_is_one(tmp_path: Path) -> None:
    elsewhere(tmp_path).write_text("")
    assert not Locks(tmp_path).take("a")


def test_of_many_that_follow_one_does(tmp_path: Path) -> None:
    for _ in range(20):
        lock = elsewhere(tmp_path, host=socket.gethostname(), pid=2**22 + 1)
        many = [Locks(tmp_path) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda locks: locks.take("a"), many)) == 1
        lock.unlink(missing_ok=True)


def test_beat_changes_what_is_seen(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    locks.take("a")
    lock = next(tmp_path.iterdir())
    before = lock.read_text()
    locks.beat()
    assert lock.read_text() == before
    locks._beaten -= 100
    locks.beat()
    assert json.loads(lock.read_text())["count"] == 1
