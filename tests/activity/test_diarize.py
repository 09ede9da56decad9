from __future__ import annotations

import numpy as np
import pytest
import torch

from meetscribe.activity import DiarizationSettings, Diarizer
from meetscribe.activity.pyannet import num_frames
from meetscribe.errors import ConfigError
from meetscribe.types import Activity

RATE = 16_000
VOICES = 4


def talk(plan: list[tuple[int, float, float]], duration: float) -> np.ndarray:
    """Write constant levels that the fake networks read: speaker k is the level 10**k."""
    samples = np.zeros(round(duration * RATE), np.float32)
    for speaker, start, end in plan:
        samples[round(start * RATE) : round(end * RATE)] += 10.0**speaker
    return samples


def fake_diarizer(**options) -> Diarizer:
    """A diarizer whose networks read the levels that ``talk`` wrote."""

    def network(samples_bn: torch.Tensor) -> torch.Tensor:
        rows = []
        for row in samples_bn.numpy():
            # the level was normalised away: ranks of distinct levels stand for speakers
            at = (np.arange(num_frames(len(row))) * 270 + 495).astype(int)
            values = np.round(row[at], 4)
            silent = values.min()
            ranks = {level: k for k, level in enumerate(sorted(set(values) - {silent}))}
            probabilities = np.full((len(at), 7), 1e-6, np.float32)
            for frame, value in enumerate(values):
                probabilities[frame, 0 if value == silent else 1 + ranks[value] % 3] = 1.0
            rows.append(torch.from_numpy(np.log(probabilities)))
        return torch.stack(rows)

    def printer(samples_n, spans):
        made = np.zeros((len(spans), 192), np.float32)
        for row, (start, end) in zip(made, spans, strict=True):
            level = float(np.median(samples_n[int(start) : int(end)]))
            row[int(np.clip(round(np.log10(max(level, 1.0))), 0, VOICES))] = 1.0
        return made

    return Diarizer.of(DiarizationSettings(**options), network, printer)


PLAN = [(0, 1.0, 4.0), (1, 5.0, 8.0), (0, 9.0, 12.0), (2, 13.0, 15.0)]


def test_turns_come_back_with_their_speakers(samples):
    found = fake_diarizer().diarize(samples(talk(PLAN, 20.0)))
    assert [turn.speaker for turn in found.turns] == [
        "Speaker 1",
        "Speaker 2",
        "Speaker 1",
        "Speaker 3",
    ]
    for turn, (_, start, end) in zip(found.turns, PLAN, strict=True):
        assert turn.start == pytest.approx(start, abs=0.05)
        assert turn.end == pytest.approx(end, abs=0.05)
    assert found.exclusive == found.turns
    assert set(found.voiceprints) == set(found.speakers)
    assert all(np.linalg.norm(v) == pytest.approx(1.0) for v in found.voiceprints.values())


@pytest.mark.parametrize("asked", [1, 2, 3, 5, 9])
def test_the_number_asked_for_is_the_number_given(samples, asked):
    found = fake_diarizer().diarize(samples(talk(PLAN, 20.0)), num_speakers=asked)
    assert len(found.speakers) == asked
    assert not found.notes


def test_minimum_and_maximum_bind(samples):
    audio = samples(talk(PLAN, 20.0))
    assert len(fake_diarizer().diarize(audio, min_speakers=5).speakers) == 5
    assert len(fake_diarizer().diarize(audio, max_speakers=2).speakers) == 2
    assert len(fake_diarizer().diarize(audio, min_speakers=2, max_speakers=4).speakers) == 3


def test_too_many_speakers_for_the_speech_are_said(samples):
    found = fake_diarizer().diarize(samples(talk([(0, 1.0, 1.3)], 3.0)), num_speakers=9)
    assert 1 <= len(found.speakers) < 9
    assert "9 were asked for" in found.notes[0]


@pytest.mark.parametrize(
    ("limits", "place"),
    [({"num_speakers": 0}, "speakers"), ({"min_speakers": 4, "max_speakers": 2}, "min_speakers")],
)
def test_impossible_limits_are_refused(samples, limits, place):
    with pytest.raises(ConfigError, match=place):
        fake_diarizer().diarize(samples(talk(PLAN, 20.0)), **limits)


def test_silence_is_an_empty_activity(samples):
    assert fake_diarizer().diarize(samples(np.zeros(RATE * 12))) == Activity(())


def test_long_audio_is_read_in_short_pieces(samples):
    plan = [(k % 3, 9.0 * k + 1, 9.0 * k + 8) for k in range(20)]
    audio = samples(talk(plan, 182.0))
    found = fake_diarizer().diarize(audio)
    assert audio.longest_s < 21
    assert len(found.speakers) == 3
    assert len(found.turns) == 20


def test_progress_rises_to_the_end(samples):
    seen: list[tuple[str, float]] = []
    fake_diarizer().diarize(
        samples(talk(PLAN, 20.0)), progress=lambda stage, done: seen.append((stage, done))
    )
    assert {stage for stage, _ in seen} == {"activity"}
    shares = [done for _, done in seen]
    assert shares == sorted(shares)
    assert shares[0] < 1.0
    assert shares[-1] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def real(segmentation_dir, voiceprint_dir) -> Diarizer:
    return Diarizer(DiarizationSettings(), segmentation=segmentation_dir, voiceprint=voiceprint_dir)


@pytest.mark.weights
@pytest.mark.parametrize("duration", [0.0, 0.01, 0.1, 1.0, 9.99, 10.0, 10.01])
def test_noise_of_any_length_is_survived(real, samples, duration):
    noise = np.random.default_rng(0).standard_normal(round(duration * RATE)) * 1e-3
    found = real.diarize(samples(noise.astype(np.float32)))
    assert all(0 <= turn.start < turn.end <= duration for turn in found.turns)


@pytest.mark.weights
def test_zeros_are_silence(real, samples):
    assert real.diarize(samples(np.zeros(RATE * 11, np.float32))).turns == ()


@pytest.mark.weights
@pytest.mark.parametrize("asked", [1, 3, 5])
def test_the_number_binds_on_a_real_clip(real, samples, meetings, asked):
    import soundfile

    audio, _ = soundfile.read(meetings / "ami_ES2003a_0-30s" / "audio.flac", dtype="float32")
    assert len(real.diarize(samples(audio), num_speakers=asked).speakers) == asked


@pytest.mark.weights
def test_a_real_clip_has_its_two_speakers_whatever_its_level_and_twice_the_same(
    real, samples, meetings
):
    import soundfile

    audio, _ = soundfile.read(meetings / "ami_ES2003a_0-30s" / "audio.flac", dtype="float32")
    loud = real.diarize(samples(audio))
    assert len(loud.speakers) == 2
    assert real.diarize(samples(audio)) == loud
    quiet = real.diarize(samples(audio * 0.01))
    assert len(quiet.speakers) == 2
    spoken = [sum(turn.duration for turn in found.turns) for found in (loud, quiet)]
    assert spoken[1] == pytest.approx(spoken[0], rel=0.05)
