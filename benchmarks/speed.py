"""Wall time, CPU time, peak memory and real-time factor per stage, on a long mono meeting.

    python benchmarks/speed.py ../shared/data/meetings [--minutes 30] [--minutes 180]

The meeting is made by repeating and mixing the clips; each length runs in a process of its own
through the command line, as a user runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def make_meeting(clips: list[Path], path: Path, minutes: float) -> None:
    """Write a mono meeting: clips in random order and gain, one in four over the one before."""
    random = np.random.default_rng(0)
    signals = [soundfile.read(clip, dtype="float32")[0] for clip in clips]
    # equal loudness first, as the clips differ by 20 dB, then a moderate spread
    signals = [0.05 * x / max(float(np.sqrt(np.mean(x**2))), 1e-6) for x in signals]
    total = int(minutes * 60 * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        tail, written = np.zeros(0, np.float32), 0
        while written < total:
            piece = signals[random.integers(len(signals))] * 10 ** (random.uniform(-6, 3) / 20)
            overlap = min(len(tail), len(piece), 4 * RATE_HZ) if random.random() < 0.25 else 0
            mixed = np.concatenate([tail, np.zeros(len(piece) - overlap, np.float32)])
            mixed[len(tail) - overlap : len(tail) - overlap + len(piece)] += piece
            keep = min(len(mixed), 4 * RATE_HZ)
            out, tail = mixed[: len(mixed) - keep], mixed[len(mixed) - keep :]
            out = out[: total - written]
            file.write(np.clip(out, -1, 1))
            written += len(out)


def measure(audio: Path, minutes: float, threads: int) -> dict[str, float]:
    """Run the command line on a file and give what it cost."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "meetscribe", "transcribe", str(audio), "-o", out]
        command += ["--no-cache", "--quiet", "--threads", str(threads)]
        began = time.monotonic()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        if status:
            raise SystemExit(f"meetscribe failed with status {status}")
        made = json.loads(next(Path(out).glob("*.json")).read_text(encoding="utf-8"))
    cpu = usage.ru_utime + usage.ru_stime
    peak_mb = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    seconds = minutes * 60
    print(f"\n{minutes:g} min of meeting, {threads} threads")
    costs = made["provenance"]
    print(f"  {'stage':<10}{'wall s':>10}{'CPU s':>10}{'of real time':>14}{'peak MB so far':>16}")
    for stage, spent in costs["timings_s"].items():
        cpu_s = costs["cpu_s"].get(stage, cpu)
        peak = costs["peak_memory_mb"].get(stage, peak_mb)
        print(f"  {stage:<10}{spent:>10.1f}{cpu_s:>10.1f}{spent / seconds:>14.3f}{peak:>16.0f}")
    print(f"  wall {wall:.1f} s ({wall / seconds:.3f} of real time), CPU {cpu:.1f} s", end="")
    print(f", peak memory {peak_mb:.0f} MB, {len(made['utterances'])} utterances")
    return {"rtf": wall / seconds, "peak_mb": peak_mb}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("meetings", type=Path, help="folder of clips")
    parser.add_argument("--minutes", type=float, action="append")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    clips = sorted(options.meetings.glob("*/audio.flac"))
    results = []
    for minutes in options.minutes or [30.0]:
        with tempfile.TemporaryDirectory() as folder:
            audio = Path(folder) / "meeting.wav"
            make_meeting(clips, audio, minutes)
            results.append(measure(audio, minutes, options.threads))
    if len(results) > 1:
        ratio = results[-1]["peak_mb"] / results[0]["peak_mb"]
        print(f"\npeak memory, last against first: {100 * (ratio - 1):+.0f} %")


if __name__ == "__main__":
    main()
