"""A worker that makes trouble as the names of recordings say; speaks as ``batch.worker`` does."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from meetscribe.batch.tasks import Begun, Ended, Moved, Outcome, Task, Verdict
from meetscribe.batch.wire import event_line
from meetscribe.config import config_hash

RUN_HASH = config_hash("", {})
"""Of a recording without content hash and a pipeline that describes itself as nothing."""


def outcome(task: Task) -> Outcome:
    kind = task.session_id.partition("-")[0]
    if kind == "bad":
        return Outcome(Verdict.BAD, "no audio", "record it again", signature=mark(task))
    if kind == "full":
        return Outcome(Verdict.TROUBLE, "disk full", "free some space", writing=True)
    if kind == "gone":
        return Outcome(Verdict.TROUBLE, "no such file", "check the path")
    if kind == "hopeless":
        return Outcome(Verdict.HOPELESS, "no weights", "pull them")
    if kind == "hungry" and not task.little_memory:
        return Outcome(Verdict.TROUBLE, "ran out of memory", memory=True)
    made = Path(task.folder) / f"{task.session_id}.json"
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text(json.dumps(task.to_json()))
    return Outcome(Verdict.DONE, duration=1.0, seconds=0.1, signature=mark(task), run_hash=RUN_HASH)


def mark(task: Task) -> tuple[list[int], ...]:
    stats = [Path(source).stat() for source in task.sources]
    return tuple([stat.st_size, stat.st_mtime_ns, stat.st_ino] for stat in stats)


def trouble(task: Task) -> None:
    """Crash or hang, where the name says so; ``-once`` only the first time."""
    kind, *rest = task.session_id.split("-")
    been = Path(task.sources[0]).with_suffix(".been")
    if "once" in rest and been.exists():
        return
    been.touch()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        sys.stderr.write("first line\nlibrary said: no\n")
        sys.stderr.flush()
        os._exit(7)
    if kind == "hang":
        time.sleep(600)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    sys.stdin.readline()
    say(json.dumps({"event": "ready"}))
    for line in sys.stdin:
        task = Task.from_json(json.loads(line))
        say(event_line(Begun(task.name, sys.argv[1], 1.0, 1)))
        say(event_line(Moved(task.name, "activity", 0.5)))
        trouble(task)
        say(event_line(Ended(task.name, outcome(task))))


if __name__ == "__main__":
    main()
