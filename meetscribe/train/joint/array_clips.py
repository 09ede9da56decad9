"""A group of an array as a model with a stream of places hears it.

Axes: C channel, N sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meetscribe.errors import ConfigError
from meetscribe.types import Turn

if TYPE_CHECKING:
    from meetscribe.joint.spatial_stream import ArrayClip
    from meetscribe.train.joint.groups import Group


def array_clip_of(group: Group) -> ArrayClip:
    """Give all channels of a group, and the places of who speaks in it.

    Places are learned from the moments alone that the group has, else from where somebody is
    alone in it.

    Raises
    ------
    ConfigError
        If the group has one channel.
    """
    import torch

    from meetscribe.joint.spatial_stream import array_clip, profiles_alone

    if group.samples_cn is None:
        raise ConfigError(
            "channels: one, but the model hears places",
            hint="set channels: all",
        )
    turns = [Turn(one.start, one.end, one.speaker) for one in group.utterances]
    return array_clip(
        torch.from_numpy(group.samples_cn),
        turns,
        samples_n=torch.from_numpy(group.samples_n),
        profiles=profiles_alone(group.alone) if group.alone else None,
    )
