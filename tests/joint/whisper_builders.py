"""A small joint model of random weights: a tiny Whisper, and CAM++ as large as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TC002 - a type of a dataclass's field
import tokenizers
import torch
from safetensors.torch import save_file

from meetscribe.joint.batch import Padded, pad
from meetscribe.joint.encoders_campplus import CampplusFrames, features
from meetscribe.joint.whisper.network import WhisperJoint
from meetscribe.joint.whisper.settings import LowRankSettings, WhisperJointSettings
from meetscribe.models.whisper_weights import WhisperWeights
from meetscribe.onestage.tokens import Vocabulary, load_vocabulary
from meetscribe.onestage.whisper import Whisper
from meetscribe.types import Utterance
from tests.onestage.conftest import SHAPE, SPECIAL, WORDS

RATE = 16_000
LORA = LowRankSettings(rank=4, alpha=4.0, feed_forward=("encoder", "decoder"))
FIRST = len(WORDS) + len(SPECIAL)
"""The token of 0.00 s; times go up to 2.00 s."""
SPEAKER = SHAPE.vocab_size
"""The token of the first speaker."""
END = len(WORDS)


@dataclass(frozen=True)
class Group:
    """What the trainee asks of a group."""

    samples_n: np.ndarray
    utterances: tuple[Utterance, ...] = ()
    samples_cn: np.ndarray | None = None
    alone: tuple[tuple[str, np.ndarray], ...] = ()

    @property
    def duration(self) -> float:
        return len(self.samples_n) / RATE


def vocabulary(folder: Path) -> Vocabulary:
    words = {word: at for at, word in enumerate(WORDS)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "it"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(SPECIAL)
    made.save(str(folder / "tokenizer.json"))
    about = WhisperWeights(SHAPE, {}, suppress=(WORDS.index("("),), suppress_first=(0, END))
    return load_vocabulary(folder, about)


def letters(folder: Path) -> Vocabulary:
    """Give a vocabulary as Whisper's: tokens go on with a word, or begin one with their space."""
    tokens = [*"abcdefghi", "Ġ", "Ġa", "Ġb"]
    merges = [("Ġ", "a"), ("Ġ", "b")]
    model = tokenizers.models.BPE({one: at for at, one in enumerate(tokens)}, merges)
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    made.save(str(folder / "tokenizer.json"))
    return load_vocabulary(folder, WhisperWeights(SHAPE, {}, suppress=(), suppress_first=(END,)))


def write_whisper(folder: Path, seed: int = 0) -> Path:
    """Write a tiny Whisper that hears 30 s, in the layout of transformers."""
    shape = replace(
        SHAPE,
        vocab_size=FIRST + 1501,
        max_source_positions=1500,
        max_target_positions=448,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = Whisper(shape).state_dict()
    save_file({f"model.{name}": one for name, one in state.items()}, folder / "model.safetensors")
    about = {"model_type": "whisper", **asdict(shape), "suppress_tokens": [WORDS.index("(")]}
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    vocabulary(folder)
    return folder


def settings(**given: Any) -> WhisperJointSettings:
    return WhisperJointSettings(**{"trailing_s": 0.1, "lora": LORA, "speakers": 3, **given})


def whisper(seed: int = 0) -> Whisper:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Whisper(SHAPE).eval()
    with torch.no_grad():
        for layer in made.decoder.layers:
            # what is heard decides what is written
            layer.encoder_attn.out_proj.weight.mul_(20)
            layer.encoder_attn.q_proj.weight.mul_(5)
    return made


class Voices(torch.nn.Module):
    """Hears what CAM++ hears, and gives as many frames, a thousand times faster."""

    dim = 8
    features = staticmethod(features)

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(160, self.dim)

    def forward(self, heard: Padded) -> Padded:
        return pad(
            [self.linear(row.unflatten(0, (-1, 2)).flatten(1)).relu() for row in heard.rows()]
        )


def network(
    words: Vocabulary, seed: int = 0, *, campplus: bool = False, **given: Any
) -> WhisperJoint:
    own = settings(**given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        voices = CampplusFrames() if campplus else Voices()
        return WhisperJoint(whisper(seed), voices, words, own).eval()


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    """Give noise whose loudness changes, shape (N,)."""
    draw = torch.Generator().manual_seed(seed)
    count = round(seconds * RATE)
    loud = torch.rand(count // 1000 + 1, generator=draw).repeat_interleave(1000)[:count]
    return 0.2 * loud * torch.randn(count, generator=draw)


def said(*turns: tuple[str, float, float, str]) -> tuple[Utterance, ...]:
    return tuple(Utterance(*turn) for turn in turns)


def assert_heard_as_alone(network: WhisperJoint, clips: Sequence[Any]) -> None:
    """Compare the memory of every clip of a batch with that of the clip by itself."""
    with torch.no_grad():
        together = network.hear(clips)
        for number, clip in enumerate(clips):
            alone = network.hear([clip])
            length = alone.lens[0]
            assert together.lens[number] == length == alone.memory_bmd.shape[1]
            torch.testing.assert_close(
                together.memory_bmd[number, :length], alone.memory_bmd[0], atol=1e-4, rtol=1e-4
            )
