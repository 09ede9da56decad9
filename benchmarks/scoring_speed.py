"""Time of the word metrics on a long meeting: tcpWER of 6 hours and 8 speakers in 2 minutes.

    python benchmarks/scoring_speed.py [--hours 6] [--speakers 8] [--characters]

The meeting is made from a seed: turns of a few words from a vocabulary with the frequencies of
real speech, some over each other. The hypothesis is a copy with substituted, missing and invented
words, wrong speakers, shifted times and labels of its own. Each metric runs in a process of its
own, so that peak memory is that of the metric.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from meetscribe.evaluate import words
from meetscribe.evaluate.words import TokenSegment

WORDS_PER_S = 3.1
VOCABULARY = 12_000
COLLAR_S = 5.0

METRICS: dict[str, Callable[[list[TokenSegment], list[TokenSegment]], object]] = {
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
    peak = _peak_mb()
    return (
        f"{name:24} {100 * errors.rate:7.2f} % {wall:9.1f} s {cpu:9.1f} s "
        f"{peak:9.0f} MB {max(0.0, peak - before):9.0f} MB"
    )


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--speakers", type=int, default=8)
    parser.add_argument("--characters", action="store_true", help="Chinese characters as tokens")
    parser.add_argument("--metric", action="append", choices=list(METRICS))
    options = parser.parse_args()
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
