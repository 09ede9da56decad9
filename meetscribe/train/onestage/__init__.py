"""Training of the one-stage recogniser.

    table -> Library                     read speech cut at pauses, its words known (library)
    rooms -> RoomBank                    impulse responses, computed once (bank)
    (number, stage) -> Scene             a region, and a solo moment of everybody (scenes)
    Scene -> Packed                      planes, mel, text of every target (examples)
    Packed -> loss, score, export        the task that ``train.loop`` trains (task, score, card)
    run(settings, folder)                all of it, resumable (run)

Axes: B batch, C channel, K speaker, N sample, T frame (10 ms), F band or bin.
"""

from __future__ import annotations

from meetscribe.train.onestage.settings import OnestageTraining

__all__ = ["OnestageTraining"]
