"""The joint model: encoders, projectors, anchors, and a language model that writes the answer.

    clips -> features -> encoder -> projector -> anchors -> prompt -> language model -> text

How the streams stand in the prompt is their layout: one place each, or one for all.

Axes: B batch, T time, S position, D channel or embedding, K digit, V vocabulary.

Notes
-----
Huo, Shao and Zhang 2026, arXiv 2601.06896.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from meetscribe.errors import ShapeError
from meetscribe.joint import anchors, layout, lora
from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.config import ONE_PLACE, ONE_PROJECTOR, Layout, Stream
from meetscribe.joint.prompt import IGNORED, Chat, TokenBatch, TokenRow
from meetscribe.joint.spatial_stream import Clip, signal_of


class FrameEncoder(Protocol):
    """What a stream's encoder is: a module that hears features and gives frames."""

    dim: int
    """Channels of a frame."""
    features: Callable[[Sequence[Any]], Padded]
    """What it hears of clips: of samples, or of what it takes where its stream hears arrays.
    Encoders that name the same function share its result."""

    def __call__(self, features: Padded) -> Padded:
        """Give frames of features."""
        ...


@dataclass(frozen=True, slots=True)
class LlmInput:
    """What the language model is given.

    Parameters
    ----------
    embeds_bsd : in the language model's number format, shape (B, S, D)
    tokens : ids, mask and labels of the same positions
    """

    embeds_bsd: Tensor
    tokens: TokenBatch


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross entropy over the answers of a batch.

    Parameters
    ----------
    mean : natural logarithm, over all learned tokens of the batch; carries the gradient
    accuracy : share of these tokens that the model puts first
    num_tokens : how many there are
    """

    mean: Tensor
    accuracy: float
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote about one clip.

    Parameters
    ----------
    text : without special tokens
    ids : all tokens written, the closing one included
    closed : the model closed its answer; otherwise it ran out of tokens
    """

    text: str = field(repr=False)
    ids: tuple[int, ...] = field(repr=False)
    closed: bool


class JointModel(nn.Module):
    """All parts under their names in published files.

    Parameters
    ----------
    streams : in the order of their places in the prompt
    parts : each stream's encoder and projector by name
    llm : of transformers, any ``AutoModelForCausalLM``
    chat : tokenizer and prompt for these streams
    digits_kd : float32, shape (10, D); embeddings of the digits, None without anchors
    ends : anchors also before the first and behind the last frame
    stream_layout : how the streams stand in the prompt; ``chat`` has as many places

    Attributes
    ----------
    places : names of the places in the prompt, in order: of the streams, or one for all
    projected_dtype : number format of projected frames and anchors; the language model's. The
        encoders work in float32 everywhere.
    """

    digits_kd: Tensor | None

    def __init__(
        self,
        streams: Sequence[Stream],
        parts: Mapping[str, nn.Module],
        llm: nn.Module,
        chat: Chat,
        *,
        digits_kd: Tensor | None,
        ends: bool = True,
        stream_layout: Layout = "separate",
    ) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.stream_layout = stream_layout
        self.places: tuple[str, ...] = (ONE_PLACE,)
        if stream_layout == "separate":
            self.places = tuple(stream.name for stream in self.streams)
        for name, part in parts.items():
            self.add_module(name, part)
        self.llm: Any = llm
        self.chat = chat
        self.ends = ends
        # not part of published weights: it has a file of its own
        self.register_buffer("digits_kd", digits_kd, persistent=False)
        self.projected_dtype = self.llm_dtype

    @property
    def llm_dtype(self) -> torch.dtype:
        """Number format of the language model."""
        return cast("torch.dtype", self._embedding().weight.dtype)

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return cast("torch.device", self._embedding().weight.device)

    @property
    def learned(self) -> dict[str, nn.Parameter]:
        """What is trained, by the names in files: projectors, changes to the language model."""
        one = self.stream_layout == "features"
        names = [ONE_PROJECTOR] if one else [stream.projector for stream in self.streams]
        projectors = {
            f"{name}.{key}": weight
            for name in names
            for key, weight in self.get_submodule(name).named_parameters()
        }
        return projectors | lora.weights(self.llm)

    def features(self, clips: Sequence[Clip]) -> dict[str, Padded]:
        """Give what each stream's encoder hears.

        Parameters
        ----------
        clips : float32 samples at 16 kHz in [-1, 1], each as the encoders take it; or clips of
            arrays, which a stream of places needs

        Returns
        -------
        By stream name, on the model's device.

        Raises
        ------
        ShapeError
            If a stream of places gets samples of one signal.
        """
        placed: list[Clip] = [clip.to(self.device) for clip in clips]
        signals = list(map(signal_of, placed))
        made: dict[Callable[[Sequence[Any]], Padded], Padded] = {}
        for stream in self.streams:
            hear = self._encoder(stream).features
            if hear not in made:
                made[hear] = hear(placed if stream.array else signals)
        return {stream.name: made[self._encoder(stream).features] for stream in self.streams}

    def encode(self, features: Mapping[str, Padded], *, apart: bool) -> dict[str, Padded]:
        """Give each encoder's frames by stream name.

        Parameters
        ----------
        apart : one clip at a time, so that none depends on what it is padded to; together is
            faster on a GPU, and how the published models were trained
        """
        made = {}
        for stream in self.streams:
            encoder, heard = self._encoder(stream), features[stream.name]
            if apart and len(heard.lens) > 1:
                alone = [encoder(pad([row])) for row in heard.rows()]
                made[stream.name] = pad([row for frames in alone for row in frames.rows()])
            else:
                made[stream.name] = encoder(heard)
        return made

    def project(self, frames: Mapping[str, Padded]) -> dict[str, Padded]:
        """Give frames of the language model's embedding size, float32.

        By stream name; with the layout ``features``, by the one place.
        """
        if self.stream_layout == "features":
            joined = layout.side_by_side(
                [frames[stream.name] for stream in self.streams],
                [stream.stack for stream in self.streams],
            )
            return {ONE_PLACE: self.get_submodule(ONE_PROJECTOR)(joined)}
        return {
            stream.name: self.get_submodule(stream.projector)(frames[stream.name])
            for stream in self.streams
        }

    def with_anchors(self, projected: Mapping[str, Padded]) -> dict[str, Padded]:
        """Give projected frames and anchors as they stand in the prompt, by place."""
        if self.stream_layout == "interleaved":
            return {ONE_PLACE: self._interleaved(projected)}
        # what shares a place has the same anchors
        return {
            place: self._anchored(projected[place], stream.interval)
            for place, stream in zip(self.places, self.streams, strict=False)
        }

    def listen(self, features: Mapping[str, Padded], *, apart: bool = True) -> dict[str, Padded]:
        """Give what stands in the prompt's places: encode, project, add anchors."""
        return self.with_anchors(self.project(self.encode(features, apart=apart)))

    def prompt_input(self, heard: Mapping[str, Padded]) -> LlmInput:
        """Give the language model's input before an answer, filled up on the left.

        Parameters
        ----------
        heard : as ``listen`` gives it
        """
        rows = [self.chat.prompt_row(places) for places in self._places(heard)]
        return self._with_streams(self.chat.batch(rows, left=True), heard)

    def training_rows(self, heard: Mapping[str, Padded], targets: Sequence[str]) -> list[TokenRow]:
        """Give the tokens to learn from; their number says whether a clip fits.

        Parameters
        ----------
        targets : one answer a clip
        """
        places = self._places(heard)
        if len(places) != len(targets):
            raise ShapeError(f"training: {len(targets)} answers for {len(places)} clips")
        return [self.chat.training_row(*pair) for pair in zip(places, targets, strict=True)]

    def training_input(self, heard: Mapping[str, Padded], rows: Sequence[TokenRow]) -> LlmInput:
        """Give the language model's input with answers, filled up on the right."""
        return self._with_streams(self.chat.batch(rows, left=False), heard)

    def logits(self, given: LlmInput, *, last: int = 0) -> Tensor:
        """Score the next token at each position, or at the ``last`` ones; shape (B, S, V).

        Positions count from the first column, so input filled up on the left suits only models
        that use differences of positions; ``generate`` suits all.
        """
        found: Tensor = self.llm(
            inputs_embeds=given.embeds_bsd,
            attention_mask=given.tokens.mask_bs,
            logits_to_keep=last,
            use_cache=False,
        ).logits
        return found[:, -last:]

    def loss(self, given: LlmInput) -> Loss:
        """Compare the model's scores with the answers.

        Raises
        ------
        ShapeError
            If no token of the batch is to be learned.
        """
        labels_bs = given.tokens.labels_bs[:, 1:]
        learned_bs = labels_bs != IGNORED
        num_tokens = int(learned_bs.sum())
        if num_tokens == 0:
            raise ShapeError("loss: the batch has no token of an answer")
        # scores of the prompt are not needed, and large
        first = int(learned_bs.any(dim=0).int().argmax())
        labels_bs, learned_bs = labels_bs[:, first:], learned_bs[:, first:]
        scores_bsv = self.logits(given, last=labels_bs.shape[1] + 1)[:, :-1].float()
        mean = F.cross_entropy(scores_bsv.flatten(0, 1), labels_bs.flatten(), ignore_index=IGNORED)
        right = (scores_bsv.argmax(dim=-1) == labels_bs) & learned_bs
        return Loss(mean, float(right.sum()) / num_tokens, num_tokens)

    @torch.no_grad()
    def generate(
        self,
        heard: Mapping[str, Padded],
        *,
        max_new_tokens: int,
        processors: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
    ) -> list[Answer]:
        """Write the answers, always the likeliest token next.

        Parameters
        ----------
        heard : as ``listen`` gives it
        max_new_tokens : after so many an answer is cut
        processors : each is given the tokens written so far, shape (B, steps), without the
            prompt, and the scores of the next one, shape (B, V), and gives scores
        """
        from transformers import LogitsProcessorList

        given = self.prompt_input(heard)
        written_bs = self.llm.generate(
            inputs_embeds=given.embeds_bsd,
            attention_mask=given.tokens.mask_bs,
            generation_config=self.generation_config(max_new_tokens),
            logits_processor=LogitsProcessorList(list(processors)),
        )
        return [self._answer(row) for row in written_bs.tolist()]

    def generation_config(self, max_new_tokens: int) -> Any:  # noqa: ANN401 - of transformers
        """Give greedy search that stops at the model's own end and at the end of a turn."""
        from transformers import GenerationConfig

        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=sorted(self.stop_ids()),
            pad_token_id=self.chat.pad_id,
        )

    def stop_ids(self) -> set[int]:
        """Give the tokens that close an answer."""
        own = self.llm.config.get_text_config().eos_token_id
        ids = set(own) if isinstance(own, list) else {own}
        return {int(token) for token in ids | {self.chat.end_id} if token is not None}

    def _answer(self, ids: Sequence[int]) -> Answer:
        stops = self.stop_ids()
        length = next((at + 1 for at, token in enumerate(ids) if token in stops), None)
        kept = tuple(ids[:length])
        return Answer(text=self.chat.text(kept), ids=kept, closed=length is not None)

    def _interleaved(self, projected: Mapping[str, Padded]) -> Padded:
        anchored = any(stream.interval is not None for stream in self.streams)
        return layout.interleave(
            [projected[stream.name] for stream in self.streams],
            [stream.chunk for stream in self.streams],
            self.digits_kd if anchored else None,
            ends=self.ends,
            dtype=self.projected_dtype,
        )

    def _anchored(self, frames: Padded, interval: int | None) -> Padded:
        dtype = self.projected_dtype
        if interval is None or self.digits_kd is None:
            return pad([row.to(dtype) for row in frames.rows()])
        return anchors.insert(
            frames, self.digits_kd, interval=interval, ends=self.ends, dtype=dtype
        )

    def _places(self, heard: Mapping[str, Padded]) -> list[tuple[int, ...]]:
        return list(zip(*(heard[place].lens for place in self.places), strict=True))

    def _with_streams(self, tokens: TokenBatch, heard: Mapping[str, Padded]) -> LlmInput:
        device = self.device
        ids_bs = tokens.ids_bs.to(device)
        audio_bs = ids_bs.eq(self.chat.audio_id)
        # the audio token need not have an embedding of its own
        embeds_bsd = self._embedding()(ids_bs.masked_fill(audio_bs, self.chat.pad_id))
        by_clip = zip(*(heard[place].rows() for place in self.places), strict=True)
        counts = audio_bs.sum(dim=1).tolist()
        values = [torch.cat(rows)[:count] for rows, count in zip(by_clip, counts, strict=True)]
        source = torch.cat(values).to(embeds_bsd.dtype)
        embeds_bsd = embeds_bsd.masked_scatter(audio_bs[..., None], source)
        placed = TokenBatch(ids_bs, tokens.mask_bs.to(device), tokens.labels_bs.to(device))
        return LlmInput(embeds_bsd, placed)

    def _embedding(self) -> Any:  # noqa: ANN401 - transformers gives any module
        return self.llm.get_input_embeddings()

    def _encoder(self, stream: Stream) -> FrameEncoder:
        return cast("FrameEncoder", self.get_submodule(stream.encoder))
