"""What can be set in the whole one-stage network; light to import, and kept inside its weights."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from meetscribe.config import Settings
from meetscribe.onestage.settings import TargetWhisperSettings
from meetscribe.spatial.embedding_inputs import SpatialEmbSettings
from meetscribe.spatial.solo_segments import SoloSettings

ChannelPairs = Literal["all", "reference"]


class FrontEndSettings(Settings):
    """How channels get their features of place; kept beside trained weights."""

    pairs: ChannelPairs = "all"
    """Which pairs make the Solo-SF of a channel: the mean over all pairs that it is in, or the one
    with channel 0. The first needs no reference, so that the order of channels means nothing."""
    solo: SoloSettings = SoloSettings()
    """Solo segments: which ones, and what is made of them. ``solo.pairs`` plays no part here."""


class OnestageSettings(Settings):
    """Everything that says what the network is; the width of the embedding is said once, there."""

    front_end: FrontEndSettings = FrontEndSettings()
    embedding: SpatialEmbSettings = SpatialEmbSettings(width=256)
    target: TargetWhisperSettings = TargetWhisperSettings()
    correct_mel: bool = True
    """Let the embedding change the log-mel too, before the encoder, by adding to it: what belongs
    to others can be taken out where it is still apart, as a mask does."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        conditioning = self.target.conditioning
        if "width" in conditioning.model_fields_set and conditioning.width != self.embedding.width:
            raise ValueError(
                f"target.conditioning.width {conditioning.width} with embedding.width "
                f"{self.embedding.width}: say it in embedding alone"
            )
        if self.embedding.frame_step != 2:  # noqa: PLR2004 - frames of 10 ms to steps of 20 ms
            raise ValueError(
                f"embedding.convolutions: {self.embedding.frame_step} frames to one; expected 2, "
                "one vector per 20 ms"
            )
        return self

    @property
    def recogniser(self) -> TargetWhisperSettings:
        """The recogniser's settings, with the width of the embedding."""
        width = {"width": self.embedding.width}
        conditioning = self.target.conditioning.model_copy(update=width)
        return self.target.model_copy(update={"conditioning": conditioning})
