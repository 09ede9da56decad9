"""What ``meetscribe train joint`` asks of a model: the rest of the training knows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from meetscribe.train.joint.groups import Group
from meetscribe.types import Utterance

if TYPE_CHECKING:
    from torch import Tensor, nn

StageName = Literal["encoder", "projectors", "lora"]
"""What is trained, in this order: the semantic encoder; what joins it to the language model; that
and low-rank changes of the language model."""


class Learner(Protocol):
    """Anything that learns from groups.

    Nothing in it may be drawn at random while it trains (no dropout): a run that goes on must see
    what it would have seen.
    """

    columns: Sequence[str]
    """Names of the parts of the loss, as ``loss`` gives them."""

    @property
    def network(self) -> nn.Module:
        """The network; parameters that ask for a gradient are trained and kept, no others."""
        ...

    def weight(self, groups: Sequence[Group]) -> float:
        """Give the tokens to be written about all groups, what closes a text included."""
        ...

    def loss(self, groups: Sequence[Group]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss of the answers summed over these tokens, and the sums of its parts."""
        ...

    def fits(self, group: Group) -> bool:
        """Tell whether the model can hear all of a group and write all of its text."""
        ...


class Trainee(Learner, Protocol):
    """A joint model in training."""

    def begin(self, stage: StageName) -> None:
        """Let the parameters of a stage, and no others, ask for gradients.

        Raises
        ------
        ConfigError
            If this model has no such stage.
        """
        ...

    def write(self, groups: Sequence[Group], *, constrained: bool) -> list[tuple[Utterance, ...]]:
        """Write about every group; nothing for a group whose text cannot be read.

        Parameters
        ----------
        groups : of similar length; one batch
        constrained : only what the format allows is written
        """
        ...

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the model as it is now, for use.

        Parameters
        ----------
        folder : made if it is not there
        about : plain values to be kept beside the weights: step, scores, data

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        ...
