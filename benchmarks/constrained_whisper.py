"""Constrained generation of the small joint model: how many answers fail to be read.

    python benchmarks/constrained_whisper.py [--count 500] [--base whisper-base] [--min-words 30]

Networks of random weights with the vocabulary of a real Whisper write ``--count`` answers under
constraint, about noise of up to 30 s, in batches: in all orders and places of the speaker's token,
once with at least ``--min-words`` words each and budgets from the fewest tokens that can hold them,
once with no such demand and budgets from 6 tokens. An answer fails if it is not ended within its
budget, needs a repair, has a time outside the clip, or has too few words. The same networks without
constraint are counted for comparison.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, cast, get_args

import torch

from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.encoders_campplus import features
from meetscribe.joint.serialise import Order
from meetscribe.joint.whisper.checkpoint import whisper_folder
from meetscribe.joint.whisper.network import WhisperJoint
from meetscribe.joint.whisper.settings import SpeakerPlace, WhisperJointSettings
from meetscribe.joint.whisper.writing import Writer
from meetscribe.models.whisper_weights import load_whisper
from meetscribe.onestage.tokens import load_vocabulary
from meetscribe.onestage.whisper import Whisper

if TYPE_CHECKING:
    from meetscribe.joint.encoders_campplus import CampplusFrames
    from meetscribe.joint.whisper.writing import Answer
    from meetscribe.onestage.whisper import DecoderLayer

RATE = 16_000
_TIMES_GAIN = 1.35


class Voices(torch.nn.Module):
    """Random frames of what CAM++ hears, in its place: it would cost far more than the rest."""

    dim = 8
    features = staticmethod(features)

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(160, self.dim)

    def forward(self, heard: Padded) -> Padded:
        """Give a frame per 20 ms."""
        rows = [row.reshape(-1, 2 * row.shape[1]) for row in heard.rows()]
        return pad([self.linear(row).relu() for row in rows])


def writers(base: str, seed: int) -> list[Writer]:
    """Make a small network for every way to write."""
    folder = whisper_folder(base)
    weights = load_whisper(folder)
    vocabulary = load_vocabulary(folder, weights)
    shape = replace(
        weights.shape,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
    )
    made = []
    for number, (order, place) in enumerate(product(Order, get_args(SpeakerPlace))):
        torch.manual_seed(seed + number)
        settings = WhisperJointSettings(order=order, speaker_token=place)
        whisper = Whisper(shape)
        with torch.no_grad():
            # what is heard decides what is written
            for layer in whisper.decoder.layers:
                across = cast("DecoderLayer", layer).encoder_attn
                across.out_proj.weight.mul_(20)
                across.q_proj.weight.mul_(5)
            # an answer's end is one token against all words, times are few: let them win at times
            whisper.decoder.embed_tokens.weight[vocabulary.end].mul_(3)
            whisper.decoder.embed_tokens.weight[vocabulary.first_timestamp :].mul_(_TIMES_GAIN)
        voices = cast("CampplusFrames", Voices())
        network = WhisperJoint(whisper, voices, vocabulary, settings)
        made.append(Writer(network.for_decoding()))
    return made


def words_of(answer: Answer) -> int:
    """Count the words of an answer: what spaces separate."""
    return sum(len(one.text.split()) for one in answer.parsed.utterances)


def failed(answer: Answer, duration: float, budget: int, end: int, min_words: int) -> bool:
    """Tell whether an answer breaks any promise of the rules."""
    unended = answer.tokens[-1] != end or len(answer.tokens) > budget
    parsed = answer.parsed
    outside = parsed.in_clip(duration) != parsed
    return unended or bool(parsed.repairs) or outside or words_of(answer) < min_words


def count(ways: list[Writer], args: argparse.Namespace, *, constrained: bool, words: int) -> str:
    """Write all answers, and say what became of them."""
    draw = random.Random(args.seed)  # noqa: S311 - no secret
    torch.manual_seed(args.seed)
    counts: Counter[str] = Counter()
    written: list[int] = []
    started = time.process_time()
    for number in range(0, args.count, args.batch):
        writer = ways[number // args.batch % len(ways)]
        size = min(args.batch, args.count - number)
        durations = [draw.choice((0.1, 1.0, 5.0, 30.0)) * draw.random() for _ in range(size)]
        durations = [max(0.02, duration) for duration in durations]
        least = len(writer.form.slots) + words if words else 1
        budgets = [max(least, draw.choice((6, 20, 60, 446))) for _ in range(size)]
        clips = [0.1 * torch.randn(int(RATE * duration)) for duration in durations]
        answers = writer.write(
            clips,
            durations=durations,
            budgets=budgets,
            constrained=constrained,
            max_speakers=draw.randint(1, 4),
            min_words=words,
        )
        for answer, duration, budget in zip(answers, durations, budgets, strict=True):
            counts["answers"] += 1
            counts["failed"] += failed(answer, duration, budget, writer.form.end, words)
            counts["unreadable"] += answer.parsed.failed
            counts["turns"] += len(answer.parsed.utterances)
            counts["tokens"] += len(answer.tokens)
            counts["empty"] += not answer.parsed.utterances
            counts["made to end"] += answer.full
            written.append(words_of(answer))
    used = time.process_time() - started
    told = ", ".join(f"{name} {number}" for name, number in counts.items())
    spread = f"least {min(written)}, median {sorted(written)[len(written) // 2]}"
    return (
        f"{told}\nwords an answer: {spread}, most {max(written)}\n"
        f"CPU {used:.1f} s, {1000 * used / counts['tokens']:.2f} ms a token, all included"
    )


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--base", default="whisper-base", help="whose vocabulary is used")
    parser.add_argument("--min-words", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ways = writers(args.base, args.seed)
    for constrained, words in ((True, args.min_words), (True, 0), (False, 0)):
        title = "constrained" if constrained else "unconstrained"
        least = f", at least {words} words" if words else ""
        print(f"{title}{least}: {count(ways, args, constrained=constrained, words=words)}")


if __name__ == "__main__":
    main()
