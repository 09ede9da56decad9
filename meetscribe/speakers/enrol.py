"""People from recordings of each: one folder or one file a person, named as the person is.

Axes: N sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError
from meetscribe.spatial.solo_segments import solo_runs
from meetscribe.speakers.matching import Person
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.settings import NamingSettings
from meetscribe.speakers.voices import Voice, likeness, mean, voices_of
from meetscribe.types import (
    AudioReader,
    NoStore,
    Progress,
    Recording,
    Store,
    no_progress,
)

_HINT = "one audio file or one folder a person, named as the person is"


@dataclass(frozen=True)
class Enrolled:
    """People, and what a person who enrols them should know.

    ``people`` is sorted by name.
    """

    people: tuple[Person, ...]
    notes: tuple[str, ...] = ()


def find_people(folder: Path) -> dict[str, list[Path]]:
    """Say which recordings are whose: files by their stem, folders with all files below.

    Raises
    ------
    ConfigError
        If there is no such folder, or nobody in it.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror or error}", hint=_HINT) from error
    found: dict[str, list[Path]] = {}
    for path in entries:
        files = _recordings(path)
        if files:
            name = path.name if path.is_dir() else path.stem
            found.setdefault(name.strip(), []).extend(files)
        elif path.is_dir():
            raise ConfigError(f"{path}: a folder without recordings", hint=_HINT)
    if not found:
        raise ConfigError(f"{folder}: no recordings of anybody", hint=_HINT)
    return found


def _recordings(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() in ingest.AUDIO_SUFFIXES else []
    below = (one for one in path.rglob("*") if one.is_dir())
    # what is hidden was thrown away, or is of another program
    folders = [path, *sorted(one for one in below if not _is_hidden(one.relative_to(path)))]
    return [file for folder in folders for file in ingest.find_audio(folder)]


def _is_hidden(below: Path) -> bool:
    return any(part.startswith(".") for part in below.parts)


def enrol(
    recordings: Mapping[str, Sequence[Path]],
    models: VoiceModels,
    *,
    settings: NamingSettings | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> Enrolled:
    """Give the voices of people.

    Parameters
    ----------
    recordings : name -> files in which only this person speaks
    store : where voices are kept by the content of the files, None for nowhere
    progress : told of ``enrol``

    Raises
    ------
    AudioError
        If a file cannot be read, or somebody is heard for too short.
    ModelError
        If a model cannot be had.
    """
    settings = settings or NamingSettings()
    store = store or NoStore()
    people = []
    progress("enrol", 0.0)
    for number, (name, files) in enumerate(sorted(recordings.items()), 1):
        people.append(_person(name, files, models, settings, store))
        progress("enrol", number / len(recordings))
    return Enrolled(tuple(people), _notes(people, settings))


def hear(audio: AudioReader, models: VoiceModels, settings: NamingSettings) -> Voice | None:
    """Give the one voice of a recording; None if nobody speaks in it."""
    turns = models.diarizer().diarize(audio, num_speakers=1).turns
    found = voices_of(audio, solo_runs(turns), models.voiceprinter(), settings)
    return next(iter(found.values()), None)


def _person(
    name: str,
    files: Sequence[Path],
    models: VoiceModels,
    settings: NamingSettings,
    store: Store,
) -> Person:
    recordings = [ingest.probe([path]) for path in files]
    length = sum(recording.duration for recording in recordings)
    if length < settings.enrol_s:
        raise AudioError(
            f"{files[0]}: {length:.1f} s of {name}, expected at least {settings.enrol_s:g} s",
            hint="record a longer one, or put several into a folder of the person's name",
        )
    heard = [_voice(recording, models, settings, store) for recording in recordings]
    voices = tuple(voice for voice in heard if voice is not None)
    speech = sum(voice.seconds for voice in voices)
    if speech < settings.enrol_s / 2:
        raise AudioError(
            f"{files[0]}: {speech:.1f} s of speech in {length:.1f} s of {name}, expected at least "
            f"{settings.enrol_s / 2:g} s",
            hint="use a recording in which this person speaks, and nobody else",
        )
    return Person(name, voices)


def _voice(
    recording: Recording, models: VoiceModels, settings: NamingSettings, store: Store
) -> Voice | None:
    def make() -> dict[str, Any] | None:
        with ingest.open_mono(recording) as audio:
            voice = hear(audio, models, settings)
            return None if voice is None else voice.to_json()

    decided_by = config_hash(settings.model_dump(exclude={"same_person"}), models.describe())
    made = store.get_or_make("enrol", ingest.content_hash(recording), decided_by, make)
    return None if made is None else Voice.from_json(made)


def _notes(people: Sequence[Person], settings: NamingSettings) -> tuple[str, ...]:
    """Say what looks like a mistake: recordings of two people under one name, one person twice."""
    notes = []
    for person in people:
        pairs = combinations(person.voices, 2)
        like = [likeness(one, other) for one, other in pairs]
        if like and min(like) < settings.same_person:
            notes.append(
                f"recordings of {person.name} differ ({min(like):.2f}): is it one person in all?"
            )
    for one, other in combinations(people, 2):
        like_both = likeness(mean(one.voices), mean(other.voices))
        if like_both >= settings.same_person:
            notes.append(f"{one.name} and {other.name} sound alike ({like_both:.2f})")
    return tuple(notes)
