"""Generation that cannot fail to parse: only tokens that the grammar lets through, in time to end.

    constraint = Constraint(vocabulary, grammars, max_new_tokens=400, eos_token_id=2)
    model.generate(..., max_new_tokens=400, logits_processor=LogitsProcessorList([constraint]))

Before each token, every row of the batch is asked what its grammar allows and what the shortest
way to the end would cost after it, in tokens. What would leave too few is not allowed: so the
text is closed, and the end token said, within ``max_new_tokens``, whatever the model wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.errors import ConfigError, ModelError
from meetscribe.joint.closing import closing
from meetscribe.joint.grammar import Grammar, Mode, Span, State
from meetscribe.joint.vocabulary import IMPOSSIBLE, Fitting, Vocabulary

if TYPE_CHECKING:
    import torch

_SEPARATORS = b"\n,"


class Constraint:
    """A logits processor for one call of ``generate``.

    Parameters
    ----------
    vocabulary : of the model's tokenizer
    grammars : one for each item of the batch; the rows of an item (beams, several samples)
        follow each other, as transformers orders them
    max_new_tokens : what ``generate`` is given; the end token is counted
    eos_token_id : what ends a text

    Raises
    ------
    ConfigError
        If a text must be longer than ``max_new_tokens``, or the tokenizer cannot write it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        grammars: Sequence[Grammar],
        *,
        max_new_tokens: int,
        eos_token_id: int,
    ) -> None:
        self._vocabulary = vocabulary
        self._grammars = tuple(grammars)
        self._budget = max_new_tokens
        self._eos = eos_token_id
        self._prompt_length: int | None = None
        self._states: dict[tuple[int, tuple[int, ...]], State] = {}
        self._masks: dict[tuple[object, ...], torch.Tensor] = {}
        # how far a token that stays inside words can lengthen the way to the end: by the rest of
        # a character, and by beginning a word anew
        self._word_margin = 3 + vocabulary.cost(b"a") + vocabulary.cost(b" a")
        for grammar in self._grammars:
            least = self._cost(grammar, State())
            if least >= IMPOSSIBLE:
                raise ConfigError("tokenizer: cannot write the tags and times of the format")
            if least > max_new_tokens:
                raise ConfigError(
                    f"max_new_tokens: found {max_new_tokens}, expected at least {least} for "
                    f"{grammar.min_words} words with this tokenizer",
                    hint="allow more tokens, or ask for fewer words",
                )

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Give the scores with minus infinity for every token that is not allowed.

        Parameters
        ----------
        input_ids : int64, shape (rows, tokens so far), the prompt's (if any) first
        scores : shape (rows, vocabulary), which may be wider than the tokenizer's

        Raises
        ------
        ModelError
            If a token was chosen against the grammar, by somebody else.
        """
        import torch

        if self._prompt_length is None:
            self._prompt_length = input_ids.shape[1]
        histories = [tuple(row) for row in input_ids[:, self._prompt_length :].tolist()]
        states: dict[tuple[int, tuple[int, ...]], State] = {}
        result = torch.empty_like(scores)
        for row, history in enumerate(histories):
            item = row * len(self._grammars) // len(histories)
            state = states[item, history] = self._state(item, history)
            grammar, left = self._grammars[item], self._budget - len(history)
            if state.mode is Mode.WORDS:
                mask = self._in_words(grammar, state, left, scores)
                result[row] = torch.where(mask, scores[row], -torch.inf)
            else:
                done = state.mode is Mode.DONE
                few = [self._eos] if done else self._outside_words(grammar, state, left)
                ids = torch.tensor(few, device=scores.device)
                result[row] = -torch.inf
                result[row, ids] = scores[row, ids]
        self._states = states
        return result

    def _state(self, item: int, history: tuple[int, ...]) -> State:
        before = self._states.get((item, history[:-1])) if history else None
        state = before or State()
        # rows that beams have exchanged are read from their beginning
        for token in history[-1:] if before else history:
            state = self._after(self._grammars[item], state, token)
        return state

    def _after(self, grammar: Grammar, state: State, token: int) -> State:
        if state.mode is Mode.DONE:  # the end token, and padding after it
            return state
        text = self._vocabulary.tokens[token] if token < len(self._vocabulary) else None
        after = grammar.run(state, text) if text else None
        if after is None:
            raise ModelError(
                f"constrained generation: token {token} is against the grammar",
                hint="let the constraint be the last of the logits processors",
            )
        return after

    def _cost(self, grammar: Grammar, state: State) -> int:
        """Count the tokens of the way to the end, the end token among them."""
        pieces = closing(grammar, state)
        if pieces is None:
            return self._budget + 1
        return sum(map(self._vocabulary.cost, pieces)) + 1

    def _outside_words(self, grammar: Grammar, state: State, left: int) -> list[int]:
        """Give the ids of tokens that may come now; ``left`` counts the one to be chosen."""
        # a token can begin a line, whose times are then written twice, or a speaker more
        margin = 90 + 4 * len(Span(grammar.limit, grammar.limit).written)
        roomy = left - 1 >= self._cost(grammar, state) + margin
        ids: list[int] = []
        for fitting in self._vocabulary.fitting(grammar, state):
            more = self._word_margin if fitting.words_follow else 0
            if (roomy and self._is_simple(fitting)) or (
                self._cost(grammar, fitting.after) + more <= left - 1
            ):
                ids += fitting.ids
        return ids

    def _is_simple(self, fitting: Fitting) -> bool:
        """Tell whether tokens do not run through several lines or ranges at once."""
        token = self._vocabulary.tokens[fitting.ids[0]] if fitting.ids else b""
        return fitting.words_follow or sum(map((token or b"").count, _SEPARATORS)) <= 1

    def _in_words(
        self, grammar: Grammar, state: State, left: int, scores: torch.Tensor
    ) -> torch.Tensor:
        """Give which tokens may come inside words, bool of shape (vocabulary,)."""
        import torch

        tokens = self._vocabulary.words(state.partial)
        # words of the token itself are not counted yet: it may only be let through too late
        ended = state._replace(partial=b"", has_word=True)
        rests = []
        for rest in tokens.ending:
            after = grammar.run(ended, b"\n" + rest)
            if after is not None and self._cost(grammar, after) <= left - 1:
                rests.append(rest)
        roomy = left - 1 >= self._cost(grammar, state) + self._word_margin
        last = () if roomy else self._last_words(grammar, state, left)
        key = (state.partial, state.has_word, roomy, last, *rests)
        if key not in self._masks:
            staying = tokens.staying if roomy else np.array(last, np.int64)
            ids = [index for rest in rests for index in tokens.ids_of(rest, state.has_word)]
            mask_v = np.zeros(scores.shape[-1], bool)
            mask_v[staying], mask_v[ids] = True, True
            self._masks[key] = torch.from_numpy(mask_v).to(scores.device)
        return self._masks[key]

    def _last_words(self, grammar: Grammar, state: State, left: int) -> tuple[int, ...]:
        """Give tokens that complete a character or a needed word when few tokens are left."""
        if state.partial:
            tried = self._vocabulary.completing(state.partial)
        else:
            tried = self._vocabulary.plain_words()
        ids: list[int] = []
        for text, indices in tried.items():
            after = grammar.run(state, text)
            if after is not None and self._cost(grammar, after) <= left - 1:
                ids += indices
        return tuple(ids)
