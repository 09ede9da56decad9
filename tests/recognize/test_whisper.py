"""Recognition with real weights, over speech and over sounds that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from meetscribe.errors import ConfigError, WeightsError
from meetscribe.models import resolve_whisper
from meetscribe.recognize import Recognizer, RecognizerSettings
from meetscribe.types import Segment

RATE = 16_000


class Signal:
    """A reader over an array."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples.astype(np.float32)

    @property
    def duration(self) -> float:
        return len(self.samples) / RATE

    def read(self, start: float, end: float) -> np.ndarray:
        first, last = round(start * RATE), round(end * RATE)
        piece = self.samples[first:last]
        return np.pad(piece, (0, last - first - len(piece)))


def seconds(duration: float) -> np.ndarray:
    return np.arange(int(duration * RATE)) / RATE


def silence() -> np.ndarray:
    return np.zeros(8 * RATE)


def white_noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.05, 20 * RATE)


def mains_hum() -> np.ndarray:
    t = seconds(12)
    return sum(0.1 / n * np.sin(2 * np.pi * 50 * n * t) for n in range(1, 8))


def melody() -> np.ndarray:
    t = seconds(0.4)
    notes = [262, 294, 330, 349, 392, 440, 494, 523] * 4
    tone = [
        np.exp(-4 * t) * sum(np.sin(2 * np.pi * f * n * t) / n for n in (1, 2, 3)) for f in notes
    ]
    return 0.1 * np.concatenate(tone)


def clicks() -> np.ndarray:
    samples = np.random.default_rng(1).normal(0, 1e-3, 10 * RATE)
    samples[:: RATE // 3] = 0.8
    return samples


@pytest.fixture(scope="module")
def recognizer(weights_cache: Path) -> Iterator[Recognizer]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MEETSCRIBE_CACHE", str(weights_cache))
    yield Recognizer(
        RecognizerSettings(), model_dir=resolve_whisper("whisper-base", offline=True), threads=2
    )
    patch.undo()


@pytest.mark.weights
@pytest.mark.parametrize("sound", [silence, white_noise, mains_hum, melody, clicks])
def test_where_nobody_speaks_there_are_no_words(
    recognizer: Recognizer, sound: Callable[[], np.ndarray]
) -> None:
    audio = Signal(sound())
    results = recognizer.recognize(audio, [Segment(0.0, audio.duration)], language="en")
    assert [word.text for result in results for word in result.words] == []


@pytest.mark.weights
def test_no_speech_has_no_language_and_no_result(recognizer: Recognizer) -> None:
    audio = Signal(silence())
    assert recognizer.detect_language(audio, []) == ("", 0.0)
    assert recognizer.detect_language(audio, [Segment(0.0, 5.0)]) == ("", 0.0)
    assert recognizer.recognize(audio, [], language="en") == []


@pytest.mark.weights
def test_speech_becomes_words_with_time_and_confidence(recognizer: Recognizer, data: Path) -> None:
    import soundfile

    paths = sorted((data / "meetings").glob("ami_ES2011a*/audio.flac"))
    samples, _ = soundfile.read(paths[0], dtype="float32")
    # the same words again after a long silence: times must not drift
    audio = Signal(np.concatenate([samples, np.zeros(20 * RATE), samples]))
    later = len(samples) / RATE + 20
    regions = [Segment(0.0, 6.0), Segment(later, later + 6.0)]

    assert recognizer.detect_language(audio, regions)[0] == "en"
    seen: list[float] = []
    results = recognizer.recognize(
        audio, regions, language="en", progress=lambda _stage, done: seen.append(done)
    )

    words = [word for result in results for word in result.words]
    assert {"I'm", "call", "me"} <= {word.text for word in words}
    assert all(left.end <= right.start for left, right in pairwise(words))
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in words)
    assert not [word for word in words if 5.5 < word.start < later]
    calls = [word.start for word in words if word.text == "call"]
    assert len(calls) == 2
    assert calls[1] - calls[0] == pytest.approx(later, abs=0.3)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.weights
def test_a_piece_that_cannot_be_decoded_is_marked_and_spoils_nothing(
    recognizer: Recognizer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    paths = sorted((data / "meetings").glob("ami_ES2011a*/audio.flac"))
    samples, _ = soundfile.read(paths[0], dtype="float32")
    audio = Signal(np.concatenate([samples, np.zeros(8 * RATE), samples]))
    later = len(samples) / RATE + 8
    encode = recognizer._model.encode

    def failing(pieces: list[np.ndarray]) -> object:
        if abs(len(pieces[0]) - round(5.5 * RATE)) < RATE / 4:
            raise RuntimeError("out of memory")
        return encode(pieces)

    monkeypatch.setattr(recognizer._model, "encode", failing)
    results = recognizer.recognize(
        audio, [Segment(0.0, 5.0), Segment(later + 0.5, later + 4.5)], language="en"
    )
    assert results[0].flags == ("unclear",)
    assert results[0].words == ()
    assert results[1].words


@pytest.mark.weights
def test_an_unknown_language_is_refused_with_a_hint(recognizer: Recognizer) -> None:
    with pytest.raises(ConfigError) as caught:
        recognizer.recognize(Signal(silence()), [], language="english")
    assert "english" in caught.value.message
    assert caught.value.hint


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.bin"):
        Recognizer(RecognizerSettings(), model_dir=tmp_path)
