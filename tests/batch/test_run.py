"""Crashes, hangs and want of memory cost one attempt at one recording and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meetscribe.batch.locks import Locks
from meetscribe.batch.run import Limits
from meetscribe.batch.summary import State
from meetscribe.errors import ModelError, OutputError
from tests.batch.conftest import Run

Make = Callable[..., Path]


def test_every_recording_ends_in_one_way(recordings: Make, run: Run) -> None:
    ran = run(recordings("a.wav", "bad.wav", "sub/b.wav", "kill-once.wav"), workers=2)
    states = {row.recording: row.state for row in ran.summary.rows}
    done, failed = State.DONE, State.FAILED
    assert states == {"a": done, "bad": failed, "kill-once": done, "sub/b": done}
    assert (ran.row("bad").error, ran.row("bad").hint) == ("no audio", "record it again")
    assert sorted(ran.heard.transcribed) == ["a", "kill-once", "sub/b"]
    assert ran.batch.stopped is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("kill", "was ended by SIGKILL (out of memory, or somebody did)"),
        ("segv", "was ended by SIGSEGV"),
        ("exit", "ended with exit code 7: library said: no"),
    ],
)
def test_what_always_crashes_fails_with_its_reason(
    recordings: Make, run: Run, kind: str, reason: str
) -> None:
    ran = run(recordings(f"{kind}.wav", "good.wav"), limits=Limits(retries=1))
    row = ran.row(kind)
    assert row.state is State.FAILED
    assert row.error == f"the worker {reason} (2 attempts)"
    assert row.attempts == 2
    assert ran.row("good").state is State.DONE


def test_only_what_was_there_when_the_batch_began_is_waited_for(recordings: Make, run: Run) -> None:
    folder = recordings("good.wav", "gone-later.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    ran = run(folder, limits=Limits(retries=1, pause_s=0.0))
    assert (ran.row("gone").error, ran.row("gone").attempts) == ("no such file", 1)
    assert (ran.row("gone-later").error, ran.row("gone-later").attempts) == (
        "no such file (2 attempts)",
        2,
    )
    assert ran.row("good").state is State.DONE


def test_hang_is_ended(recordings: Make, run: Run) -> None:
    limits = Limits(timeout_factor=0.1, timeout_floor_s=3.0, retries=0)
    ran = run(recordings("hang.wav", "good.wav"), limits=limits)
    assert ran.row("hang").error == "no end after 3 s"
    assert ran.row("good").state is State.DONE


def test_want_of_memory_is_tried_again_with_less(recordings: Make, run: Run) -> None:
    ran = run(recordings("hungry.wav", "a.wav", "b.wav"), workers=2)
    assert ran.row("hungry").state is State.DONE
    assert (
        '"little_memory": true' in (Path(ran.prepared.request.output) / "hungry.json").read_text()
    )
    assert max(now.running for now in ran.heard.standings) <= 2


def test_second_run_does_nothing_and_failures_are_remembered(recordings: Make, run: Run) -> None:
    folder = recordings("a.wav", "bad.wav", "kill-once.wav")
    run(folder, limits=Limits(retries=0))
    again = run(folder, limits=Limits(retries=0))
    # what crashed is tried again, what is no good as it is is not
    assert again.heard.transcribed == ["kill-once"]
    assert again.row("bad").error == "no audio"
    third = run(folder, command=("false",))
    assert [row.attempts for row in third.summary.rows] == [0, 0, 0]
    assert third.row("a").duration_s == 1.0
    (folder / "bad.wav").write_bytes(b"another")
    assert [name for name, _ in run(folder).heard.begins] == ["bad"]
    assert [name for name, _ in run(folder, retry_failed=True).heard.begins] == ["bad"]


def test_other_options_are_refused_before_anything_runs(recordings: Make, run: Run) -> None:
    folder = recordings("a.wav", "bad.wav")
    run(folder)
    with pytest.raises(OutputError, match=r"1 of 2 recordings .* made with other options \('a'\)"):
        run(folder, described={"model": "large"})
    with pytest.raises(OutputError, match="other options"):
        run(folder, looks={"max_lines": 1})
    assert [name for name, _ in run(folder, looks={"max_lines": 1}, force=True).heard.begins] == [
        "a"
    ]


def test_more_formats_are_made_and_lost_results_made_again(
    recordings: Make, run: Run, tmp_path: Path
) -> None:
    folder = recordings("a.wav", "b.wav")
    run(folder)
    (tmp_path / "out" / "b.json").unlink()
    assert [name for name, _ in run(folder).heard.begins] == ["b"]
    assert len(run(folder, formats=("json", "srt")).heard.begins) == 2


def test_workers_that_do_not_start_stop_the_batch(recordings: Make, run: Run) -> None:
    ran = run(
        recordings("a.wav", "b.wav"),
        command=(sys.executable, "-c", "import sys; sys.exit('no such library')"),
        limits=Limits(retries=5),
    )
    assert isinstance(ran.batch.stopped, ModelError)
    assert "no such library" in ran.batch.stopped.message
    assert {row.state for row in ran.summary.rows} == {State.LEFT}


def test_missing_model_stops_the_batch(recordings: Make, run: Run) -> None:
    ran = run(recordings("hopeless.wav", "later.wav"))
    assert isinstance(ran.batch.stopped, ModelError)
    assert ran.row("later").state is State.LEFT


def test_locks_that_cannot_be_written_stop_the_batch(
    recordings: Make, run: Run, tmp_path: Path
) -> None:
    folder = recordings("a.wav")
    (tmp_path / "out" / ".meetscribe").mkdir(parents=True)
    (tmp_path / "out" / ".meetscribe" / "locks").touch()
    ran = run(folder)
    assert isinstance(ran.batch.stopped, OutputError)
    assert ran.row("a").state is State.LEFT


def test_worker_that_cannot_be_started_is_tried_again(recordings: Make, run: Run) -> None:
    ran = run(
        recordings("a.wav"), command=("no-such-program",), limits=Limits(retries=1, pause_s=0.1)
    )
    assert ran.row("a").error.startswith("no worker can be started: No such file")


def test_full_disk_stops_the_batch_and_keeps_what_is_done(
    recordings: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import meetscribe.batch.run as scheduler

    def full(_texts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scheduler, "write_atomic", full)
    ran = run(recordings("a.wav", "full.wav", "later.wav"))
    assert isinstance(ran.batch.stopped, OutputError)
    assert ran.batch.stopped.exit_code == 6
    assert "disk full" in ran.batch.stopped.message
    assert [ran.row(name).state for name in ("a", "later")] == [State.DONE, State.LEFT]


def test_place_that_is_full_for_one_recording_costs_only_that(recordings: Make, run: Run) -> None:
    ran = run(recordings("full.wav", "later.wav"), limits=Limits(retries=1, pause_s=0.1))
    assert ran.batch.stopped is None
    assert ran.row("full").error == "disk full (2 attempts)"
    assert ran.row("later").state is State.DONE


def test_what_another_batch_has_is_waited_for(recordings: Make, run: Run, tmp_path: Path) -> None:
    folder = recordings("a.wav", "b.wav")
    # a lock of a machine that died long ago
    locks = Locks(tmp_path / "out" / ".meetscribe" / "locks")
    assert locks.take("a")
    lock = next(locks.folder.iterdir())
    lock.write_text(lock.read_text().replace('"host": "', '"host": "far-'))
    ran = run(folder, patience_s=1.0)
    assert "another batch has: 'a'" in ran.heard.notes[0]
    assert f"process {os.getpid()} on far-" in ran.heard.notes[0]
    assert ran.heard.transcribed == ["b", "a"]
    assert not list(locks.folder.glob("*.lock"))


def test_two_batches_on_one_folder_share_the_work(recordings: Make, run: Run) -> None:
    folder = recordings(*(f"{number}.wav" for number in range(8)))
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: run(folder), range(2)))
    everything = sorted(name for ran in both for name in ran.heard.transcribed)
    assert everything == sorted(map(str, range(8)))
    for ran in both:
        assert {row.state for row in ran.summary.rows} == {State.DONE}


def test_time_left_follows_from_what_was_measured(recordings: Make, run: Run) -> None:
    ran = run(recordings(*(f"{number}.wav" for number in range(5))))
    assert ran.heard.standings[0].left_s is None
    assert ran.heard.standings[0].total == 5
    estimate = ran.batch._estimate
    assert estimate.speed > 0
    assert estimate.left_s({}) == 0
