"""What can be set in the joint engine; light to import: YAML is checked without loading torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meetscribe.config import Settings
from meetscribe.engines.leakage import LeakageSettings
from meetscribe.engines.meeting_settings import MeetingSettings
from meetscribe.engines.settings import CascadeSettings
from meetscribe.joint.serialise import Order
from meetscribe.spatial.separate import SeparationSettings
from meetscribe.spatial.underneath import UnderneathSettings

Signal = Literal["best-channel", "separated", "spatial"]
"""What the model hears of an array. ``best-channel``: one channel. ``separated``: each speaker's
stream on its own (guided source separation). ``spatial``: one channel, and the places of the
speakers, for models that have a stream of places."""


class GroupSettings(Settings):
    """How a meeting is cut into utterance groups, the clips that the model hears.

    A group is speech without a pause. Published models were trained on groups of at most 30 s, and
    collapse beyond.
    """

    longest_s: float = Field(30.0, ge=2.0, le=80.0, description="longer groups are cut")
    shortest_s: float = Field(
        0.5, ge=0.3, le=2.0, description="shorter ones are heard with what is around them"
    )
    pause_s: float = Field(
        0.5, ge=0.0, description="a pause up to this long does not end a group: turns come in bits"
    )
    margin_s: float = Field(0.1, ge=0.0, le=1.0, description="heard before and after a group")


class DecodingSettings(Settings):
    """How the model writes.

    A group whose text does not end within its tokens is cut in two and heard again, ``splits``
    times over; only then what there is is kept, and a note says so.
    """

    constrained: bool = Field(
        True, description="only what the format allows is written, so that all of it can be read"
    )
    order: Order = Field(
        Order.START,
        description="of the lines, as the model was trained; a small model knows it itself",
    )
    max_new_tokens: int | None = Field(
        None, ge=64, description="for a group; by default as many as tokens_per_s gives"
    )
    tokens_per_s: float = Field(
        32.0, gt=0, description="of a group: two people who speak at once write about 20"
    )
    splits: int = Field(1, ge=0, le=4, description="how often a group may be cut in two")
    batch_s: float | None = Field(
        None, gt=0, description="seconds of sound in a batch; by default 30 on a CPU, else 240"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of a large language model; auto: float32 on a CPU, else half of that"
    )


class LinkSettings(Settings):
    """How the speakers of a group are found again in the other groups.

    Each speaker of each group is compared by voice with all others, and with those whom the
    activity stage found; two of one group are two people.
    """

    same_voice: float = Field(
        0.35, ge=-1.0, le=1.0, description="mean cosine above which two are the same person"
    )
    agreement: float = Field(
        0.3,
        ge=0.0,
        le=2.0,
        description="what it counts that they speak at the same time as one "
        "whom the activity stage found: this much for all of their time",
    )
    reliable_s: float = Field(
        1.0, ge=0.0, description="with less clean speech than this nobody becomes a new speaker"
    )


class JointSettings(MeetingSettings):
    """Speaker activity, groups, generation, linking.

    ``separation``, ``underneath`` and ``leakage`` are those of the cascade, for the signal
    ``separated``.
    """

    model: str = Field(
        "joint-small",
        min_length=1,
        description="joint-small; the folder of a checkpoint (in the published layout, or of a "
        "small model that `meetscribe train joint` made), a weight file in one; a name on the hub",
    )
    signal: Signal = Field(
        "best-channel",
        description="what the model hears of an array: best-channel; separated, each speaker on "
        "his own; spatial, places beside the best channel, which not every model can hear",
    )
    separation: SeparationSettings = SeparationSettings(margin_s=0.3)
    underneath: UnderneathSettings | None = UnderneathSettings()
    leakage: LeakageSettings | None = LeakageSettings()
    groups: GroupSettings = GroupSettings()
    decoding: DecodingSettings = DecodingSettings()
    link: LinkSettings = LinkSettings()

    @property
    def most_speakers(self) -> int | None:
        """How many people there are at most, None where nobody has said."""
        return self.speakers or self.max_speakers

    def as_cascade(self) -> CascadeSettings:
        """Give the cascade's settings with these in them, for the stages that both share."""
        return CascadeSettings(
            **{name: getattr(self, name) for name in MeetingSettings.model_fields},
            separation=self.separation if self.signal == "separated" else None,
            underneath=self.underneath,
        )
