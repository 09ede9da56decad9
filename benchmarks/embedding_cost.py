"""What SpatialEmb costs: parameters, multiply-adds and time on one thread.

    python benchmarks/embedding_cost.py [--seconds 20] [--repetitions 5]

Prints a table of every topology and set of planes for 2, 4 and 8 channels. Times are CPU seconds
per second of audio, for one target, the best of the repetitions: of the network alone, and of a
step of training (forward and backward). The last lines are what comes before the network, from
201 bins to bands; made once a target, like the planes themselves, whose time is not in here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from meetscribe.spatial.embedding import SpatialEmb, cost
from meetscribe.spatial.embedding_inputs import (
    FRAMES_PER_S,
    SpatialEmbSettings,
    SpatialPlanes,
    Topology,
    to_bands,
)

NUM_BINS = 201
TOPOLOGIES: tuple[Topology, ...] = ("fixed", "mean", "tac", "dac-last", "dac")
PLANES = {
    "spectral": (False, 0),
    "+ target": (True, 0),
    "+ competitors": (True, 2),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| topology | planes | channels | parameters | MMAC/s | RTF | RTF training |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for topology in TOPOLOGIES:
        for planes, (target, num_competitors) in PLANES.items():
            for channels in (2, 4, 8):
                settings = SpatialEmbSettings(
                    topology=topology,
                    num_channels=channels if topology == "fixed" else None,
                    target=target,
                    num_competitors=num_competitors,
                )
                found = cost(settings, channels)
                rtf, training = measured(settings, channels, options.seconds, options.repetitions)
                print(
                    f"| {topology} | {planes} | {channels} | {found.parameters:,}"
                    f" | {found.multiply_adds_per_s / 1e6:.0f} | {rtf:.4f} | {training:.4f} |"
                )
    print("\n| 201 bins to 64 bands, 4 planes | RTF |\n|---|---:|")
    for channels in (2, 4, 8):
        heard = made_up(channels, options.seconds, NUM_BINS)
        took = best(partial(to_bands, heard, 64), options.repetitions)
        print(f"| {channels} channels | {took / options.seconds:.4f} |")


def measured(
    settings: SpatialEmbSettings, channels: int, seconds: float, repetitions: int
) -> tuple[float, float]:
    """Give the share of real time of a pass, and of a pass with its gradients."""
    network = SpatialEmb(settings)
    heard = made_up(channels, seconds, settings.num_bands)

    def listen() -> None:
        with torch.inference_mode():
            network(heard)

    def train() -> None:
        network(heard).square().mean().backward()

    return best(listen, repetitions) / seconds, best(train, repetitions) / seconds


def made_up(channels: int, seconds: float, num_bands: int) -> SpatialPlanes:
    """Give planes of noise: what is in them takes no more or less time."""
    shape = (1, channels, round(seconds * FRAMES_PER_S), num_bands)
    competitors = torch.rand((1, 2, *shape[1:])) * 2 - 1
    return SpatialPlanes(torch.randn(shape) - 8, torch.rand(shape) * 2 - 1, competitors)


def best(work: Callable[[], object], repetitions: int) -> float:
    """Give the least CPU seconds, which other programs disturb least."""
    work()
    least = float("inf")
    for _ in range(repetitions):
        begin = time.process_time()
        work()
        least = min(least, time.process_time() - begin)
    return least


if __name__ == "__main__":
    main()
