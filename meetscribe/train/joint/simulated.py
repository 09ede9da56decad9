"""Utterance groups made of read speech in simulated rooms.

    seconds of silence | who says what when, overlapping or after a pause | silence

Everything is drawn from the number of the group, so that it is the same in whichever process and
run it is made. Whole pieces are said, cut at pauses, so that all words of a group are known.

Axes: C channel, K seat, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from meetscribe.errors import ConfigError
from meetscribe.train.bank import RoomBank
from meetscribe.train.hearing import add_noise, add_voice
from meetscribe.train.joint.groups import Group, Samples
from meetscribe.train.joint.settings import GroupSettings
from meetscribe.train.library import Library, Line, Piece, draw_piece
from meetscribe.train.wording import sentence
from meetscribe.types import SAMPLE_RATE_HZ, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BREATH_S = 0.1
"""Between two pieces of one speaker there is at least so much."""
_ALONE_S = (1.5, 4.0)
_TRIES, _FEW_TRIES = 40, 25


@dataclass(frozen=True)
class GroupMaker:
    """Makes groups of a library in a bank of rooms.

    Parameters
    ----------
    stream : number of the purpose: groups of another one have nothing to do with these
    channels : ``one`` microphone, drawn for every group, or ``all``
    """

    settings: GroupSettings
    library: Library
    bank: RoomBank
    seed: int
    stream: int
    channels: Literal["one", "all"] = "one"

    def make(self, number: int, longest_s: float, shortest_s: float) -> Group:
        """Make a group.

        Parameters
        ----------
        longest_s : it is no longer
        shortest_s : what is aimed at is no shorter; pieces of speech may leave it shorter

        Raises
        ------
        ConfigError
            If no piece of speech is short enough for such groups.
        """
        rng = np.random.default_rng([self.seed, self.stream, number])
        wanted_s = float(rng.uniform(shortest_s, longest_s))
        before, after = (float(rng.uniform(*self.settings.margin_s)) for _ in range(2))
        names, lines = self._lines(before, wanted_s - after, rng)
        length = max(line.end for line in lines) + after
        return self._heard(names, lines, min(length, longest_s), rng)

    @cached_property
    def _worded(self) -> Library:
        """What words can be learnt from: the other utterances have no pause to cut them at."""
        return self.library.with_pieces(self.settings.piece_s[1])

    @cached_property
    def _shortest(self) -> dict[str, Piece]:
        """Give every speaker's shortest piece between two neighbouring pauses."""
        least_s, most_s = self.settings.piece_s
        found: dict[str, Piece] = {}
        for one in self._worded.utterances:
            for atom in one.atoms:
                known = found.get(one.speaker)
                duration = atom.end - atom.start
                if least_s <= duration <= (known.duration if known else most_s):
                    found[one.speaker] = Piece(one, atom.start, atom.end, sentence(atom.text))
        return found

    def _speakers(self, room_s: float, rng: np.random.Generator) -> list[str]:
        """Draw who is there, of those who can say something in so many seconds."""
        names = [name for name, piece in self._shortest.items() if piece.duration <= room_s]
        if not names:
            raise ConfigError(
                f"groups: nobody has a piece of speech of {self.settings.piece_s[0]:g} s to "
                f"{min(room_s, self.settings.piece_s[1]):.1f} s",
                hint="raise groups.piece_s and groups.length_s, or let speech.listen find pauses",
            )
        library = self._worded
        weights = np.asarray([library.weights[library.names.index(name)] for name in names])
        voices = np.asarray(self.settings.voices, dtype=np.float64)
        num = 1 + int(rng.choice(len(voices), p=voices / voices.sum()))
        picked = rng.choice(
            len(names), min(num, len(names)), replace=False, p=weights / weights.sum()
        )
        return [names[index] for index in picked]

    def _lines(
        self, begin: float, latest: float, rng: np.random.Generator
    ) -> tuple[list[str], list[Line]]:
        """Draw who says what when, between two times."""
        names = self._speakers(latest - begin, rng)
        num = len(names)
        lines: list[Line] = []
        misses = 0
        # once all have spoken, it is no longer so important that something more fits
        while misses < (_FEW_TRIES if len({one.voice for one in lines}) == num else _TRIES):
            voice = self._next_voice(lines, num, rng)
            line = self._line(voice, names[voice], lines, between=(begin, latest), rng=rng)
            if line is None:
                misses += 1
            else:
                lines.append(line)
                misses = 0
        # what was drawn may all have been too long for a short group
        return names, lines or [Line(0, self._shortest[names[0]], math.ceil(begin * 1000) / 1000)]

    def _next_voice(self, lines: Sequence[Line], num: int, rng: np.random.Generator) -> int:
        """Draw who speaks next: first everybody once, in order; then anybody."""
        stays, other = rng.random() < self.settings.goes_on, int(rng.integers(max(1, num - 1)))
        if not lines:
            return 0
        last = lines[-1].voice
        if stays or num == 1:
            return last
        silent = sorted(set(range(num)) - {line.voice for line in lines})
        return silent[0] if silent else (last + 1 + other) % num

    def _line(
        self,
        voice: int,
        name: str,
        lines: Sequence[Line],
        *,
        between: tuple[float, float],
        rng: np.random.Generator,
    ) -> Line | None:
        """Draw a piece and its place, None if it does not fit."""
        settings, (begin, latest) = self.settings, between
        last = max(lines, key=lambda line: line.end, default=None)
        shortest, longest = settings.piece_s
        left_s = latest - (last.end if last else begin)
        wanted_s = (shortest, max(shortest, min(longest, left_s)))
        piece = draw_piece(self._worded.speakers[name], wanted_s, rng)
        over, share = rng.random() < settings.overlapped, float(rng.uniform(*settings.overlap))
        pause_s = float(rng.uniform(*settings.pause_s))
        if piece is None or any(_is_said(piece, line.piece) for line in lines):
            return None
        start = begin
        if last is not None:
            over_s = share * min(piece.duration, last.piece.duration)
            start = last.end - over_s if over and last.voice != voice else last.end + pause_s
            ends = [line.end + _BREATH_S for line in lines if line.voice == voice]
            start = max([start, begin, *ends])
        # whole milliseconds are whole samples
        start = math.ceil(start * 1000) / 1000
        return Line(voice, piece, start) if start + piece.duration <= latest else None

    def _heard(
        self, names: Sequence[str], lines: Sequence[Line], length: float, rng: np.random.Generator
    ) -> Group:
        room = self.bank.room(int(rng.integers(self.bank.count)))
        seats = rng.permutation(len(room.responses_kcn))
        gains_db = rng.normal(0.0, self.settings.voice_spread_db, len(names))
        snr_db = (float(rng.uniform(*self.settings.snr_db)),) * 2
        there = len(room.microphones_c3)
        chosen = [int(rng.integers(there))] if self.channels == "one" else list(range(there))
        speech_cn = np.zeros((len(chosen), round(length * SAMPLE_RATE_HZ)), np.float32)
        for line in lines:
            dry_n, before_s = self.library.read_piece(line.piece)
            first = round((line.start - before_s) * SAMPLE_RATE_HZ)
            add_voice(
                speech_cn,
                dry_n[max(0, -first) :],
                room.responses_kcn[seats[line.voice]][chosen],
                first=first,
                gain_db=float(gains_db[line.voice]),
                rng=rng,
            )
        microphones_c3 = room.microphones_c3[chosen]
        mixture_cn, _ = add_noise(speech_cn, microphones_c3, since=0, snr_db=snr_db, rng=rng)
        utterances = [
            Utterance(names[line.voice], line.start, line.end, line.piece.text) for line in lines
        ]
        said = tuple(sorted(utterances, key=lambda one: (one.start, one.end)))
        if self.channels == "one":
            return Group(mixture_cn[0], said)
        alone = [
            (names[voice], self._alone(names[voice], responses_cn, microphones_c3, rng))
            for voice, responses_cn in enumerate(room.responses_kcn[seats[: len(names)]])
            if any(line.voice == voice for line in lines)
        ]
        return Group(mixture_cn[0], said, mixture_cn, tuple(alone))

    def _alone(
        self,
        name: str,
        responses_cn: Samples,
        microphones_c3: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Samples:
        """Give a moment in which somebody is heard alone, float32, shape (C, N)."""
        own = self.library.speakers[name]
        seconds = float(rng.uniform(*_ALONE_S))
        long = [one for one in own if one.num_samples >= seconds * SAMPLE_RATE_HZ]
        long = long or [max(own, key=lambda one: one.num_samples)]
        uttered = long[int(rng.integers(len(long)))]
        start = max(
            0.0, min(uttered.atoms[0].start, uttered.num_samples / SAMPLE_RATE_HZ - seconds)
        )
        dry_n = self.library.read(uttered, start, start + seconds)
        heard_cn = np.zeros((len(responses_cn), len(dry_n)), np.float32)
        add_voice(heard_cn, dry_n, responses_cn, first=0, gain_db=0.0, rng=rng)
        # levels differ from those of the group a little, phases do not
        return add_noise(heard_cn, microphones_c3, since=0, snr_db=self.settings.snr_db, rng=rng)[0]


def _is_said(piece: Piece, before: Piece) -> bool:
    """Tell whether a part of it was said before: nobody says the same twice."""
    same = piece.uttered.path == before.uttered.path
    return same and piece.start < before.end and before.start < piece.end
