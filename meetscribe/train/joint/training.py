"""A training that is ready: its stages, its scores, and the model that comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.errors import OutputError
from meetscribe.files import write_atomic
from meetscribe.train.joint import score as scoring
from meetscribe.train.joint.bucketing import BatchMaker, FixedMaker, in_buckets
from meetscribe.train.joint.card import Reached, Trained, export
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.parts import Data
from meetscribe.train.joint.score import ScoredGroup
from meetscribe.train.joint.settings import JointTraining, StageSettings
from meetscribe.train.joint.simulated import GroupMaker
from meetscribe.train.joint.stages import Settled, check_gate, folder_of, settle, take_over
from meetscribe.train.joint.task import Export, Fitting, GroupTask, Measure, itself
from meetscribe.train.joint.trainee import Learner, Trainee
from meetscribe.train.loop import Result, train
from meetscribe.train.material import Note, speech_minutes
from meetscribe.train.prefetch import in_order
from meetscribe.train.processes import ALONE, Processes
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from torch import Tensor

MODEL, DONE = "model", "done.json"
_DEV_STREAM, _TRAIN_STREAM = 20, 21
"""Stage number n has stream 20 + n."""


class Training:
    """A training that is ready to go."""

    def __init__(
        self,
        settings: JointTraining,
        output: Path,
        data: Data,
        trainee: Trainee,
        *,
        device: str = "cpu",
        workers: int = 0,
        minutes: float | None = None,
        progress: Progress = no_progress,
        note: Note = lambda _line: None,
        processes: Processes = ALONE,
    ) -> None:
        self.settings, self.output, self.data, self.trainee = settings, output, data, trainee
        self.fitting = Fitting()
        self._device, self._workers, self._minutes = device, workers, minutes
        self._progress, self._note, self._processes = progress, note, processes
        self._dev: list[Group] | None = None
        self._latest: list[ScoredGroup] = []

    def go(self, *, stop: Callable[[], bool] = lambda: False) -> Result:
        """Train all stages, or those that are left."""
        began = time.monotonic()
        done: list[Settled] = []
        best: Settled | None = None
        result = Result(0, float("inf"), -1, stopped=False, seconds=0.0)
        for number, stage in enumerate(self.settings.stages, start=1):
            task = self._task(number, stage, best)
            before = _values(task)
            result = train(
                task,
                self.settings.loop_of(stage),
                folder_of(self.output, number, stage),
                identity=self.identity(number, done),
                device=self._device,
                minutes=self._left(began),
                stop=stop,
                progress=self._progress,
                note=partial(self._told, stage),
                processes=self._processes,
            )
            if result.stopped:
                return replace(result, seconds=time.monotonic() - began)
            settled = self._settle(task, number, stage, best, before)
            done.append(settled)
            if number < len(self.settings.stages):
                check_gate(stage, settled)
            if settled.kept and not self._is_alone(stage):
                best = settled
        if best is not None:
            self._finish(best, done)
            result = replace(result, best=best.score, best_step=best.step)
        return replace(result, seconds=time.monotonic() - began)

    def identity(self, number: int, done: Sequence[Settled]) -> dict[str, Any]:
        """Say what must be the same for stage number n to go on.

        How often it is scored may change, and what comes after this stage; so may the number of
        processes, where that of the batches of a step stays. How often it is saved may not: the
        last checkpoints are averaged.
        """
        told = self.settings.model_dump(mode="json")
        del told["loop"]["score_every"]
        # where the table lies does not matter, what is in it does
        del told["speech"]["table"]
        told["loop"]["accumulate"] *= self._processes.count
        del told["corpora"]
        told["stages"] = told["stages"][:number]
        for stage in told["stages"]:
            del stage["gate"]
        if self.data.real:
            told["real"] = [[one.name, one.share, one.content_hash()] for one in self.data.real]
        speech = self.data.material.training
        told["utterances"] = [speech.path.name, len(speech.utterances)]
        told["before"] = [one.plain() for one in done]
        return told

    def measure(self, progress: Progress, learner: Learner) -> dict[str, float]:
        """Give the scores of what the model writes about the development set."""
        write = partial(self.trainee.write, constrained=self.settings.validation.constrained)
        self._latest = scoring.score(self.dev_batches(learner), write, progress=progress)
        return scoring.summary(self._latest)

    def dev_batches(self, learner: Learner) -> list[list[Group]]:
        """Give the development set in batches, as far as a learner can take it."""
        if self._dev is None:
            material, settings = self.data.material, self.settings
            # always the same ones, whatever the seed of the training
            maker = FixedMaker(
                GroupMaker(
                    settings.groups,
                    material.dev,
                    material.dev_rooms,
                    0,
                    _DEV_STREAM,
                    settings.channels,
                )
            )
            numbers = range(settings.validation.groups)
            self._dev = list(in_order(partial(itself, maker), numbers, workers=self._workers))
        fitting = Fitting()
        kept = fitting(self._dev, learner.fits)
        if fitting.refused:
            self._note(f"{fitting.refused} groups of the development set do not fit: not scored")
        return in_buckets(kept, self.settings.validation.batch_s or self.settings.batch_s)

    def _is_alone(self, stage: StageSettings) -> bool:
        """Tell whether a stage trains the encoder by itself, with a score of its own kind."""
        return stage.trains == "encoder" and self.settings.model.kind == "llm"

    def _task(self, number: int, stage: StageSettings, best: Settled | None) -> GroupTask:
        learner: Learner
        measure: Measure
        exporting: Export
        if self._is_alone(stage):
            learner, measure, columns = self._encoder()
            exporting = _no_export
        else:
            self.trainee.begin(stage.trains)
            learner, columns = self.trainee, scoring.COLUMNS
            measure = partial(self.measure, learner=learner)
            exporting = partial(self._export, number, best)
        return GroupTask(
            learner, self._batches(number, stage), self._workers, measure, columns, exporting,
            self.fitting,
        )  # fmt: skip

    def _encoder(self) -> tuple[Learner, Measure, Sequence[str]]:
        import torch

        from meetscribe.train.joint import encoder
        from meetscribe.train.joint.llm_trainee import LlmTrainee

        if not isinstance(self.trainee, LlmTrainee):  # the settings' kind says so
            raise TypeError(f"{type(self.trainee).__name__} has no encoder of its own")
        texts = [atom.text for one in self.data.material.training.utterances for atom in one.atoms]
        texts += [part.text for one in self.data.real for at in one.places for part in at.said]
        self.trainee.own_encoder()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.settings.loop.seed)
            alone = encoder.SotTrainee(
                self.trainee.model, self.settings.encoder, texts, self.settings.model.llm.order
            )
        alone.begin()

        def measure(progress: Progress) -> dict[str, float]:
            return alone.score(self.dev_batches(alone), progress)

        return alone, measure, encoder.COLUMNS

    def _batches(self, number: int, stage: StageSettings) -> BatchMaker:
        settings, material = self.settings, self.data.material
        maker = GroupMaker(
            settings.groups_of(stage),
            material.training,
            material.rooms,
            settings.loop.seed,
            _TRAIN_STREAM + number,
            settings.channels,
        )
        return BatchMaker(maker, settings.batch_s, self.data.real)

    def _left(self, began: float) -> float | None:
        """Give the minutes that are left."""
        if self._minutes is None:
            return None
        return max(0.0, self._minutes - (time.monotonic() - began) / 60)

    def _told(self, stage: StageSettings, line: str) -> None:
        self._note(f"{stage.trains}: {line}")

    def _settle(
        self,
        task: GroupTask,
        number: int,
        stage: StageSettings,
        best: Settled | None,
        before: Mapping[str, Tensor],
    ) -> Settled:
        """Choose the weights of a stage that is over, and give them to the model."""
        folder = folder_of(self.output, number, stage)
        with self._processes.first_alone():
            settled = settle(
                task,
                stage,
                folder,
                average=self.settings.average,
                before=None if self._is_alone(stage) else best,
                progress=self._progress,
                note=partial(self._told, stage),
            )
        if settled.kept:
            take_over(task.network, folder, settled)
        else:
            self._told(stage, "no better than before: its weights are left away")
            _put_back(task, before)
        return settled

    def _export(
        self, number: int, best: Settled | None, step: int, scores: Mapping[str, float]
    ) -> None:
        """Write the model where it is the best of all stages so far."""
        if best is not None and scores[scoring.COLUMNS[0]] > best.score:
            return
        stages = [(one.trains, one.steps) for one in self.settings.stages[: number - 1]]
        stages.append((self.settings.stages[number - 1].trains, step))
        reached = Reached(tuple(stages), scores, scoring.by_speakers(self._latest))
        export(self.trainee, self._trained(), reached, self.output / MODEL)

    def _finish(self, best: Settled, done: Sequence[Settled]) -> None:
        """Write the model as it was chosen in the end, once."""
        path = self.output / DONE
        if not self._processes.first or path.is_file():
            return
        import torch

        with torch.no_grad():
            scores = self.measure(self._progress, self.trainee)
        stages = tuple((one.trains, one.step) for one in done if one.kept)
        by_speakers = scoring.by_speakers(self._latest)
        reached = Reached(stages, scores, by_speakers, averaged=best.averaged)
        export(self.trainee, self._trained(), reached, self.output / MODEL)
        try:
            write_atomic({path: json.dumps({"stages": [one.plain() for one in done]}) + "\n"})
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error

    def _trained(self) -> Trained:
        material = self.data.material
        return Trained(
            self.settings,
            speech=speech_minutes(material.training),
            speakers=len(material.training.names),
            held_out=tuple(material.dev.names),
            left_out=material.notes,
            real=self.data.real,
            scored_groups=len(self._latest),
        )


def _no_export(_step: int, _scores: Mapping[str, float]) -> None:
    """Write nothing: an encoder by itself is no model for use."""


def _values(task: GroupTask) -> dict[str, Tensor]:
    """Remember what a stage begins with."""
    return {
        name: one.detach().clone()
        for name, one in task.network.named_parameters()
        if one.requires_grad
    }


def _put_back(task: GroupTask, values: Mapping[str, Tensor]) -> None:
    import torch

    with torch.no_grad():
        for name, one in task.network.named_parameters():
            if name in values:
                one.copy_(values[name])
