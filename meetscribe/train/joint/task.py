"""What the loop trains: a joint model on batches of groups, scored by what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from meetscribe.train.joint.groups import Group, split
from meetscribe.train.joint.trainee import Learner
from meetscribe.train.prefetch import in_order
from meetscribe.types import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
Export = Callable[[int, Mapping[str, float]], None]
Measure = Callable[[Progress], dict[str, float]]
BatchOf = Callable[[int], list[Group]]


@dataclass
class Fitting:
    """Splits groups that a model cannot take in their pauses, and counts those that have none."""

    halved: int = 0
    refused: int = 0

    def __call__(self, groups: Sequence[Group], fits: Callable[[Group], bool]) -> list[Group]:
        """Give what fits."""
        kept: list[Group] = []
        waiting = list(reversed(groups))
        while waiting:
            group = waiting.pop()
            if fits(group):
                kept.append(group)
                continue
            halves = split(group)
            if halves is None:
                self.refused += 1
            else:
                self.halved += 1
                waiting += reversed(halves)
        return kept


@dataclass
class GroupTask:
    """The task of a stage; see ``train.loop.Task``.

    Parameters
    ----------
    learner : its parameters that ask for a gradient are trained
    training : makes batch number n
    measure : gives the scores of the model as it is now
    score_columns : their names
    exporting : writes the model as it is now
    """

    learner: Learner
    training: BatchOf
    workers: int
    measure: Measure
    score_columns: Sequence[str]
    exporting: Export
    fitting: Fitting = field(default_factory=Fitting)
    columns: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = self.learner.columns

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self.learner.network

    def batches(self, first: int, every: int = 1) -> Iterator[list[Group]]:
        """Give every so manieth batch from that number on, only what fits."""
        made = in_order(partial(itself, self.training), count(first, every), workers=self.workers)
        try:
            for batch in made:
                yield self.fitting(batch, self.learner.fits)
        finally:
            close = getattr(made, "close", None)
            if close is not None:
                close()

    def weight(self, batch: Sequence[Group]) -> float:
        """Give the tokens to write."""
        return self.learner.weight(batch) if batch else 0.0

    def loss(self, batch: Sequence[Group]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss summed over them, and its parts; of a batch without groups nothing."""
        if batch:
            return self.learner.loss(batch)
        learns = next(one for one in self.network.parameters() if one.requires_grad)
        nothing = learns.sum() * 0.0
        return nothing, dict.fromkeys(self.columns, nothing.detach())

    def score(self, progress: Progress) -> dict[str, float]:
        """Measure on the development set."""
        return self.measure(progress)

    def export(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the model as it is now."""
        self.exporting(step, scores)


def itself(maker: T) -> T:
    """Give what is given: a picklable way to hand a maker to other processes."""
    return maker
