"""Names and scores into transcripts: labels stay, what is shown for them changes.

What was found is kept in the provenance under ``speakers``: label -> name and score. A name that
somebody gave by hand is never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meetscribe import ingest
from meetscribe.config import config_hash
from meetscribe.spatial.solo_segments import solo_runs
from meetscribe.speakers.enrol import enrol, find_people
from meetscribe.speakers.matching import Gallery, Match, Person, link
from meetscribe.speakers.models import VoiceModels
from meetscribe.speakers.settings import NamingSettings
from meetscribe.speakers.store import SpeakerStore, default_path
from meetscribe.speakers.voices import Voice, Voices, voices_of
from meetscribe.types import NoStore, Progress, Recording, Store, Transcript, no_progress

PROVENANCE = "speakers"
DEFAULT_STORE = "default"
"""In place of a path, the store where ``meetscribe speakers`` keeps people."""


class Known:
    """People to compare with: from recordings, and from a store.

    Parameters
    ----------
    enrolled : who was recorded for it
    store : whose people are compared with as well
    remember : add voices that nobody has to the store
    notes : what the reader should know of the recordings
    """

    def __init__(
        self,
        enrolled: Sequence[Person] = (),
        store: SpeakerStore | None = None,
        *,
        remember: bool = False,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._enrolled = tuple(enrolled)
        self._store = store
        self._remember = remember and store is not None
        self._notes = notes
        # what is no store is said before any work
        self._gathered()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know: of recordings, and of how voices are kept."""
        kept = self._store.note if self._store is not None and self._remember else ""
        return (*self._notes, kept) if kept else self._notes

    def match(self, voices: Voices) -> dict[str, Match]:
        """Say who the speakers of one recording are; who is new is remembered if asked for."""
        return self.link([voices])[0] if self._remember else self._gathered().match(voices)

    def match_all(self, recordings: Sequence[Voices]) -> list[dict[str, Match]]:
        """Say who the speakers of recordings are, each recording for itself."""
        gallery = self._gathered()
        return [gallery.match(voices) for voices in recordings]

    def link(self, recordings: Sequence[Voices]) -> list[dict[str, Match]]:
        """Say who the speakers of recordings are, in this order; who is new gets a name."""
        # who is new in these recordings is nobody in others, unless he was remembered
        gallery = self._gathered()
        before = {person.name for person in gallery.people}
        found = link(recordings, gallery)
        new = [person for person in gallery.people if person.name not in before]
        if self._remember and self._store is not None and new:
            called = self._store.add_new(new)
            found = [
                {label: replace(one, name=called.get(one.name, one.name)) for label, one in mine}
                for mine in (matches.items() for matches in found)
            ]
        return found

    def _gathered(self) -> Gallery:
        """Give everybody as of now: hours may pass between two questions."""
        kept = self._store.people() if self._store is not None else ()
        return Gallery([*self._enrolled, *kept])


def know(
    *,
    enroll: Path | None = None,
    speakers_store: str | None = None,
    remember: bool = False,
    models: VoiceModels,
    stages: Store | None = None,
    progress: Progress = no_progress,
) -> Known:
    """Gather the people to compare with.

    Parameters
    ----------
    enroll : folder with recordings of people
    speakers_store : path of a store, or ``default``; None opens none, unless ``remember``
    remember : add voices that nobody has to the store
    stages : where the voices of ``enroll`` are kept by content

    Raises
    ------
    ConfigError, AudioError
        If there is no such folder or store, nobody in it, or somebody is heard for too short.
    ModelError
        If a model cannot be had.
    """
    people: tuple[Person, ...] = ()
    notes: tuple[str, ...] = ()
    if enroll is not None:
        made = enrol(find_people(enroll), models, store=stages, progress=progress)
        people = made.people
        notes = made.notes
    store = None
    if speakers_store is not None or remember:
        given = speakers_store not in {None, DEFAULT_STORE}
        path = Path(str(speakers_store)) if given else default_path()
        store = SpeakerStore(path, must_exist=given and not remember)
        if remember:
            store.check_writable()
    return Known(people, store, remember=remember, notes=notes)


def hear_speakers(
    recording: Recording,
    plan: ingest.MonoPlan,
    transcript: Transcript,
    models: VoiceModels,
    *,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> dict[str, Voice]:
    """Give the voices of a transcript's speakers, in the order in which they appear.

    Parameters
    ----------
    plan : makes the one signal that is heard
    store : where they are kept by the content of the recording and the turns

    Raises
    ------
    AudioError
        If the recording cannot be read.
    ModelError
        If the model cannot be had.
    """
    stretches = solo_runs(transcript.turns)
    settings = NamingSettings()
    ordered = {label: stretches[label] for label in transcript.speakers if stretches.get(label)}

    def make() -> dict[str, Any]:
        if not ordered:
            return {}
        voiceprinter = models.voiceprinter(lambda _, done: progress("models", done))
        with ingest.open_mono(recording, plan) as audio:
            made = voices_of(audio, ordered, voiceprinter, settings)
        return {label: voice.to_json() for label, voice in made.items()}

    progress("voices", 0.0)
    spans = {label: [(one.start, one.end) for one in mine] for label, mine in ordered.items()}
    made = (store or NoStore()).get_or_make(
        "voices",
        config_hash(recording.content_hash, repr(plan)),
        # not by the threshold: who sounds how does not depend on it
        config_hash(settings.model_dump(exclude={"same_person"}), models.describe(), spans),
        make,
    )
    progress("voices", 1.0)
    return {label: Voice.from_json(one) for label, one in made.items()}


def named(transcript: Transcript, matches: Mapping[str, Match]) -> Transcript:
    """Give a transcript with the names of ``matches``, scores in its provenance."""
    before = matches_in(transcript)
    names = dict(transcript.names)
    for label in transcript.speakers:
        old = before[label].name if label in before else ""
        new = matches[label].name if label in matches else ""
        shown = names.get(label, "")
        # another name than ours was given by hand, and so was none where ours was taken back
        if shown != old or (old and not shown):
            continue
        if new:
            names[label] = new
        else:
            names.pop(label, None)
    provenance = {key: value for key, value in transcript.provenance.items() if key != PROVENANCE}
    if matches:
        provenance[PROVENANCE] = {label: one.to_json() for label, one in matches.items()}
    return replace(transcript, names=names, provenance=provenance)


def matches_in(transcript: Transcript) -> dict[str, Match]:
    """Give what ``named`` has put into a transcript."""
    made = transcript.provenance.get(PROVENANCE, {})
    if not isinstance(made, Mapping):
        return {}
    return {label: Match.from_json(one) for label, one in made.items() if isinstance(one, Mapping)}
