"""The bundled meeting is what its README says, and its reference fits its sound."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
import soundfile

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FLAC = SAMPLES / "meeting.flac"
RATE_HZ = 16_000
NUM_CHANNELS = 8


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    """The script that made the meeting; importing it needs no voices."""
    spec = importlib.util.spec_from_file_location("make_meeting", SAMPLES / "make_meeting.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def audio_nc() -> np.ndarray:
    """The values of the file, shape (N, 8)."""
    return soundfile.read(FLAC, dtype="int16", always_2d=True)[0]


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    return json.loads((SAMPLES / "meeting.seglst.json").read_text(encoding="utf-8"))


def activity_kn(entries: list[dict[str, Any]], duration: float) -> np.ndarray:
    """Who speaks in every millisecond, shape (speakers, N)."""
    speakers = sorted({e["speaker"] for e in entries})
    grid = np.zeros((len(speakers), int(duration * 1000) + 1), dtype=int)
    for e in entries:
        begin, end = round(e["start_time"] * 1000), round(e["end_time"] * 1000)
        grid[speakers.index(e["speaker"]), begin:end] += 1
    return grid


def test_audio_has_the_promised_form() -> None:
    info = soundfile.info(FLAC)
    assert (info.format, info.subtype) == ("FLAC", "PCM_16")
    assert (info.channels, info.samplerate) == (NUM_CHANNELS, RATE_HZ)
    assert 110 <= info.duration <= 130
    assert FLAC.stat().st_size < 14_000_000


def test_values_have_12_bits_and_are_not_clipped(audio_nc: np.ndarray) -> None:
    assert np.all(audio_nc % 16 == 0)
    assert np.any(audio_nc % 32 != 0)
    assert np.all(np.abs(audio_nc.astype(int)).max(axis=0) < 0.9 * 32768)
    assert np.all(np.abs(audio_nc.astype(int)).max(axis=0) > 0.05 * 32768)


def test_rttm_and_seglst_tell_the_same_turns(entries: list[dict[str, Any]]) -> None:
    rows = [row.split() for row in (SAMPLES / "meeting.rttm").read_text("utf-8").splitlines()]
    assert all(len(row) == 10 and row[0] == "SPEAKER" for row in rows)
    turns = [(row[1], row[7], float(row[3]), float(row[3]) + float(row[4])) for row in rows]
    expected = [(e["session_id"], e["speaker"], e["start_time"], e["end_time"]) for e in entries]
    for turn, reference in zip(turns, expected, strict=True):
        assert turn[:2] == reference[:2]
        assert turn[2:] == pytest.approx(reference[2:], abs=0.0015)


def test_turns_lie_within_the_file_and_nobody_talks_over_themselves(
    entries: list[dict[str, Any]],
) -> None:
    duration = soundfile.info(FLAC).duration
    assert all(0 <= e["start_time"] < e["end_time"] <= duration for e in entries)
    assert activity_kn(entries, duration).max() == 1


def test_four_people_share_the_talk_and_the_overlap_is_that_of_a_meeting(
    entries: list[dict[str, Any]],
) -> None:
    grid_kn = activity_kn(entries, soundfile.info(FLAC).duration)
    voices = grid_kn.sum(axis=0)
    assert 0.15 <= np.mean(voices > 1) / np.mean(voices > 0) <= 0.25
    assert np.all(grid_kn.sum(axis=1) / grid_kn.sum() > 0.15)
    assert len(grid_kn) == 4


def test_readme_states_the_measured_numbers(
    maker: ModuleType, entries: list[dict[str, Any]]
) -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    duration = soundfile.info(FLAC).duration
    found = re.fullmatch(
        r"([\d.]+) s, (\d+) utterances, (\d+) words; speech (\d+)% of the time, "
        r"overlap ([\d.]+)% of speech time; talk: S1 (\d+)%, S2 (\d+)%, S3 (\d+)%, S4 (\d+)%",
        maker.summary(entries, duration),
    )
    length, turns, words, speech, overlap, *talk = found.groups()
    flat = " ".join(readme.split())
    for claim in (
        f"{length} s, 8 channels",
        f"{turns} turns",
        f"{words} words; somebody speaks during {speech} %",
        f"two or more during {overlap} % of that speech",
        "{}, {}, {} and {} % of the talk".format(*talk),
        f"{FLAC.stat().st_size / 1e6:.1f} MB",
    ):
        assert claim in flat


def test_reference_words_are_the_script(maker: ModuleType, entries: list[dict[str, Any]]) -> None:
    script = Counter(
        (line.speaker, line.words) for line in maker.read_script(SAMPLES / "script.txt")
    )
    assert Counter((e["speaker"], e["words"]) for e in entries) == script


def test_speech_is_where_the_reference_says(
    audio_nc: np.ndarray, entries: list[dict[str, Any]]
) -> None:
    """Turns are loud from start to end; long pauses, once the room is still, are not."""
    power = np.mean((audio_nc[: len(audio_nc) // 160 * 160, 0] / 32768.0).reshape(-1, 160) ** 2, 1)
    silent = np.ones(len(power), dtype=bool)
    for e in entries:
        begin, end = int(e["start_time"] * 100), int(e["end_time"] * 100)
        silent[max(0, begin - 2) : end + 25] = False
    noise = np.median(power[silent])
    assert silent.sum() > 50
    assert np.max(power[silent]) < 10 * noise
    for e in entries:
        begin, end = round(e["start_time"] * 100), round(e["end_time"] * 100)
        for edge in (power[begin - 1 : begin + 25], power[end - 25 : end + 1]):
            assert edge.max() > 10 * noise, e["words"]


@pytest.mark.parametrize("speaker", ["S1", "S2", "S3", "S4"])
def test_sound_arrives_from_the_seat(
    maker: ModuleType, audio_nc: np.ndarray, entries: list[dict[str, Any]], speaker: str
) -> None:
    """The steered power of the speaker's solo speech, by phase transform, peaks at the seat."""
    grid_kn = activity_kn(entries, len(audio_nc) / RATE_HZ)
    row = ["S1", "S2", "S3", "S4"].index(speaker)
    solo = np.repeat((grid_kn[row] == 1) & (grid_kn.sum(axis=0) == 1), 16)[: len(audio_nc)]
    samples_cn = audio_nc[: len(solo)][solo].T / 32768.0
    frames_ctn = samples_cn[:, : samples_cn.shape[1] // 512 * 512].reshape(NUM_CHANNELS, -1, 512)
    spectra_ctf = np.fft.rfft(frames_ctn * np.hanning(512))[..., 8:128]
    spectra_ctf /= np.abs(spectra_ctf) + 1e-9
    frequency_hz = np.arange(8, 128) * RATE_HZ / 512
    offsets_m = maker.microphones_m() - np.asarray(maker.ARRAY_CENTRE_M)
    angles_deg = np.arange(0, 360, 3)
    scores = []
    for angle in np.radians(angles_deg):
        lead_s = offsets_m[:, :2] @ [np.cos(angle), np.sin(angle)] / maker.SPEED_OF_SOUND_M_S
        steer_cf = np.exp(-2j * np.pi * frequency_hz * lead_s[:, np.newaxis])
        beam_tf = np.einsum("cf,ctf->tf", steer_cf, spectra_ctf)
        scores.append(np.sum(np.abs(beam_tf) ** 2))
    found = angles_deg[int(np.argmax(scores))]
    off = (found - maker.SEATS[speaker].azimuth_deg + 180) % 360 - 180
    assert abs(off) <= 9


def test_seats_are_at_the_distance_they_name(maker: ModuleType) -> None:
    for seat in maker.SEATS.values():
        reach = np.linalg.norm(np.subtract(seat.position_m, maker.ARRAY_CENTRE_M))
        assert reach == pytest.approx(seat.distance_m)
        assert all(0 < x < side for x, side in zip(seat.position_m, maker.ROOM_M, strict=True))


def test_tighten_trims_silence_and_cuts_long_pauses(maker: ModuleType) -> None:
    tone = np.sin(np.arange(RATE_HZ) * 2 * np.pi * 200 / RATE_HZ)
    quiet = np.zeros(RATE_HZ)
    tight = maker.tighten(np.concatenate([quiet, tone, quiet, tone, quiet]))
    assert len(tight) / RATE_HZ == pytest.approx(2 + maker.LONGEST_PAUSE_S, abs=0.02)
    assert np.abs(tight).max() == pytest.approx(np.sqrt(2), rel=0.02)


def test_bad_script_line_is_named(maker: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("# comment\nS1 | 0.5 | no sign\n", encoding="utf-8")
    with pytest.raises(click.ClickException, match=r"script\.txt:2: expected"):
        maker.read_script(script)
