"""From clips to answers: the likeliest token after the other, for several clips at once.

Clips whose answer is done leave the batch, so that the longest answer does not cost what all did.

Axes: N sample, B batch, L token, V token of the vocabulary with those of the speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from meetscribe.joint.parsed import Parsed
from meetscribe.joint.spatial_stream import Clip, signal_of
from meetscribe.joint.whisper.answer import AnswerForm
from meetscribe.joint.whisper.network import Heard, WhisperJoint
from meetscribe.joint.whisper.rules import Rules, Words
from meetscribe.types import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote about a clip.

    Parameters
    ----------
    parsed : what it says; times are as written
    tokens : all that were written, the end included if there is one
    full : it was cut off, or made to end, because its tokens were used up
    """

    parsed: Parsed
    tokens: tuple[int, ...] = field(repr=False)
    full: bool


class Writer:
    """Writes answers with a network, which it leaves as it is."""

    def __init__(self, network: WhisperJoint) -> None:
        self.network = network
        self.form = AnswerForm.of(network.vocabulary, network.settings)

    @cached_property
    def words(self) -> Words:
        """What the tokens of the vocabulary are, made once."""
        return Words(self.form)

    @property
    def longest_answer(self) -> int:
        """Most tokens of an answer, its end included."""
        return self.network.whisper.shape.max_target_positions - len(self._start(None)) + 1

    @torch.no_grad()
    def write(
        self,
        clips: Sequence[Clip],
        *,
        durations: Sequence[float] | None = None,
        budgets: Sequence[int] | None = None,
        constrained: bool = True,
        language: str | None = None,
        max_speakers: int | None = None,
        min_words: int = 0,
    ) -> list[Answer]:
        """Write about a batch of clips; the result does not depend on what else is in it.

        Parameters
        ----------
        clips : float32, shape (N,), 16 kHz in [-1, 1], or of arrays; as ``hear`` takes them
        durations : seconds of each in which times may lie; None: all of it
        budgets : most tokens of each answer, the end included; None: as many as the decoder has
        constrained : only what the form allows is written; otherwise anything
        language : ISO 639-1 code; None: the one that the model was trained for
        max_speakers : most in a clip
        min_words : words that a constrained answer has at least

        Raises
        ------
        ConfigError
            If the model does not know the language, or a clip or its budget does not hold so many
            words.
        ShapeError
            If there is no clip, or one that the model cannot hear.
        """
        most = self.longest_answer
        limits = [min(most, budget) for budget in budgets or [most] * len(clips)]
        durations = durations or [len(signal_of(clip)) / SAMPLE_RATE_HZ for clip in clips]
        rules: list[Rules | None] = [None] * len(clips)
        if constrained:
            rules = [
                Rules(
                    self.form,
                    self.words,
                    duration=duration,
                    budget=limit,
                    most=max_speakers,
                    min_words=min_words,
                )
                for duration, limit in zip(durations, limits, strict=True)
            ]
        texts = [_Text(*each) for each in zip(limits, rules, strict=True)]
        self._generate(self.network.hear(clips), texts, self._start(language))
        return [
            self._answer(text, duration) for text, duration in zip(texts, durations, strict=True)
        ]

    def _generate(self, heard: Heard, texts: Sequence[_Text], start: Sequence[int]) -> None:
        network, decoder = self.network, self.network.whisper.decoder
        device = heard.memory_bmd.device
        memory = decoder.begin(heard.memory_bmd, heard.lens)
        tokens_bl = torch.tensor([list(start)] * len(texts), device=device)
        while True:
            logits_bv = network.logits(decoder(tokens_bl, memory)[:, -1]).float()
            for logits_v, text in zip(logits_bv, texts, strict=True):
                text.choose(logits_v, end=self.form.end)
            going = [number for number, text in enumerate(texts) if not text.done]
            if not going:
                return
            if len(going) < len(texts):
                memory.keep(torch.tensor(going, device=device))
                texts = [texts[number] for number in going]
            tokens_bl = torch.tensor([text.tokens[-1:] for text in texts], device=device)

    def _start(self, language: str | None) -> list[int]:
        wanted = language or self.network.settings.language
        return self.network.vocabulary.start(wanted, timestamps=True)

    def _answer(self, text: _Text, duration: float) -> Answer:
        forced = text.rules is not None and text.rules.forced
        parsed = self.form.read(text.tokens, duration)
        return Answer(parsed, tuple(text.tokens), full=forced or not text.ended)


@dataclass(slots=True)
class _Text:
    """An answer that is being written."""

    budget: int
    rules: Rules | None
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def done(self) -> bool:
        return self.ended or len(self.tokens) >= self.budget

    def choose(self, logits_v: Tensor, *, end: int) -> None:
        """Write the likeliest token."""
        if self.rules is not None:
            self.rules.apply(logits_v)
        token = int(logits_v.argmax())
        self.tokens.append(token)
        self.ended = token == end
        if self.rules is not None:
            self.rules.take(token)
