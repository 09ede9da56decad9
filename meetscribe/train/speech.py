"""Read speech: the table that lists it, and where in an utterance somebody really speaks.

Axes: N sample, T frame.
"""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetscribe.config import config_hash
from meetscribe.errors import AudioError, ConfigError, FormatError
from meetscribe.formats.reading import read_text
from meetscribe.ingest import blocks, probe
from meetscribe.train.settings import SimulationSettings
from meetscribe.types import SAMPLE_RATE_HZ, Layout, Progress, Segment, no_progress

Samples = NDArray[np.float32]

PAUSE_S = 0.3
"""A pause of this length ends a turn of the reference: shorter ones are rare between the turns
of one speaker in AMI's words-only RTTMs (0.3 % of the gaps) and AliMeeting's (0.1 %)."""

_FRAME_S = 0.010
_BELOW_LOUD_DB = 32.0
_ABOVE_FLOOR_DB = 9.0
_LEAST_BELOW_DB = 15.0
_SHORTEST_SOUND_S = 0.05
_EDGE_S = 0.02
_COLUMNS = ("path", "speaker", "text")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """A row of the table: one utterance, read by one speaker. ``path`` is as the table has it."""

    path: str
    speaker: str
    text: str
    duration: float
    language: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows that are there to be used, and what a person should know about the others."""

    folder: Path
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()

    def content_hash(self) -> str:
        """Give a short hash of the rows: what is drawn depends on them."""
        return config_hash([[r.path, r.speaker, r.text, r.duration] for r in self.readings])


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reading that was listened to.

    ``first`` is where speech begins in its file. ``regions`` are the parts without pauses,
    counted from there: the first starts at 0. ``rms`` is the level while there is speech.
    """

    reading: Reading
    first: float
    regions: tuple[Segment, ...]
    rms: float

    @property
    def duration(self) -> float:
        """Seconds from the first sound to the last."""
        return self.regions[-1].end


def load_corpus(
    table: Path | str, settings: SimulationSettings, *, progress: Progress = no_progress
) -> Corpus:
    """Read a table of utterances: tab-separated, or comma-separated if its name ends in .csv.

    The first line names the columns. ``path`` (from the table's folder), ``speaker`` and ``text``
    must be there; ``duration_s``, ``language`` and ``split`` are used where they are. A speaker's
    second row with the same text is left out: it is most likely the same recording.

    Raises
    ------
    FormatError
        If the table cannot be read, or lacks a column.
    ConfigError
        If no row has the split and language asked for.
    AudioError
        If none of the files is there.
    """
    table = Path(table)
    rows = _select(_rows(table), settings, table)
    found, missing = [], []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = (row["speaker"], " ".join(row["text"].lower().split()))
        if name in seen or not all(name):
            continue
        if not (table.parent / row["path"]).is_file():
            missing.append(row["path"])
            continue
        seen.add(name)
        found.append(row)
    notes = [f"{_listed(missing)}: missing, left out"] if missing else []
    if not found:
        raise AudioError(
            f"{table}: no file that it lists is there, for example {missing[0]}"
            if missing
            else f"{table}: no row has a speaker and a text",
            hint="paths count from the folder of the table",
        )
    readings, broken = _with_durations(found, table.parent, progress)
    notes += [f"{_listed(broken)}: cannot be read, left out"] if broken else []
    low, high = settings.utterance_s
    fitting = tuple(reading for reading in readings if low <= reading.duration <= high)
    return Corpus(table.parent, fitting, tuple(notes))


def _rows(table: Path) -> list[dict[str, str]]:
    text = read_text(table)
    if not text.strip():
        raise FormatError(f"{table}: empty, expected a line that names the columns")
    # tab-separated tables quote nothing: a text may well begin with a quotation mark
    commas = table.suffix.lower() == ".csv" and "\t" not in text.partition("\n")[0]
    lines = io.StringIO(text, newline="")
    if commas:
        reader = csv.DictReader(lines, skipinitialspace=True)
    else:
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    names = [name.strip() for name in reader.fieldnames or ()]
    lacking = [name for name in _COLUMNS if name not in names]
    if lacking:
        raise FormatError(
            f"{table}:1: no column {', '.join(lacking)}; found {', '.join(names)}",
            hint=f"the first line names the columns, at least {', '.join(_COLUMNS)}",
        )
    reader.fieldnames = names
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise FormatError(
                f"{table}:{reader.line_num}: expected {len(names)} columns as in the first line"
            )
        rows.append({name: value.strip() for name, value in row.items()})
    return rows


def _select(
    rows: list[dict[str, str]], settings: SimulationSettings, table: Path
) -> list[dict[str, str]]:
    for name, wanted in (("split", settings.split), ("language", settings.language)):
        if wanted is None:
            continue
        there = sorted({row[name] for row in rows if name in row})
        if wanted not in there:
            raise ConfigError(
                f"{table}: no row of {name} '{wanted}'",
                hint=f"there are: {', '.join(there)}" if there else f"it has no column '{name}'",
            )
        rows = [row for row in rows if row[name] == wanted]
    return rows


def _with_durations(
    rows: list[dict[str, str]], folder: Path, progress: Progress
) -> tuple[list[Reading], list[str]]:
    readings, broken = [], []
    for number, row in enumerate(rows):
        try:
            duration = float(row.get("duration_s") or "nan")
            if not math.isfinite(duration):
                duration = probe([folder / row["path"]], layout=Layout.MIX).duration
        except (ValueError, AudioError):
            broken.append(row["path"])
            continue
        language = row.get("language", "")
        readings.append(Reading(row["path"], row["speaker"], row["text"], duration, language))
        progress("reading the table", (number + 1) / len(rows))
    return readings, broken


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def read_samples(corpus: Corpus, reading: Reading) -> Samples:
    """Give the first channel of a reading, float32, shape (N,), at 16 kHz.

    Raises
    ------
    AudioError
        If the file cannot be read.
    """
    path = os.fspath(corpus.folder / reading.path)
    recording = probe([path], layout=Layout.MIX)
    return np.concatenate([block_cn[0] for block_cn in blocks(recording, channels=[0])])


def listen(corpus: Corpus, reading: Reading) -> Spoken:
    """Find where in a reading there is speech.

    Raises
    ------
    AudioError
        If the file cannot be read, or is silent.
    """
    samples_n = read_samples(corpus, reading)
    regions = speech_regions(samples_n)
    if not regions:
        raise AudioError(f"{reading.path}: no speech in it", hint="take it out of the table")
    squares = [np.square(_cut(samples_n, region), dtype=np.float64) for region in regions]
    first = regions[0].start
    return Spoken(
        reading=reading,
        first=first,
        regions=tuple(Segment(r.start - first, r.end - first) for r in regions),
        rms=math.sqrt(float(np.mean(np.concatenate(squares)))),
    )


def _cut(samples_n: Samples, region: Segment) -> Samples:
    return samples_n[round(region.start * SAMPLE_RATE_HZ) : round(region.end * SAMPLE_RATE_HZ)]


def speech_regions(samples_n: Samples, pause_s: float = PAUSE_S) -> list[Segment]:
    """Find the parts of a clean recording of one voice in which there is sound.

    A frame of 10 ms is sound if it lies within 32 dB of the loud frames (the 95th percentile).
    Where the recording's own noise, the 5th percentile, is louder than that, the frame must be
    9 dB above the noise, but never less than 15 dB below the loud frames. Sounds shorter than
    50 ms are clicks; pauses shorter than ``pause_s`` belong to the speech, and so do 20 ms at
    either side, where sounds begin and fade.

    Returns
    -------
    list of Segment
        Sorted, seconds, none if the recording is silent.
    """
    frame = round(_FRAME_S * SAMPLE_RATE_HZ)
    num_frames = len(samples_n) // frame
    if not num_frames:
        return []
    frames_tn = samples_n[: num_frames * frame].reshape(num_frames, frame)
    power_t = np.mean(np.square(frames_tn, dtype=np.float64), axis=1)
    if not power_t.max() > 0:
        return []
    # digital silence would make the floor meaningless
    level_t = 10 * np.log10(np.maximum(power_t, power_t.max() * 1e-9))
    floor, loud = np.quantile(level_t, [0.05, 0.95])
    threshold = max(loud - _BELOW_LOUD_DB, floor + _ABOVE_FLOOR_DB)
    sound_t = level_t > min(threshold, loud - _LEAST_BELOW_DB)
    length = num_frames * _FRAME_S
    return [
        Segment(max(0.0, start * _FRAME_S - _EDGE_S), min(length, end * _FRAME_S + _EDGE_S))
        for start, end in _runs(sound_t, round(pause_s / _FRAME_S))
    ]


def _runs(sound_t: NDArray[np.bool_], pause: int) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sound_t, [False]]).astype(np.int8)))
    shortest = round(_SHORTEST_SOUND_S / _FRAME_S)
    runs: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - start < shortest:
            continue
        # the edges that are added to both sides shorten a pause
        if runs and start - runs[-1][1] - 2 * round(_EDGE_S / _FRAME_S) < pause:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs
