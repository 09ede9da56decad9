"""Simulated meetings on disk: audio, its reference in three formats, and how it was made.

Per meeting, named after its number:

    sim001.flac           what the microphones hear, C channels, 16 kHz
    sim001.rttm           who speaks when: speech only, pauses of 0.3 s and more left out
    sim001.seglst.json    who said what: whole utterances, as the table has their texts
    sim001.uem            all of it is scored
    sim001.scene.json     the room, positions, levels, seed, sources and measured statistics
    sim001.images/        on request, what the microphones hear of every speaker alone

Times are those of the sound at the middle of the array, or at the microphone that the speaker
wears. The same table, settings and packages
give the same bytes.
"""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meetscribe.config import config_hash
from meetscribe.errors import OutputError
from meetscribe.formats.tokens import column
from meetscribe.ingest.write import AudioWriter
from meetscribe.train.casting import check_speakers, choose_speakers
from meetscribe.train.conversation import Conversation, Said, converse, describe
from meetscribe.train.folder import MeetingFiles
from meetscribe.train.mixing import Levels, Mixer, Stage, draw_levels, measure_speech
from meetscribe.train.rooms import Acoustics, Scene, draw_scene, simulate_room
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.speech import (
    Corpus,
    Reading,
    Samples,
    Spoken,
    listen,
    load_corpus,
    read_samples,
)
from meetscribe.train.turns import measure_turns
from meetscribe.types import (
    SAMPLE_RATE_HZ,
    Progress,
    Transcript,
    Turn,
    Utterance,
    no_progress,
)
from meetscribe.version import __version__

log = logging.getLogger(__name__)

SCHEMA = 1

_AIMS, _SPEECH, _ROOM, _LEVELS, _NOISE = range(1, 6)
"""Streams of random numbers: what is drawn for one does not move what is drawn for another."""
# fractions of the golden, silver and bronze means: none is near a fraction of small numbers
_STEPS = tuple((math.sqrt(mean**2 + 4) - mean) / 2 for mean in (1, 2, 3))


@dataclass(frozen=True, slots=True)
class Made:
    """A meeting that is on disk.

    ``kept`` says that an earlier run made it; ``notes`` what a person should know about it.
    """

    audio: Path
    scene: dict[str, Any]
    kept: bool = False
    notes: tuple[str, ...] = ()


def simulate(
    table: Path | str,
    output: Path | str,
    settings: SimulationSettings,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Make meetings from read speech.

    Meetings that an earlier run with the same table and settings finished are kept, so that an
    interrupted run goes on where it was. What had to be left out is logged as a warning.

    Parameters
    ----------
    table : TSV or CSV with the columns path, speaker and text; see ``load_corpus``
    output : folder, made if it is not there
    force : replace files that are there

    Returns
    -------
    list of Path
        The audio files, in order.

    Raises
    ------
    FormatError, AudioError
        If the table or everything it lists cannot be read.
    ConfigError
        If the speakers, their speech, the room or the overlap cannot be had.
    OutputError
        If the folder cannot be written, or holds files that are no part of this set.
    """
    corpus = load_corpus(table, settings, progress=progress)
    for note in corpus.notes:
        log.warning(note)
    check_speakers(corpus.readings, settings)
    made = []
    for number in range(1, settings.meetings + 1):
        meeting = make_meeting(
            corpus, Path(output), settings, number, force=force, progress=progress
        )
        for note in meeting.notes:
            log.warning("%s: %s", meeting.audio.name, note)
        made.append(meeting.audio)
    return made


def session_name(number: int) -> str:
    """Give the session id of a meeting.

    >>> session_name(1)
    'sim001'
    """
    return f"sim{number:03}"


def make_meeting(
    corpus: Corpus,
    output: Path,
    settings: SimulationSettings,
    number: int,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> Made:
    """Make one meeting, or keep it if it is there; raises as ``simulate`` does.

    Parameters
    ----------
    number : from 1; with the seed it decides all that is random
    """
    files = MeetingFiles(output, session_name(number), settings)
    wanted = config_hash(settings.model_dump(mode="json", exclude={"meetings"}), number, SCHEMA)
    made_from = {"settings_hash": wanted, "table_hash": corpus.content_hash()}
    if not force and (report := files.finished(made_from)) is not None:
        return Made(files.audio, report, kept=True)
    files.prepare(force=force)
    try:
        return _make(corpus, files, settings, number, made_from=made_from, progress=progress)
    except OSError as error:
        place = error.filename or output
        raise OutputError(
            f"{place}: cannot be written: {error.strerror or error}",
            hint="free some space, or choose another folder with -o",
        ) from error
    finally:
        files.abandon()


def _make(
    corpus: Corpus,
    files: MeetingFiles,
    settings: SimulationSettings,
    number: int,
    *,
    made_from: dict[str, str],
    progress: Progress,
) -> Made:
    def draw(stream: int) -> np.random.Generator:
        return np.random.default_rng([settings.seed, number, stream])

    heard = _Memory(corpus)
    progress("speech", 0.0)
    speech_rng = draw(_SPEECH)
    chosen = choose_speakers(corpus.readings, settings, speech_rng)
    overlap, rt60_s, snr_db = _aims(settings, number)
    conversation = converse(chosen, settings, heard.listen, speech_rng, target=overlap)
    progress("speech", 1.0)
    progress("room", 0.0)
    scene = draw_scene(settings, len(conversation.speakers), draw(_ROOM), rt60_s=rt60_s)
    acoustics = simulate_room(scene)
    progress("room", 1.0)
    num_noises = len(acoustics.noises)
    levels = draw_levels(settings, conversation, num_noises, draw(_LEVELS), snr_db=snr_db)
    meeting = _Meeting(conversation, scene, acoustics, levels)
    measured = _write_audio(meeting, files, settings, heard, rng=draw(_NOISE), progress=progress)
    report = {
        "schema": SCHEMA,
        "meetscribe": __version__,
        "session_id": files.session_id,
        "number": number,
        "seed": settings.seed,
        **made_from,
        "settings": settings.model_dump(mode="json"),
        **meeting.report(),
        **measured,
        "notes": list(conversation.notes),
    }
    files.finish(meeting.transcript(files.session_id), report)
    return Made(files.audio, report, notes=conversation.notes)


def _aims(settings: SimulationSettings, number: int) -> list[float]:
    """Give the overlap, RT60 and signal to noise ratio of a meeting.

    Even a handful of meetings covers the ranges, however many follow: the aims go around each of
    them in irrational steps, which leave no gap and meet no point twice (a Kronecker sequence);
    the seed says where they start.
    """
    starts = np.random.default_rng([settings.seed, _AIMS]).random(len(_STEPS))
    ranges = (settings.overlap, settings.rt60_s, settings.snr_db)
    shares = [(start + number * step) % 1 for start, step in zip(starts, _STEPS, strict=True)]
    return [
        float(low + share * (high - low)) for (low, high), share in zip(ranges, shares, strict=True)
    ]


class _Memory:
    """Remembers where the speech of a reading is; its samples are read again when needed."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._spoken: dict[str, Spoken] = {}

    def listen(self, reading: Reading) -> Spoken:
        if reading.path not in self._spoken:
            self._spoken[reading.path] = listen(self._corpus, reading)
        return self._spoken[reading.path]

    def samples(self, said: Said) -> Samples:
        return read_samples(self._corpus, said.spoken.reading)


@dataclass(frozen=True)
class _Meeting:
    """All that was drawn for a meeting."""

    conversation: Conversation
    scene: Scene
    acoustics: Acoustics
    levels: Levels

    def delay(self, speaker: str) -> float:
        return float(self.scene.delays()[self.conversation.speakers.index(speaker)])

    def turns(self) -> list[Turn]:
        return [t for said in self.conversation.said for t in said.turns(self.delay(said.speaker))]

    def transcript(self, session_id: str) -> Transcript:
        utterances = [
            Utterance(
                said.speaker,
                said.start + self.delay(said.speaker),
                said.end + self.delay(said.speaker),
                said.spoken.reading.text,
            )
            for said in self.conversation.said
        ]
        return Transcript(
            session_id, tuple(utterances), tuple(self.turns()), duration=self.conversation.duration
        )

    def report(self) -> dict[str, Any]:
        """Describe it for the JSON of the scene, in metres, seconds, degrees and decibels."""
        scene, conversation = self.scene, self.conversation
        speakers = []
        for row, speaker in enumerate(conversation.speakers):
            x, y, z = scene.speakers_k3[row] - scene.centre_m
            speakers.append(
                {
                    "speaker": column(speaker),
                    "position_m": _rounded(scene.speakers_k3[row]),
                    "distance_m": round(math.hypot(x, y, z), 4),
                    "azimuth_deg": round(math.degrees(math.atan2(y, x)) % 360, 2),
                    "gain_db": round(self.levels.speakers_db[row], 2),
                    **({"channel": row} if scene.close else {}),
                }
            )
        return {
            "duration": conversation.duration,
            "room_m": _rounded(np.array(scene.room_m)),
            "rt60_target_s": round(scene.rt60_s, 4),
            "rt60_s": round(self.acoustics.rt60_s, 4),
            "absorption": round(self.acoustics.absorption, 4),
            "array_centre_m": _rounded(scene.centre_m),
            "microphones_m": _rounded(scene.microphones_c3),
            "microphone_gains_db": [round(gain, 2) for gain in self.levels.microphones_db],
            "speakers": speakers,
            "point_noises_m": _rounded(scene.noises_k3),
            "point_noises_snr_db": [round(snr, 2) for snr in self.levels.points_db],
            "snr_target_db": round(self.levels.snr_db, 2),
            "overlap_target": round(conversation.target_overlap, 4),
            "statistics": _statistics(self.turns(), conversation.duration),
            "utterances": [describe(s, self.delay(s.speaker)) for s in conversation.said],
        }


def _statistics(turns: list[Turn], duration: float) -> dict[str, Any]:
    measured = asdict(measure_turns(turns, duration))
    return {
        name: value if value is None or isinstance(value, int) else _rounded(value)
        for name, value in measured.items()
    }


def _rounded(values: Any) -> Any:  # noqa: ANN401 - an array to lists of its shape
    return np.round(values, 4).tolist()


def _write_audio(
    meeting: _Meeting,
    files: MeetingFiles,
    settings: SimulationSettings,
    heard: _Memory,
    *,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Any]:
    """Write mixture and images; gives what was measured on the way."""
    stage = Stage(meeting.conversation, meeting.acoustics, meeting.levels, heard.samples)
    loudness = measure_speech(
        stage,
        meeting.turns(),
        meeting.scene.reference_k,
        lambda done: progress("levels", min(done, 1.0)),
    )
    mixer = Mixer(meeting.scene, meeting.acoustics, meeting.levels, loudness, rng)
    speakers = meeting.conversation.speakers if settings.images else ()
    num_samples = round(meeting.conversation.duration * SAMPLE_RATE_HZ)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(AudioWriter(path, len(meeting.scene.microphones_c3), num_samples))
            for path in files.sound(speakers)
        ]
        for images_kcn, done in stage.images():
            mixture_cn, scaled_kcn = mixer.mix(images_kcn)
            for writer, samples_cn in zip(writers, (mixture_cn, *scaled_kcn), strict=False):
                writer.write(samples_cn)
            progress("mixing", done)
    return {
        "snr_db": round(mixer.snr_db, 2),
        "noise_colours": [
            {name: round(value, 3) for name, value in asdict(colour).items()}
            for colour in mixer.colours
        ],
        "clipped_samples": sum(writer.num_clipped for writer in writers),
    }
