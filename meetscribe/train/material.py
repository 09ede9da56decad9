"""Read speech and rooms for a training: made once in a folder that several runs may share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meetscribe.models import resolve_whisper
from meetscribe.train.bank import RoomBank, make_banks
from meetscribe.train.data_settings import RoomSettings, SpeechSettings
from meetscribe.train.library import Hear, Library, dev_speakers, make_library, whisper_words
from meetscribe.types import SAMPLE_RATE_HZ, Progress, no_progress

Note = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """What is trained and scored on. ``notes`` say what was left out."""

    training: Library
    dev: Library
    rooms: RoomBank
    dev_rooms: RoomBank
    notes: tuple[str, ...]


def make_material(
    speech: SpeechSettings,
    rooms: RoomSettings,
    work: Path,
    *,
    recogniser: str,
    longest_piece_s: float,
    notes: Sequence[str] = (),
    workers: int = 0,
    progress: Progress = no_progress,
    note: Note = lambda _line: None,
) -> Material:
    """Cut the speech and compute the rooms, or open what an earlier run made.

    Parameters
    ----------
    recogniser : Whisper that hears the speech, if ``speech.listen`` asks for one
    longest_piece_s : of what one person says in one go; other utterances are of no use for words
    notes : what is to be noted before

    Raises
    ------
    MeetscribeError
        As ``make_library`` and ``make_banks`` do.
    """
    told = list(notes)
    heard_by = recogniser if speech.listen else ""
    hear: Hear | None = _Listener(recogniser) if speech.listen else None
    library, more = make_library(speech, work, hear=hear, recogniser=heard_by, progress=progress)
    told += more
    worded = library.with_pieces(longest_piece_s)
    if len(worded.utterances) < len(library.utterances):
        left_out = len(library.utterances) - len(worded.utterances)
        told.append(f"{left_out} utterances without words: no piece of them is short enough")
    for line in told:
        note(line)
    held_out = dev_speakers(worded.names, speech.dev_speakers)
    banks = make_banks(rooms, work, workers=workers, progress=progress)
    return Material(library.without(held_out), library.only(held_out), *banks, tuple(told))


def speech_minutes(library: Library) -> dict[str, float]:
    """Give the minutes of every corpus, by the first folder of its paths."""
    minutes: dict[str, float] = {}
    for one in library.utterances:
        corpus = one.path.replace("\\", "/").partition("/")[0]
        minutes[corpus] = minutes.get(corpus, 0.0) + one.num_samples / SAMPLE_RATE_HZ / 60
    return minutes


class _Listener:
    """The cascade's recogniser, loaded when the first utterance is to be heard."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._hear: Hear | None = None

    def __call__(self, samples_n: Any, language: str) -> Any:  # noqa: ANN401 - as ``Hear``
        if self._hear is None:
            import torch

            from meetscribe.recognize.settings import RecognizerSettings
            from meetscribe.recognize.whisper import Recognizer

            # the prompt asks for spontaneous speech, which read speech is not
            settings = RecognizerSettings(prompt="", batch_size=1)
            folder = resolve_whisper(self._base)
            # CTranslate2 sets the cores of this thread, torch's too: as many as it has now
            threads = torch.get_num_threads()
            self._hear = whisper_words(Recognizer(settings, model_dir=folder, threads=threads))
        return self._hear(samples_n, language)
