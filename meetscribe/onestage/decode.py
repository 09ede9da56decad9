"""From encodings to text: the likeliest token after the other, for many items at once.

An item is one speaker in one region. Items that are done leave the batch, so that the last one
does not cost what all did. A text may end before it begins: that the target has nothing to say is
learnt, not decided here.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature, L token,
V token of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from meetscribe.errors import ShapeError
from meetscribe.onestage.model import TargetWhisper
from meetscribe.onestage.settings import DecodingSettings
from meetscribe.onestage.timestamps import TimedText, apply_rules, timed_texts
from meetscribe.onestage.tokens import TIMESTAMP_S, Vocabulary
from meetscribe.onestage.whisper import Whisper
from meetscribe.types import Progress, no_progress

Budget = Callable[[float], int]
"""How many tokens may be spoken in so many seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One speaker in one region.

    ``mel_ft`` is as ``log_mel`` gives it; ``embedding_sd`` has a vector per 20 ms, or is None. At
    the end, ``trailing_s`` seconds are the silence that ``log_mel`` added; there the embedding may
    stop, and counts as zero.
    """

    mel_ft: Tensor
    embedding_sd: Tensor | None = None
    trailing_s: float = 0.0

    @property
    def steps(self) -> int:
        """Length in frames of 20 ms, with the silence at the end."""
        return int(self.mel_ft.shape[1]) // 2

    @property
    def duration(self) -> float:
        """Length in seconds, without the silence at the end."""
        return max(0.0, self.steps * TIMESTAMP_S - self.trailing_s)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was written for an item.

    ``tokens`` has no special ones; ``parts`` are the words between the times that the model wrote,
    one part for all if it wrote none. ``avg_logprob`` is the mean log probability per token, its
    end included; ``no_speech`` Whisper's own probability that nobody speaks; ``full`` says that
    the budget was used up.
    """

    tokens: tuple[int, ...]
    text: str
    parts: tuple[TimedText, ...]
    avg_logprob: float
    no_speech: float
    full: bool


def listen(
    model: TargetWhisper,
    vocabulary: Vocabulary,
    items: Sequence[Item],
    settings: DecodingSettings,
    *,
    language: str,
    budget: Budget,
    progress: Progress = no_progress,
) -> list[Heard]:
    """Write what the target says in each item.

    Items of similar length are decoded together; the result does not depend on it beyond
    rounding.

    Parameters
    ----------
    items : each at most 30 s; all with an embedding, or none
    language : ISO 639-1 code
    budget : see ``Budget``; ``token_budget`` of the hallucination guard
    progress : called with ``"recognize"``

    Returns
    -------
    One result per item, in their order.

    Raises
    ------
    ConfigError
        If the model does not know the language.
    ShapeError
        If an item is too long, only some have an embedding, or it is longer than the sound.
    """
    order = sorted(range(len(items)), key=lambda number: -items[number].steps)
    made: dict[int, Heard] = {}
    for first in range(0, len(order), settings.batch_size):
        numbers = order[first : first + settings.batch_size]
        batch = [items[number] for number in numbers]
        steps = [item.steps for item in batch]
        with torch.inference_mode():
            heard = decode(
                model.whisper,
                model.encode(*_stacked(batch, model), steps),
                vocabulary,
                steps=steps,
                durations=[item.duration for item in batch],
                budgets=[budget(item.duration) for item in batch],
                start=vocabulary.start(language, timestamps=settings.timestamps),
            )
        made |= dict(zip(numbers, heard, strict=True))
        progress("recognize", len(made) / len(items))
    return [made[number] for number in range(len(items))]


def _stacked(batch: Sequence[Item], model: TargetWhisper) -> tuple[Tensor, Tensor | None]:
    """Fill up to the longest with zeros, on the model's device."""
    like = model.whisper.encoder.conv1.weight
    longest = max(item.steps for item in batch)

    def filled(one_td: Tensor, length: int) -> Tensor:
        return torch.nn.functional.pad(one_td, (0, 0, 0, length - len(one_td)))

    mel_btf = torch.stack([filled(item.mel_ft.T, 2 * longest) for item in batch])
    known = [item.embedding_sd for item in batch if item.embedding_sd is not None]
    if known and len(known) < len(batch):
        raise ShapeError(f"{len(known)} of {len(batch)} items have an embedding; expected all")
    for item, one in zip(batch, known, strict=False):
        if len(one) > item.steps:
            raise ShapeError(f"embedding of {len(one)} frames; expected at most {item.steps}")
    embedding = torch.stack([filled(one, longest) for one in known]).to(like) if known else None
    return mel_btf.transpose(1, 2).to(like), embedding


@dataclass(slots=True)
class _Text:
    """A text that is being written."""

    steps: int
    duration: float
    budget: int
    no_speech: float
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    spoken: int = 0
    ended: bool = False

    @property
    def full(self) -> bool:
        return self.spoken >= self.budget


@torch.inference_mode()
def decode(
    whisper: Whisper,
    encoded_bsd: Tensor,
    vocabulary: Vocabulary,
    *,
    steps: Sequence[int],
    durations: Sequence[float],
    budgets: Sequence[int],
    start: Sequence[int],
    empty: bool = True,
) -> list[Heard]:
    """Decode a batch of encodings greedily.

    Parameters
    ----------
    encoded_bsd : float, shape (B, S, D)
    steps : true length of each in frames of 20 ms
    durations : seconds of each without silence that was added; no words end later
    budgets : most tokens of each, times not counted
    start : what every text starts with, see ``Vocabulary.start``
    empty : whether a text may be empty; published Whisper is kept from it
    """
    decoder = whisper.decoder
    memory = decoder.begin(encoded_bsd, list(steps))
    tokens_bl = torch.tensor([start] * len(steps), device=encoded_bsd.device)
    logits_blv = decoder.logits(decoder(tokens_bl, memory)[:, [0, -1]]).float()
    no_speech = logits_blv[:, 0].softmax(dim=1)[:, vocabulary.no_speech].tolist()
    texts = [_Text(*each) for each in zip(steps, durations, budgets, no_speech, strict=True)]
    rules = _Rules(vocabulary, timed=vocabulary.no_timestamps not in start, empty=empty)
    longest = whisper.shape.max_target_positions - len(start)
    open_texts, logits_bv = texts, logits_blv[:, 1]
    while True:
        chosen = rules.choose(logits_bv, open_texts)
        going = [n for n, text in enumerate(open_texts) if _goes_on(text, longest)]
        if not going:
            return [_heard(text, vocabulary) for text in texts]
        if len(going) < len(open_texts):
            rows = torch.tensor(going, device=chosen.device)
            memory.keep(rows)
            chosen, open_texts = chosen[rows], [open_texts[n] for n in going]
        logits_bv = decoder.logits(decoder(chosen[:, None], memory)[:, -1]).float()


def _goes_on(text: _Text, longest: int) -> bool:
    return not (text.ended or text.full or len(text.tokens) >= longest)


def _heard(text: _Text, vocabulary: Vocabulary) -> Heard:
    spoken = [token for token in text.tokens if token < vocabulary.end]
    return Heard(
        tokens=tuple(spoken),
        text=vocabulary.decode(spoken),
        parts=timed_texts(text.tokens, vocabulary, duration=text.duration),
        avg_logprob=text.logprob / (len(text.tokens) + 1),
        no_speech=text.no_speech,
        full=text.full or not text.ended,
    )


class _Rules:
    """What may be written, and the choice among it."""

    def __init__(self, vocabulary: Vocabulary, *, timed: bool, empty: bool) -> None:
        self._vocabulary = vocabulary
        self._timed = timed
        self._empty = empty
        self._never = torch.tensor(vocabulary.suppress, dtype=torch.long)
        never_first = vocabulary.blank if empty else (*vocabulary.blank, vocabulary.end)
        self._never_first = torch.tensor(never_first, dtype=torch.long)

    def choose(self, logits_bv: Tensor, texts: Sequence[_Text]) -> Tensor:
        """Write the likeliest token to each text; gives them, shape (B,)."""
        logits_bv[:, self._never.to(logits_bv.device)] = -torch.inf
        if not texts[0].tokens:
            logits_bv[:, self._never_first.to(logits_bv.device)] = -torch.inf
        if self._timed:
            for logits_v, text in zip(logits_bv, texts, strict=True):
                apply_rules(
                    logits_v, text.tokens, self._vocabulary, steps=text.steps, empty=self._empty
                )
        log_probs_bv = logits_bv.log_softmax(dim=1)
        if not self._timed:
            # times are out of place, but count among what was likely: as in the cascade, whose
            # guard knows such probabilities
            log_probs_bv[:, self._vocabulary.end + 1 :] = -torch.inf
        log_probs, chosen = log_probs_bv.max(dim=1)
        for text, token, log_prob in zip(texts, chosen.tolist(), log_probs.tolist(), strict=True):
            text.logprob += log_prob
            text.ended = token == self._vocabulary.end
            if not text.ended:
                text.tokens.append(token)
                text.spoken += token < self._vocabulary.end
        return chosen
