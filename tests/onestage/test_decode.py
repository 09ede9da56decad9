"""Decoding: as CTranslate2 does it, in batches, with times, and with nothing to say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meetscribe.errors import ConfigError, ShapeError, WeightsError
from meetscribe.models import fetch
from meetscribe.models.whisper_weights import WhisperWeights
from meetscribe.onestage import (
    ConditioningSettings,
    DecodingSettings,
    LoraSettings,
    TargetWhisperSettings,
)
from meetscribe.onestage.decode import Item, decode, listen
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.model import TargetWhisper
from meetscribe.onestage.timestamps import TimedText, apply_rules, timed_texts
from meetscribe.onestage.tokens import Vocabulary, load_vocabulary
from meetscribe.onestage.whisper import Whisper
from tests.conftest import SAMPLE
from tests.onestage.conftest import SHAPE, WORDS

RATE = 16_000
SETTINGS = TargetWhisperSettings(
    conditioning=ConditioningSettings(width=6, layers=(0, 1)),
    lora=LoraSettings(rank=8, alpha=16.0, places=("encoder", "decoder", "cross")),
)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def clip(data: Path, name: str) -> np.ndarray:
    import soundfile

    samples, _ = soundfile.read(data / "meetings" / name / "audio.flac", dtype="float32")
    return samples


@pytest.mark.weights
def test_text_and_times_are_those_of_ctranslate2(data: Path) -> None:
    import ctranslate2
    import soundfile

    sample, _ = soundfile.read(SAMPLE, dtype="float32", always_2d=True, stop=7 * RATE)
    clips = [  # language, signal, seconds that are encoded
        ("en", sample[:, 0], 30),
        ("en", clip(data, "ami_ES2011a_headset0_40-46s"), 6),
        ("zh", clip(data, "alimeeting_R8009_M8028_857-866s"), 10),
    ]
    folder = fetch("whisper-base")
    model, vocabulary = TargetWhisper.load(folder, TargetWhisperSettings())
    theirs = ctranslate2.models.Whisper(
        str(folder), device="cpu", compute_type="float32", intra_threads=1
    )
    for language, samples, length in clips:
        mel = log_mel(np.pad(samples, (0, max(0, length * RATE - len(samples)))))[None]
        encodings = theirs.encode(ctranslate2.StorageView.from_array(mel.numpy()), to_cpu=True)
        with torch.inference_mode():
            ours = model.encode(mel)
        expected = np.array(encodings)
        # as near as single precision brings either of them to the exact values
        error = np.abs(ours.numpy() - expected)
        assert np.quantile(error, 0.999) < 1e-4
        assert error.max() < 1e-4 * np.abs(expected).max()
        for timestamps in (False, True):
            start = vocabulary.start(language, timestamps=timestamps)
            (result,) = theirs.generate(
                encodings, [start], beam_size=1, return_scores=True, return_no_speech_prob=True
            )
            tokens = result.sequences_ids[0]
            (heard,) = decode(
                model.whisper,
                ours,
                vocabulary,
                steps=[mel.shape[2] // 2],
                durations=[mel.shape[2] / 100],
                budgets=[448],
                start=start,
                empty=False,
            )
            assert heard.text
            assert heard.text == vocabulary.decode(tokens)
            assert heard.parts == timed_texts(tokens, vocabulary, duration=mel.shape[2] / 100)
            assert heard.no_speech == pytest.approx(result.no_speech_prob, abs=1e-4)
            average = result.scores[0] * len(tokens) / (len(tokens) + 1)
            if not timestamps or length == 30:  # times after the end are forbidden here
                assert heard.avg_logprob == pytest.approx(average, abs=1e-3)


@pytest.mark.weights
def test_items_in_a_batch_are_heard_as_alone(data: Path) -> None:
    model, vocabulary = TargetWhisper.load(fetch("whisper-base"), TargetWhisperSettings())
    samples = clip(data, "ami_EN2002c_615-622s")
    items = [
        Item(log_mel(samples[int(start * RATE) : int(end * RATE)]), None)
        for start, end in [(0, 2.5), (0, 4), (3, 6)]
    ]
    with torch.inference_mode():
        mel = torch.zeros(3, 80, 400)
        for row, item in zip(mel, items, strict=True):
            row[:, : 2 * item.steps] = item.mel_ft
        together = model.encode(mel, None, [item.steps for item in items])
        for row, item in zip(together, items, strict=True):
            alone = model.encode(item.mel_ft[None])[0]
            torch.testing.assert_close(row[: item.steps], alone, atol=1e-4, rtol=1e-4)
    results = [
        listen(
            model,
            vocabulary,
            items,
            DecodingSettings(batch_size=size),
            language="en",
            budget=lambda duration: int(6 * duration),
        )
        for size in (1, 3)
    ]
    assert [one.text for one in results[0]] == [one.text for one in results[1]]
    assert all(one.text for one in results[0])
    for alone, together in zip(*results, strict=True):
        assert together.avg_logprob == pytest.approx(alone.avg_logprob, abs=1e-4)
        assert together.no_speech == pytest.approx(alone.no_speech, abs=1e-4)


def test_what_to_say_and_to_say_nothing_is_learnt(tiny: Whisper, vocabulary: Vocabulary) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    mel = random(1, 80, 60).expand(3, -1, -1)
    # the same sound, three speakers: only the embedding says who is meant
    embedding = random(3, 1, 6).expand(-1, 30, -1)
    texts = ["we meet again", "", "no"]
    start, end = vocabulary.start("en", timestamps=False), vocabulary.end
    rows = [[*start, *map(WORDS.index, text.split()), *[end] * 4][:6] for text in texts]
    tokens = torch.tensor(rows)
    goal = tokens[:, 1:].clone()
    goal[:, 0] = -100
    for row in goal:  # one end is enough
        row[(row == end).nonzero()[1:]] = -100
    optimiser = torch.optim.Adam(model.trainable().values(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        logits = model(mel, tokens[:, :-1], embedding)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), goal.flatten())
        if loss < 0.02:
            break
        loss.backward()
        optimiser.step()
    items = [Item(mel[0], one) for one in embedding]
    heard = listen(
        model.for_decoding(),
        vocabulary,
        items,
        DecodingSettings(batch_size=2),
        language="en",
        budget=lambda _: 20,
    )
    assert [one.text for one in heard] == texts
    assert [one.parts for one in heard] == [
        (TimedText(0.0, 0.6, "we meet again"),),
        (),
        (TimedText(0.0, 0.6, "no"),),
    ]
    assert not any(one.full for one in heard)


def test_a_budget_ends_a_text(tiny: Whisper, vocabulary: Vocabulary) -> None:
    # random weights never end by themselves here
    model = TargetWhisper(tiny, SETTINGS)
    items = [Item(random(80, frames)) for frames in (20, 60, 40)]
    seen: list[float] = []
    heard = listen(
        model,
        vocabulary,
        items,
        DecodingSettings(batch_size=2),
        language="en",
        budget=lambda duration: round(20 * duration),
        progress=lambda _stage, done: seen.append(done),
    )
    assert [len(one.tokens) for one in heard] == [4, 12, 8]
    assert all(one.full for one in heard)
    assert seen == [pytest.approx(2 / 3), 1.0]
    never = {WORDS.index("(")}
    assert not any(never & set(one.tokens) for one in heard)
    (longest,) = listen(
        model, vocabulary, items[:1], DecodingSettings(), language="en", budget=lambda _: 10**6
    )
    assert len(longest.tokens) <= SHAPE.max_target_positions
    assert longest.full


def test_nothing_to_hear_is_no_error(tiny: Whisper, vocabulary: Vocabulary) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    none = listen(model, vocabulary, [], DecodingSettings(), language="en", budget=lambda _: 1)
    assert none == []


def test_some_items_without_an_embedding_are_refused(tiny: Whisper, vocabulary: Vocabulary) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    items = [Item(random(80, 20)), Item(random(80, 20), random(10, 6))]
    with pytest.raises(ShapeError, match="1 of 2"):
        listen(model, vocabulary, items, DecodingSettings(), language="en", budget=lambda _: 1)


def test_an_unknown_language_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="'de'") as caught:
        vocabulary.start("de", timestamps=False)
    assert caught.value.hint


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"yes": 0}, "yes"))
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WeightsError, match=r"no token <\|endoftext\|>"):
        load_vocabulary(tmp_path, WhisperWeights(SHAPE, {}))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 100), empty=st.booleans())
def test_times_come_in_pairs_and_never_run_back(
    vocabulary: Vocabulary, seed: int, steps: int, *, empty: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, tokens = vocabulary.first_timestamp, []
    while len(tokens) < 30:
        logits = torch.randn(SHAPE.vocab_size, generator=generator)
        logits[vocabulary.end] += 1.0
        apply_rules(logits, tokens, vocabulary, steps=steps, empty=empty)
        assert logits.isfinite().any(), "there is always a way to go on"
        token = int(logits.argmax())
        if token == vocabulary.end:
            break
        tokens.append(token)
    times = [token - first for token in tokens if token >= first]
    assert tokens or empty
    assert all(left <= right for left, right in pairwise(times))
    assert all(0 <= time <= steps for time in times)
    assert not times or times[0] <= 50
    assert not tokens or tokens[0] >= first
    kinds = "".join("t" if token >= first else "w" for token in tokens)
    assert "ttt" not in kinds
    # what words stand between takes time
    for left, right in pairwise(at for at, kind in enumerate(kinds) if kind == "t"):
        assert right == left + 1 or tokens[left] < tokens[right]


def test_words_between_times(vocabulary: Vocabulary) -> None:
    first = vocabulary.first_timestamp
    yes, no = WORDS.index("yes"), WORDS.index("no")
    tokens = [first, yes, no, first + 20, first + 30, no]
    assert timed_texts(tokens, vocabulary, duration=1.5) == (
        TimedText(0.0, 0.4, "yes no"),
        TimedText(0.6, 1.5, "no"),
    )
    assert timed_texts([yes], vocabulary, duration=1.5) == (TimedText(0.0, 1.5, "yes"),)
    assert timed_texts([], vocabulary, duration=1.5) == ()
    # a time in the silence that was added
    late = timed_texts([first + 70, yes, first + 80], vocabulary, duration=1.5)
    assert late == (TimedText(1.4, 1.5, "yes"),)


def test_silence_at_the_end_is_not_of_the_item(tiny: Whisper, vocabulary: Vocabulary) -> None:
    model = TargetWhisper(tiny, SETTINGS)
    samples = np.random.default_rng(0).normal(0, 0.1, RATE // 2).astype(np.float32)
    item = Item(log_mel(samples, trailing_s=0.3), random(25, 6), trailing_s=0.3)
    assert (item.steps, item.duration) == (40, 0.5)
    seen: list[float] = []

    def budget(duration: float) -> int:
        seen.append(duration)
        return 3

    (heard,) = listen(model, vocabulary, [item], DecodingSettings(), language="en", budget=budget)
    assert seen == [0.5]
    assert heard.parts == (TimedText(0.0, 0.5, heard.text),)
    longer = Item(item.mel_ft, random(41, 6))
    with pytest.raises(ShapeError, match="at most 40"):
        listen(model, vocabulary, [longer], DecodingSettings(), language="en", budget=budget)
