"""Batches under fire: workers and parents killed at random, broken recordings, second runs, speed.

    python benchmarks/batch.py ../shared/data/meetings                        # 200 recordings
    python benchmarks/batch.py ../shared/data/meetings --recordings 24 --worker-kills 4 \
        --parent-kills 1                                                     # a small version
    python benchmarks/batch.py ../shared/data/meetings --only throughput --minutes 20

``faults``: short recordings are cut from the clips, one in twenty is broken in one of ten ways. An
undisturbed `meetscribe transcribe` gives the reference. Then a batch with two workers runs with a
cache of its own; workers are killed (-9) at random moments, and so is the parent, which is started
again. Asked of the end: every good recording has the reference's files byte for byte (in the JSON,
times and memory of the run are left out), every broken one its reason, nothing is half-written,
nothing was transcribed again after it was finished, and no worker outlived its parent.
``second``: the time of another run over the finished folder; ``--only second`` finishes it without
any disturbance first. ``throughput``: one worker against
two, and two on `--ray local` where Ray is installed, one thread each; from the moment when workers
may start (Ray runs by then) to the end of the last recording.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000
_MEASURED = ("created", "timings_s", "cpu_s", "peak_memory_mb")
"""Of provenance: what differs from run to run."""


def cut(clips: list[Path], folder: Path, number: int, seconds: float) -> None:
    """Write short recordings from all clips in turn, some as FLAC; one in twenty is broken."""
    folder.mkdir(parents=True)
    pick = np.random.default_rng(0)
    for index in range(number):
        samples, _ = soundfile.read(clips[index % len(clips)], dtype="float32", always_2d=True)
        first = int(pick.integers(max(1, len(samples) - int(seconds * RATE_HZ))))
        piece = samples[first : first + int(seconds * RATE_HZ), 0]
        path = folder / f"week {index % 7}" / f"r{index:03}.{'flac' if index % 3 else 'wav'}"
        path.parent.mkdir(exist_ok=True)
        if index % 20 == 7:
            _break(index // 20, path.with_name(f"broken{index:03}.wav"), piece)
        else:
            soundfile.write(path, piece, RATE_HZ)


def _break(way: int, path: Path, samples_n: np.ndarray) -> None:
    soundfile.write(path, samples_n, RATE_HZ)
    whole = path.read_bytes()
    noise = np.random.default_rng(way).bytes(40_000)
    ways = (
        lambda: path.write_bytes(b""),
        lambda: path.write_text("not a recording at all\n" * 50),
        lambda: path.write_bytes(whole[:44]),
        lambda: path.write_bytes(noise),
        lambda: path.write_bytes(b"\0" * 40_000),
        lambda: _dangling(path),
        lambda: path.write_bytes(b"PK\x03\x04" + noise),
        lambda: path.write_bytes(whole[:20]),
        lambda: path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + noise),
        lambda: path.write_bytes(b"fLaC" + noise[:100]),
    )
    ways[way % len(ways)]()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.wav")


def environment(cache: Path) -> dict[str, str]:
    """Give an environment with stages of its own and the models of the user's cache."""
    from meetscribe.models import cache_dir

    cache.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (cache / "models").symlink_to(cache_dir() / "models", target_is_directory=True)
    return {**os.environ, "MEETSCRIBE_CACHE": str(cache), "MEETSCRIBE_OFFLINE": "1"}


def command(*args: object) -> list[str]:
    """Give a command line of meetscribe."""
    return [sys.executable, "-m", "meetscribe", *map(str, args)]


def children(pid: int) -> list[int]:
    """List the processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


class Battle:
    """One disturbed batch, over as many parents as it takes."""

    def __init__(self, folder: Path, out: Path, work: Path, seed: int) -> None:
        self.command = command(
            *("batch", folder, "-o", out, "--workers", 2, "--threads", 1, "--progress", "json"),
            *("--retries", 6),
        )
        self.env = environment(work / "cache-batch")
        self.out = out
        self.log = work / "events.jsonl"
        self.random = random.Random(seed)  # noqa: S311 - moments, not secrets
        self.written: dict[Path, int] = {}
        self.replaced: list[Path] = []
        self.orphans = 0
        self.killed_workers = 0
        self.killed_parents = 0

    def fight(self, worker_kills: int, parent_kills: int, total: int) -> int:
        """Run until a parent comes to its end in peace; give its exit code."""
        parents_at = [(k + 1) * total // (parent_kills + 1) for k in range(parent_kills)]
        workers_at = sorted(self.random.randrange(9 * total // 10) for _ in range(worker_kills))
        while True:
            with self.log.open("ab") as log:
                parent = subprocess.Popen(
                    self.command, env=self.env, stderr=log, stdout=subprocess.DEVNULL
                )
            code = self._until_end_or_death(parent, workers_at, parents_at)
            if code is not None:
                return code

    def _until_end_or_death(
        self, parent: subprocess.Popen[bytes], workers_at: list[int], parents_at: list[int]
    ) -> int | None:
        while parent.poll() is None:
            self._look()
            done = len(self.written)
            if workers_at and done >= workers_at[0] and (hands := children(parent.pid)):
                time.sleep(self.random.uniform(0, 1.5))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.random.choice(hands), signal.SIGKILL)
                    self.killed_workers += 1
                    workers_at.pop(0)
            if parents_at and done >= parents_at[0]:
                time.sleep(self.random.uniform(0, 1.5))
                hands = children(parent.pid)
                parent.kill()
                parent.wait()
                self.killed_parents += 1
                parents_at.pop(0)
                time.sleep(2)
                self.orphans += sum(Path(f"/proc/{pid}").exists() for pid in hands)
                return None
            time.sleep(0.05)
        self._look()
        return parent.returncode

    def _look(self) -> None:
        """Note every transcript as it appears, and whether one is ever replaced."""
        for path in self.out.glob("week*/*.json"):
            with contextlib.suppress(OSError):
                inode = path.stat().st_ino
                if self.written.setdefault(path, inode) != inode:
                    self.replaced.append(path)


def faults(clips: list[Path], work: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run the battle and compare with peace."""
    folder, out, reference = work / "in", work / "out", work / "reference"
    cut(clips, folder, options.recordings, options.seconds)
    good = sorted(path for path in folder.rglob("r*.*"))
    broken = sorted(path for path in folder.rglob("broken*"))
    began = time.monotonic()
    for week in sorted({path.parent for path in good}):
        mine = [path for path in good if path.parent == week]
        subprocess.run(
            command("transcribe", *mine, "-o", reference / week.name, "--threads", 1, "--quiet"),
            env=environment(work / "cache-reference"),
            check=True,
        )
    peace_s = time.monotonic() - began
    battle = Battle(folder, out, work, options.seed)
    began = time.monotonic()
    code = battle.fight(options.worker_kills, options.parent_kills, len(good))
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    rows = {row["recording"]: row for row in summary["recordings"]}
    runs = collections.Counter(
        event["recording"]
        for event in map(json.loads, whole_lines(battle.log))
        if event["event"] == "end" and event["transcribed"]
    )
    reasons = {path.stem: rows[f"{path.parent.name}/{path.stem}"]["error"] for path in broken}
    parts = [*out.rglob("*.part"), *(work / "cache-batch" / "stages").rglob("*.part")]
    result: dict[str, object] = {
        "exit_code": code,
        "good": len(good),
        "equal": sum(equal(path, folder, out, reference) for path in good),
        "broken": len(broken),
        "broken_with_reason": sum(map(bool, reasons.values())),
        "worker_kills": battle.killed_workers,
        "parent_kills": battle.killed_parents,
        "orphans": battle.orphans,
        "half_written": len(parts),
        "replaced_after_finished": len(battle.replaced),
        "transcribed_more_than_once": sum(count > 1 for count in runs.values()),
        "undisturbed_s": round(peace_s, 1),
        "disturbed_s": round(time.monotonic() - began, 1),
    }
    for name, reason in reasons.items():
        print(f"  {name}: {reason}")
    return result


def whole_lines(path: Path) -> list[str]:
    """Give the lines of JSON; a killed parent may leave half of one."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(line), dict):
                found.append(line)
    return found


def equal(audio: Path, folder: Path, out: Path, reference: Path) -> bool:
    """Compare all results of a recording with the reference's, but for what was measured."""
    below = audio.relative_to(folder).with_suffix("")
    same = True
    for suffix in (".json", ".txt", ".srt", ".rttm"):
        mine, theirs = (
            (root / below.parent / f"{below.name}{suffix}").read_bytes()
            for root in (out, reference)
        )
        if suffix == ".json":
            mine, theirs = map(_without_measures, (mine, theirs))
        if mine != theirs:
            print(f"  {below}{suffix} differs")
            same = False
    return same


def _without_measures(text: bytes) -> bytes:
    made = json.loads(text)
    for name in _MEASURED:
        made["provenance"].pop(name, None)
    return json.dumps(made).encode()


def run_quietly(folder: Path, out: Path, work: Path) -> float:
    """Run a batch with two workers; give the seconds it took."""
    began = time.monotonic()
    subprocess.run(
        command("batch", folder, "-o", out, "--workers", 2, "--threads", 1, "--quiet"),
        env=environment(work / "cache-batch"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.monotonic() - began


def second(folder: Path, out: Path, work: Path) -> dict[str, object]:
    """Time another run over the finished folder."""
    number = sum(path.is_file() or path.is_symlink() for path in folder.rglob("*.*"))
    times = [run_quietly(folder, out, work) for _ in range(3)]
    return {
        "recordings": number,
        "second_run_s": round(min(times), 2),
        "ms_a_file": round(1000 * min(times) / number, 1),
    }


def throughput(clips: list[Path], work: Path, minutes: float) -> dict[str, object]:
    """Compare one worker with two, here and on Ray, over recordings of a minute."""
    from speed import make_meeting

    folder = work / "long"
    folder.mkdir()
    for number in range(round(minutes)):
        make_meeting(clips, folder / f"{number:02}.wav", 1.0)
        samples, _ = soundfile.read(folder / f"{number:02}.wav", dtype="float32")
        # the same meeting with another beginning is another recording
        soundfile.write(folder / f"{number:02}.wav", np.roll(samples, number * RATE_HZ), RATE_HZ)
    ways: dict[str, tuple[object, ...]] = {"one_worker": (1,), "two_workers": (2,)}
    if importlib.util.find_spec("ray") is not None:
        ways["ray_local"] = (2, "--ray", "local")
    took = {}
    for way, options in ways.items():
        took[way] = worked_s(
            command(
                *("batch", folder, "-o", work / f"out-{way}", "--threads", 1, "--no-cache"),
                *("--progress", "json", "--workers", *options),
            ),
            environment(work / "cache-speed"),
        )
    result: dict[str, object] = {"minutes": minutes}
    result |= {f"{way}_s": round(seconds, 1) for way, seconds in took.items()}
    result["times_faster"] = round(took["one_worker"] / took["two_workers"], 2)
    if "ray_local" in took:
        result["ray_against_pool"] = round(took["ray_local"] / took["two_workers"], 2)
        result["equal"] = same_results(work / "out-two_workers", work / "out-ray_local")
    return result


def worked_s(args: list[str], env: dict[str, str]) -> float:
    """Give the seconds from when workers may start to the end of the last recording."""
    process = subprocess.Popen(args, env=env, stderr=subprocess.PIPE, text=True)
    first = last = 0.0
    for line in process.stderr or ():
        with contextlib.suppress(ValueError):
            event = json.loads(line)["event"]
            if event == "batch":
                first = time.monotonic()
            elif event == "end":
                last = time.monotonic()
    if process.wait():
        raise SystemExit(f"{' '.join(args)} ended with exit code {process.returncode}")
    return last - first


def same_results(one: Path, two: Path) -> bool:
    """Compare all transcripts, but for what was measured."""
    first, second = (
        {
            path.name: _without_measures(path.read_bytes())
            for path in folder.glob("*.json")
            if path.name != "summary.json"
        }
        for folder in (one, two)
    )
    return first == second


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("meetings", type=Path, help="folder of clips")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each")
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--parent-kills", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0, help="for throughput")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["faults", "second", "throughput"])
    parser.add_argument("--keep", type=Path, help="work here and leave it (a new folder)")
    options = parser.parse_args()
    clips = sorted(options.meetings.glob("*/audio.flac"))
    if not clips:
        raise SystemExit(f"{options.meetings}: no clips, expected */audio.flac")
    with contextlib.ExitStack() as stack:
        work = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        results: dict[str, object] = {}
        if options.only == "second":
            cut(clips, work / "in", options.recordings, options.seconds)
            print(f"first run: {run_quietly(work / 'in', work / 'out', work):.0f} s", flush=True)
        elif options.only != "throughput":
            results["faults"] = faults(clips, work, options)
            print(json.dumps(results["faults"], indent=1))
        if options.only != "throughput":
            results["second"] = second(work / "in", work / "out", work)
            print(json.dumps(results["second"], indent=1))
        if options.only not in {"faults", "second"}:
            results["throughput"] = throughput(clips, work, options.minutes)
            print(json.dumps(results["throughput"], indent=1))


if __name__ == "__main__":
    main()
