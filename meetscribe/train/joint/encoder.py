"""The first stage: the semantic encoder learns to write several talkers, without language model.

Its texts are the words of a group, turn after turn, with a mark between turns; pieces are those of
the language model's tokenizer that occur in the training's speech.

Axes: N sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from meetscribe.evaluate import normalise
from meetscribe.evaluate.bootstrap import interval
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words.alignment import edits
from meetscribe.evaluate.words.streams import Numbering, TokenSegment
from meetscribe.joint.serialise import SPEAKER_CHANGE, Order, serialise_words
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.settings import EncoderSettings
from meetscribe.types import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.joint.model import JointModel
    from meetscribe.joint.sot import SotNetwork

COLUMNS = ("wer", "wer_low", "wer_high", "changes")

_SPARE_FRAMES = 4
"""What an encoder may give less than its rate says."""


class Pieces:
    """Texts to pieces and back.

    Parameters
    ----------
    tokenizer : of transformers
    texts : all that are trained on; what does not occur in them has one piece together
    """

    def __init__(self, tokenizer: Any, texts: Iterable[str]) -> None:  # noqa: ANN401 - of transformers
        from meetscribe.joint.sot import NUM_SPECIAL

        self._tokenizer = tokenizer
        self._tokens = sorted({token for text in texts for token in self._split(text)})
        self._pieces = {token: NUM_SPECIAL + at for at, token in enumerate(self._tokens)}
        self._first = NUM_SPECIAL

    def __len__(self) -> int:
        return self._first + len(self._tokens)

    def of(self, text: str) -> list[int]:
        """Give the pieces of a text of several turns."""
        from meetscribe.joint.sot import CHANGE, UNKNOWN

        made: list[int] = []
        for number, turn in enumerate(text.split(SPEAKER_CHANGE)):
            made += [CHANGE] * bool(number)
            made += [self._pieces.get(token, UNKNOWN) for token in self._split(turn)]
        return made

    def words(self, pieces: Sequence[int]) -> tuple[str, int]:
        """Give the words of all turns, and how often the speaker changes."""
        from meetscribe.joint.sot import CHANGE

        turns: list[list[int]] = [[]]
        for piece in pieces:
            if piece == CHANGE:
                turns.append([])
            elif piece >= self._first:
                turns[-1].append(self._tokens[piece - self._first])
        texts = [str(self._tokenizer.decode(turn)).strip() for turn in turns]
        return " ".join(texts), len(turns) - 1

    def _split(self, text: str) -> list[int]:
        # every word as it stands after another one, so that its pieces are always the same
        spaced = "".join(f" {word}" for word in text.lower().split())
        ids: list[int] = self._tokenizer(spaced, add_special_tokens=False)["input_ids"]
        return ids


class SotTrainee:
    """The encoder of a joint model in training by itself; see ``train.joint.trainee.Learner``."""

    columns: Sequence[str] = ("ctc", "attention")

    def __init__(
        self, model: JointModel, settings: EncoderSettings, texts: Iterable[str], order: Order
    ) -> None:
        from meetscribe.joint.sot import SotNetwork

        stream = model.streams[0]
        self._rate_hz = stream.rate_hz
        self._pieces = Pieces(model.chat.tokenizer, texts)
        self._settings, self._order = settings, order
        network = SotNetwork(
            model.get_submodule(stream.encoder),
            len(self._pieces),
            width=settings.width,
            layers=settings.layers,
            heads=settings.heads,
        )
        self.network: SotNetwork = network.to(model.device).eval()

    def begin(self) -> None:
        """Let encoder and heads ask for gradients."""
        self.network.requires_grad_(requires_grad=True)

    def weight(self, groups: Sequence[Group]) -> float:
        """Give the pieces of all groups, and an end for each."""
        return float(sum(len(self._text(group)) + 1 for group in groups))

    def loss(self, groups: Sequence[Group]) -> tuple[Tensor, dict[str, Tensor]]:
        """Give both losses, weighted and summed over these, and each of them."""
        ctc, attention = self.network.losses(
            self.network.frames(self._clips(groups)), [self._text(group) for group in groups]
        )
        share = self._settings.ctc
        loss = share * ctc + (1 - share) * attention
        return loss, {"ctc": ctc.detach(), "attention": attention.detach()}

    def fits(self, group: Group) -> bool:
        """Tell whether there are frames enough for CTC, and something is said."""
        from meetscribe.joint.sot import frames_needed

        text = self._text(group)
        there = int(group.duration * self._rate_hz) - _SPARE_FRAMES
        return bool(text) and frames_needed(text) <= there

    def score(self, batches: Sequence[Sequence[Group]], progress: Progress) -> dict[str, float]:
        """Give the values of ``COLUMNS``: errors in the words, turn after turn.

        ``changes`` is by how many the changes of speaker are off, for a group on average.
        """
        errors: list[WordErrors] = []
        off = 0
        for number, batch in enumerate(batches):
            written = self.network.write(self.network.frames(self._clips(batch)))
            for group, pieces in zip(batch, written, strict=True):
                found, changes = self._pieces.words(pieces)
                text = serialise_words(group.utterances, order=self._order)
                off += abs(changes - text.count(SPEAKER_CHANGE))
                errors.append(_edits(text.replace(SPEAKER_CHANGE, " "), found))
            progress("score", (number + 1) / len(batches))
        low, high = interval([(one.errors, one.length) for one in errors]) or (0.0, 1.0)
        return {
            "wer": sum(errors, WordErrors()).rate or 0.0,
            "wer_low": low,
            "wer_high": high,
            "changes": off / max(1, len(errors)),
        }

    def _text(self, group: Group) -> list[int]:
        return self._pieces.of(serialise_words(group.utterances, order=self._order))

    def _clips(self, groups: Sequence[Group]) -> list[Tensor]:
        import torch

        device = self.network.ctc.weight.device
        return [torch.from_numpy(group.samples_n).to(device) for group in groups]


def _edits(reference: str, hypothesis: str) -> WordErrors:
    normaliser = normalise.choose("auto", [reference])
    unit: Literal["word", "char"] = "char" if normalise.is_chinese([reference]) else "word"
    numbers = Numbering()
    streams = [
        numbers.stream([TokenSegment("", 0.0, 0.0, tuple(normalise.tokens(normaliser(one), unit)))])
        for one in (reference, hypothesis)
    ]
    return edits(*streams)
