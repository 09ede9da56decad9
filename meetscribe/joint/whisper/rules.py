"""What may be written next: an answer that obeys this can be read without any repair.

Each slot of an utterance lets through its own tokens only. A start is not before the one before
(by speaker: not before that of the same speaker), and leaves room for an end in the clip; a
speaker is known or the next new one; an utterance has words; its end is after its start. What
would leave too few tokens to end the utterance and the answer is not let through. An answer of at
least so many words is not ended before them, and keeps a token for each that is lacking.

Axes: V token of the vocabulary with those of the speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

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
        self._decode = vocabulary.tokenizer.decode_batch

    @cached_property
    def beginning(self) -> torch.Tensor:
        """Give those of them that begin a new word, whatever stands before them."""
        readable = self.readable.tolist()
        alone = self._decode([[token] for token in readable])
        whole = [
            token for token, text in zip(readable, alone, strict=True) if text == text.rstrip()
        ]
        if not whole:
            return self.readable[:0]
        behind = self._decode([[whole[0], token] for token in readable])
        before = len(clean(self._decode([[whole[0]]])[0]).split())
        begins = [len(clean(text).split()) > before for text in behind]
        return self.readable[torch.tensor(begins, dtype=torch.bool)]


class Rules:
    """Where one answer is in the form, and what that allows.

    Parameters
    ----------
    form : of the answer
    words : of the same form
    duration : of the clip in seconds
    budget : most tokens, the end included
    most : speakers in this clip
    min_words : words (what spaces separate) that are written before the end

    Raises
    ------
    ConfigError
        If the budget does not hold even the end, or not so many words; or if words are asked for
        in a clip without a step of time, or with a vocabulary that has none to begin with.
    """

    def __init__(
        self,
        form: AnswerForm,
        words: Words,
        *,
        duration: float,
        budget: int,
        most: int | None = None,
        min_words: int = 0,
    ) -> None:
        if budget < 1:
            raise ConfigError(f"answer of at most {budget} tokens, expected at least 1")
        self.form = form
        self._lacking = max(0, min_words)
        """Words that are still to be written, those of the open utterance not counted."""
        self.forced = False
        """Whether the budget has kept something from being written."""
        self._words = words
        self._steps = form.steps(duration)
        self._left = budget
        self._most = max(1, min(form.speakers, most or form.speakers))
        self._at = 0
        self._text: list[int] = []
        self._has_words = False
        self._written = 0
        """Words of the open utterance, counted while some are lacking."""
        self._start = 0
        self._speaker: int | None = None
        self._known = 0
        self._current = 0
        """The speaker of the utterance before, from 1."""
        self._last_start = 0
        self._first_start = 0
        """Of the speaker of the utterance before."""
        self._check(budget, min_words)

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
        if self._at == 0 and not self._lacking:
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
            self._demand(self._at == 0 and not self._lacking)
            return
        if self.slot is Slot.WORDS and token < vocabulary.end:
            self._text.append(token)
            self._count()
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
        vocabulary = self.form.vocabulary
        first = vocabulary.first_timestamp
        logits_v[vocabulary.end : first + self._start + 1] = _NEVER
        logits_v[first + self._steps + 1 :] = _NEVER
        needed = self._needed
        # any token, which need not be one of the words that are needed; then the shortest way out
        roomy = self._left > needed + self._after_words + 1
        may_end = self._has_words and self._left >= self._end_cost
        self.forced |= not roomy or (self._has_words and not may_end)
        if not may_end:
            logits_v[first:] = _NEVER
        if not roomy and needed:
            tokens = self._words.beginning if self._lacking else self._words.readable
            tokens = tokens.to(logits_v.device)
            kept = logits_v[tokens]
            logits_v[: vocabulary.end] = _NEVER
            logits_v[tokens] = kept
            return
        if not may_end:
            return
        times_v, text_v = logits_v[first : vocabulary.size], logits_v[: vocabulary.end]
        # a time is as likely as all its near neighbours together: as Whisper itself decides
        if not roomy or times_v.logsumexp(dim=0) > text_v.max():
            logits_v[:first] = _NEVER

    @property
    def _needed(self) -> int:
        """Words that the open utterance would have to have more, if it were the last."""
        return max(self._lacking - self._written, 0 if self._has_words else 1)

    @property
    def _after_words(self) -> int:
        """Slots of an utterance behind its words."""
        return len(self.form.slots) - 1 - self.form.slots.index(Slot.WORDS)

    @property
    def _end_cost(self) -> int:
        """Tokens that it takes to end the utterance now, and the answer as soon as it may be."""
        still = self._lacking - self._written
        more = len(self.form.slots) - 1 + still if still > 0 else 0
        return self._after_words + more + 1

    def _may_begin(self) -> bool:
        """Tell whether another utterance fits: into the clip, and into the tokens left."""
        enough = self._left >= len(self.form.slots) + max(1, self._lacking)
        self.forced |= not enough
        return enough and self._steps > 0

    def _count(self) -> None:
        """See what words there are: asked only as long as it matters, and of the text as a whole.

        Characters may need several tokens.
        """
        if self._has_words and self._written >= self._lacking:
            return
        text = clean(self.form.vocabulary.decode(self._text))
        self._has_words = bool(text)
        self._written = len(text.split())

    def _check(self, budget: int, min_words: int) -> None:
        if not self._lacking:
            return
        least = len(self.form.slots) + min_words
        if budget < least:
            raise ConfigError(
                f"answer of at most {budget} tokens, expected at least {least} for {min_words} "
                "words",
                hint="allow more tokens, or ask for fewer words",
            )
        if not self._steps or not len(self._words.beginning):
            reason = "the clip holds no utterance" if not self._steps else "the vocabulary has none"
            raise ConfigError(f"min_words: found {min_words}, but {reason}")

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
        self._lacking = max(0, self._lacking - self._written)
        self._at, self._text, self._has_words, self._speaker = 0, [], False, None
        self._written = 0

    def _demand(self, allowed: bool) -> None:
        if not allowed:
            raise ModelError(
                "constrained generation: a token against the form of answers",
                hint="choose only among what the rules leave",
            )
