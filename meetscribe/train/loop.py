"""The training loop: batches in, steps of AdamW, scores, checkpoints; nothing of any one task.

A run that was stopped or killed goes on from its last checkpoint with the same losses: to the
last bit on a CPU with as many threads, nearly so on a GPU. That holds because what a batch is
follows from its number, the rate of learning from the step, and the rest is in the checkpoint.
Several processes deal out the batches of a step by their number, so that they make the step that
one process would make of all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.errors import ConfigError, ModelError
from meetscribe.train import checkpoint as checkpoints
from meetscribe.train.checkpoint import Checkpoint
from meetscribe.train.log import Board, Table
from meetscribe.train.processes import ALONE, Processes
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = TypeVar("Batch")
Precision = Literal["auto", "float32", "bfloat16", "float16"]

_BETAS = (0.9, 0.98)
_FINAL_SHARE = 0.02
_MOST_BAD_STEPS = 20


class LoopSettings(Settings):
    """How long and how fast to learn."""

    steps: int = Field(1000, ge=1)
    """Steps of the optimiser."""
    accumulate: int = Field(1, ge=1)
    """Batches of one step, in each process: where memory allows small batches only."""
    learning_rate: float = Field(1e-3, gt=0)
    """The highest, reached after ``warmup_steps``; then it falls along half a cosine."""
    warmup_steps: int = Field(100, ge=0)
    """Steps in which the rate of learning grows from nothing; so again when a part of the network
    begins to learn later."""
    hold: float = Field(0.0, ge=0, lt=1)
    """Share of the steps after those in which it stays at its highest before it falls."""
    weight_decay: float = Field(0.01, ge=0)
    """Of matrices; norms, biases and other vectors are left alone."""
    clip_norm: float = Field(1.0, gt=0)
    """The gradient is no longer than this."""
    precision: Precision = "auto"
    """``auto``: bfloat16 on a GPU that has it, else float16 there, float32 on a CPU."""
    checkpoint_every: int = Field(100, ge=1)
    """Steps."""
    keep: int = Field(2, ge=1)
    """Checkpoints that stay, beside the best."""
    score_every: int = Field(200, ge=1)
    """Steps between scores on the development set."""
    seed: int = Field(0, ge=0)
    """Of everything that is drawn."""


class Task(Protocol[Batch]):
    """What is trained."""

    columns: Sequence[str]
    """Names of the parts of the loss."""
    score_columns: Sequence[str]
    """Names of the scores; the first one chooses the best, lower is better."""

    @property
    def network(self) -> nn.Module:
        """The network; what has no gradient is neither trained nor kept."""
        ...

    def batches(self, first: int, every: int = 1) -> Iterator[Batch]:
        """Give every so manieth batch from that number on, without end."""
        ...

    def weight(self, batch: Batch) -> float:
        """Give what the batch counts in a step, such as its number of tokens."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the sum of the loss over what ``weight`` counts, and the sums of its parts."""
        ...

    def score(self, progress: Progress) -> dict[str, float]:
        """Measure on the development set."""
        ...

    def export(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the network as it is now, the best so far, for use."""
        ...


@dataclass(slots=True)
class State:
    """Where a run is."""

    step: int = 0
    best: float = math.inf
    best_step: int = -1
    bad_steps: int = 0
    """Steps in a row without a finite gradient."""
    began: int = 0
    """Step in which the last part of the network began to learn."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: ``stopped`` says that it was asked to, or that its time was up."""

    step: int
    best: float
    best_step: int
    stopped: bool
    seconds: float
    losses: tuple[float, ...] = field(default=())


def train(
    task: Task[Batch],
    settings: LoopSettings,
    folder: Path,
    *,
    identity: Mapping[str, Any],
    device: str = "cpu",
    minutes: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = no_progress,
    note: Callable[[str], None] = lambda _line: None,
    processes: Processes = ALONE,
) -> Result:
    """Train, or go on with what the folder holds.

    Parameters
    ----------
    folder : of the run
    identity : plain values that say what is trained on what; a run goes on only with the same
    minutes : the run is saved and ends after so long, to go on another time
    stop : asked after every step; True saves and ends the run
    progress : called with ``"train"`` and ``"score"``
    processes : that train together; the first alone scores and writes, and knows the best. When
        one of them is to stop, all do

    Raises
    ------
    ConfigError
        If the folder holds a run of another identity.
    ModelError
        If the gradient is no number for many steps, memory runs out, or another process ended.
    OutputError
        If the folder cannot be written.
    """
    run = _Run(
        task,
        settings,
        folder,
        identity=dict(identity),
        device=device,
        note=note,
        processes=processes,
    )
    began = time.monotonic()
    losses: list[float] = []

    def time_is_up() -> bool:
        return minutes is not None and time.monotonic() - began >= 60 * minutes

    stopped = False
    try:
        if run.state.step == 0:
            run.score(progress)
        progress("train", run.state.step / settings.steps)
        for batches in run.steps():
            losses.append(run.update(batches))
            progress("train", run.state.step / settings.steps)
            done = run.state.step >= settings.steps
            if done or run.state.step % settings.score_every == 0:
                run.score(progress)
            stopped = not done and processes.any(here=stop() or time_is_up())
            if done or stopped or run.state.step % settings.checkpoint_every == 0:
                run.save()
            if stopped:
                break
    finally:
        run.close()
    state = run.state
    spent = time.monotonic() - began
    return Result(state.step, state.best, state.best_step, stopped, spent, tuple(losses))


class _Run:
    """One run: the optimiser, what is written, and where it is."""

    def __init__(
        self,
        task: Task[Any],
        settings: LoopSettings,
        folder: Path,
        *,
        identity: dict[str, Any],
        device: str,
        note: Callable[[str], None],
        processes: Processes,
    ) -> None:
        import torch

        self._task, self._settings, self._folder = task, settings, folder
        self._identity, self._note, self._processes = identity, note, processes
        self._device = torch.device(device)
        self._learning = {
            name: one for name, one in task.network.named_parameters() if one.requires_grad
        }
        matrices = [one for one in self._learning.values() if one.ndim > 1]
        others = [one for one in self._learning.values() if one.ndim <= 1]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=_BETAS,
        )
        self._dtype = _dtype(settings.precision, self._device)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._dtype == torch.float16)
        self.state = State()
        self._restore()
        processes.agree(self.state.step, f"{folder}: the step that is reached")
        self._records = _Records(task, folder, self.state.step) if processes.first else None

    def _restore(self) -> None:
        found, notes = checkpoints.latest(self._folder)
        for line in notes:
            self._note(line)
        if found is None:
            return
        if found.about.get("identity") != self._identity:
            changed = _changed(found.about.get("identity"), self._identity)
            raise ConfigError(
                f"{self._folder}: holds a run with other settings ({changed})",
                hint="give another folder with -o, or the settings it was started with",
            )
        _copy(checkpoints.without_prefix("network", found.tensors), self._learning)
        self._load_moments(found)
        self._scaler.load_state_dict(found.about["scaler"])
        self.state = State(**found.about["state"])
        if found.about.get("no_best"):
            self.state.best = math.inf
        self._note(f"going on from step {self.state.step} of {self._settings.steps}")

    def _load_moments(self, found: Checkpoint) -> None:
        moments = checkpoints.without_prefix("moments", found.tensors)
        for name, one in self._learning.items():
            own = checkpoints.without_prefix(name, moments)
            if own:
                self._optimiser.state[one] = {
                    # the count of steps stays on the CPU
                    key: value if key == "step" else value.to(one.device)
                    for key, value in own.items()
                }

    def save(self) -> None:
        """Write a checkpoint, and remove the oldest."""
        if not self._processes.first:
            return
        tensors = checkpoints.prefixed("network", self._learning)
        for name, one in self._learning.items():
            moments = self._optimiser.state.get(one, {})
            tensors |= checkpoints.prefixed(f"moments.{name}", moments)
        # a tensor without axes is no trouble; infinity is none of JSON's numbers
        state = {name: getattr(self.state, name) for name in State.__slots__}
        nothing_yet = math.isinf(self.state.best)
        about = {
            "step": self.state.step,
            "identity": self._identity,
            "state": state | ({"best": 0.0} if nothing_yet else {}),
            "no_best": nothing_yet,
            "scaler": self._scaler.state_dict(),
        }
        path = checkpoints.path_of(self._folder, self.state.step)
        checkpoints.save(path, Checkpoint(tensors, about))
        checkpoints.remove_old(self._folder, self._settings.keep, self._settings.checkpoint_every)

    def steps(self) -> Iterator[list[Any]]:
        """Give the batches of every step that is left, those of this process."""
        each, count = self._settings.accumulate, self._processes.count
        left = self._settings.steps - self.state.step
        if left <= 0:
            return
        first = self.state.step * each * count + self._processes.rank
        stream = self._task.batches(first, count)
        try:
            for _ in range(left):
                yield [next(stream) for _ in range(each)]
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    def update(self, batches: list[Any]) -> float:
        """Make a step; gives the mean loss."""
        import torch

        began = time.monotonic()
        # all batches of a step count by what is in them, as if they were one
        own = sum(self._task.weight(batch) for batch in batches)
        weight = self._processes.total([own])[0] or 1.0
        sums = dict.fromkeys(("loss", *self._task.columns), 0.0)
        self._optimiser.zero_grad(set_to_none=True)
        mixed = self._dtype != torch.float32
        try:
            for batch in batches:
                with torch.autocast(self._device.type, dtype=self._dtype, enabled=mixed):
                    loss, parts = self._task.loss(batch)
                scaled: Any = self._scaler.scale(loss / weight)
                scaled.backward()
                for name, value in {"loss": loss, **parts}.items():
                    sums[name] += float(value.detach())
        except torch.OutOfMemoryError as error:
            raise ModelError(
                "the GPU's memory does not hold a batch",
                hint="use smaller batches and more of them with accumulate",
            ) from error
        # before anything looks at them: all processes must see the same gradient
        self._processes.add_gradients(self._learning.values())
        self._scaler.unscale_(self._optimiser)
        norm = float(
            torch.nn.utils.clip_grad_norm_(self._learning.values(), self._settings.clip_norm)
        )
        rate = self._set_rate()
        self._apply(norm)
        self.state.step += 1
        totals = self._processes.total(list(sums.values()))
        values = {name: value / weight for name, value in zip(sums, totals, strict=True)}
        values |= {"rate": rate, "gradient": norm, "weight": weight}
        if self._records is not None:
            self._records.train(self.state.step, values, time.monotonic() - began)
        return values["loss"]

    def _apply(self, norm: float) -> None:
        """Let the optimiser go a step, but never one that is no number."""
        if math.isfinite(norm) or self._scaler.is_enabled():
            # the scaler leaves out bad steps by itself, and learns from them
            self._scaler.step(self._optimiser)
        self._scaler.update()
        self.state.bad_steps = 0 if math.isfinite(norm) else self.state.bad_steps + 1
        if self.state.bad_steps > _MOST_BAD_STEPS:
            raise ModelError(
                f"step {self.state.step}: the gradient was no number {_MOST_BAD_STEPS} times",
                hint="lower learning_rate, or use precision float32",
            )

    def _set_rate(self) -> float:
        """Give the optimiser the rate of this step, whose gradients are there."""
        learning = [one for one in self._learning.values() if one.grad is not None]
        if any(one not in self._optimiser.state for one in learning):
            self.state.began = self.state.step
        rate = self._rate(self.state.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _rate(self, step: int) -> float:
        settings = self._settings
        left = max(1, settings.steps - settings.warmup_steps)
        share = (step - settings.warmup_steps) / left
        share = max(0.0, share - settings.hold) / (1 - settings.hold)
        fall = _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
        # AdamW's first steps are of full length however small the gradient is, also those of a
        # part that begins late: at the full rate they spoil what the others have learnt
        warm = min(1.0, (step - self.state.began + 1) / max(1, settings.warmup_steps))
        return settings.learning_rate * fall * warm

    def score(self, progress: Progress) -> None:
        """Measure in the first process; the best so far is kept and exported."""
        if self._records is not None:
            self._measure(self._records, progress)
        self._processes.wait()

    def _measure(self, records: _Records, progress: Progress) -> None:
        import torch

        training = self._task.network.training
        self._task.network.eval()
        with torch.no_grad():
            scores = self._task.score(progress)
        self._task.network.train(training)
        step = self.state.step
        records.score(step, scores)
        value = scores[self._task.score_columns[0]]
        self._note(f"step {step}: {_listed(scores)}")
        # before the first step there is nothing that is worth keeping
        if step and value < self.state.best:
            self.state.best, self.state.best_step = value, step
            about = {"step": step, "identity": self._identity, "scores": scores}
            path = self._folder / checkpoints.FOLDER / checkpoints.BEST
            checkpoints.save(
                path, Checkpoint(checkpoints.prefixed("network", self._learning), about)
            )
            self._task.export(step, scores)

    def close(self) -> None:
        """Write out what waits."""
        if self._records is not None:
            self._records.close()


class _Records:
    """What is written down of a run that goes on from a step."""

    def __init__(self, task: Task[Any], folder: Path, step: int) -> None:
        since = step + 1
        columns = ("loss", *task.columns, "rate", "gradient", "weight", "seconds")
        self._log = Table(folder / "log.csv", columns, since=since)
        self._scores = Table(folder / "scores.csv", task.score_columns, since=since if step else 0)
        self._board = Board(folder / "tensorboard", since=since)

    def train(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        self._log.add(step, {**values, "seconds": round(seconds, 3)})
        self._board.add(step, values, group="train")

    def score(self, step: int, scores: Mapping[str, float]) -> None:
        self._scores.add(step, scores)
        self._board.add(step, scores, group="score")

    def close(self) -> None:
        self._board.close()


def _copy(values: Mapping[str, Tensor], into: Mapping[str, nn.Parameter]) -> None:
    wrong = sorted(values.keys() ^ into.keys())
    if wrong:
        raise ConfigError(f"checkpoint: {wrong[0]} is not what this network has")
    for name, one in into.items():
        one.data.copy_(values[name])


def _dtype(precision: Precision, device: Any) -> Any:  # noqa: ANN401 - torch's, not imported here
    import torch

    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return getattr(torch, precision)


def _changed(before: Any, now: Any, where: str = "") -> str:  # noqa: ANN401 - plain values
    """Name the first thing that differs between two groups of plain values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                return _changed(before.get(key), now.get(key), f"{where}.{key}".strip("."))
    return where or "unknown"


def _listed(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
