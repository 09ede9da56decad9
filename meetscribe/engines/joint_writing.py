"""What the joint model writes about every utterance group: batches, budgets, groups too full.

groups -> batches of similar length -> text of each; a group whose text did not fit is cut in two
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meetscribe.engines.device import cores, in_what_fits, torch_device
from meetscribe.engines.joint_groups import halves
from meetscribe.engines.joint_models import JointModels, describe_joint
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.engines.run import Run
from meetscribe.errors import ModelError
from meetscribe.types import AudioReader, Segment, Turn

_BASE_TOKENS = 100
"""For the tags of a text, and the first turn."""
_NEAR_THE_END = 32
"""A constrained text that ends so few tokens before it must was made to end."""
_PROMPT_TOKENS = 24
_FRAMES_PER_S = 25
"""Of every encoder that there is."""
_MOST_SPEAKERS = 20
"""In a group, where nobody has said."""
_BATCH_S = {"cpu": 30.0}
_BATCH_ELSEWHERE_S = 240.0
_SEARCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote about a group; ``full``: it ran out of tokens."""

    group: Segment
    text: str
    num_tokens: int
    full: bool


def longest_that_fits(models: JointModels) -> float:
    """Give the seconds of the longest group whose prompt and answer the language model can hold.

    Raises
    ------
    ModelError
        If it cannot hold the shortest one.
    """
    from meetscribe.joint.anchors import num_positions

    settings, context = models.settings, models.context()
    seconds = settings.groups.longest_s
    while seconds >= settings.groups.shortest_s:
        prompt = _PROMPT_TOKENS
        for stream in models.streams():
            frames = math.ceil(seconds * _FRAMES_PER_S / stream.stack)
            interval = stream.interval
            prompt += num_positions(frames, interval=interval) if interval else frames
        if prompt + budget(seconds, settings) <= context:
            return seconds
        seconds -= _SEARCH_S
    raise ModelError(
        f"joint: the language model holds {context} positions, too few for any group",
        hint="allow fewer tokens with decoding.max_new_tokens, or use another model",
    )


def budget(seconds: float, settings: JointSettings) -> int:
    """Give the tokens that may be written about so long a group.

    >>> budget(30.0, JointSettings()), budget(1.0, JointSettings())
    (1060, 132)
    """
    given = settings.decoding.max_new_tokens
    return given or _BASE_TOKENS + math.ceil(settings.decoding.tokens_per_s * seconds)


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
                pieces = None if last or not written.full else halves(written.group, turns, audio)
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
            return in_what_fits(batch, lambda part: _answers(part, audio, models), _too_much)

    decided_by = (
        settings.decoding,
        settings.groups.shortest_s,
        _most_speakers(settings),
        describe_joint(settings.model),
        [(group.start, group.end) for group in batch],
    )
    made = run.keep("joint", decided_by, make)
    return [Written(group, **about) for group, about in zip(batch, made, strict=True)]


def _too_much(group: Segment) -> ModelError:
    return ModelError(
        f"joint: out of memory on a group of {group.duration:.1f} s",
        hint="use --device cpu, decoding.dtype bfloat16, or a shorter groups.longest_s",
    )


def _answers(
    batch: Sequence[Segment], audio: AudioReader, models: JointModels
) -> list[dict[str, Any]]:
    import torch

    from meetscribe.joint.constrain import Constraint
    from meetscribe.joint.grammar import Grammar

    model, settings = models.joint(), models.settings
    shortest_s = settings.groups.shortest_s
    clips = [
        torch.from_numpy(audio.read(group.start, max(group.end, group.start + shortest_s)))
        for group in batch
    ]
    heard = model.listen(model.features(clips))
    limit = max(budget(group.duration, settings) for group in batch)
    processors = []
    if settings.decoding.constrained:
        grammars = [
            Grammar(
                group.duration,
                order=settings.decoding.order,
                max_speakers=_most_speakers(settings) or _MOST_SPEAKERS,
            )
            for group in batch
        ]
        end = model.chat.end_id
        processors.append(
            Constraint(
                models.vocabulary(),
                grammars,
                max_new_tokens=limit,
                eos_token_id=min(model.stop_ids()) if end is None else end,
            )
        )
    answers = model.generate(heard, max_new_tokens=limit, processors=processors)
    return [
        {
            "text": answer.text,
            "num_tokens": len(answer.ids),
            "full": not answer.closed
            or (settings.decoding.constrained and len(answer.ids) > limit - _NEAR_THE_END),
        }
        for answer in answers
    ]


def _most_speakers(settings: JointSettings) -> int | None:
    return settings.speakers or settings.max_speakers
