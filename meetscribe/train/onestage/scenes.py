"""One example's worth of a meeting: a moment of everybody alone, then a region in which they talk.

    | alone 1 | alone 2 | … | region: who says what when, overlapping |

Everything is drawn from the number of the scene, so that it is the same in whichever process and
run it is made. Whole pieces are said in the region, so that everybody in it may be the target.

Axes: C channel, K speaker, N sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.train.bank import Room, RoomBank
from meetscribe.train.hearing import add_noise, add_voice
from meetscribe.train.library import (
    Library,
    Line,
    Samples,
    Uttered,
    draw_piece,
    draw_stretch,
)
from meetscribe.train.onestage.settings import SceneSettings, Stage
from meetscribe.train.turns import overlap_share
from meetscribe.types import SAMPLE_RATE_HZ, Segment, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["APART_S", "Line", "Samples", "Scene", "SceneMaker", "draw_channels"]

APART_S = 0.4
"""Between moments alone: so long it takes until a room is quiet enough."""
_EDGE_S = (0.1, 0.5)
_BREATH_S = 0.2
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Scene:
    """What the microphones heard, and what is known about it.

    ``turns`` are the moments alone, ``spoken`` those of the region. ``texts`` has what everybody
    says in the region, "" for who is silent; ``images`` what the microphones hear of everybody
    alone in the region, (C, N) each, as far as that is known; ``array`` is its kind, or the corpus.
    """

    number: int
    samples_cn: Samples
    region: Segment
    turns: tuple[Turn, ...]
    spoken: tuple[Turn, ...]
    texts: dict[str, str]
    images: dict[str, Samples]
    overlap: float
    array: str

    @property
    def duration(self) -> float:
        """Seconds, of all of it."""
        return len(self.samples_cn[0]) / SAMPLE_RATE_HZ

    def read_cn(self, start: float, end: float) -> Samples:
        """Give samples as a ``ChannelReader`` does."""
        return self.samples_cn[:, round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)]


@dataclass(frozen=True)
class SceneMaker:
    """Makes scenes of a library in a bank of rooms.

    Parameters
    ----------
    stream : number of the purpose: scenes of another one have nothing to do with these
    all_channels : every scene has all microphones of its room
    """

    settings: SceneSettings
    library: Library
    bank: RoomBank
    seed: int
    stream: int = 0
    all_channels: bool = False

    def make(self, number: int, share: float) -> Scene:
        """Make a scene.

        Parameters
        ----------
        share : how much of the training is over, which chooses the stage of the curriculum
        """
        rng = np.random.default_rng([self.seed, self.stream, number])
        stage = self.settings.stage(share)
        room = self.bank.room(int(rng.integers(self.bank.count)))
        there = len(room.microphones_c3)
        wanted = None if self.all_channels else self.settings.channels
        channels = draw_channels(there, wanted, rng)
        names, lines = self._lines(self._worded if stage.words else self.library, stage, rng)
        return _Mix(
            self.settings, stage, self.library, room=room, channels=channels, rng=rng
        ).scene(number, names, lines)

    @cached_property
    def _worded(self) -> Library:
        """What words can be learnt from: the other utterances have no pause to cut them at."""
        return self.library.with_pieces(max(one.piece_s[1] for one in self.settings.stages))

    def _lines(
        self, library: Library, stage: Stage, rng: np.random.Generator
    ) -> tuple[list[str], list[Line]]:
        """Draw who is there, and who says what when; some may be there and say nothing."""
        weights = np.asarray(stage.voices, dtype=np.float64)
        num = 1 + int(rng.choice(len(weights), p=weights / weights.sum()))
        wanted = min(num + int(rng.random() < stage.silent), len(library.names))
        num = min(num, wanted)
        picked = rng.choice(len(library.names), wanted, replace=False, p=library.weights)
        names = [library.names[index] for index in picked]
        more = int(rng.integers(self.settings.lines[0], self.settings.lines[1] + 1))
        voices = [*range(num), *(int(rng.integers(num)) for _ in range(more))]
        begin = float(rng.uniform(*_EDGE_S))
        lines: list[Line] = []
        for voice in voices:
            own = library.speakers[names[voice]]
            line = self._line(own, stage, voice, lines=lines, begin=begin, rng=rng)
            if line is not None:
                lines.append(line)
        return names, lines

    def _line(
        self,
        own: Sequence[Uttered],
        stage: Stage,
        voice: int,
        *,
        lines: Sequence[Line],
        begin: float,
        rng: np.random.Generator,
    ) -> Line | None:
        """Draw a piece and a place for it that ends in time; None if none is found."""
        latest = stage.longest_s - _EDGE_S[1]
        draw = draw_piece if stage.words else draw_stretch
        for _ in range(_TRIES):
            piece = draw(own, stage.piece_s, rng)
            if piece is None:
                continue
            if not lines:
                return Line(voice, piece, begin) if begin + piece.duration <= latest else None
            last = max(lines, key=lambda line: line.end)
            overlap = float(rng.uniform(*stage.overlap))
            over_s = overlap * min(piece.duration, last.piece.duration) if overlap > 0 else overlap
            start = max(begin, last.end - over_s)
            ends = [line.end for line in lines if line.voice == voice]
            start = max([start, *(end + _BREATH_S for end in ends)])
            if start + piece.duration <= latest:
                return Line(voice, piece, start)
        return None


class _Mix:
    """Sends everything through the room and adds noise."""

    def __init__(
        self,
        settings: SceneSettings,
        stage: Stage,
        library: Library,
        *,
        room: Room,
        channels: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._settings, self._stage, self._library = settings, stage, library
        self._rng = rng
        self._seats = rng.permutation(len(room.responses_kcn))
        self._responses_kcn = room.responses_kcn[:, channels]
        self._microphones_c3 = room.microphones_c3[channels]
        self._array = room.array

    def scene(self, number: int, names: Sequence[str], lines: Sequence[Line]) -> Scene:
        rng = self._rng
        gains_db = rng.normal(0.0, self._stage.voice_spread_db, len(names))
        lacking = rng.random(len(names)) < self._settings.lacking_solo
        # the first one is always known, so that every scene has a target
        known = [voice for voice in range(len(names)) if voice == 0 or not lacking[voice]]
        alone, turns, begin = self._alone(names, known)
        spoken = tuple(
            Turn(begin + line.start, begin + line.end, names[line.voice]) for line in lines
        )
        ends = [line.end for line in lines]
        length = max(ends, default=1.0) + float(rng.uniform(*_EDGE_S))
        region = Segment(begin, begin + length)
        num_samples = round(region.end * SAMPLE_RATE_HZ)
        images = np.zeros((len(names), len(self._microphones_c3), num_samples), np.float32)
        for voice, dry_n, start in alone:
            self._add(images, voice, dry_n, start, gains_db[voice])
        for line in lines:
            dry_n, before = self._library.read_piece(line.piece)
            start = begin + line.start - before
            self._add(images, line.voice, dry_n, start, gains_db[line.voice])
        first = round(region.start * SAMPLE_RATE_HZ)
        mixture_cn, gain_c1 = self._mixed(images, first)
        texts = {
            name: " ".join(
                line.piece.text
                for line in sorted(lines, key=lambda line: line.start)
                if line.voice == voice
            ).strip()
            for voice, name in enumerate(names)
        }
        return Scene(
            number,
            mixture_cn,
            region,
            tuple(turns),
            spoken,
            {names[voice]: texts[names[voice]] for voice in known},
            {names[voice]: images[voice][:, first:] * gain_c1 for voice in known},
            overlap_share(spoken),
            self._array,
        )

    def _alone(
        self, names: Sequence[str], known: Sequence[int]
    ) -> tuple[list[tuple[int, Samples, float]], list[Turn], float]:
        """Give what everybody says alone, his turns, and when the region may begin."""
        made: list[tuple[int, Samples, float]] = []
        turns: list[Turn] = []
        begin = 0.1
        for voice in known:
            own = self._library.speakers[names[voice]]
            uttered = own[int(self._rng.integers(len(own)))]
            atom = uttered.atoms[int(self._rng.integers(len(uttered.atoms)))]
            wanted = float(self._rng.uniform(*self._settings.solo_s))
            start = max(0.0, min(atom.start, uttered.num_samples / SAMPLE_RATE_HZ - wanted))
            dry_n = self._library.read(uttered, start, start + wanted)
            made.append((voice, dry_n, begin))
            end = begin + len(dry_n) / SAMPLE_RATE_HZ
            turns.append(Turn(begin, end, names[voice]))
            begin = end + APART_S
        return made, turns, begin

    def _add(
        self, images: Samples, voice: int, dry_n: Samples, start: float, gain_db: float
    ) -> None:
        add_voice(
            images[voice],
            dry_n,
            self._responses_kcn[self._seats[voice]],
            first=round(start * SAMPLE_RATE_HZ),
            gain_db=gain_db,
            rng=self._rng,
        )

    def _mixed(self, images: Samples, first: int) -> tuple[Samples, Samples]:
        """Give the mixture with noise, and the gain of every channel in it, (C, 1)."""
        return add_noise(
            images.sum(axis=0),
            self._microphones_c3,
            since=first,
            snr_db=self._stage.snr_db,
            rng=self._rng,
        )


def draw_channels(
    there: int, wanted: tuple[int, int] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw so many microphones in any order; None, or no choice, takes all as they are."""
    fewest, most = wanted or (there, there)
    if fewest >= there:
        return np.arange(there)
    count = int(rng.integers(min(fewest, there), min(most, there) + 1))
    return np.asarray(rng.permutation(there)[:count])
