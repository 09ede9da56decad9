"""A microphone for everybody: each channel one speaker, nobody's words twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe import formats, transcribe
from meetscribe.evaluate import normalise, words
from meetscribe.evaluate.words import TokenSegment
from meetscribe.train import SimulationSettings, simulate
from meetscribe.types import Transcript
from tests.conftest import run_meetscribe

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, speech_table: Path) -> Path:
    """Give a minute of three people with headsets, a third of it overlapped."""
    wanted = SimulationSettings(
        minutes=0.7,
        speakers=(3, 3),
        array="headsets",
        channels=4,
        overlap=(0.3, 0.35),
        rt60_s=(0.4, 0.4),
        snr_db=(30.0, 30.0),
        microphone_spread_db=3.0,
        utterance_s=(1.0, 9.0),
        split="train",
        seed=12,
    )
    return simulate(speech_table, tmp_path_factory.mktemp("headsets"), wanted)[0]


@pytest.fixture(scope="module")
def speech_table() -> Path:
    """Give the table of shared read speech, or skip."""
    from tests.conftest import DATA

    table = DATA / "speech" / "transcripts.tsv"
    if not table.is_file():
        pytest.skip("no shared read speech here (MEETSCRIBE_TEST_DATA)")
    return table


def tokens(made: Transcript) -> list[TokenSegment]:
    english = normalise.get("chime8")
    return [
        TokenSegment(part.speaker, part.start, part.end, tuple(english(part.text).split()))
        for part in made.utterances
    ]


@pytest.mark.weights
def test_one_file_per_headset_gives_one_speaker_each(meeting: Path, tmp_path: Path) -> None:
    samples_nc, _ = soundfile.read(meeting, dtype="float32")
    paths = []
    for channel, samples_n in enumerate(samples_nc.T):
        paths.append(tmp_path / f"headset{channel}.wav")
        soundfile.write(paths[-1], samples_n, RATE_HZ)
    made = transcribe(paths, as_channels=True)
    said = formats.parse_file(meeting.with_suffix(".seglst.json"))
    assert len(made.speakers) == 3
    assert any("nobody speaks into channel 3" in line for line in made.warnings)
    assert any("Speaker 1: channel" in line for line in made.warnings)
    errors = words.cp(tokens(said), tokens(made)).errors
    assert (errors.rate or 0) < 0.15
    assert any("overlap" in part.flags for part in made.utterances)


@pytest.mark.weights
def test_noise_in_every_channel_is_an_empty_transcript(tmp_path: Path) -> None:
    noise_nc = 0.01 * np.random.default_rng(0).standard_normal((4 * RATE_HZ, 3))
    soundfile.write(tmp_path / "noise.wav", noise_nc, RATE_HZ)
    done = run_meetscribe(
        "transcribe", tmp_path / "noise.wav", "--pipeline", "per-speaker", "-f", "txt"
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
