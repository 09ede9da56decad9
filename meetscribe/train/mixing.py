"""A conversation heard in a room, block by block: nothing of the length of a meeting in memory.

Every utterance is brought to one level, given the loudness of its speaker, and sent through the
room. The first pass hears one channel alone (of close microphones everybody's own), to learn how
loud the speech is; the second makes every channel, with noise at the ratio that is wanted.

Axes: C channel, K speaker, N sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetscribe.train.conversation import Conversation, Said
from meetscribe.train.noise import Colour, DiffuseNoise, PointNoise
from meetscribe.train.rooms import Acoustics, Scene
from meetscribe.train.settings import SimulationSettings
from meetscribe.train.turns import voices_at_once
from meetscribe.types import SAMPLE_RATE_HZ, Turn

Samples = NDArray[np.float32]

PEAK = 0.4
"""Of full scale, of the speech in the loudest channel: room for noise and a louder reading."""
_BLOCK_S = 20.0
_BEFORE_S, _AFTER_S = 0.10, 0.15
"""What is kept of a recording around its speech, faded in and out: breath, and the last sounds
as they die away."""
_FADE_S = 0.02
_UTTERANCE_DB = 1.5
_MOST_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Levels:
    """Everything about loudness that is drawn for a meeting.

    Parameters
    ----------
    speakers_db : gain of each speaker
    utterances_db : gain of each utterance on top of it
    microphones_db : gain of each channel
    snr_db : speech against diffuse noise, at channel 0 before its gain, or at everybody's own
    points_db : the same for each noise with a place
    """

    speakers_db: tuple[float, ...]
    utterances_db: tuple[float, ...]
    microphones_db: tuple[float, ...]
    snr_db: float
    points_db: tuple[float, ...]


def draw_levels(
    settings: SimulationSettings,
    conversation: Conversation,
    num_noises: int,
    rng: np.random.Generator,
    *,
    snr_db: float,
) -> Levels:
    """Draw how loud everybody and everything is."""

    def spread(deviation_db: float, num: int) -> tuple[float, ...]:
        drawn = np.clip(rng.standard_normal(num), -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
        return tuple((deviation_db * drawn).tolist())

    return Levels(
        speakers_db=spread(settings.voice_spread_db, len(conversation.speakers)),
        utterances_db=tuple(
            rng.uniform(-_UTTERANCE_DB, _UTTERANCE_DB, len(conversation.said)).tolist()
        ),
        microphones_db=spread(
            settings.microphone_spread_db, settings.num_channels(len(conversation.speakers))
        ),
        snr_db=snr_db,
        points_db=tuple(rng.uniform(*settings.point_snr_db, num_noises).tolist()),
    )


class Stage:
    """The speakers of a conversation in their room, to be heard as often as is needed.

    Parameters
    ----------
    read : gives the samples of the recording that an utterance is cut from
    """

    def __init__(
        self,
        conversation: Conversation,
        acoustics: Acoustics,
        levels: Levels,
        read: Callable[[Said], Samples],
    ) -> None:
        self._acoustics = acoustics
        self._read = read
        self._num_samples = round(conversation.duration * SAMPLE_RATE_HZ)
        rows = {speaker: row for row, speaker in enumerate(conversation.speakers)}
        self._cues = [
            (said, rows[said.speaker], levels.speakers_db[rows[said.speaker]] + gain_db)
            for said, gain_db in zip(conversation.said, levels.utterances_db, strict=True)
        ]

    def images(self, only_k: Sequence[int] | None = None) -> Iterator[tuple[Samples, float]]:
        """Give what the microphones hear of every speaker alone.

        Parameters
        ----------
        only_k : of each speaker the one channel to hear him at; None means all channels

        Yields
        ------
        float32, shape (K, C, N)
            The next block; the lengths add up to that of the conversation.
        float
            The share that is done.
        """
        responses = list(self._acoustics.speakers)
        if only_k is not None:
            responses = [
                heard_cn[[channel]] for heard_cn, channel in zip(responses, only_k, strict=True)
            ]
        block = round(_BLOCK_S * SAMPLE_RATE_HZ)
        buffer_kcn = np.zeros((len(responses), len(responses[0]), block), np.float32)
        cues = list(reversed(self._cues))
        for start in range(0, self._num_samples, block):
            while cues and self._first_sample(cues[-1][0]) < start + block:
                said, row, gain_db = cues.pop()
                heard_cn = self._hear(said, gain_db, responses[row])
                first = self._first_sample(said) - start
                missing = first + heard_cn.shape[1] - buffer_kcn.shape[2]
                if missing > 0:
                    buffer_kcn = np.pad(buffer_kcn, ((0, 0), (0, 0), (0, missing)))
                buffer_kcn[row, :, first : first + heard_cn.shape[1]] += heard_cn
            end = min(start + block, self._num_samples)
            yield buffer_kcn[:, :, : end - start], end / self._num_samples
            rest_kcn = buffer_kcn[:, :, block:]
            buffer_kcn = np.pad(rest_kcn, ((0, 0), (0, 0), (0, max(0, block - rest_kcn.shape[2]))))

    def _first_sample(self, said: Said) -> int:
        kept = min(_BEFORE_S, said.spoken.first)
        return round((said.start - kept) * SAMPLE_RATE_HZ)

    def _hear(self, said: Said, gain_db: float, response_cn: Samples) -> Samples:
        from scipy.signal import oaconvolve

        spoken = said.spoken
        first = spoken.first - min(_BEFORE_S, spoken.first)
        last = spoken.first + spoken.duration + _AFTER_S
        recorded_n = self._read(said)
        dry_n = recorded_n[round(first * SAMPLE_RATE_HZ) : round(last * SAMPLE_RATE_HZ)]
        dry_n = dry_n * np.float32(10 ** (gain_db / 20) / spoken.rms)
        fade_n = np.linspace(0, 1, round(_FADE_S * SAMPLE_RATE_HZ), dtype=np.float32)
        dry_n[: len(fade_n)] *= fade_n
        dry_n[-len(fade_n) :] *= fade_n[::-1]
        return np.asarray(oaconvolve(dry_n[None], response_cn, axes=1), np.float32)


@dataclass(frozen=True, slots=True)
class Loudness:
    """What the first pass heard: power while somebody speaks, and the peak."""

    power: float
    peak: float


def measure_speech(
    stage: Stage, turns: Sequence[Turn], reference_k: Sequence[int], heard: Callable[[float], None]
) -> Loudness:
    """Hear each speaker at one channel; ``heard`` is told the share that is done."""
    energy = peak = 0.0
    for images_kcn, done in stage.images(reference_k):
        speech_n = images_kcn[:, 0].sum(axis=0)
        energy += float(np.sum(np.square(speech_n, dtype=np.float64)))
        peak = max(peak, float(np.abs(speech_n).max()))
        heard(done)
    speech_s = sum(voices_at_once(turns)[1:])
    # reverberation after the last sound is energy of the speech before it
    return Loudness(energy / (speech_s * SAMPLE_RATE_HZ), peak)


class Mixer:
    """Adds noise to the speech at the wanted ratio, and brings all of it to a good level.

    Parameters
    ----------
    loudness : of the speech at the scene's ``reference_k`` before any of this
    """

    def __init__(
        self,
        scene: Scene,
        acoustics: Acoustics,
        levels: Levels,
        loudness: Loudness,
        rng: np.random.Generator,
    ) -> None:
        gain_c = 10 ** (np.array(levels.microphones_db) / 20)
        loudest = loudness.peak * _loudest_way(acoustics.speakers, scene.reference_k, gain_c)
        self._gain_c1 = (PEAK / loudest * gain_c).astype(np.float32)[:, None]
        self.colours = [Colour.draw(rng) for _ in range(1 + len(acoustics.noises))]
        speech_rms = math.sqrt(loudness.power)
        diffuse = DiffuseNoise(scene.microphones_c3, self.colours[0], rng)
        points: list[DiffuseNoise | PointNoise] = [
            PointNoise(response_cn, colour, rng)
            for response_cn, colour in zip(acoustics.noises, self.colours[1:], strict=True)
        ]
        ratios_db = (levels.snr_db, *levels.points_db)
        self._noises = [
            (noise, np.float32(speech_rms * 10 ** (-ratio_db / 20)))
            for noise, ratio_db in zip((diffuse, *points), ratios_db, strict=True)
        ]
        self._noise_energy = 0.0
        self._num_samples = 0
        self._loudness = loudness

    def mix(self, images_kcn: Samples) -> tuple[Samples, Samples]:
        """Give the mixture (C, N) of the next block, and the images (K, C, N) as they are in it."""
        num = images_kcn.shape[2]
        noise_cn = np.zeros(images_kcn.shape[1:], np.float32)
        for noise, gain in self._noises:
            noise_cn += gain * noise.read(num)
        self._noise_energy += float(np.sum(np.square(noise_cn[0], dtype=np.float64)))
        self._num_samples += num
        scaled_kcn = images_kcn * self._gain_c1
        return scaled_kcn.sum(axis=0) + noise_cn * self._gain_c1, scaled_kcn

    @property
    def snr_db(self) -> float:
        """Speech against all noise so far, at channel 0 or everybody's own, measured."""
        noise_power = self._noise_energy / self._num_samples
        return 10 * math.log10(self._loudness.power / noise_power)


def _loudest_way(
    responses: Sequence[Samples], reference_k: Sequence[int], gain_c: NDArray[np.float64]
) -> float:
    """Estimate how much louder the loudest channel is than the reference, for any speaker."""
    level_kc = np.stack([np.linalg.norm(own_cn, axis=1) for own_cn in responses])
    at_reference_k = level_kc[np.arange(len(level_kc)), list(reference_k)]
    return float((level_kc * gain_c / at_reference_k[:, None]).max())
