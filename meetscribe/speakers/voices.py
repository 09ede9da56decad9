"""How each speaker of a recording sounds: voiceprints of the stretches in which he speaks alone.

They are taken from the turns of a finished transcript, with the CAM++ of the diarizer, so that
every engine's speakers can be compared with those of other recordings, and with people who were
recorded for this purpose.

Axes: D dimension of a voiceprint (192), U piece of speech.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from meetscribe.activity.groups import unit_length
from meetscribe.speakers.settings import NamingSettings
from meetscribe.types import SAMPLE_RATE_HZ, AudioReader, Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.activity.voiceprint import Voiceprinter

_DIGITS = 6
"""Voiceprints are kept rounded: the same whether they come from the model or from a file."""
_SHORTEST_S = 0.1


@dataclass(frozen=True, slots=True)
class Voice:
    """How somebody sounds.

    Attributes
    ----------
    print_d : voiceprint of unit length, D numbers
    seconds : of speech, that it was made of
    """

    print_d: tuple[float, ...] = field(repr=False)
    seconds: float

    @property
    def key(self) -> str:
        """Name of this very voiceprint."""
        return hashlib.sha256(json.dumps(self.print_d).encode()).hexdigest()[:24]

    def to_json(self) -> dict[str, Any]:
        """Give plain lists and mappings."""
        return {"print": list(self.print_d), "seconds": self.seconds}

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Self:
        """Give back what ``to_json`` was given.

        Raises
        ------
        TypeError, ValueError, KeyError
            If it is something else.
        """
        return cls(tuple(float(value) for value in made["print"]), float(made["seconds"]))


Voices = Mapping[str, Voice]
"""Label of a speaker -> how he sounds; whoever never speaks alone is missing."""


def voices_of(
    audio: AudioReader,
    stretches: Mapping[str, Sequence[Segment]],
    voiceprinter: Voiceprinter,
    settings: NamingSettings,
) -> dict[str, Voice]:
    """Give the voice of each speaker, from stretches in which he speaks alone."""
    made = {}
    for speaker, mine in stretches.items():
        pieces = _pieces(mine, settings)
        if pieces:
            made[speaker] = _voice(audio, pieces, voiceprinter)
    return made


def weighted(voice: Voice) -> NDArray[np.float64]:
    """Give the voiceprint times its seconds, shape (D,): such sums make people of voices."""
    return np.asarray(voice.print_d, dtype=np.float64) * voice.seconds


def mean(voices: Sequence[Voice]) -> Voice:
    """Give the voice that several of one person make together, each by its seconds."""
    return _unit(sum(map(weighted, voices)), sum(voice.seconds for voice in voices))


def likeness(one: Voice, other: Voice) -> float:
    """Give the cosine of two voices, -1 to 1."""
    return float(np.dot(one.print_d, other.print_d))


def _voice(audio: AudioReader, pieces: Sequence[Segment], voiceprinter: Voiceprinter) -> Voice:
    sum_d: Any = 0.0
    for piece in pieces:
        samples_n = np.ascontiguousarray(audio.read(piece.start, piece.end), dtype=np.float32)
        sum_d = sum_d + piece.duration * voiceprinter(samples_n, [(0, len(samples_n))])[0]
    return _unit(sum_d, sum(piece.duration for piece in pieces))


def _unit(sum_d: Any, seconds: float) -> Voice:  # noqa: ANN401 - an array of any kind of float
    print_d = unit_length(np.asarray(sum_d, dtype=np.float32)[None])[0]
    return Voice(tuple(round(float(value), _DIGITS) for value in print_d), round(seconds, 2))


def _pieces(stretches: Sequence[Segment], settings: NamingSettings) -> list[Segment]:
    """Choose the pieces to hear: the longest ones, as many as are enough, in order of time."""
    cut = [piece for stretch in stretches for piece in _cut(stretch, settings.piece_s)]
    cut = [piece for piece in cut if round(piece.duration * SAMPLE_RATE_HZ) and _is_long(piece)]
    long = [piece for piece in cut if piece.duration >= settings.shortest_piece_s] or cut
    chosen: list[Segment] = []
    left = settings.longest_s
    for piece in sorted(long, key=lambda piece: (-piece.duration, piece.start)):
        if left <= 0:
            break
        chosen.append(piece)
        left -= piece.duration
    return sorted(chosen)


def _is_long(piece: Segment) -> bool:
    """Tell whether the network can make anything of it: it needs a few frames."""
    return piece.duration >= _SHORTEST_S


def _cut(stretch: Segment, longest_s: float) -> list[Segment]:
    number = max(1, -(-int(stretch.duration * 1000) // int(longest_s * 1000)))
    edges = np.linspace(stretch.start, stretch.end, number + 1).tolist()
    return [Segment(start, end) for start, end in pairwise(edges)]
