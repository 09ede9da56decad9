"""Choose the diarizer's thresholds leave-one-clip-out, and print what that gives.

    python benchmarks/select_diarizer.py ../shared/data/meetings

For every clip the setting that is best on all other clips is taken; the row "chosen without the
clip" is what such a choice is worth on speech it has not seen. The networks run once per clip.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soundfile
from scoring import Clip, Counts, read_clips, score_turns

from meetscribe.activity import DiarizationSettings, segmentation, voiceprint
from meetscribe.activity.clustering import Bounds
from meetscribe.activity.diarize import cut_units, resolve
from meetscribe.activity.segmentation import Windows
from meetscribe.activity.tracks import Track, stitch
from meetscribe.activity.units import Unit
from meetscribe.ingest import InMemory
from meetscribe.models import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID: dict[str, list[float]] = {
    "same_voice": [0.25, 0.275, 0.3, 0.325, 0.35],
    "shortest_speaker_s": [0.35, 0.5, 0.6, 0.8],
    "threshold": [0.4, 0.45, 0.5],
    "switch_cost": [0.1, 0.3, 0.6],
}


class Heard(NamedTuple):
    """What the networks make of a clip."""

    windows: Windows
    tracks: list[Track]
    units: list[Unit]
    prints_ud: NDArray[np.float32]
    duration: float


def stages(clip: Clip, network: Any, printer: Any) -> Heard:  # noqa: ANN401
    """Run the networks over a clip: everything before the decisions."""
    samples_n, _ = soundfile.read(clip.audio, dtype="float32")
    audio, settings = InMemory(samples_n), DiarizationSettings()
    step = round(settings.step_s / segmentation.FRAME_STEP_S)
    windows = segmentation.segment(audio, network, step_frames=step)
    tracks = stitch(windows, agreement=settings.link_agreement)
    units = cut_units(windows, tracks, settings)
    prints_ud = voiceprint.voiceprints(audio, units, printer)
    return Heard(windows, tracks, units, prints_ud, clip.duration)


def main(folder: Path) -> None:
    """Print the table."""
    network = segmentation.load(fetch("segmentation-3.0"), "cpu")
    printer = voiceprint.load(fetch("campplus-zh-en"), "cpu")
    clips = read_clips(folder)
    made = [stages(clip, network, printer) for clip in clips]
    settings = [
        DiarizationSettings.model_validate(dict(zip(GRID, values, strict=True)))
        for values in itertools.product(*GRID.values())
    ]
    table = [[_score(clip, m, s) for clip, m in zip(clips, made, strict=True)] for s in settings]
    held_out, default = Counts(), Counts()
    for index, clip in enumerate(clips):
        rest = [sum((*row[:index], *row[index + 1 :]), Counts()).der for row in table]
        best = int(np.argmin(rest))
        chosen = table[best][index]
        mine = _score(clip, made[index], DiarizationSettings())
        held_out, default = held_out + chosen, default + mine
        picked = {name: getattr(settings[best], name) for name in GRID}
        print(f"{clip.name:40s} default {mine.der:6.1f}  held out {chosen.der:6.1f}  {picked}")
    print(f"default, all clips               DER {default.der:.2f}")
    print(f"chosen without the clip          DER {held_out.der:.2f}")
    print(f"best on all clips (optimistic)   DER {min(sum(r, Counts()).der for r in table):.2f}")


def _score(clip: Clip, made: Heard, settings: DiarizationSettings) -> Counts:
    activity = resolve(*made, settings, Bounds())
    turns = [(turn.speaker, turn.start, turn.end) for turn in activity.turns]
    return score_turns(clip.turns, turns, clip.duration)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
