"""Whisper with low-rank changes, streams beside its encodings, and tokens for speakers.

    clip -> log-mel -> Whisper's encoder ------------------\
    clip -> CAM++ -> projector (+ anchors of time) ----------> memory -> Whisper's decoder -> tokens
    clip of an array -> Solo-SF -> projector --------------/

The decoder looks at its memory by cross attention, which knows no order: where a frame stands
means nothing, only what is in it. Two streams that are interleaved in time are therefore the same
memory as two that stand one behind the other; "concatenated" is both. What tells a voice frame's
time, and so which encodings it belongs to, is its anchor, or (layout "added") that it is added to
the encodings of its own time.

With layout "added" the voices come in through a linear map that starts at zero, as the low-rank
changes do: before training the network is plain Whisper, exactly. With "concatenated" it is not:
the decoder looks at frames that it never saw. The places of an array's speakers are always added,
in the same way. That the first place is the first speaker's, and so on, is for training to find:
both count speakers in the order of their first appearance.

Axes: N sample, B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), P projected
voice frame, M frame of the memory, D feature, L token, V token with those of the speakers.

Notes
-----
Serialised answers: Kanda et al. 2020, arXiv 2003.12687. Two streams and anchors of time: Huo, Shao
and Zhang 2026, "TagSpeech", arXiv 2601.06896, whose anchors are numbers between the frames; here a
frame is told its time by the embedding of the token that the decoder itself writes for that time,
so that what it has just written finds the frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from meetscribe.errors import ShapeError
from meetscribe.joint.encoders_campplus import CampplusFrames
from meetscribe.joint.spatial_stream import ArrayClip, Clip, SpatialFrames, signal_of
from meetscribe.joint.whisper.settings import LowRankSettings, WhisperJointSettings
from meetscribe.joint.whisper.stream import FrameStream
from meetscribe.onestage.features import STEP_SAMPLES, log_mel
from meetscribe.onestage.lora import LoraLinear, add_lora, merge_lora
from meetscribe.onestage.tokens import TIMESTAMP_S, Vocabulary
from meetscribe.onestage.whisper import DecoderLayer, EncoderLayer, Whisper

_FEED_FORWARD = ("fc1", "fc2")
_NEAR = "-"
"""Subtitles begin with a dash where the speaker changes. So does Whisper: after the first time of a
text it is ten thousand times as likely as the mean of all times, the other choice that suggests
itself."""
_APART = 0.5
"""How far the new speakers' embeddings begin from each other, in spreads of the table's numbers."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the decoder looks at: shape (B, M, D); ``lens`` are the true lengths of its items."""

    memory_bmd: Tensor
    lens: list[int]


class SpeakerEmbedding(nn.Module):
    """Whisper's frozen table of embeddings, and rows of the speakers' tokens behind it.

    Parameters
    ----------
    plain : the table, which stays as it is
    near : token near which the rows begin
    speakers : rows to add
    """

    def __init__(self, plain: nn.Embedding, *, near: int, speakers: int) -> None:
        super().__init__()
        self.plain = plain
        with torch.no_grad():
            rows_kd = plain.weight[near].repeat(speakers, 1)
            rows_kd = rows_kd + _APART * plain.weight.std() * torch.randn_like(rows_kd)
        self.added = nn.Parameter(rows_kd)

    @property
    def weight(self) -> Tensor:
        """The frozen table: what the decoder's own ``logits`` compares with."""
        return self.plain.weight

    def forward(self, tokens_bl: Tensor) -> Tensor:
        """Give embeddings, shape (B, L, D)."""
        number_bl = tokens_bl - self.plain.num_embeddings
        plain_bld = self.plain(tokens_bl.where(number_bl < 0, 0))
        added_bld = nn.functional.embedding(number_bl.clamp(min=0), self.added)
        return torch.where((number_bl < 0)[..., None], plain_bld, added_bld)


class WhisperJoint(nn.Module):
    """The whole network.

    Parameters
    ----------
    whisper : is changed, and belongs to this network from now on
    voices : CAM++; needed unless the layout is "none"
    vocabulary : of that Whisper

    Raises
    ------
    ShapeError
        If there is no CAM++ though the layout asks for voices.
    """

    def __init__(
        self,
        whisper: Whisper,
        voices: CampplusFrames | None,
        vocabulary: Vocabulary,
        settings: WhisperJointSettings,
    ) -> None:
        super().__init__()
        width = whisper.shape.d_model
        self.settings = settings
        self.vocabulary = vocabulary
        self.whisper = whisper.requires_grad_(requires_grad=False)
        add_lora(whisper, settings.lora)
        _add_feed_forward_lora(whisper, settings.lora)
        table = SpeakerEmbedding(
            whisper.decoder.embed_tokens,
            near=vocabulary.encode(_NEAR)[0],
            speakers=settings.speakers,
        )
        whisper.decoder.add_module("embed_tokens", table)
        self.voice: FrameStream | None = None
        self.places: FrameStream | None = None
        self.join_places: nn.Linear | None = None
        self.join: nn.Linear | None = None
        self.voice_anchor: nn.Linear | None = None
        self.semantic_anchor: nn.Linear | None = None
        if settings.layout != "none":
            if voices is None:
                raise ShapeError(f"layout '{settings.layout}' without CAM++, expected one")
            self.voice = FrameStream(voices, width, stack=settings.stack)
            if settings.layout == "added":
                self.join = _zero(width)
            if settings.anchors != "none":
                self.voice_anchor = nn.Linear(width, width, bias=False)
        if settings.anchors == "both":
            self.semantic_anchor = _zero(width)
        if settings.spatial is not None:
            self.places = FrameStream(SpatialFrames(settings.spatial), width, stack=settings.stack)
            self.join_places = _zero(width)
        # training may let a part of them rest for a while
        self._learnt = tuple(name for name, one in self.named_parameters() if one.requires_grad)

    @property
    def longest_s(self) -> float:
        """Seconds of the longest clip."""
        return self.whisper.shape.max_source_positions * TIMESTAMP_S

    def hear(self, clips: Sequence[Clip]) -> Heard:
        """Give what the decoder looks at.

        Parameters
        ----------
        clips : float32, shape (N,), 16 kHz in [-1, 1]; at least one, of any lengths. A network
            with a stream of places wants clips of arrays, which may have no places.

        Raises
        ------
        ShapeError
            If there is none, one is longer than Whisper hears, or one is of one signal though
            places are to be heard.
        """
        placed = [self._placed(clip) for clip in clips]
        signals = list(map(signal_of, placed))
        encoded_bsd, steps = self._encode(signals)
        own = list(map(_frames, signals))
        if self.semantic_anchor is not None:
            encoded_bsd = encoded_bsd + self.semantic_anchor(self._times(encoded_bsd.shape[1], 1))
        if self.places is not None and self.join_places is not None:
            places_bpd = self.join_places(self.places(placed).values_btd)
            encoded_bsd = encoded_bsd + self._spread(places_bpd, own, steps)
        if self.voice is None:
            return Heard(encoded_bsd, steps)
        voices = self.voice(signals)
        voices_bpd = voices.values_btd
        stack = self.settings.stack
        if self.voice_anchor is not None:
            voices_bpd = voices_bpd + self.voice_anchor(self._times(voices_bpd.shape[1], stack))
        if self.join is not None:
            return Heard(encoded_bsd + self._spread(self.join(voices_bpd), own, steps), steps)
        rows = [
            torch.cat([encoded_sd[:step], voices_pd[:length]])
            for encoded_sd, step, voices_pd, length in zip(
                encoded_bsd, steps, voices_bpd, voices.lens, strict=True
            )
        ]
        lens = [len(row) for row in rows]
        return Heard(nn.utils.rnn.pad_sequence(rows, batch_first=True), lens)

    def forward(self, heard: Heard, tokens_bl: Tensor) -> Tensor:
        """Give what ``logits`` needs for the token after each, shape (B, L, D), for training."""
        decoder = self.whisper.decoder
        hidden: Tensor = decoder(tokens_bl, decoder.begin(heard.memory_bmd, heard.lens))
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Give the scores of all tokens, those of the speakers last: (..., V)."""
        decoder = self.whisper.decoder
        table = cast("SpeakerEmbedding", decoder.get_submodule("embed_tokens"))
        added = nn.functional.linear(hidden, table.added)
        return torch.cat([decoder.logits(hidden), added], dim=-1)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Give what can learn, by name, whether it asks for a gradient now or not."""
        return {name: self.get_parameter(name) for name in self._learnt}

    def for_decoding(self) -> Self:
        """Make the low-rank changes part of the weights, for good; it can no longer be trained."""
        merge_lora(self.whisper)
        for layer in _layers(self.whisper, ("encoder", "decoder")):
            for name in _FEED_FORWARD:
                changed = getattr(layer, name)
                if isinstance(changed, LoraLinear):
                    setattr(layer, name, changed.merged())
        return self.eval().requires_grad_(requires_grad=False)

    @property
    def _like(self) -> Tensor:
        return self.whisper.encoder.conv1.weight

    def _placed(self, clip: Clip) -> Clip:
        """Give a clip with its samples on the network's device."""
        if isinstance(clip, ArrayClip):
            return clip.to(self._like.device)
        return clip.to(self._like.device, torch.float32)

    def _encode(self, clips: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
        """Give Whisper's encodings (B, S, D), and their true lengths, silence included."""
        if not clips:
            raise ShapeError("joint model: no clips, expected at least one")
        shape = self.whisper.shape
        mels = []
        for clip in clips:
            own = _frames(clip)
            room_s = (shape.max_source_positions - own) * TIMESTAMP_S
            if room_s < 0:
                raise ShapeError(
                    f"clip of {own * TIMESTAMP_S:g} s, expected at most {self.longest_s:g} s",
                    hint="cut it into shorter ones",
                )
            trailing_s = min(self.settings.trailing_s, room_s)
            mels.append(log_mel(clip, num_bins=shape.num_mel_bins, trailing_s=trailing_s))
        mel_btf = nn.utils.rnn.pad_sequence([mel.T for mel in mels], batch_first=True)
        steps = [mel.shape[1] // 2 for mel in mels]
        return self.whisper.encoder(mel_btf.transpose(1, 2).to(self._like), steps), steps

    def _times(self, count: int, step: int) -> Tensor:
        """Give the embeddings of the times of frames ``step`` * 20 ms apart, shape (count, D)."""
        first = self.vocabulary.first_timestamp
        last = self.whisper.shape.vocab_size - 1
        numbers = first + step * torch.arange(count, device=self._like.device)
        embedded: Tensor = self.whisper.decoder.embed_tokens(numbers.clamp(max=last)[None])
        return embedded[0]

    def _spread(self, frames_bpd: Tensor, own: Sequence[int], steps: Sequence[int]) -> Tensor:
        """Repeat projected frames to the rate of the encoder, (B, S, D); zero in added silence.

        ``own`` are the frames of each clip, ``steps`` those with that silence.
        """
        rows = [
            frames_pd.repeat_interleave(self.settings.stack, dim=0)[:frames]
            for frames_pd, frames in zip(frames_bpd, own, strict=True)
        ]
        longest = max(steps)
        return torch.stack([nn.functional.pad(row, (0, 0, 0, longest - len(row))) for row in rows])


def _frames(clip_n: Tensor) -> int:
    """Give the frames of 20 ms that a clip has."""
    return max(1, -(-len(clip_n) // STEP_SAMPLES))


def _zero(width: int) -> nn.Linear:
    """Give a map without bias that gives nothing yet."""
    made = nn.Linear(width, width, bias=False)
    nn.init.zeros_(made.weight)
    return made


def _add_feed_forward_lora(whisper: Whisper, settings: LowRankSettings) -> None:
    if settings.rank == 0:
        return
    for layer in _layers(whisper, settings.feed_forward):
        for name in _FEED_FORWARD:
            plain = cast("nn.Linear", getattr(layer, name))
            setattr(layer, name, LoraLinear(plain, rank=settings.rank, alpha=settings.alpha))


def _layers(whisper: Whisper, parts: Sequence[str]) -> Iterator[EncoderLayer | DecoderLayer]:
    for part in dict.fromkeys(parts):
        yield from cast("nn.ModuleList", whisper.get_submodule(f"{part}.layers"))  # type: ignore[misc]
