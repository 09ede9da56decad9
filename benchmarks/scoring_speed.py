"""Time of scoring: word metrics of a 6-hour meeting, and the turns of AMI's dev and test meetings.

    python benchmarks/scoring_speed.py [--hours 6] [--speakers 8] [--characters]
    python benchmarks/scoring_speed.py --ami ../shared/data/ami

The second scores the 34 public RTTMs against a perturbed copy, with all reports written.

The meeting is made from a seed: turns of a few words from a vocabulary with the frequencies of
real speech, some over each other. The hypothesis is a copy with substituted, missing and invented
words, wrong speakers, shifted times and labels of its own. Each metric runs in a process of its
own, so that peak memory is that of the metric.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from meetscribe.evaluate import words
from meetscribe.evaluate.scores import WordErrors
from meetscribe.evaluate.words import TokenSegment
from meetscribe.formats import parse_file

WORDS_PER_S = 3.1
VOCABULARY = 12_000
COLLAR_S = 5.0

Segments = list[TokenSegment]
METRICS: dict[str, Callable[[Segments, Segments], words.CpErrors | WordErrors]] = {
    "WER (single stream)": words.single_stream,
    "cpWER": words.cp,
    "tcpWER (5 s)": lambda ours, theirs: words.tcp(ours, theirs, collar=COLLAR_S),
    "ORC-WER (greedy)": lambda ours, theirs: words.orc(ours, theirs, exact=False),
    "tcORC-WER (greedy, 5 s)": lambda ours, theirs: words.tcorc(ours, theirs, collar=COLLAR_S),
}


def make_meeting(
    hours: float, speakers: int, *, characters: bool = False, seed: int = 0
) -> tuple[list[TokenSegment], list[TokenSegment]]:
    """Make a reference and a hypothesis of it."""
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.full(speakers, 3.0))
    vocabulary = _vocabulary(random, characters=characters)
    # Zipf's law: the n-th word is n times rarer than the first
    upto = np.cumsum(1 / np.arange(1, len(vocabulary) + 1))
    reference: list[TokenSegment] = []
    now = 0.0
    while now < hours * 3600:
        count = int(random.geometric(1 / 4.5))
        drawn = np.searchsorted(upto, random.random(count) * upto[-1])
        tokens = tuple(vocabulary[word] for word in drawn.tolist())
        length = (len("".join(tokens)) if characters else count) / WORDS_PER_S
        speaker = f"R{random.choice(speakers, p=share)}"
        start = round(max(0.0, now), 3)
        reference.append(TokenSegment(speaker, start, round(start + length, 3), tokens))
        # one turn in five begins while the one before goes on
        now += length + (-0.5 * length if random.random() < 0.2 else random.exponential(0.15))
    heard = (_misheard(segment, speakers, vocabulary, random) for segment in reference)
    return reference, [segment for segment in heard if segment is not None]


def _vocabulary(random: np.random.Generator, *, characters: bool) -> list[str]:
    if characters:
        return [chr(0x4E00 + number) for number in range(3000)]
    letters = np.array(list("etaoinshrdlu"))
    lengths = random.integers(2, 9, size=VOCABULARY)
    return ["".join(random.choice(letters, size=length)) for length in lengths]


def _misheard(
    segment: TokenSegment, speakers: int, vocabulary: list[str], random: np.random.Generator
) -> TokenSegment | None:
    if random.random() < 0.04:
        return None
    tokens: list[str] = []
    for token in segment.tokens:
        chance = random.random()
        if chance < 0.05:
            continue
        tokens.append(vocabulary[random.integers(len(vocabulary))] if chance < 0.16 else token)
        if chance > 0.97:
            tokens.append(vocabulary[random.integers(len(vocabulary))])
    number = int(segment.speaker[1:])
    if random.random() < 0.06:
        number = int(random.integers(speakers))
    start = max(0.0, segment.start + random.normal(0, 0.3))
    end = max(start, segment.end + random.normal(0, 0.3))
    label = f"spk{(number + 3) % speakers}"
    return replace(segment, speaker=label, start=start, end=end, tokens=tuple(tokens))


def measure(name: str, options: argparse.Namespace) -> str:
    """Score one meeting by one metric and give a row of the table."""
    ours, theirs = make_meeting(options.hours, options.speakers, characters=options.characters)
    before = _peak_mb()
    began = time.perf_counter()
    used = time.process_time()
    found = METRICS[name](ours, theirs)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    errors = found.errors if isinstance(found, words.CpErrors) else found
    rate = errors.rate or 0.0
    peak = _peak_mb()
    return (
        f"{name:24} {100 * rate:7.2f} % {wall:9.1f} s {cpu:9.1f} s "
        f"{peak:9.0f} MB {max(0.0, peak - before):9.0f} MB"
    )


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def score_ami(folder: Path) -> None:
    """Run the command line on the RTTMs and a copy with wrong edges, speakers and missing turns."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        copy, out = Path(scratch, "copy"), Path(scratch, "out")
        copy.mkdir()
        for path in sorted((folder / "rttm_only_words").rglob("*.rttm")):
            turns = parse_file(path).turns
            speakers = sorted({turn.speaker for turn in turns})
            lines = []
            for turn in turns:
                start, end = np.array((turn.start, turn.end)) + random.normal(0, 0.1, 2)
                wrong = random.random() < 0.05
                speaker = speakers[random.integers(len(speakers))] if wrong else turn.speaker
                if random.random() > 0.05 and 0 <= start < end:
                    times = f"{start:.3f} {end - start:.3f}"
                    lines.append(f"SPEAKER {path.stem} 1 {times} <NA> <NA> {speaker} <NA> <NA>\n")
            (copy / path.name).write_text("".join(lines))
        command = [sys.executable, "-m", "meetscribe", "evaluate", "-o", str(out)]
        command += ["--ref", str(folder / "rttm_only_words"), "--hyp", str(copy)]
        command += ["--uem", str(folder / "uem")]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        wall = time.perf_counter() - began
    print("\n".join(done.stdout.splitlines()[-3:]))
    print(f"wall {wall:.1f} s, table and reports included")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--speakers", type=int, default=8)
    parser.add_argument("--characters", action="store_true", help="Chinese characters as tokens")
    parser.add_argument("--metric", action="append", choices=list(METRICS))
    parser.add_argument("--ami", type=Path, help="folder with rttm_only_words/ and uem/")
    options = parser.parse_args()
    if options.ami:
        score_ami(options.ami)
        return
    ours, theirs = make_meeting(options.hours, options.speakers, characters=options.characters)
    for side, segments in (("reference", ours), ("hypothesis", theirs)):
        tokens = sum(len(segment.tokens) for segment in segments)
        print(f"{side}: {len(segments)} segments, {tokens} tokens, {options.speakers} speakers")
    print(f"{'metric':24} {'rate':>9} {'wall':>11} {'cpu':>11} {'peak':>12} {'of it':>12}")
    context = multiprocessing.get_context("spawn")
    for name in options.metric or METRICS:
        with context.Pool(1) as pool:
            print(pool.apply(measure, (name, options)), flush=True)


if __name__ == "__main__":
    main()
