"""Constrained generation: how many texts fail to parse, and what the constraint costs a step.

    python benchmarks/constrained.py [--count 500] [--tokenizer tokenizer.json]

Part one lets a language model of random weights write ``--count`` transcripts under constraint,
half of them sampled at temperature 1 and half greedy, half by start and half by speaker, for
clips of 0.5 to 60 s in batches, each with at least ``--min-words`` words, and reads them back: by
our parser without any repair, and by a strict XML reader. Part two times the constraint alone on
vocabularies of 50,000 and 150,000 tokens, in CPU time on one thread.

Without ``--tokenizer`` a small byte-level BPE is trained on made-up targets; part two fills it up
with made-up words.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from itertools import product
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from meetscribe.joint.constrain import Constraint
from meetscribe.joint.grammar import Grammar
from meetscribe.joint.parse import parse
from meetscribe.joint.serialise import Order, serialise
from meetscribe.joint.vocabulary import Vocabulary
from meetscribe.models.torchaudio_import import ensure_importable
from meetscribe.types import Utterance

HIDDEN = 48
END = "<|im_end|>"
SHARED = (b"\n", b",", b".", *(b"%d" % digit for digit in range(10)))
"""Made likelier in part two, so that every part of the text is met."""


def trained() -> Tokenizer:
    """Train a byte-level BPE on made-up targets, split where language models split."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    words = ("so", "the", "well", "of", "naïve", "a", "我们", "yes", "don't", "know", "meeting")
    draw = random.Random(0)  # noqa: S311 - no secret
    texts = []
    for _ in range(300):
        turns = [
            Utterance(draw.choice("abc"), start, start + 2.5, " ".join(draw.choices(words, k=7)))
            for start in sorted(draw.uniform(0, 30) for _ in range(6))
        ]
        texts.append(serialise(turns))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def random_model(size: int, seed: int) -> Any:  # noqa: ANN401 - untyped library
    """Make a small Llama whose logits are lively, so that greedy texts differ."""
    ensure_importable()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def end_of(tokenizer: Tokenizer, token: str) -> int:
    """Give the number of the token that ends a text."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise SystemExit(f"--end-token {token}: not in that tokenizer")
    return int(found)


def unparsable(text: str, grammar: Grammar) -> bool:
    """Tell whether a text breaks any promise of the constraint."""
    try:
        ET.fromstring(f"<root>{text}</root>")  # noqa: S314 - our own text
    except ET.ParseError:
        return True
    parsed = parse(text)
    words = sum(len(turn.text.split()) for turn in parsed.utterances)
    outside = any(turn.end > grammar.duration for turn in parsed.utterances)
    return bool(parsed.repairs) or outside or words < grammar.min_words


def generate(tokenizer: Tokenizer, args: argparse.Namespace) -> None:
    """Part one."""
    vocabulary = Vocabulary.of(tokenizer)
    eos = end_of(tokenizer, args.end_token)
    model = random_model(len(vocabulary), args.seed)
    draw = random.Random(args.seed)  # noqa: S311 - no secret
    counts: Counter[str] = Counter()
    words: list[int] = []
    ways = list(product(Order, (True, False)))
    steps, started = 0, time.process_time()
    while counts["texts"] < args.count:
        order, sampled = ways[counts["batches"] % len(ways)]
        number = min(args.batch, args.count - counts["texts"])
        grammars = [
            Grammar(round(draw.uniform(0.5, 60), 2), order, draw.randint(1, 6), args.min_words)
            for _ in range(number)
        ]
        constraint = Constraint(
            vocabulary, grammars, max_new_tokens=args.max_new_tokens, eos_token_id=eos
        )
        prompt = torch.randn(number, 8, HIDDEN)
        ids = model.generate(
            inputs_embeds=prompt,
            attention_mask=torch.ones(prompt.shape[:2]),
            max_new_tokens=args.max_new_tokens,
            do_sample=sampled,
            eos_token_id=eos,
            pad_token_id=eos,
            logits_processor=[constraint],
        )
        counts["batches"] += 1
        steps += ids.shape[1]
        for row, grammar in zip(ids.tolist(), grammars, strict=True):
            closed = eos in row
            row = row[: row.index(eos)] if closed else row  # noqa: PLW2901
            text = tokenizer.decode(row, skip_special_tokens=False)
            turns = parse(text).utterances
            words.append(sum(len(turn.text.split()) for turn in turns))
            counts["texts"] += 1
            counts["not closed"] += not closed
            counts["unparsable"] += unparsable(text, grammar)
            counts["turns"] += len(turns)
    used = time.process_time() - started
    print(f"vocabulary {len(vocabulary)}, at most {args.max_new_tokens} tokens a text")
    print(f"texts {counts['texts']}, unparsable {counts['unparsable']}", end="")
    print(f", not closed {counts['not closed']}, turns {counts['turns']}")
    print(f"words a text: least {min(words)}, median {int(np.median(words))}, most {max(words)}")
    print(f"CPU {used:.1f} s, model included: {1000 * used / steps:.2f} ms a step")


def measure(vocabulary: Vocabulary, eos: int, steps: int) -> None:
    """Part two: milliseconds of the constraint for one row, over a whole text."""
    started = time.process_time()
    vocabulary.words(b"")
    vocabulary.plain_words()
    first = time.process_time() - started
    likely = [index for index, token in enumerate(vocabulary.tokens) if token in SHARED]
    generator = torch.Generator().manual_seed(0)
    times = []
    for order in Order:
        grammars = [Grammar(60.0, order, 4, min_words=30)]
        constraint = Constraint(vocabulary, grammars, max_new_tokens=steps, eos_token_id=eos)
        ids = torch.zeros(1, 0, dtype=torch.int64)
        for _ in range(steps):
            scores = torch.randn(1, len(vocabulary), generator=generator)
            scores[:, likely] += 10 * torch.rand(1, generator=generator)
            started = time.process_time()
            allowed = constraint(ids, scores)
            times.append(1000 * (time.process_time() - started))
            chosen = torch.multinomial(allowed.softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, chosen], 1)
            if chosen.item() == eos:
                break
    text = ", ".join(f"{q} %: {np.percentile(times, q):.2f}" for q in (50, 95, 100))
    print(
        f"vocabulary {len(vocabulary)}: mean {np.mean(times):.2f} ms a step ({text}), "
        f"{len(times)} steps; once per tokenizer {first:.2f} s"
    )


def filled(vocabulary: Vocabulary, size: int) -> Vocabulary:
    """Fill a vocabulary up with made-up words and numbers of up to three digits."""
    draw = random.Random(0)  # noqa: S311 - no secret
    tokens = list(vocabulary.tokens)
    tokens += [b"%0*d" % (width, number) for width in (2, 3) for number in range(10**width)]
    known = set(tokens)
    while len(tokens) < size:
        letters = "".join(draw.choices("etaoinshrdluéß我们", k=draw.randint(2, 9)))
        token = (" " * draw.randint(0, 1) + letters).encode()
        if token not in known:
            known.add(token)
            tokens.append(token)
    return Vocabulary(tokens)


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--min-words", type=int, default=30)
    parser.add_argument("--max-new-tokens", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", help="a tokenizer.json")
    parser.add_argument("--end-token", default=END, help="what ends a text in that tokenizer")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(args.tokenizer) if args.tokenizer else trained()
    if args.count:
        generate(tokenizer, args)
    small = Vocabulary.of(tokenizer)
    eos = end_of(tokenizer, args.end_token)
    for size in (len(small), 50_000, 150_000):
        if size >= len(small):
            measure(small if size == len(small) else filled(small, size), eos, 240)


if __name__ == "__main__":
    main()
