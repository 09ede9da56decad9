"""What the joint model writes about every utterance group: batches, budgets, groups too full.

groups -> batches of similar length -> answers; a group whose answer did not fit is cut in two
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meetscribe.engines.device import cores, in_what_fits, torch_device
from meetscribe.engines.joint_groups import halves
from meetscribe.engines.joint_kinds import Answer, Clip, answer_from_json, answer_to_json, budget
from meetscribe.engines.joint_models import JointModels, describe_joint
from meetscribe.engines.run import Run
from meetscribe.errors import ModelError
from meetscribe.types import AudioReader, Segment, Turn

_BATCH_S = {"cpu": 30.0}
_BATCH_ELSEWHERE_S = 240.0


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote about a group."""

    group: Segment
    answer: Answer


def write(
    groups: Sequence[Segment],
    turns: Sequence[Turn],
    audio: AudioReader,
    run: Run,
    models: JointModels,
) -> list[Written]:
    """Have the model write about every group, in order of time.

    A group whose text does not fit is cut in two, so often as the settings say.
    """
    done: list[Written] = []
    waiting = list(groups)
    whole = sum(group.duration for group in groups) or 1.0
    heard_s = 0.0
    for attempt in range(models.settings.decoding.splits + 1):
        again: list[Segment] = []
        for batch in _batches(waiting, models):
            for written in _kept(batch, audio, run, models):
                last = attempt == models.settings.decoding.splits
                pieces = (
                    None if last or not written.answer.full else halves(written.group, turns, audio)
                )
                if pieces is None:
                    done.append(written)
                    heard_s += written.group.duration
                else:
                    again += pieces
            run.progress("recognize", min(1.0, heard_s / whole))
        waiting = again
    return sorted(done, key=lambda written: written.group)


def _batches(groups: Sequence[Segment], models: JointModels) -> Iterator[list[Segment]]:
    """Give groups of similar length together, the longest first: memory runs out early or not."""
    kind = torch_device(models.device).partition(":")[0]
    limit_s = models.settings.decoding.batch_s or _BATCH_S.get(kind, _BATCH_ELSEWHERE_S)
    batch: list[Segment] = []
    for group in sorted(groups, key=lambda one: (-one.duration, one.start)):
        if batch and batch[0].duration * (len(batch) + 1) > limit_s:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _kept(
    batch: Sequence[Segment], audio: AudioReader, run: Run, models: JointModels
) -> list[Written]:
    settings = models.settings

    def make() -> list[dict[str, Any]]:
        with cores(models.threads):
            answers = in_what_fits(batch, lambda part: _answers(part, audio, models), _too_much)
        return [answer_to_json(answer) for answer in answers]

    decided_by = (
        "turns",
        settings.decoding,
        settings.groups.shortest_s,
        settings.language,
        settings.most_speakers,
        describe_joint(settings.model),
        [(group.start, group.end) for group in batch],
    )
    made = run.keep("joint", decided_by, make)
    return [Written(group, answer_from_json(one)) for group, one in zip(batch, made, strict=True)]


def _too_much(group: Segment) -> ModelError:
    return ModelError(
        f"joint: out of memory on a group of {group.duration:.1f} s",
        hint="use --device cpu, decoding.dtype bfloat16, or a shorter groups.longest_s",
    )


def _answers(batch: Sequence[Segment], audio: AudioReader, models: JointModels) -> list[Answer]:
    kind, settings = models.kind(), models.settings
    shortest_s = settings.groups.shortest_s
    clips = [
        Clip(
            audio.read(group.start, max(group.end, group.start + shortest_s)),
            group.duration,
            budget(group.duration, settings),
        )
        for group in batch
    ]
    return kind.write(clips, settings)
