"""Peak memory of very long recordings in which people speak a tenth of the time.

    meetscribe simulate TABLE -o simulated --meetings 6
    python benchmarks/memory.py simulated [--hours 6] [--only array|mono]

The simulated meetings (all with as many channels) are put into faint noise, each again and again
with another gain, until a tenth of the time is filled. ``array`` has all channels, ``mono`` the
first; each runs in a process of its own through the command line, as a user runs it. Dense speech
of any length: benchmarks/speed.py.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from speed import RATE_HZ, measure

_SPOKEN = 0.1
_NOISE = 1e-4
_TARGETS_MB = {"array": 2500, "mono": 1500}


def make_sparse(meetings: list[Path], path: Path, hours: float, channels: int | None) -> None:
    """Write the meetings into noise, with nine times their length after each."""
    random = np.random.default_rng(0)
    left = round(hours * 3600 * RATE_HZ)
    given = soundfile.info(meetings[0]).channels
    with soundfile.SoundFile(path, "w", RATE_HZ, channels or given, "PCM_16") as file:
        for meeting in cycle(meetings):
            samples_nc, _ = soundfile.read(meeting, dtype="float32", always_2d=True)
            samples_nc = samples_nc[:, :channels] * 10 ** (random.uniform(-6, 0) / 20)
            rest = round(len(samples_nc) * (1 / _SPOKEN - 1))
            for piece_nc in (samples_nc, *_silence(rest, samples_nc.shape[1], random)):
                file.write(piece_nc[:left])
                left -= len(piece_nc[:left])
                if not left:
                    return


def _silence(length: int, channels: int, random: np.random.Generator) -> list[np.ndarray]:
    noise_nc = (_NOISE * random.standard_normal((60 * RATE_HZ, channels))).astype(np.float32)
    return [noise_nc[: length - first] for first in range(0, length, len(noise_nc))]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("meetings", type=Path, help="folder that meetscribe simulate wrote")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(_TARGETS_MB))
    options = parser.parse_args()
    meetings = sorted(options.meetings.glob("*.flac"))
    if not meetings:
        raise SystemExit(f"{options.meetings}: no meetings, expected *.flac")
    for kind in [options.only] if options.only else _TARGETS_MB:
        with tempfile.TemporaryDirectory() as folder:
            audio = Path(folder) / f"{kind}.flac"
            make_sparse(meetings, audio, options.hours, 1 if kind == "mono" else None)
            print(f"\n{kind}: {soundfile.info(audio).channels} channels, target ", end="")
            print(f"{_TARGETS_MB[kind]} MB")
            measure(audio, options.hours * 60, options.threads)


if __name__ == "__main__":
    main()
