"""When tokens were said: the path through attention, and the times that CTranslate2 gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meetscribe.models import fetch
from meetscribe.models.whisper_weights import alignment_heads, load_whisper
from meetscribe.onestage import TargetWhisperSettings
from meetscribe.onestage.alignment import align, first_frames
from meetscribe.onestage.decode import decode
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.model import TargetWhisper
from meetscribe.onestage.tokens import Vocabulary
from meetscribe.onestage.whisper import Whisper
from tests.conftest import SAMPLE

RATE = 16_000


def best_by_trying(score_ls: np.ndarray) -> float:
    """Give the largest sum of all paths from the first to the last cell."""
    rows, frames = score_ls.shape
    best = {(0, 0): score_ls[0, 0]}
    for row, frame in itertools.product(range(rows), range(frames)):
        if (row, frame) != (0, 0):
            came = [(row - 1, frame - 1), (row - 1, frame), (row, frame - 1)]
            best[row, frame] = score_ls[row, frame] + max(
                best[place] for place in came if place in best
            )
    return float(best[rows - 1, frames - 1])


def sum_of(begins: np.ndarray, score_ls: np.ndarray) -> float:
    """Give the largest sum of the paths whose rows begin at these frames."""
    rows, frames = score_ls.shape
    total = 0.0
    for row in range(rows):
        first = begins[row]
        if row + 1 == rows:
            ends = [frames - 1]
        else:
            # a row ends where the next one begins, or a frame before
            ends = [end for end in (begins[row + 1] - 1, begins[row + 1]) if end >= first]
        total += max(score_ls[row, first : end + 1].sum() for end in ends)
    return float(total)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 8)),
        elements=st.integers(-20, 20).map(float),
    )
)
def test_the_path_is_the_best_one(score_ls: np.ndarray) -> None:
    begins = first_frames(score_ls)
    assert begins[0] == 0
    assert np.all(np.diff(begins) >= 0)
    assert sum_of(begins, score_ls) == pytest.approx(best_by_trying(score_ls))


def test_more_tokens_than_frames_have_a_path() -> None:
    assert first_frames(np.zeros((5, 2))).max() <= 1


@pytest.mark.weights
def test_times_and_probabilities_are_those_of_ctranslate2() -> None:
    import ctranslate2
    import soundfile

    from meetscribe.recognize.model import _token_starts

    folder = fetch("whisper-base")
    model, vocabulary = TargetWhisper.load(folder, TargetWhisperSettings())
    theirs = ctranslate2.models.Whisper(
        str(folder), device="cpu", compute_type="float32", intra_threads=1
    )
    heads = alignment_heads(folder)
    assert heads == load_whisper(folder).alignment_heads
    start = vocabulary.start("en", timestamps=False)
    samples_nc, _ = soundfile.read(SAMPLE, stop=7 * RATE, dtype="float32")
    mel = log_mel(samples_nc[:, 0], trailing_s=1.0)[None]
    steps = [mel.shape[-1] // 2]
    with torch.inference_mode():
        encoded = model.encode(mel, None, steps)
    (text,) = decode(
        model.whisper, encoded, vocabulary, steps=steps, durations=[7.0], budgets=[99], start=start
    )
    assert len(text.tokens) > 10
    (ours,) = align(
        model.whisper, encoded, [text.tokens],
        start=start, end=vocabulary.end, steps=steps, durations=[7.0], heads=heads,
    )  # fmt: skip
    view = ctranslate2.StorageView.from_array(encoded.numpy())
    (expected,) = theirs.align(view, start[:-1], [list(text.tokens)], [700])
    starts = _token_starts(expected.alignments, len(text.tokens))
    assert np.abs(ours.starts - starts).max() <= 0.04
    assert np.allclose(ours.probs, expected.text_token_probs, atol=1e-3)


def test_items_in_a_batch_are_aligned_as_alone(tiny: Whisper, vocabulary: Vocabulary) -> None:
    generator = torch.Generator().manual_seed(0)
    encoded = torch.randn(2, 40, 32, generator=generator)
    texts, steps, seconds = [(1, 2, 3, 4), ()], [40, 30], [0.7, 0.5]
    start = vocabulary.start("en", timestamps=False)
    about = {"start": start, "end": vocabulary.end, "heads": [(0, 1), (1, 0)]}
    both = align(tiny, encoded, texts, steps=steps, durations=seconds, **about)  # type: ignore[arg-type]
    for row, found in enumerate(both):
        (alone,) = align(
            tiny, encoded[row : row + 1, : steps[row]], texts[row : row + 1],
            steps=steps[row : row + 1], durations=seconds[row : row + 1], **about,
        )  # type: ignore[arg-type]  # fmt: skip
        assert np.allclose(found.starts, alone.starts)
        assert np.allclose(found.probs, alone.probs, atol=1e-5)
    assert (both[0].starts.shape, both[1].starts.shape) == ((5,), (1,))
    assert both[0].starts.max() <= 0.7
    assert both[1].probs == ()


def test_without_known_heads_the_later_layers_are_taken(
    tiny: Whisper, vocabulary: Vocabulary
) -> None:
    encoded = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1))
    start = vocabulary.start("en", timestamps=False)

    def starts(heads: list[tuple[int, int]]) -> list[float]:
        (made,) = align(
            tiny, encoded, [(1, 2, 3)],
            start=start, end=vocabulary.end, steps=[20], durations=[0.4], heads=heads,
        )  # fmt: skip
        return made.starts.tolist()

    assert starts([]) == starts([(1, 0), (1, 1)])
    # hooks are gone afterwards
    assert not any(layer.encoder_attn._forward_pre_hooks for layer in tiny.decoder.layers)
