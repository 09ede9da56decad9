"""What may be written next: an answer that obeys this can be read without any repair.

Each slot of an utterance lets through its own tokens only. A start is not before the one before
(by speaker: not before that of the same speaker), and leaves room for an end in the clip; a
speaker is known or the next new one; an utterance has words; its end is after its start. What
would leave too few tokens to end the utterance and the answer is not let through.

Axes: V token of the vocabulary with those of the speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meetscribe.errors import ConfigError, ModelError
from meetscribe.joint.serialise import Order
from meetscribe.joint.whisper.answer import AnswerForm, Slot, clean

_NEVER = -torch.inf


class Words:
    """Which tokens of a vocabulary are text at all; shared by all answers."""

    def __init__(self, form: AnswerForm) -> None:
        vocabulary = form.vocabulary
        total = vocabulary.size + form.speakers
        self.suppressed = torch.tensor(
            [token for token in vocabulary.suppress if token < total], dtype=torch.long
        )
        texts = vocabulary.tokenizer.decode_batch([[token] for token in range(vocabulary.end)])
        readable = torch.tensor([bool(clean(text)) for text in texts], dtype=torch.bool)
        readable[[token for token in vocabulary.suppress if token < vocabulary.end]] = False
        self.readable = readable.nonzero()[:, 0]
        """Tokens that are words by themselves."""


class Rules:
    """Where one answer is in the form, and what that allows.

    Parameters
    ----------
    form : of the answer
    words : of the same form
    duration : of the clip in seconds
    budget : most tokens, the end included
    most : speakers in this clip

    Raises
    ------
    ConfigError
        If the budget does not hold even the end.
    """

    def __init__(
        self,
        form: AnswerForm,
        words: Words,
        *,
        duration: float,
        budget: int,
        most: int | None = None,
    ) -> None:
        if budget < 1:
            raise ConfigError(f"answer of at most {budget} tokens, expected at least 1")
        self.form = form
        self.forced = False
        """Whether the budget has kept something from being written."""
        self._words = words
        self._steps = form.steps(duration)
        self._left = budget
        self._most = max(1, min(form.speakers, most or form.speakers))
        self._at = 0
        self._text: list[int] = []
        self._has_words = False
        self._start = 0
        self._speaker: int | None = None
        self._known = 0
        self._current = 0
        """The speaker of the utterance before, from 1."""
        self._last_start = 0
        self._first_start = 0
        """Of the speaker of the utterance before."""

    @property
    def slot(self) -> Slot:
        """What comes next."""
        return self.form.slots[self._at]

    def apply(self, logits_v: Tensor) -> None:
        """Forbid, in place, what must not come next."""
        logits_v[self._words.suppressed.to(logits_v.device)] = _NEVER
        if self.slot is Slot.WORDS:
            self._apply_words(logits_v)
            return
        vocabulary = self.form.vocabulary
        first, kept = vocabulary.first_timestamp, logits_v.clone()
        logits_v[:] = _NEVER
        may_begin = self._at > 0 or self._may_begin()
        if self._at == 0:
            logits_v[vocabulary.end] = kept[vocabulary.end]
        if not may_begin:
            # an end that the tokenizer's files suppress is still the only way
            logits_v[vocabulary.end] = 0.0
        elif self.slot is Slot.SPEAKER:
            tokens = [vocabulary.size + number - 1 for number in self._speakers()]
            logits_v[tokens] = kept[tokens]
        elif self.slot is Slot.START:
            allowed = slice(first + self._lowest_start(), first + self._steps)
            logits_v[allowed] = kept[allowed]
        else:
            allowed = slice(first + self._start + 1, first + self._steps + 1)
            logits_v[allowed] = kept[allowed]

    def take(self, token: int) -> None:
        """Go on after a token.

        Raises
        ------
        ModelError
            If it was not allowed.
        """
        self._left -= 1
        vocabulary = self.form.vocabulary
        if token == vocabulary.end:
            self._demand(self._at == 0)
            return
        if self.slot is Slot.WORDS and token < vocabulary.end:
            self._text.append(token)
            # asked only until there are some: characters may need several tokens
            self._has_words = self._has_words or bool(clean(vocabulary.decode(self._text)))
            return
        if self.slot is Slot.WORDS:
            self._demand(self._has_words)
            self._at += 1
        speaker = self.form.speaker(token)
        time = token - vocabulary.first_timestamp
        if speaker is not None:
            self._demand(self.slot is Slot.SPEAKER and speaker in self._speakers())
            self._speaker = speaker
        elif self.slot is Slot.START:
            self._demand(self._lowest_start() <= time < self._steps)
            self._start = time
        else:
            self._demand(self.slot is Slot.END and self._start < time <= self._steps)
        self._at += 1
        if self._at == len(self.form.slots):
            self._finish()

    def _apply_words(self, logits_v: Tensor) -> None:
        vocabulary, nexts = self.form.vocabulary, self.form.slots[self._at + 1 :]
        first = vocabulary.first_timestamp
        logits_v[vocabulary.end : first + self._start + 1] = _NEVER
        logits_v[first + self._steps + 1 :] = _NEVER
        # this token, the slots that follow, the end of the answer
        roomy = self._left > 1 + len(nexts)
        if not self._has_words:
            logits_v[first:] = _NEVER
            if self._left <= 2 + len(nexts):
                self.forced = True
                readable = self._words.readable.to(logits_v.device)
                kept = logits_v[readable]
                logits_v[:] = _NEVER
                logits_v[readable] = kept
            return
        times_v, text_v = logits_v[first : vocabulary.size], logits_v[: vocabulary.end]
        if not roomy:
            self.forced = True
        # a time is as likely as all its near neighbours together: as Whisper itself decides
        if not roomy or times_v.logsumexp(dim=0) > text_v.max():
            logits_v[:first] = _NEVER

    def _may_begin(self) -> bool:
        """Tell whether another utterance fits: into the clip, and into the tokens left."""
        enough = self._left >= len(self.form.slots) + 1
        self.forced |= not enough
        return enough and self._steps > 0

    def _lowest_start(self) -> int:
        if self.form.order is Order.START or not self._known:
            return self._last_start
        if self._speaker is not None:
            return self._last_start if self._speaker == self._current else self._first_start
        return self._first_start if self._known < self._most else self._last_start

    def _speakers(self) -> Sequence[int]:
        """Give who may speak: those known, and the next new one; by speaker only the last known."""
        new = [self._known + 1] if self._known < self._most else []
        if self.form.order is Order.START:
            return [*range(1, self._known + 1), *new]
        is_later = self._at == 0 or self._start >= self._last_start
        return [*([self._current] if self._known and is_later else []), *new]

    def _finish(self) -> None:
        speaker = self._speaker or 1
        if speaker != self._current:
            self._first_start = self._start
        self._known = max(self._known, speaker)
        self._current, self._last_start = speaker, self._start
        self._at, self._text, self._has_words, self._speaker = 0, [], False, None

    def _demand(self, allowed: bool) -> None:
        if not allowed:
            raise ModelError(
                "constrained generation: a token against the form of answers",
                hint="choose only among what the rules leave",
            )
