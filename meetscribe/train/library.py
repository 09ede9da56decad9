"""Read speech for training: on disk as one file of samples, cut at pauses, every word known.

    speech.npy      int16, all utterances one after the other
    speech.json     who says what where in it
    heard.jsonl     what the recogniser heard, a line an utterance

Made once per table and settings; training only reads pieces of it.

Axes: N sample.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError, OutputError
from meetscribe.files import write_atomic
from meetscribe.ingest import InMemory
from meetscribe.train.checkpoint import write_whole
from meetscribe.train.data_settings import SpeechSettings
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.speech import Corpus, Reading, load_corpus, read_samples, speech_regions
from meetscribe.train.wording import Atom, Written, cut, sentence, write
from meetscribe.types import SAMPLE_RATE_HZ, Progress, Segment, Word, no_progress

if TYPE_CHECKING:
    from meetscribe.recognize.whisper import Recognizer

Samples = NDArray[np.float32]
Hear = Callable[[Samples, str], Sequence[Word]]
"""Gives the words of an utterance with their times."""

_SCHEMA = 2
_FULL = 32768.0
_EDGE_S = 0.08
"""What is kept around a piece, where there is that much."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Uttered:
    """An utterance: ``first`` and ``num_samples`` in the file of samples; ``rms`` of its speech."""

    speaker: str
    path: str
    first: int
    num_samples: int
    rms: float
    atoms: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an utterance between two pauses: seconds in the utterance, and its text."""

    uttered: Uttered
    start: float
    end: float
    text: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Line:
    """A piece in its place; ``start`` is seconds from the start of the region or group."""

    voice: int
    piece: Piece
    start: float

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.piece.duration


@dataclass(frozen=True)
class Library:
    """Utterances by speaker, and their samples on disk."""

    path: Path
    utterances: tuple[Uttered, ...]

    def __reduce__(self) -> tuple[type[Library], tuple[Path, tuple[Uttered, ...]]]:
        """Go to other processes without the samples, which they open themselves."""
        return Library, (self.path, self.utterances)

    @cached_property
    def speakers(self) -> dict[str, list[Uttered]]:
        """Utterances of every speaker, sorted by name."""
        made: dict[str, list[Uttered]] = {}
        for one in self.utterances:
            made.setdefault(one.speaker, []).append(one)
        return dict(sorted(made.items()))

    @cached_property
    def names(self) -> list[str]:
        """Give the speakers."""
        return list(self.speakers)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each speaker is drawn: by the root of how much there is of him."""
        amount = [sum(one.num_samples for one in own) for own in self.speakers.values()]
        root = np.sqrt(np.asarray(amount, dtype=np.float64))
        return np.asarray(root / root.sum())

    @cached_property
    def _samples(self) -> NDArray[np.int16]:
        found: NDArray[np.int16] = np.load(self.path, mmap_mode="r")
        return found

    def with_pieces(self, longest_s: float) -> Library:
        """Give the part of it that has pieces so short."""
        return Library(
            self.path,
            tuple(
                one
                for one in self.utterances
                if any(atom.end - atom.start <= longest_s for atom in one.atoms)
            ),
        )

    def only(self, speakers: set[str]) -> Library:
        """Give the part of it of some speakers."""
        return Library(self.path, tuple(u for u in self.utterances if u.speaker in speakers))

    def without(self, speakers: set[str]) -> Library:
        """Give the part of it of all other speakers."""
        return Library(self.path, tuple(u for u in self.utterances if u.speaker not in speakers))

    def read(self, uttered: Uttered, start: float, end: float) -> Samples:
        """Give samples of an utterance at a level of 1 while there is speech."""
        first = uttered.first + max(0, round(start * SAMPLE_RATE_HZ))
        last = uttered.first + min(uttered.num_samples, round(end * SAMPLE_RATE_HZ))
        return np.asarray(self._samples[first:last], np.float32) / np.float32(_FULL * uttered.rms)

    def read_piece(self, piece: Piece) -> tuple[Samples, float]:
        """Give a piece with a little before and after it, and how many seconds those are before.

        No more than half of the pause to what was said before or after it.
        """
        atoms = piece.uttered.atoms
        before = max((one.end for one in atoms if one.end <= piece.start), default=-math.inf)
        after = min((one.start for one in atoms if one.start >= piece.end), default=math.inf)
        start = max(0.0, piece.start - min(_EDGE_S, (piece.start - before) / 2))
        end = piece.end + min(_EDGE_S, (after - piece.end) / 2)
        return self.read(piece.uttered, start, end), piece.start - start


def draw_piece(
    own: Sequence[Uttered], seconds: tuple[float, float], rng: np.random.Generator
) -> Piece | None:
    """Draw consecutive atoms of an utterance, together so long; None if there are hardly any.

    The length is drawn first, so that short pieces come from long utterances too.
    """
    wanted = rng.uniform(*seconds)
    for _ in range(_TRIES):
        one = own[int(rng.integers(len(own)))]
        first = last = int(rng.integers(len(one.atoms)))
        begun = one.atoms[first].start
        while last + 1 < len(one.atoms) and one.atoms[last + 1].end - begun <= wanted:
            last += 1
        length = one.atoms[last].end - begun
        if seconds[0] <= length <= seconds[1]:
            text = " ".join(atom.text for atom in one.atoms[first : last + 1])
            return Piece(one, begun, one.atoms[last].end, sentence(text))
    return None


def draw_stretch(
    own: Sequence[Uttered], seconds: tuple[float, float], rng: np.random.Generator
) -> Piece | None:
    """Draw a part of the speech of an utterance, cut wherever it falls: its words are not known."""
    one = own[int(rng.integers(len(own)))]
    first = one.atoms[0].start
    there = one.atoms[-1].end - first
    wanted = min(float(rng.uniform(*seconds)), there)
    start = first + float(rng.uniform(0.0, there - wanted))
    return Piece(one, start, start + wanted, "") if wanted >= seconds[0] else None


def dev_speakers(names: Sequence[str], count: int) -> set[str]:
    """Choose who is kept out of training: those whose names' hashes come first.

    Raises
    ------
    ConfigError
        If hardly anybody would be left.
    """
    if len(names) - count < 2:  # noqa: PLR2004 - two who can talk at once
        raise ConfigError(
            f"{len(names)} speakers, {count} of whom are kept out of training: expected at least "
            "two to be left",
            hint="lower speech.dev_speakers, or give a table with more speakers",
        )
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])


def make_library(
    settings: SpeechSettings,
    folder: Path,
    *,
    hear: Hear | None,
    recogniser: str,
    progress: Progress = no_progress,
) -> tuple[Library, list[str]]:
    """Read the table's speech, cut it, and keep it; or open what an earlier run kept.

    Parameters
    ----------
    folder : for the two files, made when there is something to keep
    hear : gives words with times; None: utterances are used whole, in the reference's spelling
    recogniser : name of what hears, part of what the files depend on
    progress : called with ``"speech"``

    Returns
    -------
    Library
    list of str
        What was left out and why, with counts.

    Raises
    ------
    ConfigError
        If no utterance can be used.
    FormatError, AudioError
        If the table cannot be read or none of its files is there.
    OutputError
        If the folder cannot be written.
    """
    chosen = SimulationSettings(split=settings.split, language=settings.language)
    corpus = load_corpus(settings.table, chosen)
    about = settings.model_dump(mode="json", exclude={"table", "dev_speakers"})
    used = config_hash(_SCHEMA, corpus.content_hash(), about, recogniser, hear is not None)
    listing = folder / f"speech-{used}.json"
    if listing.is_file():
        told = json.loads(listing.read_text(encoding="utf-8"))
        library = _read(listing, told)
        if not library.path.is_file():
            # the large one of the two may have been left behind; it is made in a moment
            samples = (_as_int16(_samples_of(corpus, one.path)) for one in library.utterances)
            write_whole(library.path, _as_npy(np.concatenate(list(samples))))
        return library, [*corpus.notes, *told["notes"]]
    if hear is not None:
        hear = _Kept(hear, folder / f"heard-{config_hash(_SCHEMA, recogniser)}.jsonl")
    maker = _Maker(corpus, settings, hear)
    for number, reading in enumerate(corpus.readings):
        maker.add(reading)
        progress("speech", (number + 1) / len(corpus.readings))
    if not maker.made:
        raise ConfigError(
            f"{settings.table}: no utterance can be used ({'; '.join(maker.notes())})",
            hint="check speech.language, or set speech.least_matched lower",
        )
    write_whole(listing.with_suffix(".npy"), _as_npy(np.concatenate(maker.samples)))
    told = {"utterances": [asdict(one) for one in maker.made], "notes": maker.notes()}
    write_atomic({listing: json.dumps(told, ensure_ascii=False)})
    return _read(listing, told), [*corpus.notes, *maker.notes()]


class _Kept:
    """Hears every signal once: its words are kept in a file, a line each.

    Listening takes a quarter of an hour, which neither a kill nor other ``SpeechSettings`` lose.
    """

    def __init__(self, hear: Hear, path: Path) -> None:
        self._hear, self._path = hear, path
        self._words: dict[str, list[Word]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                # a line that a kill cut short is none
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    self._words[told["signal"]] = [Word(*one) for one in told["words"]]

    def __call__(self, samples_n: Samples, language: str) -> Sequence[Word]:
        signal = hashlib.sha256(samples_n.tobytes() + language.encode()).hexdigest()
        if signal not in self._words:
            heard = self._hear(samples_n, language)
            plain = [(one.text, round(one.start, 3), round(one.end, 3)) for one in heard]
            self._words[signal] = [Word(*one) for one in plain]
            told = {"signal": signal, "words": plain}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(told, ensure_ascii=False) + "\n")
            except OSError as error:
                raise OutputError(f"{self._path}: cannot be written: {error}") from error
        return self._words[signal]


class _Maker:
    """Collects utterances, and counts those that do not fit."""

    def __init__(self, corpus: Corpus, settings: SpeechSettings, hear: Hear | None) -> None:
        self._corpus, self._settings, self._hear = corpus, settings, hear
        self.made: list[Uttered] = []
        self.samples: list[NDArray[np.int16]] = []
        self._left_out: dict[str, int] = {}

    def add(self, reading: Reading) -> None:
        try:
            samples_n = read_samples(self._corpus, reading)
        except AudioError:
            return self._leave_out("cannot be read")
        regions = speech_regions(samples_n, self._settings.pause_s)
        if not regions:
            return self._leave_out("no speech in it")
        atoms = self._atoms(reading, samples_n, regions)
        if atoms is None:
            return self._leave_out("too few of their words were heard")
        heard_n = np.concatenate(
            [
                samples_n[round(one.start * SAMPLE_RATE_HZ) : round(one.end * SAMPLE_RATE_HZ)]
                for one in regions
            ]
        )
        first = self.made[-1].first + self.made[-1].num_samples if self.made else 0
        rms = math.sqrt(float(np.mean(np.square(heard_n, dtype=np.float64))))
        self.samples.append(_as_int16(samples_n))
        self.made.append(
            Uttered(reading.speaker, reading.path, first, len(samples_n), rms, tuple(atoms))
        )
        return None

    def _atoms(
        self, reading: Reading, samples_n: Samples, regions: Sequence[Segment]
    ) -> list[Atom] | None:
        if self._hear is None:
            written, share = [Written(word.lower()) for word in reading.text.split()], 1.0
        else:
            written, share = write(reading.text, self._hear(samples_n, reading.language))
        if not written or share < self._settings.least_matched:
            return None
        return cut(written, regions)

    def _leave_out(self, why: str) -> None:
        self._left_out[why] = self._left_out.get(why, 0) + 1

    def notes(self) -> list[str]:
        """Say what was left out."""
        return [f"{count} utterances left out: {why}" for why, count in self._left_out.items()]


def whisper_words(recognizer: Recognizer) -> Hear:
    """Hear with the cascade's recogniser."""

    def hear(samples_n: Samples, language: str) -> list[Word]:
        audio = InMemory(samples_n)
        whole = Segment(0.0, audio.duration)
        found = recognizer.recognize(audio, [whole], language=language or "en")
        return [word for region in found for word in region.words]

    return hear


def _as_int16(samples_n: Samples) -> NDArray[np.int16]:
    return np.asarray(np.clip(samples_n * _FULL, -_FULL, _FULL - 1), np.int16)


def _samples_of(corpus: Corpus, path: str) -> Samples:
    (reading,) = [one for one in corpus.readings if one.path == path]
    return read_samples(corpus, reading)


def _as_npy(samples_n: NDArray[np.int16]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, samples_n)
    return buffer.getvalue()


def _read(listing: Path, told: dict[str, Any]) -> Library:
    utterances = tuple(
        Uttered(**{**one, "atoms": tuple(Atom(**atom) for atom in one["atoms"])})
        for one in told["utterances"]
    )
    return Library(listing.with_suffix(".npy"), utterances)
