"""How well spatial features tell whose cell of the spectrum it is, in simulated rooms.

    python benchmarks/solo_sf.py --table ../shared/data/speech/transcripts.tsv [--rooms 12]

Two people talk at once near a circle of eight microphones. A feature's score is its AUC for "the
target is louder than the other in this cell": 0.5 is chance. Every row of the table is a
reverberation time and a choice of microphone pairs; the columns are features from geometry
(which is given), from a solo segment of some seconds, and from the room's responses (given too).
Read differences, not levels.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from meetscribe.spatial.geometry import point_tpd, spatial_feature
from meetscribe.spatial.phase import FEATURE_STFT, Pair, PairChoice, choose_pairs
from meetscribe.spatial.rir import rir_feature, rir_spectra
from meetscribe.spatial.solo import (
    SoloFeatures,
    against_others,
    profile_of,
    solo_features,
)
from meetscribe.spatial.solo_segments import SoloForm
from meetscribe.spatial.stft import stft
from meetscribe.train import SimulationSettings
from meetscribe.train.rooms import Scene, simulate_room
from meetscribe.train.speech import Corpus, listen, load_corpus, read_samples

RATE_HZ = 16_000
CHANNELS = 8
RADIUS_M = 0.05
SOLO_S = (0.5, 1.0, 2.0, 4.0)
MIXED_S = 6.0
NOISE_DB = 20.0
BAND_HZ = (320.0, 6400.0)
FLOOR_DB = 45.0
TAPS = 10
PAIR_SETS: dict[str, PairChoice] = {
    "4 diametric": "diametric",
    "8 adjacent": "adjacent",
    "all 28": "all",
}
FORMS: tuple[SoloForm, ...] = ("phat", "mean-cosine", "power-reliability")
FORM_S = 2.0
"""Seconds of the solo segment with which the forms are compared."""
COLUMNS = {
    "geometry SF": ("geometry",),
    "geometry, target - competitor": ("geometry-against",),
    "Solo-SF power, 0.5 / 1 / 2 / 4 s": tuple(f"power-{s:g}" for s in SOLO_S),
    "PHAT 2 s": ("phat",),
    "mean of cosines 2 s": ("mean-cosine",),
    "power + reliability 2 s": ("power-reliability",),
    "Solo-SF, target - competitor, 0.5 / 1 / 2 / 4 s": tuple(f"against-{s:g}" for s in SOLO_S),
    "RIR-SF": ("rir",),
    "RIR-SF, target - competitor": ("rir-against",),
}


@dataclass
class Trial:
    """Two talkers in a room: each alone, both at once, and how the room sounds."""

    scene: Scene
    responses_kcn: torch.Tensor
    solos_kcn: torch.Tensor
    images_kcn: torch.Tensor
    mixture_cn: torch.Tensor


def auc(score_n: np.ndarray, target_n: np.ndarray) -> float:
    """Give the probability that a cell of the target scores higher than one that is not."""
    others_n = np.sort(score_n[~target_n])
    own_n = score_n[target_n]
    below_n = np.searchsorted(others_n, own_n, "left") + np.searchsorted(others_n, own_n, "right")
    return float(below_n.mean() / (2 * len(others_n)))


def draw_scene(rt60_s: float, rng: np.random.Generator) -> Scene:
    """Draw a room with a circle of microphones near its middle and two people at the table."""
    room = (float(rng.uniform(5, 8)), float(rng.uniform(4, 6)), 2.8)
    centre = np.array([*(np.array(room[:2]) * rng.uniform(0.42, 0.58, 2)), 0.8])
    angle_c = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(CHANNELS) / CHANNELS
    circle_c3 = RADIUS_M * np.stack([np.cos(angle_c), np.sin(angle_c), 0 * angle_c], axis=1)
    first = rng.uniform(0, 2 * np.pi)
    angle_k = np.array([first, first + np.radians(rng.uniform(30, 120))])
    away_k = rng.uniform(1.0, 1.6, 2)
    mouth_k = rng.uniform(1.05, 1.30, 2) - centre[2]
    seats_k3 = np.stack([away_k * np.cos(angle_k), away_k * np.sin(angle_k), mouth_k], axis=1)
    return Scene(
        room_m=room,
        rt60_s=rt60_s,
        centre_m=centre,
        microphones_c3=centre + circle_c3,
        speakers_k3=centre + seats_k3,
        noises_k3=np.zeros((0, 3)),
    )


class Voices:
    """Speakers of a table, with as much speech each as a trial needs."""

    def __init__(self, corpus: Corpus, seconds: float) -> None:
        self.corpus, self.seconds = corpus, seconds
        self.readings = defaultdict(list)
        for reading in corpus.readings:
            self.readings[reading.speaker].append(reading)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Give the speech of two speakers without pauses, shape (2, N)."""
        found: list[np.ndarray] = []
        for speaker in rng.permutation(sorted(self.readings)):
            speech_n = self._speech(str(speaker))
            if speech_n is not None:
                found.append(speech_n)
            if len(found) == 2:
                return np.stack(found)
        sys.exit(f"fewer than two speakers of {self.seconds:g} s of speech in the table")

    def _speech(self, speaker: str) -> np.ndarray | None:
        parts: list[np.ndarray] = []
        wanted = round(self.seconds * RATE_HZ)
        for reading in self.readings[speaker]:
            spoken = listen(self.corpus, reading)
            samples_n = read_samples(self.corpus, reading)
            for region in spoken.regions:
                first, last = (
                    round((spoken.first + t) * RATE_HZ) for t in (region.start, region.end)
                )
                parts.append(samples_n[first:last] / spoken.rms)
            if sum(map(len, parts)) >= wanted:
                return np.concatenate(parts)[:wanted]
        return None


def make_trial(rt60_s: float, voices: Voices, rng: np.random.Generator) -> Trial:
    """Place two people in a room, and let each talk alone and then both at once."""
    scene = draw_scene(rt60_s, rng)
    speech_kn = voices.draw(rng)
    heard = simulate_room(scene).speakers
    length = max(response_cn.shape[1] for response_cn in heard)
    responses_kcn = np.stack([np.pad(r, ((0, 0), (0, length - r.shape[1]))) for r in heard])
    cut = round(max(SOLO_S) * RATE_HZ)
    solos_kcn = through(responses_kcn, speech_kn[:, :cut])
    images_kcn = through(responses_kcn, speech_kn[:, cut:])
    # as loud as each other at the first microphone, together and alone
    gain_k11 = 1 / np.sqrt(np.mean(images_kcn[:, :1] ** 2, axis=2, keepdims=True))
    images_kcn, solos_kcn = gain_k11 * images_kcn, gain_k11 * solos_kcn
    mixture_cn = images_kcn.sum(axis=0)
    noise = np.sqrt(np.mean(mixture_cn[0] ** 2)) * 10 ** (-NOISE_DB / 20)
    return Trial(
        scene,
        *(
            torch.from_numpy(signal.astype(np.float32))
            for signal in (
                responses_kcn,
                solos_kcn + noise * rng.standard_normal(solos_kcn.shape),
                images_kcn,
                mixture_cn + noise * rng.standard_normal(mixture_cn.shape),
            )
        ),
    )


def through(responses_kcn: np.ndarray, speech_kn: np.ndarray) -> np.ndarray:
    """Give what every microphone hears of every speaker, as long as the speech, (K, C, N)."""
    num = speech_kn.shape[1]
    size = 2 ** math.ceil(math.log2(num + responses_kcn.shape[2]))
    spectrum_kcf = np.fft.rfft(responses_kcn, size) * np.fft.rfft(speech_kn, size)[:, None]
    return np.fft.irfft(spectrum_kcf, size)[..., :num]


def against(feature_ktf: torch.Tensor) -> torch.Tensor:
    """Give target minus competitor, for each of the two as the target."""
    return against_others(SoloFeatures(feature_ktf, torch.ones(len(feature_ktf), dtype=torch.bool)))


def features_of(trial: Trial, pairs: tuple[Pair, ...]) -> dict[str, torch.Tensor]:
    """Give every feature for both talkers as target, shape (2, T, F) each."""
    mixture_cft = stft(trial.mixture_cn, FEATURE_STFT)
    tpd_kpf = point_tpd(trial.scene.speakers_k3, trial.scene.microphones_c3, pairs)
    made = {"geometry": spatial_feature(mixture_cft, tpd_kpf, pairs)}
    made["geometry-against"] = against(made["geometry"])

    def solo(form: SoloForm, seconds: float) -> torch.Tensor:
        cut_kcn = trial.solos_kcn[..., : round(seconds * RATE_HZ)]
        profiles = [profile_of(stft(cut_cn, FEATURE_STFT), form) for cut_cn in cut_kcn]
        return solo_features(mixture_cft, profiles, pairs).feature_ktf

    for seconds in SOLO_S:
        made[f"power-{seconds:g}"] = solo("power", seconds)
        made[f"against-{seconds:g}"] = against(made[f"power-{seconds:g}"])
    for form in FORMS:
        made[form] = solo(form, FORM_S)
    rir_kcfk = rir_spectra(trial.responses_kcn, taps=TAPS)
    made["rir"] = rir_feature(mixture_cft, rir_kcfk, pairs)
    made["rir-against"] = against(made["rir"])
    return made


def score(trial: Trial) -> dict[tuple[str, str], float]:
    """Give the AUC of every feature with every set of pairs, the mean over both targets."""
    image_kft = stft(trial.images_kcn[:, 0], FEATURE_STFT).abs()
    level_ft = 20 * stft(trial.mixture_cn[0], FEATURE_STFT).abs().clamp(min=1e-12).log10()
    hz_f = torch.from_numpy(FEATURE_STFT.bin_hz())
    heard_ft = level_ft > level_ft.max() - FLOOR_DB
    heard_ft &= ((hz_f >= BAND_HZ[0]) & (hz_f <= BAND_HZ[1]))[:, None]
    found = {}
    for name, choice in PAIR_SETS.items():
        for feature, value_ktf in features_of(trial, choose_pairs(CHANNELS, choice)).items():
            rates = [
                auc(
                    value_ktf[target].T[heard_ft].numpy(),
                    (image_kft[target] > image_kft[1 - target])[heard_ft].numpy(),
                )
                for target in (0, 1)
            ]
            found[name, feature] = float(np.mean(rates))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="of read speech")
    parser.add_argument("--rooms", type=int, default=12, help="for each reverberation time")
    parser.add_argument("--rt60", type=float, nargs="+", default=[0.3, 0.6], help="seconds")
    parser.add_argument("--language", default="en")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    corpus = load_corpus(options.table, SimulationSettings(language=options.language))
    voices = Voices(corpus, max(SOLO_S) + MIXED_S)
    print("| RT60 | pairs | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for rt60_s in options.rt60:
        began = time.monotonic()
        scores = defaultdict(list)
        for room in range(options.rooms):
            rng = np.random.default_rng([options.seed, round(1000 * rt60_s), room])
            for key, value in score(make_trial(rt60_s, voices, rng)).items():
                scores[key].append(value)
        for name in PAIR_SETS:
            cells = [
                " / ".join(f"{np.mean(scores[name, part]):.3f}"[1:] for part in parts)
                for parts in COLUMNS.values()
            ]
            print(f"| {rt60_s:g} s | {name} | " + " | ".join(cells) + " |", flush=True)
        spent = time.monotonic() - began
        print(f"{options.rooms} rooms of RT60 {rt60_s:g} s: {spent:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
