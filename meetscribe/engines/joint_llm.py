"""A joint model whose language model listens to projected frames: TagSpeech's layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from meetscribe.engines.joint_kinds import Answer, Clip, JointKind, budget
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.errors import ModelError, WeightsError
from meetscribe.models import fetch
from meetscribe.types import Progress

if TYPE_CHECKING:
    from meetscribe.joint.config import JointConfig
    from meetscribe.joint.model import JointModel
    from meetscribe.joint.vocabulary import Vocabulary

_ANY_CONTEXT = 1 << 20
"""Of a language model that states none."""
_NEAR_THE_END = 32
"""A constrained text that ends so few tokens before it must was made to end."""
_PROMPT_TOKENS = 24
_MOST_SPEAKERS = 20
"""In a group, where nobody has said."""
_SEARCH_S = 0.5


class LlmKind(JointKind):
    """The model, its vocabulary, and what its language model can hold."""

    def __init__(self, path: Path, *, device: str, offline: bool) -> None:
        super().__init__(path, device=device, offline=offline)
        self._loaded: JointModel | None = None
        self._vocabulary: Vocabulary | None = None

    @cached_property
    def config(self) -> JointConfig:
        """What its config.json states.

        Raises
        ------
        ModelError
            If that is missing, or of another model.
        """
        from meetscribe.joint.checkpoint import read_config

        return read_config(self.folder)

    def check(self) -> None:
        """Refuse what is no whole checkpoint."""
        from meetscribe.joint.checkpoint import missing_parts

        missing = missing_parts(self.folder, self.config)
        if missing and self.path.is_dir():
            raise WeightsError(
                f"{self.folder}: no {' and no '.join(missing)}, expected a whole joint checkpoint",
                hint="fetch the model's folder again",
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """Encoders and language model that come from the catalogue."""
        return tuple(self.config.catalogue)

    @property
    def hears_places(self) -> bool:
        """As its streams are."""
        return any(stream.array for stream in self.config.streams)

    def fetch(self, settings: JointSettings, progress: Progress) -> None:  # noqa: ARG002
        """Have these on disk."""
        for name in self.parts:
            fetch(name, offline=self.offline, progress=progress)

    def longest_s(self, settings: JointSettings) -> float:
        """Give the seconds whose prompt and answer the language model can hold."""
        from meetscribe.joint.layout import num_positions

        context, seconds = self._context(), settings.groups.longest_s
        while seconds >= settings.groups.shortest_s:
            prompt = _PROMPT_TOKENS + num_positions(self.config, seconds)
            if prompt + budget(seconds, settings) <= context:
                return seconds
            seconds -= _SEARCH_S
        raise ModelError(
            f"joint: the language model holds {context} positions, too few for any group",
            hint="allow fewer tokens with decoding.max_new_tokens, or use another model",
        )

    def write(self, clips: Sequence[Clip], settings: JointSettings) -> list[Answer]:
        """Write about a batch of clips; all may be as long as the longest."""
        from meetscribe.joint.constrain import Constraint
        from meetscribe.joint.grammar import Grammar
        from meetscribe.joint.parse import parse

        model, constrained = self._model(settings), settings.decoding.constrained
        heard = model.listen(model.features([clip.heard() for clip in clips]))
        limit = max(clip.budget for clip in clips)
        processors = []
        if constrained:
            most = settings.most_speakers or _MOST_SPEAKERS
            grammars = [
                Grammar(clip.duration, order=settings.decoding.order, max_speakers=most)
                for clip in clips
            ]
            end = model.chat.end_id
            processors.append(
                Constraint(
                    self._words(model),
                    grammars,
                    max_new_tokens=limit,
                    eos_token_id=min(model.stop_ids()) if end is None else end,
                )
            )
        return [
            Answer(
                parse(answer.text),
                len(answer.ids),
                full=not answer.closed or (constrained and len(answer.ids) > limit - _NEAR_THE_END),
            )
            for answer in model.generate(heard, max_new_tokens=limit, processors=processors)
        ]

    def _model(self, settings: JointSettings) -> JointModel:
        """Give the model, loaded once."""
        if self._loaded is None:
            import torch

            from meetscribe.joint.checkpoint import load

            wanted = settings.decoding.dtype
            self._loaded = load(
                self.path,
                device=self.device,
                llm_dtype=None if wanted == "auto" else getattr(torch, wanted),
                offline=self.offline,
            )
        return self._loaded

    def _words(self, model: JointModel) -> Vocabulary:
        """Give the tokens of its tokenizer, for constrained generation."""
        if self._vocabulary is None:
            from meetscribe.joint.vocabulary import Vocabulary

            self._vocabulary = Vocabulary.of(model.chat.tokenizer)
        return self._vocabulary

    def _context(self) -> int:
        """Give how many positions the language model has, prompt and answer together."""
        from meetscribe.joint.llm import llm_config, read_llm_config

        about = self.config.llm_config
        stated = about.get("max_position_embeddings")
        if stated is None:
            if about or self.config.llm is None:
                whole = llm_config(about, where=str(self.path))
            else:
                whole = read_llm_config(fetch(self.config.llm.weights, offline=self.offline))
            stated = getattr(whole.get_text_config(), "max_position_embeddings", None)
        return int(stated) if stated else _ANY_CONTEXT
