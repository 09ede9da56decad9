"""What the joint model writes about every clip: batches, budgets, clips too full.

clips -> batches of similar length -> answers; a clip whose answer did not fit is cut in two
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from meetscribe.engines.device import cores, in_what_fits, torch_device
from meetscribe.engines.joint_kinds import Answer, Clip, answer_from_json, answer_to_json
from meetscribe.engines.joint_models import JointModels, describe_joint
from meetscribe.engines.joint_signal import Item, OneSignal
from meetscribe.engines.run import Run
from meetscribe.errors import ModelError
from meetscribe.types import SAMPLE_RATE_HZ, Segment

_BATCH_S = {"cpu": 30.0}
_BATCH_ELSEWHERE_S = 240.0
_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote about a clip.

    Parameters
    ----------
    group : when it is
    answer : what was written
    speaker : whose stream it is of, "" for a signal of everybody
    levels : of a stream, the amplitude of each utterance that ``Parsed.in_clip`` gives
    """

    group: Segment
    answer: Answer
    speaker: str = ""
    levels: tuple[float, ...] = ()


def write(items: Sequence[Item], signal: OneSignal, run: Run, models: JointModels) -> list[Written]:
    """Have the model write about every clip, in order of time.

    A clip whose text does not fit is cut in two, so often as the settings say.
    """
    done: list[Written] = []
    whole = sum(item.group.duration for item in items) or 1.0
    heard_s = 0.0

    def chapter_of(item: Item) -> float:
        return item.group.start // signal.chapter_s

    for _, chapter in groupby(sorted(items), key=chapter_of):
        waiting = list(chapter)
        for attempt in range(models.settings.decoding.splits + 1):
            last = attempt == models.settings.decoding.splits
            again: list[Item] = []
            for batch in _batches(waiting, models):
                for item, written in zip(batch, _kept(batch, signal, run, models), strict=True):
                    full = written.answer.full and not last
                    pieces = signal.halves(item) if full else None
                    if pieces is None:
                        done.append(written)
                        heard_s += written.group.duration
                    else:
                        again += pieces
                run.progress("recognize", min(1.0, heard_s / whole))
            waiting = again
    return sorted(done, key=lambda written: (written.group, written.speaker))


def _batches(items: Sequence[Item], models: JointModels) -> Iterator[list[Item]]:
    """Give clips of similar length together, the longest first: memory runs out early or not."""
    kind = torch_device(models.device).partition(":")[0]
    limit_s = models.settings.decoding.batch_s or _BATCH_S.get(kind, _BATCH_ELSEWHERE_S)
    batch: list[Item] = []
    for item in sorted(items, key=lambda one: (-one.group.duration, one)):
        if batch and batch[0].group.duration * (len(batch) + 1) > limit_s:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _kept(batch: Sequence[Item], signal: OneSignal, run: Run, models: JointModels) -> list[Written]:
    settings = models.settings

    def make() -> list[dict[str, Any]]:
        with cores(models.threads):
            made = in_what_fits(batch, lambda part: _written(part, signal, models), _too_much)
        return [{**answer_to_json(one.answer), "levels": one.levels} for one in made]

    decided_by = (
        "turns",
        settings.decoding,
        settings.groups.shortest_s,
        settings.language,
        settings.most_speakers,
        describe_joint(settings.model),
        signal.decided_by,
        [(item.group.start, item.group.end, item.speaker) for item in batch],
    )
    made = run.keep("joint", decided_by, make)
    return [
        Written(item.group, answer_from_json(one), item.speaker, tuple(one["levels"]))
        for item, one in zip(batch, made, strict=True)
    ]


def _too_much(item: Item) -> ModelError:
    return ModelError(
        f"joint: out of memory on a group of {item.group.duration:.1f} s",
        hint="use --device cpu, decoding.dtype bfloat16, or a shorter groups.longest_s",
    )


def _written(batch: Sequence[Item], signal: OneSignal, models: JointModels) -> list[Written]:
    clips = [signal.clip(item, models.settings) for item in batch]
    answers = models.kind().write(clips, models.settings)
    return [
        Written(item.group, answer, item.speaker, _levels(clip, answer) if item.speaker else ())
        for item, clip, answer in zip(batch, clips, answers, strict=True)
    ]


def _levels(clip: Clip, answer: Answer) -> tuple[float, ...]:
    levels = []
    for one in answer.parsed.in_clip(clip.duration).utterances:
        first, last = round(one.start * SAMPLE_RATE_HZ), round(one.end * SAMPLE_RATE_HZ)
        power = np.square(clip.samples_n[first : max(last, first + 1)], dtype=np.float64)
        levels.append(round(float(np.sqrt(power.mean())) if len(power) else 0.0, _DIGITS))
    return tuple(levels)
