"""Speed of separation, and against the reference implementation on the same machine.

    python benchmarks/gss_speed.py [--goldens ../shared/goldens/gss] [--threads 2]

Part one separates a made-up recording (8 channels, 4 speakers, noise of the right shape) block by
block as ``meetscribe`` does, and prints the share of real time. Part two needs nara_wpe and the
goldens: it times nara_wpe on their meeting, and so knows how fast the reference's other stages,
timed once elsewhere (timing.json), would be here.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from meetscribe.spatial import SeparatedStreams, SeparationSettings
from meetscribe.spatial.dereverb import dereverberate
from meetscribe.spatial.mixture import fit_mixture
from meetscribe.spatial.separate import Separation, frame_activity
from meetscribe.spatial.stft import StftSettings, stft
from meetscribe.types import Turn

RATE_HZ = 16_000
BIN_STEP = 9
"""nara_wpe is timed on every ninth bin, as the reference was."""


@dataclass
class Timing:
    """Seconds, the best of the repetitions."""

    wall_s: float = float("inf")
    cpu_s: float = float("inf")


def timed(work: Callable[[], object], repetitions: int) -> Timing:
    """Time some work; CPU time is what other programs disturb least."""
    best = Timing()
    for _ in range(repetitions):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        best.wall_s = min(best.wall_s, time.perf_counter() - wall)
        best.cpu_s = min(best.cpu_s, time.process_time() - cpu)
    return best


class MadeUp:
    """A recording of any length that is computed when read: memory is the separation's alone."""

    def __init__(self, num_channels: int, duration: float) -> None:
        self.num_channels, self.duration = num_channels, duration
        self._one_cn = self._minute()

    def _minute(self) -> np.ndarray:
        random = np.random.default_rng(0)
        num = 60 * RATE_HZ
        sources_kn = random.standard_normal((4, num)) * np.repeat(
            random.random((4, num // 1600)), 1600, 1
        )
        made_cn = 0.01 * random.standard_normal((self.num_channels, num))
        for source_n in sources_kn:
            for channel in range(self.num_channels):
                taps = random.standard_normal(200) * np.exp(-np.arange(200) / 40)
                made_cn[channel] += np.convolve(source_n, taps)[:num]
        return (0.02 * made_cn).astype(np.float32)

    def read_cn(self, start: float, end: float) -> np.ndarray:
        """Give samples of shape (C, N): the same minute again and again."""
        index_n = np.arange(round(start * RATE_HZ), round(end * RATE_HZ)) % self._one_cn.shape[1]
        return np.asarray(self._one_cn[:, index_n])


def made_up_turns(duration: float) -> list[Turn]:
    """Four speakers, turns of 1 to 7 s, about a quarter of the speech overlapped."""
    random = np.random.default_rng(1)
    turns, now = [], 0.0
    while now < duration - 8:
        length = float(random.uniform(1, 7))
        turns.append(Turn(now, now + length, f"S{random.integers(4)}"))
        now += max(0.3, length + float(random.uniform(-1.8, 0.8)))
    return turns


def measure_streams(
    minutes: float, channels: int, threads: int, settings: SeparationSettings
) -> None:
    """Separate the whole made-up recording and print what it cost."""
    reader, turns = MadeUp(channels, 60 * minutes), made_up_turns(60 * minutes)

    def separate_all() -> None:
        with SeparatedStreams(reader, turns, settings, threads=threads) as streams:
            for speaker in streams.speakers:
                for start in range(0, int(reader.duration), 30):
                    streams.read(speaker, start, min(start + 30.0, reader.duration))

    spent = timed(separate_all, 1)
    seconds = 60 * minutes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform != "darwin" else 1024**2
    )
    print(f"separation, {minutes:g} min, {channels} channels, 4 speakers, {threads} threads:")
    print(f"  wall {spent.wall_s:.1f} s, {spent.wall_s / seconds:.3f} of real time;", end=" ")
    print(f"CPU {spent.cpu_s:.1f} s, {spent.cpu_s / seconds:.3f}; peak memory {peak:.0f} MB")


def measure_against_reference(goldens: Path, threads: int, repetitions: int) -> None:
    """Print our stages on the goldens' meeting beside the reference's, scaled to this machine."""
    import soundfile

    known = json.loads((goldens / "activities.json").read_text(encoding="utf-8"))
    there = json.loads((goldens / "timing.json").read_text(encoding="utf-8"))["full_run_1_thread"]
    samples_nc, _ = soundfile.read(goldens / "mixture.flac", dtype="float32")
    samples_cn = torch.from_numpy(samples_nc.T.copy())
    spans = [(s["speaker"], (s["start_sample"], s["end_sample"])) for s in known["segments"]]
    activity = [[span for name, span in spans if name == speaker] for speaker in known["speakers"]]
    activity_kt = frame_activity(activity, len(samples_nc), StftSettings(), noise_class=True)
    stft_cft = stft(samples_cn)
    wpe_cft = dereverberate(stft_cft, threads=threads)
    mask_kft = fit_mixture(wpe_cft, activity_kt, threads=threads).mask_kft
    separation = Separation(wpe_cft, mask_kft, len(samples_nc), StftSettings())

    def enhance() -> None:
        for speaker, span in spans:
            source = known["speakers"].index(speaker)
            separation.filtered(separation.beamformer(source, [span]), span)

    stages: list[tuple[str, str, Callable[[], object]]] = [
        ("STFT", "stft_6ch", lambda: stft(samples_cn)),
        ("WPE", "wpe_10_2_3", lambda: dereverberate(stft_cft, threads=threads)),
        (
            "masks, 10 iterations",
            "cacgmm_10it_K4_perfreq_incl_final_Estep",
            lambda: fit_mixture(wpe_cft, activity_kt, threads=threads),
        ),
        ("beamformers, inverse", "mask_zero+souden_mvdr_ban+istft_10it_6segments", enhance),
    ]
    nara = time_nara_wpe(stft_cft, repetitions)
    factor = nara.cpu_s / there["wpe_10_2_3"]["cpu_s"]
    print(f"\nnara_wpe here {nara.cpu_s:.2f} s CPU, where the reference was timed")
    print(f"{there['wpe_10_2_3']['cpu_s']:.2f} s: its stages times {factor:.2f}. CPU seconds:")
    print(f"  {'stage':<22}{'reference':>10}{'here':>8}{'times faster':>14}{'wall here':>11}")
    totals = [0.0, 0.0, 0.0]
    for name, key, work in stages:
        ours, theirs_s = timed(work, repetitions), factor * there[key]["cpu_s"]
        costs = [theirs_s, ours.cpu_s, ours.wall_s]
        totals = [a + b for a, b in zip(totals, costs, strict=True)]
        print_row(name, *costs)
    print_row("all", *totals)
    again = factor * there["pb_chime5_per_utterance_15s_context_10it_full_chain_6utt"]["cpu_s"]
    print(f"  the reference once per utterance: {again:.1f} s, {again / totals[1]:.1f} times")


def print_row(name: str, theirs_s: float, cpu_s: float, wall_s: float) -> None:
    """Print one line of the comparison."""
    print(f"  {name:<22}{theirs_s:>10.2f}{cpu_s:>8.2f}{theirs_s / cpu_s:>14.1f}{wall_s:>11.2f}")


def time_nara_wpe(stft_cft: torch.Tensor, repetitions: int) -> Timing:
    """Time nara_wpe with the same settings on one thread, on some bins, scaled to all."""
    from nara_wpe.wpe import wpe_v8
    from threadpoolctl import threadpool_limits

    some_fct = stft_cft[:, ::BIN_STEP].transpose(0, 1).to(torch.complex128).numpy().copy()

    def work() -> None:
        for bin_ct in some_fct:
            wpe_v8(bin_ct, taps=10, delay=2, iterations=3)

    with threadpool_limits(1):
        spent = timed(work, repetitions)
    scale = stft_cft.shape[1] / len(some_fct)
    return Timing(spent.wall_s * scale, spent.cpu_s * scale)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--goldens", type=Path, help="folder goldens/gss: compare with the reference"
    )
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--block-s", type=float, default=SeparationSettings().block_s)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    logging.basicConfig(format="  %(message)s")
    torch.set_num_threads(1)
    if options.minutes > 0:
        settings = SeparationSettings(block_s=options.block_s)
        measure_streams(options.minutes, options.channels, options.threads, settings)
    if options.goldens:
        with torch.inference_mode():
            measure_against_reference(options.goldens, options.threads, options.repetitions)


if __name__ == "__main__":
    main()
