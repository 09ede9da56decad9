"""People from folders of recordings; with real voices, who is who in a recording."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe import ingest
from meetscribe.errors import AudioError, ConfigError
from meetscribe.speakers.enrol import enrol, find_people
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.naming import Known, hear_speakers, know
from meetscribe.types import Transcript, Turn

RATE = 16_000


def sound(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * RATE)), RATE)
    return path


def test_a_file_or_a_folder_is_a_person(tmp_path: Path) -> None:
    sound(tmp_path / "Anna Lee.wav")
    sound(tmp_path / "王伟" / "1.wav")
    sound(tmp_path / "王伟" / "more" / "2.flac")
    sound(tmp_path / ".hidden" / "x.wav")
    (tmp_path / "notes.txt").write_text("not a recording")
    found = find_people(tmp_path)
    assert list(found) == ["Anna Lee", "王伟"]
    assert [path.name for path in found["王伟"]] == ["1.wav", "2.flac"]


def test_a_folder_without_people_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        find_people(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no recordings of anybody"):
        find_people(tmp_path)
    (tmp_path / "Anna").mkdir()
    with pytest.raises(ConfigError, match="Anna: a folder without recordings"):
        find_people(tmp_path)


def test_what_is_hidden_is_nobodys(tmp_path: Path) -> None:
    for name in ("anna.wav", ".trash/ben.wav", "more/.old/cem.wav", "more/dora.wav"):
        path = tmp_path / "Anna" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sound(path)
    found = find_people(tmp_path)
    assert [path.name for path in found["Anna"]] == ["anna.wav", "dora.wav"]


def test_too_short_is_said_before_a_model_is_needed(tmp_path: Path) -> None:
    files = [sound(tmp_path / "1.wav"), sound(tmp_path / "2.wav", 1.5)]
    with pytest.raises(AudioError, match=r"1\.wav: 2\.5 s of Anna, expected at least 3 s"):
        enrol({"Anna": files}, VoiceModels(offline=True))


@pytest.mark.weights
def test_silence_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"0\.0 s of speech in 4\.0 s of Anna"):
        enrol({"Anna": [sound(tmp_path / "anna.wav", 4.0)]}, VoiceModels(offline=True))


@pytest.fixture
def readers(data: Path) -> dict[str, list[Path]]:
    """Give some recordings of each of four people."""
    table = data / "speech" / "transcripts.tsv"
    if not table.is_file():
        pytest.skip("no read speech here")
    found: dict[str, list[Path]] = defaultdict(list)
    with table.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["split"] == "heldout" and float(row["duration_s"]) > 3.5:
                found[row["speaker"]].append(table.parent / row["path"])
    several = {name: paths[:4] for name, paths in sorted(found.items()) if len(paths) >= 4}
    return dict(list(several.items())[:4])


@pytest.mark.weights
def test_real_voices_get_their_names_and_strangers_none(
    readers: dict[str, list[Path]], tmp_path: Path
) -> None:
    assert len(readers) == 4
    *team, stranger = readers
    for name in team[:2]:
        (tmp_path / "team" / name).mkdir(parents=True)
        for path in readers[name][:2]:
            (tmp_path / "team" / name / path.name).symlink_to(path)
    (tmp_path / "team" / f"{team[2]}.flac").symlink_to(readers[team[2]][0])
    models = VoiceModels(offline=True)
    known = know(enroll=tmp_path / "team", models=models)
    assert known.notes == ()

    spoken, turns, at = [], [], 0.0
    for number, name in enumerate([stranger, *team], 1):
        for path in readers[name][2:]:
            samples_n = soundfile.read(path, dtype="float32")[0]
            spoken += [samples_n, np.zeros(RATE // 2, np.float32)]
            turns.append(Turn(at, at + len(samples_n) / RATE, f"Speaker {number}"))
            at += len(samples_n) / RATE + 0.5
    soundfile.write(tmp_path / "meeting.wav", np.concatenate(spoken), RATE)
    recording = ingest.probe([tmp_path / "meeting.wav"])
    made = Transcript("meeting", (), tuple(turns), duration=at)
    voices = hear_speakers(recording, ingest.plan_mono(recording), made, models)
    found = known.match(voices)
    assert {label: one.name for label, one in found.items()} == {
        "Speaker 1": "",
        **{f"Speaker {number}": name for number, name in enumerate(team, 2)},
    }
    # nobody enrolled: they are linked with themselves, and with nobody else
    linked = Known().link([voices, dict(reversed(voices.items()))])
    assert linked[0] == linked[1]
    assert len({one.name for one in linked[0].values()}) == 4
