"""A run of its own process for ``test_resume``: kills itself where it is told to.

Arguments: pipeline, audio, folder for results, and stage:share of the end, or "never". Parts are
small here, so that half a minute of sound has several of each stage. Prints how many results of
each stage were made, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meetscribe.activity import segmentation, voiceprint
from meetscribe.engines import stream_words
from meetscribe.pipeline.runner import Outputs, Runner
from meetscribe.recognize import whisper


def make_parts_small() -> None:
    """Only in a process of its own: other tests must not see it."""
    segmentation._PART_WINDOWS = 8
    voiceprint._PART_UNITS = 10
    whisper._PART_PIECES = 1
    whisper._PART_STRETCHES = 2
    stream_words._CHAPTER_S = 8.0
    stream_words._SETTLED_S = 2.0


class Counting:
    """The store of a runner, counting what is made."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.made: Counter[str] = Counter()

    def get_or_make(
        self, stage: str, inputs_hash: str, config_hash: str, make: Callable[[], Any]
    ) -> Any:
        def counted() -> Any:
            value = make()
            self.made[stage] += 1
            return value

        return self.store.get_or_make(stage, inputs_hash, config_hash, counted)

    def forget(self, stage: str, inputs_hash: str, prefix: str) -> None:
        self.store.forget(stage, inputs_hash, prefix)


def main() -> None:
    make_parts_small()
    pipeline, audio, folder, end = sys.argv[1:]
    stage, _, share = end.partition(":")
    runner = Runner.of(pipeline, threads=1, offline=True)
    runner.store = store = Counting(runner.store)

    def progress(now: str, done: float) -> None:
        if now == stage and done >= float(share):
            os.kill(os.getpid(), signal.SIGKILL)

    recording = runner.probe([audio])
    runner.run(recording, Outputs(Path(folder), ("json", "srt")), progress=progress)
    sys.stdout.write(json.dumps(store.made))


if __name__ == "__main__":
    main()
