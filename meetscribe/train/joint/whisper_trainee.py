"""The small joint model in training: Whisper that learns to write who said what and when.

Axes: N sample, B batch, L token, D feature, M token to be written, V token of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from meetscribe.errors import ConfigError
from meetscribe.train.joint.array_clips import array_clip_of
from meetscribe.train.joint.groups import Group
from meetscribe.types import Utterance

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.joint.spatial_stream import Clip
    from meetscribe.joint.whisper.network import WhisperJoint
    from meetscribe.joint.whisper.settings import WhisperJointSettings

_IGNORED = -100
_ROUNDING_S = 1e-6
_SPEAKERS = "embed_tokens.added"
"""How the parameter ends that holds the speakers' tokens."""
_BASE_TOKENS, _TOKENS_PER_S = 60, 20.0
"""Of an answer in validation, more than twice what people can say: a model that repeats itself
for ever must not take all the time."""


class WhisperJointTrainee:
    """What the training asks of the small joint model; see ``train.joint.trainee.Trainee``.

    Nothing in it is drawn at random while it trains.
    """

    columns: Sequence[str] = ("words", "times", "speakers")

    def __init__(self, network: WhisperJoint) -> None:
        from meetscribe.joint.whisper.writing import Writer

        self.network = network
        self._writer = Writer(network)
        settings = network.settings
        self._start = network.vocabulary.start(settings.language, timestamps=True)

    @classmethod
    def make(
        cls, settings: WhisperJointSettings, *, device: str = "cpu", offline: bool = False
    ) -> Self:
        """Make an untrained one; torch's seed says how it begins.

        Raises
        ------
        ModelError, ConfigError
            If Whisper or CAM++ cannot be had, or Whisper does not know the language.
        """
        from meetscribe.joint.whisper import checkpoint

        return cls(checkpoint.make(settings, offline=offline).to(device))

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", offline: bool = False) -> Self:
        """Go on with what ``save`` wrote; its numbers have half precision.

        Raises
        ------
        ModelError, ConfigError
            If the folder holds no such model, or it does not fit its Whisper.
        """
        from meetscribe.joint.whisper import checkpoint

        return cls(checkpoint.load(folder, offline=offline).to(device))

    def begin(self, stage: Literal["encoder", "projectors", "lora"]) -> None:
        """Let the parameters of a stage, and no others, ask for gradients.

        ``encoder``: the low-rank changes of Whisper's encoder, and the speakers' tokens; the loss
        is that of the answers, which makes it serialised output training. ``projectors``: what
        brings voices and places in, the anchors, and the speakers' tokens. ``lora``: all of these,
        and the low-rank changes of the decoder.

        Raises
        ------
        ConfigError
            If nothing but the speakers' tokens would be trained.
        """
        parameters = self.network.trainable()
        chosen = [name for name in parameters if stage == "lora" or _is_of(name, stage)]
        if all(name.endswith(_SPEAKERS) for name in chosen):
            raise ConfigError(
                f"stage '{stage}': nothing of this model is trained in it",
                hint="leave the stage out; model.whisper.layout and lora.places decide it",
            )
        for name, one in parameters.items():
            one.requires_grad_(name in chosen)

    def weight(self, groups: Sequence[Group]) -> float:
        """Give the tokens of all answers, their ends included."""
        return float(sum(map(len, self._answers(groups))))

    def loss(self, groups: Sequence[Group]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the cross entropy of the answers, summed over their tokens, and its parts.

        The end of an answer counts among the words.
        """
        import torch
        from torch.nn import functional

        answers = self._answers(groups)
        device = self.network.whisper.encoder.conv1.weight.device
        longest = max(map(len, answers))
        # what is read after an end is not learnt from
        end = self.network.vocabulary.end
        read = [[*self._start, *row[:-1], *[end] * (longest - len(row))] for row in answers]
        before = [_IGNORED] * (len(self._start) - 1)
        wanted = [[*before, *row, *[_IGNORED] * (longest - len(row))] for row in answers]
        wanted_bl = torch.tensor(wanted, device=device)
        heard = self.network.hear(self._clips(groups))
        hidden_bld = self.network(heard, torch.tensor(read, device=device))
        learnt_bl = wanted_bl != _IGNORED
        # scores of what is not learnt are not needed, and large
        wanted_m = wanted_bl[learnt_bl]
        scores_mv = self.network.logits(hidden_bld[learnt_bl]).float()
        each_m = functional.cross_entropy(scores_mv, wanted_m, reduction="none")
        vocabulary = self.network.vocabulary
        time_m = (wanted_m >= vocabulary.first_timestamp) & (wanted_m < vocabulary.size)
        speaker_m = wanted_m >= vocabulary.size
        parts = {
            "words": each_m[~(time_m | speaker_m)].sum(),
            "times": each_m[time_m].sum(),
            "speakers": each_m[speaker_m].sum(),
        }
        return each_m.sum(), {name: part.detach() for name, part in parts.items()}

    def write(self, groups: Sequence[Group], *, constrained: bool) -> list[tuple[Utterance, ...]]:
        """Write about every group; nothing for one whose answer cannot be read.

        Returns
        -------
        Times in seconds from the start of the clip and inside it; speakers are "1", "2", ...
        """
        budgets = [_BASE_TOKENS + math.ceil(_TOKENS_PER_S * group.duration) for group in groups]
        answers = self._writer.write(self._clips(groups), budgets=budgets, constrained=constrained)
        return [
            answer.parsed.in_clip(group.duration).utterances
            for answer, group in zip(answers, groups, strict=True)
        ]

    def fits(self, group: Group) -> bool:
        """Tell whether all of a group can be heard, and all of its answer written."""
        form = self._writer.form
        too_long = group.duration > self.network.longest_s + _ROUNDING_S
        if too_long or not form.steps(group.duration) or not form.fits(group.utterances):
            return False
        return len(form.write(group.utterances, group.duration)) <= self._writer.longest_answer

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write what was learnt, with plain values about the training.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        from meetscribe.joint.whisper import checkpoint

        checkpoint.save(self.network, folder, about)

    def _clips(self, groups: Sequence[Group]) -> list[Clip]:
        """Give what the network hears."""
        import torch

        if self.network.places is not None:
            return [array_clip_of(group) for group in groups]
        return [torch.from_numpy(group.samples_n) for group in groups]

    def _answers(self, groups: Sequence[Group]) -> list[list[int]]:
        form = self._writer.form
        return [form.write(group.utterances, group.duration) for group in groups]


def _is_of(name: str, stage: str) -> bool:
    """Tell whether a parameter of that name is trained in a stage before the last."""
    if name.endswith(_SPEAKERS):
        return True
    in_encoder = name.startswith("whisper.encoder.")
    return in_encoder if stage == "encoder" else not name.startswith("whisper.")
