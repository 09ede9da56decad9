"""Scenes to what the network takes: planes, mel and text of every target, packed for the way.

Packed batches are numpy, planes in float16: they travel between processes, and a few dozen of
them wait in memory.

Axes: B item, C channel, K competitor, F band or mel bin, T frame (10 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from meetscribe.onestage.adapter_settings import OnestageSettings
from meetscribe.train.onestage.meetings import Scenes
from meetscribe.train.onestage.scenes import Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meetscribe.onestage.adapter import Inputs
    from meetscribe.onestage.front_end import Hearing


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch on its way: an item per target.

    ``planes`` holds the fields of ``SpatialPlanes`` that are there; ``alone_bft`` is the mel of
    the target alone, as loud as in the mixture; ``scene_b`` the number of each item's scene,
    ``voices_b`` how many people talk in its region, ``seconds_b`` its length; ``words`` whether
    the recogniser is to learn from it. ``alone_b`` says of which items there is the target alone,
    None where that is all of them.
    """

    mel_bft: NDArray[np.float32]
    alone_bft: NDArray[np.float32] | None
    planes: dict[str, NDArray[Any]]
    steps: list[int]
    texts: list[str]
    scene_b: list[int]
    voices_b: list[int]
    seconds_b: list[float]
    words: bool = True
    alone_b: list[bool] | None = None

    def inputs(self, device: str) -> Inputs:
        """Give the network's input on a device."""
        import torch

        from meetscribe.onestage.adapter import Inputs
        from meetscribe.spatial.embedding_inputs import SpatialPlanes

        def there(array: NDArray[Any]) -> torch.Tensor:
            moved = torch.from_numpy(array).to(device, non_blocking=True)
            return moved.float() if moved.is_floating_point() else moved

        planes = SpatialPlanes(**{name: there(array) for name, array in self.planes.items()})
        return Inputs(there(self.mel_bft), planes, self.steps)


@dataclass(frozen=True)
class ExampleMaker:
    """Makes batch number n of a training, or of a set to score on.

    Parameters
    ----------
    scenes : makes them
    batch : scenes of a batch
    num_batches : of the whole training, which sets the pace of the curriculum; None: its end
    num_mel_bins : of the recogniser's own input
    alone : whether ``alone_bft`` is wanted
    """

    scenes: Scenes
    model: OnestageSettings
    batch: int
    num_batches: int | None
    num_mel_bins: int
    alone: bool

    def __call__(self, number: int) -> Packed:
        """Make a batch."""
        share = 1.0 if self.num_batches is None else number / self.num_batches
        first = number * self.batch
        made = [self.scenes.make(first + n, share) for n in range(self.batch)]
        return self.pack(made, words=self.scenes.settings.stage(share).words)

    def pack(self, scenes: Sequence[Scene], *, words: bool = True) -> Packed:
        """Hear every target of every scene."""
        import torch

        from meetscribe.onestage.adapter import stack
        from meetscribe.onestage.features import log_mel

        hearings: list[tuple[Scene, Hearing]] = []
        with torch.no_grad():
            for scene in scenes:
                hearings += [(scene, one) for one in self._hear(scene)]
            inputs = stack([one for _, one in hearings])
            alone_bft = None
            known_b = [one.target in scene.images for scene, one in hearings]
            if self.alone and any(known_b):
                made = torch.zeros_like(inputs.mel_bft)
                trailing_s = self.model.target.trailing_s
                for row_ft, known, (scene, one) in zip(made, known_b, hearings, strict=True):
                    if not known:
                        continue
                    image_n = scene.images[one.target][one.channel]
                    mel_ft = log_mel(image_n, num_bins=self.num_mel_bins, trailing_s=trailing_s)
                    row_ft[:, : mel_ft.shape[1]] = mel_ft
                alone_bft = made.numpy()
        given = {field.name: getattr(inputs.planes, field.name) for field in fields(inputs.planes)}
        return Packed(
            mel_bft=inputs.mel_bft.numpy(),
            alone_bft=alone_bft,
            planes={name: _packed(one) for name, one in given.items() if one is not None},
            steps=inputs.steps,
            texts=[scene.texts[one.target] for scene, one in hearings],
            scene_b=[scene.number for scene, _ in hearings],
            voices_b=[sum(map(bool, scene.texts.values())) for scene, _ in hearings],
            seconds_b=[scene.region.duration for scene, _ in hearings],
            words=words,
            alone_b=None if all(known_b) else known_b,
        )

    def _hear(self, scene: Scene) -> list[Hearing]:
        from meetscribe.onestage.front_end import FrontEnd

        front_end = FrontEnd(
            scene,
            scene.turns,
            self.model.front_end,
            self.model.embedding,
            num_mel_bins=self.num_mel_bins,
            trailing_s=self.model.target.trailing_s,
        )
        found = front_end.hear(scene.region, list(scene.texts))
        return [one for one in found if one.has_place] or found[:1]


def _packed(one: Any) -> NDArray[Any]:  # noqa: ANN401 - a tensor, whose type is not imported here
    array: NDArray[Any] = (one.half() if one.is_floating_point() else one).numpy()
    return array
