"""How well people who were enrolled are told from others, and where the threshold has to be.

    python benchmarks/enrolment.py ../shared/data/speech/transcripts.tsv

Speakers with several recordings are enrolled with 10 s of read speech as it was recorded; all
speakers of the same split are heard in other recordings: clean, in noise (5 to 15 dB), in rooms
(RT60 0.3 to 0.7 s), and both. Voices are taken as `--enroll` takes them: the diarizer finds the
speech, CAM++ hears it. Chooses the lowest threshold with at most `--false-accepts` on the split
`train`, and prints what it does on `heldout`, with intervals of 95 % over speakers.
`--threshold` takes one that is known and hears `heldout` only; `--enrol-like "room and noise"`
enrols people as they are heard in a meeting, which is what `--link-series` compares.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetscribe.config import config_hash
from meetscribe.ingest import InMemory
from meetscribe.speakers.enrol import hear
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.settings import NamingSettings
from meetscribe.train.noise import Colour, DiffuseNoise
from meetscribe.train.rooms import draw_scene, simulate_room
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.speech import Corpus, Reading, load_corpus, read_samples
from meetscribe.types import SAMPLE_RATE_HZ

CONDITIONS = ("clean", "noise", "room", "room and noise")
SNR_DB = (5.0, 15.0)
RT60_S = (0.3, 0.7)
SEVERAL = 5
PAUSE_S = 0.3
SEATS = 4
ROUNDS = 1000

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Trials:
    """Cosines of one split: enrolments by tests, and whose they are.

    ``test_of`` and ``enrolled`` index ``speakers``.
    """

    speakers: tuple[str, ...]
    enrolled_e: NDArray[np.int64]
    test_of_t: NDArray[np.int64]
    condition_t: NDArray[np.int64]
    cosine_et: NDArray[np.float64]

    @property
    def same_et(self) -> NDArray[np.bool_]:
        """Whether a trial is of one person."""
        return np.asarray(self.enrolled_e[:, None] == self.test_of_t[None])

    def of(self, condition: int) -> Trials:
        """Give the trials of one condition."""
        mine = self.condition_t == condition
        return Trials(
            self.speakers,
            self.enrolled_e,
            self.test_of_t[mine],
            self.condition_t[mine],
            self.cosine_et[:, mine],
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--enrol-s", type=float, default=10.0)
    parser.add_argument("--test-s", type=float, default=10.0)
    parser.add_argument("--tests", type=int, default=6, help="of a target, in each condition")
    parser.add_argument("--enrolments", type=int, default=4, help="of a target")
    parser.add_argument("--rooms", type=int, default=8)
    parser.add_argument("--false-accepts", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threshold", type=float, help="leave the split train out")
    parser.add_argument("--enrol-like", choices=CONDITIONS, default="clean")
    parser.add_argument("--keep", type=Path, help="file (.npz) for the trials of a split, by name")
    options = parser.parse_args()
    began = time.monotonic()
    models, trials = VoiceModels(), {}
    for split in ("train", "heldout") if options.threshold is None else ("heldout",):
        trials[split] = _kept(options, split, models)
    print(f"{time.monotonic() - began:.0f} s")
    chosen = options.threshold
    if chosen is None:
        chosen = lowest_threshold(trials["train"], options.false_accepts)
        print(f"at most {options.false_accepts:.1%} false accepts on train: ", end="")
    print(f"threshold {chosen:.3f}\n")
    for split, made in trials.items():
        report(split, made, chosen)


def _kept(options: argparse.Namespace, split: str, models: VoiceModels) -> Trials:
    if options.keep is None:
        return make_trials(options, split, models)
    path = options.keep.with_name(f"{options.keep.stem}.{split}.npz")
    if not path.exists():
        made = make_trials(options, split, models)
        np.savez(path, **{**vars(made), "speakers": np.array(made.speakers)})
    kept = np.load(path)
    return Trials(**{**kept, "speakers": tuple(kept["speakers"].tolist())})


def make_trials(options: argparse.Namespace, split: str, models: VoiceModels) -> Trials:
    """Enrol the speakers with several recordings, hear everybody, and compare."""
    corpus = load_corpus(options.table, SimulationSettings(split=split, utterance_s=(1.0, 30.0)))
    readings: dict[str, list[Reading]] = defaultdict(list)
    for reading in corpus.readings:
        readings[reading.speaker].append(reading)
    rng = np.random.default_rng([options.seed, split == "train"])
    responses = draw_responses(options.rooms, rng)
    enrolled, tests = [], []
    settings = NamingSettings()
    for number, speaker in enumerate(sorted(readings)):
        mine = readings[speaker]
        first: list[Samples] = []
        if len(mine) >= SEVERAL:
            first, mine = _cut(corpus, mine, options.enrol_s, options.enrolments)
        for dry_n in first:
            heard_n = spoil(dry_n, options.enrol_like, responses, rng)
            voice = hear(InMemory(heard_n), models, settings)
            if voice is not None:
                enrolled.append((number, voice.print_d))
        later, _ = _cut(corpus, mine, options.test_s, options.tests if first else 1)
        for dry_n in later:
            for condition, name in enumerate(CONDITIONS):
                heard_n = spoil(dry_n, name, responses, rng)
                voice = hear(InMemory(heard_n), models, settings)
                if voice is not None:
                    tests.append((number, condition, voice.print_d))
    enrolled_ed = np.array([one[1] for one in enrolled])
    tests_td = np.array([one[2] for one in tests])
    return Trials(
        tuple(sorted(readings)),
        np.array([one[0] for one in enrolled]),
        np.array([one[0] for one in tests]),
        np.array([one[1] for one in tests]),
        enrolled_ed @ tests_td.T,
    )


def _cut(
    corpus: Corpus, readings: list[Reading], seconds: float, most: int
) -> tuple[list[Samples], list[Reading]]:
    """Give signals of so many seconds from whole utterances one after the other, and the rest."""
    made: list[Samples] = []
    # half of the utterances at most, where there are more to be made of them than one test
    left = list(readings)
    keep = len(left) // 2 if most > 1 else 0
    while left and len(made) < most and (len(left) > keep or not made):
        parts: list[Samples] = []
        while left and sum(map(len, parts)) < seconds * SAMPLE_RATE_HZ:
            parts += [read_samples(corpus, left.pop(0)), _pause()]
        whole_n = np.concatenate(parts)[: round(seconds * SAMPLE_RATE_HZ)]
        if len(whole_n) >= min(seconds, 5.0) * SAMPLE_RATE_HZ:
            made.append(whole_n)
    return made, left


def _pause() -> Samples:
    return np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)


def draw_responses(rooms: int, rng: np.random.Generator) -> list[Samples]:
    """Give impulse responses to one microphone on the table from places in rooms, shape (N,)."""
    settings = SimulationSettings(channels=1, speakers=(SEATS, SEATS), array="ad-hoc")
    found: list[Samples] = []
    for _ in range(rooms):
        scene = draw_scene(settings, SEATS, rng, rt60_s=float(rng.uniform(*RT60_S)))
        found += [response_cn[0] for response_cn in simulate_room(scene).speakers]
    return found


def spoil(
    dry_n: Samples, condition: str, responses: list[Samples], rng: np.random.Generator
) -> Samples:
    """Give a signal as it sounds in a room, in noise, or both; its level stays."""
    from scipy.signal import oaconvolve

    made_n = dry_n.astype(np.float64)
    if "room" in condition:
        response_n = responses[int(rng.integers(len(responses)))]
        made_n = oaconvolve(made_n, response_n)[: len(dry_n)]
        made_n *= np.std(dry_n) / max(float(np.std(made_n)), 1e-9)
    if "noise" in condition:
        noise_n = DiffuseNoise(np.zeros((1, 3)), Colour.draw(rng), rng).read(len(made_n))[0]
        snr_db = float(rng.uniform(*SNR_DB))
        made_n = made_n + noise_n * float(np.std(made_n)) * 10 ** (-snr_db / 20)
    peak = float(np.abs(made_n).max())
    return np.asarray(made_n / max(peak, 1.0), np.float32)


def lowest_threshold(trials: Trials, most: float) -> float:
    """Give the lowest threshold, in thousandths, with at most such a share of false accepts."""
    others = np.sort(trials.cosine_et[~trials.same_et])
    index = math.ceil((1 - most) * len(others))
    return math.ceil(1000 * float(others[min(index, len(others) - 1)])) / 1000


def rates(
    trials: Trials, threshold: float, weight_s: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Give the shares of false accepts and false rejects, speakers weighted as they are drawn."""
    weight_s = np.ones(len(trials.speakers)) if weight_s is None else weight_s
    weight_et = weight_s[trials.enrolled_e][:, None] * weight_s[trials.test_of_t][None]
    over_et, same_et = trials.cosine_et >= threshold, trials.same_et
    accepts = float((weight_et * (over_et & ~same_et)).sum() / (weight_et * ~same_et).sum())
    mine_et = np.where(same_et, weight_s[trials.enrolled_e][:, None], 0.0)
    return accepts, float((mine_et * ~over_et).sum() / mine_et.sum())


def equal_error(trials: Trials, weight_s: NDArray[np.float64] | None = None) -> float:
    """Give the error rate where false accepts and false rejects are equally frequent."""
    low, high = -1.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        accepts, rejects = rates(trials, middle, weight_s)
        low, high = (middle, high) if accepts > rejects else (low, middle)
    return sum(rates(trials, (low + high) / 2, weight_s)) / 2


def intervals(trials: Trials, threshold: float) -> NDArray[np.float64]:
    """Give 2.5 % and 97.5 % of EER, false accepts, false rejects over drawn speakers: (3, 2)."""
    rng = np.random.default_rng(0)
    targets = np.unique(trials.enrolled_e)
    others = np.setdiff1d(np.arange(len(trials.speakers)), targets)
    found = []
    for _ in range(ROUNDS):
        weight_s = np.zeros(len(trials.speakers))
        # there must be somebody to be told from
        while (weight_s[targets] > 0).sum() < 2:
            weight_s[targets] = 0
            np.add.at(weight_s, rng.choice(targets, len(targets)), 1.0)
        if len(others):
            np.add.at(weight_s, rng.choice(others, len(others)), 1.0)
        found.append((equal_error(trials, weight_s), *rates(trials, threshold, weight_s)))
    return np.asarray(np.quantile(np.array(found), [0.025, 0.975], axis=0).T)


def report(split: str, trials: Trials, threshold: float) -> None:
    """Print the rates of a split, by condition and together."""
    targets = len(set(trials.enrolled_e.tolist()))
    print(f"{split}: {targets} people enrolled {len(trials.enrolled_e)} times, ", end="")
    print(f"{len(trials.speakers)} speakers in {len(trials.test_of_t)} tests")
    print(f"{'':<16}{'trials':>14}{'EER %':>18}{'false accept %':>20}{'false reject %':>20}")
    for condition, name in [*enumerate(CONDITIONS), (-1, "all")]:
        mine = trials if condition < 0 else trials.of(condition)
        same = int(mine.same_et.sum())
        values = (equal_error(mine), *rates(mine, threshold))
        spread = intervals(mine, threshold)
        cells = [
            f"{100 * value:.2f} ({100 * low:.2f}-{100 * high:.2f})"
            for value, (low, high) in zip(values, spread, strict=True)
        ]
        print(
            f"{name:<16}{f'{same}/{mine.same_et.size - same}':>14}"
            f"{cells[0]:>18}{cells[1]:>20}{cells[2]:>20}"
        )
    named(trials, threshold)


def named(trials: Trials, threshold: float) -> None:
    """Print who is called what where all targets are enrolled, each once."""
    people = np.unique(trials.enrolled_e)
    first_e = np.array([int(np.flatnonzero(trials.enrolled_e == one)[0]) for one in people])
    best_t = trials.cosine_et[first_e].max(axis=0)
    who_t = people[trials.cosine_et[first_e].argmax(axis=0)]
    known_t = np.isin(trials.test_of_t, people)
    over_t = best_t >= threshold
    right = float((over_t & (who_t == trials.test_of_t))[known_t].mean())
    wrong = float((over_t & (who_t != trials.test_of_t))[known_t].mean())
    strangers = float(over_t[~known_t].mean()) if (~known_t).any() else math.nan
    print(
        f"{len(people)} people enrolled at once: of their tests {right:.1%} get the right name, "
        f"{wrong:.1%} a wrong one, {1 - right - wrong:.1%} none; "
        f"of strangers {strangers:.1%} get a name"
    )
    print(f"trials {config_hash(trials.cosine_et.round(3).tolist())}\n")


if __name__ == "__main__":
    main()
