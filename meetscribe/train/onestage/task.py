"""What the loop trains: a network that writes what one target says, scored by its word errors.

Axes: B batch, L token, V token of the vocabulary, S frame of the encoder (20 ms), D feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from meetscribe.errors import ConfigError
from meetscribe.train.onestage import score as scoring
from meetscribe.train.onestage.examples import ExampleMaker, Packed
from meetscribe.train.onestage.plain import plain_encodings
from meetscribe.train.prefetch import Maker, in_order
from meetscribe.types import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from meetscribe.onestage.adapter import Inputs, SpatialWhisper
    from meetscribe.onestage.tokens import Vocabulary

_IGNORED = -100
_FRAMES_PER_S = 50
_LEAST_SPREAD = 1e-4
_BELS = 4.0
"""Of one unit of a log-mel."""
_FLOOR_BELS = 3.0
"""Nothing need be turned down further than this: it is as good as gone."""

Export = Callable[[int, Mapping[str, float]], None]


@dataclass
class OnestageTask:
    """The task of ``meetscribe train onestage``; see ``train.loop.Task``.

    Parameters
    ----------
    training, dev : make the examples
    dev_batches : that are scored
    distil : weight of being near plain Whisper's encodings of the target alone
    mel : weight of a corrected log-mel near that of the target alone
    silent_weight : tokens that the end of an empty text counts as
    exporting : writes the network as it is
    """

    network: SpatialWhisper
    vocabulary: Vocabulary
    training: ExampleMaker
    dev: ExampleMaker
    dev_batches: int
    language: str
    device: str
    workers: int
    distil: float
    mel: float
    silent_weight: float
    exporting: Export
    columns: Sequence[str] = ("words", "distil", "mel")
    score_columns: Sequence[str] = scoring.COLUMNS

    def __post_init__(self) -> None:
        shape = self.network.target.whisper.shape
        self._start = self.vocabulary.start(self.language, timestamps=False)
        self._longest_text = shape.max_target_positions - len(self._start)
        self._dev: list[Packed] | None = None
        self.refused = 0
        longest_s = max(stage.longest_s for stage in self.training.scenes.settings.stages)
        longest_s += self.network.target.settings.trailing_s
        if longest_s * _FRAMES_PER_S > shape.max_source_positions:
            raise ConfigError(
                f"regions of {longest_s:g} s with the silence at their end; this Whisper hears "
                f"{shape.max_source_positions / _FRAMES_PER_S:g} s",
                hint="lower scenes.stages.longest_s",
            )

    def batches(self, first: int, every: int = 1) -> Iterator[Packed]:
        """Give every so manieth batch from that number on."""
        numbers = count(first, every)
        return in_order(partial(_same, self.training), numbers, workers=self.workers)

    def weight(self, batch: Packed) -> float:
        """Give the tokens to write, each text's end included; that of an empty one counts more."""
        return sum(map(self._weight, self._tokens(batch)))

    def _alone_weight(self, batch: Packed) -> float:
        """Give the part of the weight that is of targets who are known alone."""
        if batch.alone_b is None:
            return self.weight(batch)
        rows = zip(self._tokens(batch), batch.alone_b, strict=True)
        return sum(self._weight(tokens) for tokens, known in rows if known)

    def _weight(self, tokens: list[int] | None) -> float:
        if tokens is None:
            return 0.0
        return len(tokens) + 1.0 if tokens else self.silent_weight

    def _tokens(self, batch: Packed) -> list[list[int] | None]:
        """Give each text's tokens, None for one that is too long to be written."""
        made = [self.vocabulary.encode(text) for text in batch.texts]
        return [tokens if len(tokens) < self._longest_text else None for tokens in made]

    def loss(self, batch: Packed) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss summed over tokens, and its parts.

        Being near the encodings is a mean over frames and features, each relative to how much it
        varies where the target is alone (a few of Whisper's features are a hundred times larger
        than the others), and counts as much per batch as its tokens; so does being near the
        log-mel. Of items without the target alone nothing but the words counts.
        """
        inputs = batch.inputs(self.device)
        mel_bft, embedding_bsd = self.network.hear(inputs)
        alone_weight = self._alone_weight(batch)
        mel = self._mel_distance(batch, inputs, mel_bft) * alone_weight
        if not batch.words:
            none = mel.new_zeros(())
            return self.mel * mel, {"words": none, "distil": none, "mel": mel}
        encoded_bsd = self.network.encode_heard(mel_bft, embedding_bsd, inputs.steps)
        words = self._words(batch, inputs, encoded_bsd)
        near = self._distance(batch, inputs, encoded_bsd) * alone_weight
        loss = words + self.distil * near + self.mel * mel
        return loss, {"words": words, "distil": near, "mel": mel}

    def _words(self, batch: Packed, inputs: Inputs, encoded_bsd: Tensor) -> Tensor:
        """Give the cross entropy of all texts, summed over their tokens."""
        from torch.nn import functional

        tokens = self._tokens(batch)
        self.refused += sum(one is None for one in tokens)
        tokens_bl, wanted_bl = self._texts(tokens)
        logits_blv = self.network.logits(encoded_bsd, tokens_bl, inputs.steps)
        words_bl = functional.cross_entropy(
            logits_blv.flatten(0, 1).float(),
            wanted_bl.flatten(),
            ignore_index=_IGNORED,
            reduction="none",
        ).view_as(wanted_bl)
        each_b = words_bl.new_tensor([1.0 if row else self.silent_weight for row in tokens])
        return (words_bl.sum(dim=1) * each_b).sum()

    def _mel_distance(self, batch: Packed, inputs: Inputs, mel_bft: Tensor) -> Tensor:
        """Give how far a log-mel is from that of the target alone, in bels, where there is sound.

        The mean of absolute differences: squares would go to the few cells where nobody can know.
        """
        import torch

        if batch.alone_bft is None or not self.mel:
            return mel_bft.new_zeros(())
        alone_bft = torch.from_numpy(batch.alone_bft).to(self.device)
        floor_bft = inputs.mel_bft - _FLOOR_BELS / _BELS
        wanted_bft = torch.maximum(alone_bft, floor_bft)
        apart_bft = (torch.maximum(mel_bft.float(), floor_bft) - wanted_bft).abs() * _BELS
        planes = inputs.planes
        num_frames = planes.spectral_bctf.shape[2]
        apart_bt = apart_bft[..., :num_frames].mean(dim=1)
        there_bt = planes.frames_bt
        if batch.alone_b is not None:
            known_bt = torch.tensor(batch.alone_b, device=self.device)[:, None].expand_as(apart_bt)
            there_bt = known_bt if there_bt is None else there_bt.bool() & known_bt
        if there_bt is None:
            return apart_bt.mean()
        return (apart_bt * there_bt).sum() / there_bt.sum()

    def _texts(self, tokens: Sequence[list[int] | None]) -> tuple[Tensor, Tensor]:
        """Give what the decoder reads, and what it is to write after each token."""
        import torch

        end, start = self.vocabulary.end, self._start
        rows = [one if one is not None else [] for one in tokens]
        longest = max(map(len, rows))
        read = [[*start, *row, *[end] * (longest - len(row))] for row in rows]
        before = [_IGNORED] * (len(start) - 1)
        wanted = [
            [
                *before,
                *row,
                end if one is not None else _IGNORED,
                *[_IGNORED] * (longest - len(row)),
            ]
            for one, row in zip(tokens, rows, strict=True)
        ]
        device = self.device
        return torch.tensor(read, device=device), torch.tensor(wanted, device=device)

    def _distance(self, batch: Packed, inputs: Inputs, encoded_bsd: Tensor) -> Tensor:
        """Compare with what plain Whisper makes of the target alone, where he talks."""
        import torch

        if batch.alone_bft is None or not self.distil:
            return encoded_bsd.new_zeros(())
        alone_bft = torch.from_numpy(batch.alone_bft).to(self.device)
        wanted_bsd = plain_encodings(self.network.target, alone_bft, inputs.steps).float()
        longest = encoded_bsd.shape[1]
        steps_b = torch.tensor(inputs.steps, device=self.device)
        known_b = batch.alone_b or [True] * len(batch.texts)
        talks = [bool(text) and known for text, known in zip(batch.texts, known_b, strict=True)]
        talks_b = torch.tensor(talks, device=self.device)
        there_bs = torch.arange(longest, device=self.device) < steps_b[:, None]
        there_bs1 = (there_bs & talks_b[:, None])[..., None].float()
        frames = there_bs1.sum().clamp(min=1.0)

        def mean(value_bsd: Tensor) -> Tensor:
            return (value_bsd * there_bs1).sum(dim=(0, 1)) / frames

        spread_d = mean((wanted_bsd - mean(wanted_bsd)).square()).clamp(min=_LEAST_SPREAD)
        apart_d = mean((encoded_bsd.float() - wanted_bsd).square())
        return (apart_d / spread_d).mean()

    def score(self, progress: Progress) -> dict[str, float]:
        """Give the word error rates on the development set."""
        return scoring.summary(self.scored(progress))

    def scored(self, progress: Progress, *, plain: bool = False) -> list[scoring.Scored]:
        """Score every target of the development set; ``plain`` scores Whisper without all this."""
        if self._dev is None:
            made = in_order(partial(_same, self.dev), range(self.dev_batches), workers=self.workers)
            self._dev = list(made)
        write = partial(
            scoring.transcribe,
            self.network,
            self.vocabulary,
            language=self.language,
            device=self.device,
            plain=plain,
        )
        return scoring.score(write, self._dev, progress=progress)

    def export(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the network as it is now."""
        self.exporting(step, scores)


def _same(maker: ExampleMaker) -> Maker[Packed]:
    return maker
