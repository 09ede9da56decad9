"""The diarizer: who speaks when, overlap kept, the number of speakers found.

windows -> tracks -> units -> voiceprints (and, on an array, places) -> clusters -> turns
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meetscribe.activity import segmentation, turns, voiceprint
from meetscribe.activity.clustering import Bounds
from meetscribe.activity.groups import group, sums, unit_parts
from meetscribe.activity.likeness import alike
from meetscribe.activity.segmentation import FRAME_STEP_S, SegmentationNetwork, Windows
from meetscribe.activity.settings import DiarizationSettings
from meetscribe.activity.tracks import Track, stitch
from meetscribe.activity.units import Unit, find_units
from meetscribe.activity.voiceprint import VOICEPRINT_SIZE, Voiceprinter
from meetscribe.errors import ConfigError
from meetscribe.spatial.signature import signatures
from meetscribe.types import Activity, AudioReader, Parts, Progress, all_at_once, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.streams import ChannelReader

log = logging.getLogger(__name__)

_ENOUGH_S = 10.0
"""Whoever speaks so long is a speaker in a recording of any length."""
_FINEST_FRAMES = 12
"""Units are cut down to this (0.2 s) where more speakers are asked for than there are units."""
_SEGMENTATION_SHARE = 0.7
"""Of the time that a recording takes; the rest goes to voiceprints."""


class Diarizer:
    """Segmentation-3.0 and CAM++, loaded once and used for any number of recordings.

    Parameters
    ----------
    settings : thresholds and sizes
    segmentation, voiceprint : folders of the two models, as ``models.fetch`` gives them
    device : ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``

    Raises
    ------
    WeightsError
        If a model's file does not fit.
    """

    def __init__(
        self,
        settings: DiarizationSettings,
        *,
        segmentation: Path,
        voiceprint: Path,
        device: str = "cpu",
    ) -> None:
        self.settings = settings
        self.device = _resolve(device)
        if self.device == "cpu":
            import torch

            # A recurrent network meets its threads again at every time step: a second thread
            # gains little, and where another program uses the core, it costs ten times the time.
            torch.set_num_threads(1)
        self._segmentation, self._voiceprint = _load(segmentation, voiceprint, self.device)

    @classmethod
    def of(
        cls, settings: DiarizationSettings, network: SegmentationNetwork, printer: Voiceprinter
    ) -> Diarizer:
        """Make a diarizer of networks that are loaded already, on the CPU."""
        made = cls.__new__(cls)
        made.settings, made.device = settings, "cpu"
        made._segmentation, made._voiceprint = network, printer  # noqa: SLF001 - its own class
        return made

    def diarize(
        self,
        audio: AudioReader,
        *,
        channels: ChannelReader | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        progress: Progress = no_progress,
        keep: Parts[NDArray[Any]] = all_at_once,
    ) -> Activity:
        """Say who speaks when.

        Parameters
        ----------
        audio : mono, 16 kHz; read in pieces of at most 10 s
        channels : the channels of an array, if there is one: voices are told apart by where they
            come from too
        num_speakers : exactly so many; a note says so where the speech cannot be cut that often
        min_speakers, max_speakers : bounds of the count that is found
        keep : keeps what the networks heard in every few minutes

        Returns
        -------
        Activity
            Labels "Speaker 1", ... by first appearance; no turns where nobody speaks.

        Raises
        ------
        ConfigError
            If the bounds exclude each other.
        """
        bounds = _bounds(num_speakers, min_speakers, max_speakers)
        settings = self.settings
        windows = segmentation.segment(
            audio,
            self._segmentation,
            step_frames=max(1, round(settings.step_s / FRAME_STEP_S)),
            batch_size=settings.batch_size,
            device=self.device,
            progress=lambda _, done: progress("activity", _SEGMENTATION_SHARE * done),
            keep=keep,
        )
        tracks = stitch(windows, agreement=settings.link_agreement)
        units = cut_units(windows, tracks, settings, bounds.low)
        prints_ud = voiceprint.voiceprints(
            audio,
            units,
            self._voiceprint,
            progress=lambda _, done: progress(
                "activity", _SEGMENTATION_SHARE + (1 - _SEGMENTATION_SHARE) * done
            ),
            keep=keep,
        )
        if channels is not None and settings.place_weight > 0:
            prints_ud = _with_places(prints_ud, units, channels)
            settings = settings.model_copy(update={"same_voice": settings.same_voice_and_place})
        found = resolve(windows, tracks, units, prints_ud, audio.duration, settings, bounds)
        return replace(found, voiceprints=_voices_of(found))

    def likeness(
        self, samples_n: NDArray[np.float32], voices: Mapping[str, Sequence[float]]
    ) -> dict[str, float]:
        """Give the cosine between the voice in some samples and each of ``voices``.

        Parameters
        ----------
        samples_n : 16 kHz, a second or so of one voice
        voices : label -> voiceprint, as in ``Activity.voiceprints``
        """
        print_d = self._voiceprint(samples_n, [(0, len(samples_n))])[0]
        return {label: float(np.dot(print_d, voice)) for label, voice in voices.items()}


def _with_places(
    prints_ud: NDArray[np.float32], units: Sequence[Unit], channels: ChannelReader
) -> NDArray[np.float32]:
    """Append where each unit comes from, as ``likeness`` wants it."""
    spans = [(unit.start * FRAME_STEP_S, unit.end * FRAME_STEP_S) for unit in units]
    return np.concatenate([prints_ud, signatures(channels, spans)], axis=1)


def _voices_of(activity: Activity) -> dict[str, tuple[float, ...]]:
    """Give the voice part of the prints: a voice is the same in another room."""
    return {label: print_[:VOICEPRINT_SIZE] for label, print_ in activity.voiceprints.items()}


def cut_units(
    windows: Windows, tracks: Sequence[Track], settings: DiarizationSettings, fewest: int = 1
) -> list[Unit]:
    """Cut tracks into units as the settings say, finer where ``fewest`` asks for more of them."""
    units = find_units(
        windows,
        tracks,
        unit_frames=round(settings.unit_s / FRAME_STEP_S),
        hop_frames=round(settings.unit_hop_s / FRAME_STEP_S),
        shortest_frames=round(settings.shortest_unit_s / FRAME_STEP_S),
    )
    if 0 < len(units) < fewest:
        finest = _FINEST_FRAMES
        units = find_units(
            windows, tracks, unit_frames=finest, hop_frames=finest, shortest_frames=finest
        )
    return units


def resolve(  # noqa: PLR0917 - one value of each stage before
    windows: Windows,
    tracks: Sequence[Track],
    units: Sequence[Unit],
    prints_ud: NDArray[np.float32],
    duration: float,
    settings: DiarizationSettings,
    bounds: Bounds,
) -> Activity:
    """Decide who is who and give the turns; everything after the networks."""
    if not units:
        return Activity(())
    weights_u = _seconds(units, tracks)
    clean = np.array([unit.clean for unit in units])
    if clean.sum() < max(bounds.low, 1):
        clean[:] = True
    place_weight = settings.place_weight
    shortest_s = _shortest_speaker_s(weights_u[clean], settings)
    labels_u = group(units, prints_ud, weights_u, clean, shortest_s, settings, bounds)
    num = int(labels_u.max()) + 1
    centres_sd = unit_parts(sums(labels_u, prints_ud, weights_u, num))
    scores_us = alike(prints_ud, centres_sd, place_weight)
    smoothed_u = smooth(units, labels_u, scores_us, settings.switch_cost)
    if len(np.unique(smoothed_u[smoothed_u >= 0])) == num:
        labels_u = smoothed_u
        centres_sd = unit_parts(sums(labels_u, prints_ud, weights_u, num))
    speakers_gs = np.zeros((windows.num_frames, num), dtype=np.float32)
    of_track: dict[int, dict[Unit, int]] = defaultdict(dict)
    for unit, label in zip(units, labels_u.tolist(), strict=True):
        if label >= 0:
            of_track[unit.track][unit] = label
    for index, mine in of_track.items():
        turns.add_track(speakers_gs, tracks[index], mine)
    for index in np.flatnonzero(~clean).tolist():
        unit, print_d = units[index], prints_ud[index]
        scores_s = alike(centres_sd, print_d[None], place_weight)[:, 0]
        speaker, score = _free_match(unit, scores_s, speakers_gs)
        room = bounds.high is None or len(centres_sd) < bounds.high
        if score < settings.same_voice and room and weights_u[index] >= shortest_s:
            speaker = len(centres_sd)
            centres_sd = np.concatenate([centres_sd, print_d[None]])
            speakers_gs = np.pad(speakers_gs, ((0, 0), (0, 1)))
        turns.add_track(speakers_gs, tracks[unit.track], {unit: speaker})
    np.minimum(speakers_gs, 1.0, out=speakers_gs)
    return _activity(speakers_gs, centres_sd, duration, settings, bounds)


def _shortest_speaker_s(weights_u: NDArray[np.float32], settings: DiarizationSettings) -> float:
    share = settings.shortest_speaker_share * float(weights_u.sum())
    return max(settings.shortest_speaker_s, min(share, _ENOUGH_S))


def _seconds(units: Sequence[Unit], tracks: Sequence[Track]) -> NDArray[np.float32]:
    """Give the seconds of speech that each unit adds: overlapping units share theirs."""
    weights = []
    for run in _runs_of(units):
        span = (run[-1].end - run[0].start) * FRAME_STEP_S / len(run)
        for unit in run:
            activity = tracks[unit.track].over(unit.start, unit.end)
            weights.append(max(span * float(activity.mean()), 1e-3))
    return np.array(weights, dtype=np.float32)


def _runs_of(units: Sequence[Unit]) -> list[list[Unit]]:
    return [list(run) for _, run in groupby(units, key=lambda unit: unit.run)]


def smooth(
    units: Sequence[Unit],
    labels_u: NDArray[np.int64],
    scores_us: NDArray[np.float32],
    switch_cost: float,
) -> NDArray[np.int64]:
    """Choose the best path of speakers through each run, where a change costs (Viterbi).

    Units labelled -1 keep that label.
    """
    made = labels_u.copy()
    first = 0
    for run in _runs_of(units):
        here = slice(first, first + len(run))
        first += len(run)
        if labels_u[here].min() >= 0:
            made[here] = _best_path(scores_us[here], switch_cost)
    return made


def _best_path(scores_us: NDArray[np.float32], switch_cost: float) -> list[int]:
    total_s = scores_us[0].copy()
    back: list[NDArray[np.int64]] = []
    stay = np.arange(len(total_s))
    for row_s in scores_us[1:]:
        best = int(total_s.argmax())
        change_s = total_s[best] - switch_cost > total_s
        back.append(np.where(change_s, best, stay))
        total_s = np.where(change_s, total_s[best] - switch_cost, total_s) + row_s
    path = [int(total_s.argmax())]
    for from_s in reversed(back):
        path.append(int(from_s[path[-1]]))
    return path[::-1]


def _free_match(
    unit: Unit, scores_s: NDArray[np.float32], speakers_gs: NDArray[np.float32]
) -> tuple[int, float]:
    """Give the most similar speaker among those who are not speaking there already, and how far.

    Where everybody is speaking, the most similar of all, with the score -1.
    """
    busy_s = speakers_gs[unit.start : unit.end].mean(axis=0) > 0.5  # noqa: PLR2004 - mostly
    if busy_s.all():
        return int(scores_s.argmax()), -1.0
    free_s = np.where(busy_s, -np.inf, scores_s)
    return int(free_s.argmax()), float(free_s.max())


def _activity(
    speakers_gs: NDArray[np.float32],
    centres_sd: NDArray[np.float32],
    duration: float,
    settings: DiarizationSettings,
    bounds: Bounds,
) -> Activity:
    # a speaker that was asked for is heard where it is likeliest, however unlikely that is
    if 1 < speakers_gs.shape[1] <= bounds.low:
        speakers_gs /= np.maximum(speakers_gs.max(axis=0), 1e-6)
    provisional = [str(index) for index in range(speakers_gs.shape[1])]
    found = turns.overlapping_turns(
        speakers_gs,
        provisional,
        duration,
        threshold=settings.threshold,
        shortest_turn_s=settings.shortest_turn_s,
        shortest_pause_s=settings.shortest_pause_s,
    )
    if not found:
        return Activity(())
    order = [int(label) for label in dict.fromkeys(turn.speaker for turn in found)]
    labels = [f"Speaker {number}" for number in range(1, len(order) + 1)]
    speakers_gs = speakers_gs[:, order]
    renamed = dict(zip([str(index) for index in order], labels, strict=True))
    named = [type(turn)(turn.start, turn.end, renamed[turn.speaker]) for turn in found]
    exclusive = turns.exclusive_turns(speakers_gs, named, labels, duration)
    prints = {
        label: tuple(float(value) for value in centres_sd[index])
        for label, index in zip(labels, order, strict=True)
    }
    log.info("%d turns of %d speakers", len(named), len(labels))
    return Activity(tuple(named), tuple(exclusive), prints, _notes(len(labels), bounds))


def _notes(found: int, bounds: Bounds) -> tuple[str, ...]:
    if 0 < found < bounds.low:
        wanted = f"{bounds.low} were asked for"
        return (f"only {found} voices could be told apart, although {wanted}",)
    return ()


def _bounds(exactly: int | None, low: int | None, high: int | None) -> Bounds:
    for name, value in (("speakers", exactly), ("min_speakers", low), ("max_speakers", high)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: {value}, but a meeting has at least 1 speaker")
    if exactly is not None:
        return Bounds(exactly, exactly)
    if low is not None and high is not None and low > high:
        raise ConfigError(f"min_speakers {low} is above max_speakers {high}")
    return Bounds(low or 1, high)


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _load(
    segmentation_dir: Path, voiceprint_dir: Path, device: str
) -> tuple[SegmentationNetwork, Voiceprinter]:
    return segmentation.load(segmentation_dir, device), voiceprint.load(voiceprint_dir, device)
