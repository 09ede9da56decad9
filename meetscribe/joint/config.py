"""What a joint checkpoint's config.json states, and the streams that follow from it.

The published layout, and what this project adds to it: other encoders, weights that the catalogue
has, layouts of the streams, a stream of places, low-rank changes to the language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from meetscribe.config import Settings

Layout = Literal["separate", "interleaved", "features"]
"""How streams stand in the prompt. ``separate``: one place each, one after another, as published.
``interleaved``: one place, with stretches of one anchor interval of all streams in turn
(arXiv 2606.13095). ``features``: one place, the frames of all streams as one vector before one
projector."""

FRAME_RATE_HZ = {"zipformer": 25, "whisper": 50, "campplus": 50, "spatial": 50}
"""Kind of encoder -> frames a second."""
ONE_PLACE = "audio"
"""Name and tag of the place that all streams share."""
ONE_PROJECTOR = "features_projector"


@dataclass(frozen=True, slots=True)
class Stream:
    """One way of hearing a clip, from its encoder to its place in the prompt.

    Parameters
    ----------
    name : "semantic", "voice" or "spatial"
    tag : what encloses it in the prompt
    encoder, projector : names of these parts in the model and its files
    stack : encoder frames that become one
    interval : projected frames between anchors, None for a stream without anchors
    chunk : projected frames of a stretch, the interval where there are anchors
    rate_hz : frames a second of the encoder
    array : it hears all channels, and needs to be told of places
    """

    name: str
    tag: str
    encoder: str
    projector: str
    stack: int = 4
    interval: int | None = 8
    chunk: int = 8
    rate_hz: int = 25
    array: bool = False

    @property
    def chunk_s(self) -> float:
        """Seconds of a stretch."""
        return self.stack * self.chunk / self.rate_hz

    @property
    def step_s(self) -> float:
        """Seconds of a projected frame."""
        return self.stack / self.rate_hz


class CatalogueLlm(Settings):
    """A language model that the catalogue has."""

    weights: str = Field(min_length=1)


class LlmLora(Settings):
    """Low-rank changes to linear layers of the language model, scaled by alpha / rank.

    ``layers`` are the last parts of their names.
    """

    rank: PositiveInt = 16
    alpha: float = Field(default=16.0, gt=0)
    layers: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
    )


class JointConfig(Settings):
    """The top-level config.json of the published layout and of ours; unknown fields are ignored.

    Parameters
    ----------
    model_type : "tagspeech", or "tagspeech-base" for one without anchors
    audio_encoder_config, voice_encoder_config : of the two encoders, ``model_type`` says of which
        kind; the second is by default like the first. With ``weights``, a name of the catalogue,
        its tensors come from there and not from the folder.
    llm_config : as transformers writes it; not needed with ``llm``
    semantic_projector_ds_rate, voice_projector_ds_rate : encoder frames that become one
    semantic_anchor_interval, voice_anchor_interval : projected frames between anchors
    insert_anchors_at_ends : anchors also before the first and behind the last frame
    stream_layout : how streams stand in the prompt
    voice_stream : whether there is a second stream
    spatial_encoder_config : adds a third stream, of places; see ``spatial_stream``
    llm : a language model of the catalogue instead of the folder's
    llm_lora : low-rank changes to it
    """

    # published files carry fields of other models and of training
    model_config = ConfigDict(extra="ignore")

    model_type: Literal["tagspeech", "tagspeech-base"] = "tagspeech"
    audio_encoder_config: Mapping[str, Any]
    voice_encoder_config: Mapping[str, Any] | None = None
    llm_config: Mapping[str, Any] = Field(default_factory=dict)
    audio_token: str = Field(default="<|AUDIO|>", min_length=1)
    semantic_projector_ds_rate: PositiveInt = 4
    voice_projector_ds_rate: PositiveInt = 4
    semantic_anchor_interval: PositiveInt = 8
    voice_anchor_interval: PositiveInt = 8
    insert_anchors_at_ends: bool = True
    stream_layout: Layout = "separate"
    voice_stream: bool = True
    spatial_encoder_config: Mapping[str, Any] | None = None
    spatial_projector_ds_rate: PositiveInt = 8
    spatial_anchor_interval: PositiveInt = 8
    llm: CatalogueLlm | None = None
    llm_lora: LlmLora | None = None

    @model_validator(mode="after")
    def _streams_meet(self) -> Self:
        first, *others = self.streams
        for other in others:
            # whole numbers, so that no rounding decides
            ours, theirs = first.stack * other.rate_hz, other.stack * first.rate_hz
            if self.stream_layout == "features" and ours != theirs:
                raise ValueError(
                    f"frames of {first.step_s:g} s in the stream '{first.name}' and of "
                    f"{other.step_s:g} s in '{other.name}', expected the same for one projector"
                )
            anchored = self.model_type == "tagspeech" or self.stream_layout == "interleaved"
            if anchored and ours * first.chunk != theirs * other.chunk:
                raise ValueError(
                    f"anchors or stretches every {first.stack * first.chunk} encoder frames "
                    f"({first.chunk_s:g} s) in the stream '{first.name}' and every "
                    f"{other.stack * other.chunk} encoder frames ({other.chunk_s:g} s) in "
                    f"'{other.name}', expected the same time"
                )
        if not self.llm_config.get("model_type") and self.llm is None:
            raise ValueError("llm_config has no model_type")
        return self

    @property
    def anchored(self) -> bool:
        """Whether there are anchors."""
        return self.model_type == "tagspeech"

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams, in the order of their places in the prompt."""
        made = [
            self._stream("semantic", "text", "audio_encoder"),
            *([self._stream("voice", "speaker", "voice_encoder")] if self.voice_stream else []),
        ]
        if self.spatial_encoder_config is not None:
            made.append(self._stream("spatial", "spatial", "spatial_encoder"))
        return tuple(made)

    @property
    def tags(self) -> tuple[str, ...]:
        """What encloses each place in the prompt."""
        if self.stream_layout == "separate":
            return tuple(stream.tag for stream in self.streams)
        return (ONE_PLACE,)

    @property
    def projectors(self) -> tuple[str, ...]:
        """The names of the projectors."""
        if self.stream_layout == "features":
            return (ONE_PROJECTOR,)
        return tuple(stream.projector for stream in self.streams)

    @property
    def catalogue(self) -> tuple[str, ...]:
        """The names of the catalogue's models that this one is made of."""
        encoders = [self.encoder_config(stream).get("weights") for stream in self.streams]
        names = [*encoders, self.llm.weights if self.llm else None]
        return tuple(dict.fromkeys(str(name) for name in names if name))

    def encoder_config(self, stream: Stream) -> Mapping[str, Any]:
        """Give what describes the encoder of a stream."""
        return self._encoder_config(stream.encoder)

    def _encoder_config(self, name: str) -> Mapping[str, Any]:
        own = {"voice_encoder": self.voice_encoder_config}
        own["spatial_encoder"] = self.spatial_encoder_config
        found = own.get(name)
        return self.audio_encoder_config if found is None else found

    def _stream(self, name: str, tag: str, encoder: str) -> Stream:
        kind = self._encoder_config(encoder).get("model_type", "zipformer")
        chunk: int = getattr(self, f"{name}_anchor_interval")
        return Stream(
            name=name,
            tag=tag,
            encoder=encoder,
            projector=f"{name}_projector",
            stack=getattr(self, f"{name}_projector_ds_rate"),
            interval=chunk if self.anchored else None,
            chunk=chunk,
            # a kind that is not known is refused where it is built
            rate_hz=FRAME_RATE_HZ.get(str(kind), 25),
            array=encoder == "spatial_encoder",
        )
