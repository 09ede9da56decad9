"""A joint model with a frozen language model in training: projectors, and low-rank changes.

Axes: N sample, C channel, B batch, S position.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meetscribe.errors import ConfigError, OutputError
from meetscribe.files import write_atomic
from meetscribe.joint.serialise import serialise
from meetscribe.train.joint.array_clips import array_clip_of
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.model_settings import ModelSettings
from meetscribe.train.joint.trainee import StageName
from meetscribe.types import Utterance

if TYPE_CHECKING:
    from torch import Tensor, nn

    from meetscribe.joint.config import JointConfig
    from meetscribe.joint.model import JointModel
    from meetscribe.joint.spatial_stream import Clip
    from meetscribe.joint.vocabulary import Vocabulary

ABOUT = "training.json"

_BASE_TOKENS = 100
_MOST_SPEAKERS = 20
_REMEMBERED = 4096


class LlmTrainee:
    """What the training asks of a joint model with a language model; see ``Trainee``.

    Encoders and language model stay as they are; so does everything drawn at random: there is
    no dropout.
    """

    columns: Sequence[str] = ("right",)
    """Tokens that the model puts first, given all before them; in the log, their share."""

    def __init__(self, model: JointModel, config: JointConfig, settings: ModelSettings) -> None:
        self.model = model
        self._config, self._settings = config, settings.llm
        self._vocabulary: Vocabulary | None = None
        self._answer_tokens = lru_cache(maxsize=_REMEMBERED)(self._count)

    @classmethod
    def make(cls, settings: ModelSettings, *, device: str = "cpu", seed: int = 0) -> Self:
        """Make one of the catalogue's parts, or of a folder.

        Raises
        ------
        ModelError, WeightsError
            If a part cannot be had.
        """
        from meetscribe.joint import checkpoint, lora

        if settings.start:
            folder = Path(settings.start).expanduser()
            config = checkpoint.read_config(folder)
            model = checkpoint.load(folder, device=device, merge_lora=False)
            if settings.llm.lora is not None and config.llm_lora is None:
                # begins with torch's random numbers, whose seed is the caller's
                lora.add(model.llm, settings.llm.lora)
                config = config.model_copy(update={"llm_lora": settings.llm.lora})
            return cls(model, config, settings)
        if settings.llm.config is None:
            raise ConfigError("model.llm.config: expected what to make the model of")
        config = settings.llm.config
        return cls(checkpoint.new(config, device=device, seed=seed), config, settings)

    @property
    def network(self) -> nn.Module:
        """The whole model."""
        return self.model

    def begin(self, stage: StageName) -> None:
        """Let projectors, or these and low-rank changes, ask for gradients.

        Raises
        ------
        ConfigError
            If the model has no low-rank changes, or the stage is another one.
        """
        from meetscribe.joint.lora import PREFIX

        learned = self.model.learned
        changes = {name for name in learned if name.startswith(PREFIX)}
        if stage == "lora" and not changes:
            raise ConfigError(
                "stage 'lora': the model has no low-rank changes",
                hint="add llm_lora to model.llm.config, or with model.start set model.llm.lora",
            )
        if stage == "encoder":
            raise ConfigError("stage 'encoder': the encoder is trained by itself")
        self.model.requires_grad_(requires_grad=False)
        for name, one in learned.items():
            one.requires_grad_(stage == "lora" or name not in changes)

    def weight(self, groups: Sequence[Group]) -> float:
        """Give the tokens of the answers, and of what closes them."""
        return float(sum(self._answer_tokens(self._target(group)) for group in groups))

    def loss(self, groups: Sequence[Group]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the cross entropy of the answers, summed over their tokens."""
        model = self.model
        heard = model.listen(model.features(self._clips(groups)), apart=False)
        rows = model.training_rows(heard, [self._target(group) for group in groups])
        found = model.loss(model.training_input(heard, rows))
        right = found.mean.new_tensor(found.accuracy * found.num_tokens)
        return found.mean * found.num_tokens, {"right": right}

    def write(self, groups: Sequence[Group], *, constrained: bool) -> list[tuple[Utterance, ...]]:
        """Write about every group, greedily; nothing for a text that cannot be read."""
        from meetscribe.joint.parse import parse

        model = self.model
        heard = model.listen(model.features(self._clips(groups)))
        limit = max(map(self._budget, groups))
        processors = [self._constraint(groups, limit)] if constrained else []
        answers = model.generate(heard, max_new_tokens=limit, processors=processors)
        return [
            parse(answer.text).in_clip(group.duration).utterances
            for answer, group in zip(answers, groups, strict=True)
        ]

    def fits(self, group: Group) -> bool:
        """Tell whether prompt and answer have room in the language model."""
        from meetscribe.joint.layout import num_positions

        prompt = len(self.model.chat.prompt_row([1] * self.model.chat.num_places).ids)
        heard = num_positions(self._config, group.duration)
        return prompt + heard + self._answer_tokens(self._target(group)) <= self._settings.positions

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write what was trained, and what it needs.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        import torch

        from meetscribe.joint import checkpoint

        checkpoint.save(self.model, self._config, folder, dtype=torch.float16)
        text = json.dumps(dict(about), indent=2, ensure_ascii=False) + "\n"
        try:
            write_atomic({folder / ABOUT: text})
        except OSError as error:
            raise OutputError(f"{folder / ABOUT}: cannot be written: {error}") from error

    def own_encoder(self) -> None:
        """Let the semantic encoder be saved with the model: it is no longer the catalogue's."""
        from meetscribe.joint.encoders import tensors_of_whisper
        from meetscribe.models import fetch

        mapping = self._config.audio_encoder_config
        if not mapping.get("weights"):
            return
        if mapping.get("model_type") != "whisper":
            raise ConfigError(
                f"stage 'encoder': an encoder '{mapping.get('model_type')}' of the catalogue, "
                "expected whisper, or one in the folder of model.start"
            )
        _, sizes = tensors_of_whisper(fetch(str(mapping["weights"])))
        voice = self._config.voice_encoder_config or mapping
        self._config = self._config.model_copy(
            update={
                "audio_encoder_config": sizes.model_dump(mode="json", exclude={"weights"}),
                "voice_encoder_config": dict(voice),
            }
        )

    def _target(self, group: Group) -> str:
        return serialise(group.utterances, order=self._settings.order)

    def _count(self, target: str) -> int:
        from meetscribe.joint.prompt import IGNORED

        chat = self.model.chat
        labels = chat.training_row([1] * chat.num_places, target).labels
        return sum(label != IGNORED for label in labels)

    def _budget(self, group: Group) -> int:
        return _BASE_TOKENS + math.ceil(self._settings.tokens_per_s * group.duration)

    def _constraint(self, groups: Sequence[Group], limit: int) -> Any:  # noqa: ANN401 - torch
        from meetscribe.joint.constrain import Constraint
        from meetscribe.joint.grammar import Grammar
        from meetscribe.joint.vocabulary import Vocabulary

        model = self.model
        if self._vocabulary is None:
            self._vocabulary = Vocabulary.of(model.chat.tokenizer)
        end = model.chat.end_id
        return Constraint(
            self._vocabulary,
            [
                Grammar(group.duration, order=self._settings.order, max_speakers=_MOST_SPEAKERS)
                for group in groups
            ],
            max_new_tokens=limit,
            eos_token_id=min(model.stop_ids()) if end is None else end,
        )

    def _clips(self, groups: Sequence[Group]) -> list[Clip]:
        """Give what the model hears: a signal, or an array with the places of who speaks."""
        import torch

        if not any(stream.array for stream in self.model.streams):
            return [torch.from_numpy(group.samples_n) for group in groups]
        return [array_clip_of(group) for group in groups]
