"""The array path from end to end, on the sample meeting: eight channels, people over each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import soundfile

from meetscribe import formats, ingest, transcribe
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.words import TokenSegment
from meetscribe.types import Transcript
from tests.conftest import SAMPLE

SECONDS = 62.0
PAUSE_S = 59.8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the first minute, with one channel dead and one a flipped copy."""
    path = tmp_path_factory.mktemp("array") / "clip.flac"
    samples_nc, rate = soundfile.read(SAMPLE, stop=int(SECONDS * 16_000), dtype="float32")
    samples_nc[:, 2] = 0.0
    samples_nc[:, 5] = -samples_nc[:, 4]
    soundfile.write(path, samples_nc, rate, subtype="PCM_16")
    return path


def word_errors(made: Transcript) -> int:
    """Count cpWER errors up to a pause of everybody."""
    english = normalise.get("chime8")
    reference = [
        TokenSegment(part.speaker, part.start, part.end, tuple(english(part.text).split()))
        for part in formats.parse_file(SAMPLE.with_name("meeting.seglst.json")).utterances
        if part.end < PAUSE_S
    ]
    hypothesis = [
        TokenSegment(part.speaker, word.start, word.end, tuple(english(word.text).split()))
        for part in made.utterances
        for word in part.words
        if word.start < PAUSE_S
    ]
    return words.cp(reference, hypothesis).errors.errors


@pytest.mark.weights
def test_speakers_of_an_array_are_separated_and_overlapped_words_appear(clip: Path) -> None:
    made = transcribe(clip)
    assert any("separated with 6 channels" in line for line in made.warnings)
    assert any("channel 2" in line for line in made.warnings)
    assert any("channel 5" in line for line in made.warnings)
    together = [
        (one, two)
        for one, two in itertools.combinations(made.utterances, 2)
        if one.speaker != two.speaker and one.start < two.end and two.start < one.end
    ]
    assert together
    assert all(
        "overlap" in part.flags for pair in together for part in pair if part.end - part.start > 1
    )
    assert word_errors(made) < word_errors(transcribe(clip, pipeline="mono"))


def test_dead_channels_and_copies_are_not_used(clip: Path) -> None:
    recording = ingest.probe([clip])
    assert ingest.plan_channels(recording).channels == (0, 1, 3, 4, 6, 7)
