"""Noise of a meeting room, endless and piece by piece: from everywhere, and from one place.

Axes: C channel, N sample, F bin, T frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meetscribe.train.rooms import SPEED_OF_SOUND_M_S
from meetscribe.types import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

_FRAME = 1024
_HOP = _FRAME // 2
_CORNER_HZ = (80.0, 400.0)
_SLOPE = (1.0, 2.0)
_LOWEST_HZ = 40.0
_OWN_SHARE = 0.03
"""Of the power: what each microphone adds of its own, about 15 dB below."""
_SWELL_DB = 3.0
_SWELL_S = 4.0


@dataclass(frozen=True, slots=True)
class Colour:
    """How the power of a noise falls with frequency, like that of air conditioning."""

    corner_hz: float
    slope: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw a colour."""
        return cls(float(rng.uniform(*_CORNER_HZ)), float(rng.uniform(*_SLOPE)))

    def shares(self, num_samples: int) -> NDArray[np.float64]:
        """Give the share of each bin of a real FFT of so many samples in a total power of 1.

        Bins stand for two frequencies, the positive and the negative one, but for the first and
        the last.
        """
        frequency_f = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
        power_f = 1 / (1 + (frequency_f / self.corner_hz) ** self.slope) ** 2
        power_f[frequency_f < _LOWEST_HZ] = 0.0
        power_f[1:-1] *= 2
        return np.asarray(power_f / power_f.sum())


class DiffuseNoise:
    """Noise that comes from all directions alike, with white noise of every microphone added.

    Its power per channel is 1.

    Notes
    -----
    Frames of independent values whose coherence between microphones d apart is sinc(2 f d / c),
    that of a spherically isotropic field (Habets, Cohen and Gannot 2008,
    doi:10.1121/1.2987429), overlapped by half with windows whose squares sum to 1.

    Parameters
    ----------
    microphones_c3 : positions in metres
    own_share : of the power, what every microphone adds of its own
    """

    def __init__(
        self,
        microphones_c3: NDArray[np.float64],
        colour: Colour,
        rng: np.random.Generator,
        *,
        own_share: float = _OWN_SHARE,
    ) -> None:
        self._rng = rng
        bins_f = np.ones(_FRAME // 2 + 1)
        bins_f[1:-1] = 2
        # the power of a sample is the sum over all bins divided by the square of their number
        power_f = (1 - own_share) * colour.shares(_FRAME) / bins_f * _FRAME**2
        self._mixing_fcc = _roots(microphones_c3, power_f, own_share * _FRAME)
        self._window_n = np.sin(np.pi * (np.arange(_FRAME) + 0.5) / _FRAME)
        self._ready_cn = np.zeros((len(microphones_c3), 0))
        self._half_cn = self._frames(1)[0, :, _HOP:]

    def read(self, num_samples: int) -> Samples:
        """Give the next samples, float32, shape (C, N); the same however they are asked for."""
        missing = num_samples - self._ready_cn.shape[1]
        pieces = [self._ready_cn]
        for frame_cn in self._frames(max(0, -(-missing // _HOP))):
            pieces.append(self._half_cn + frame_cn[:, :_HOP])
            self._half_cn = frame_cn[:, _HOP:]
        ready_cn = np.concatenate(pieces, axis=1)
        self._ready_cn = ready_cn[:, num_samples:]
        return ready_cn[:, :num_samples].astype(np.float32)

    def _frames(self, num: int) -> NDArray[np.float64]:
        shape = (num, *self._mixing_fcc.shape[:2], 2)
        parts = self._rng.standard_normal(shape) * math.sqrt(0.5)
        free_tfc = parts[..., 0] + 1j * parts[..., 1]
        mixed_ftc = np.matmul(free_tfc.transpose(1, 0, 2), self._mixing_fcc.transpose(0, 2, 1))
        frames_ctn = np.fft.irfft(mixed_ftc.transpose(2, 1, 0), _FRAME, axis=2)
        return np.asarray((frames_ctn * self._window_n).transpose(1, 0, 2))


def _roots(
    microphones_c3: NDArray[np.float64], power_f: NDArray[np.float64], own_power: float
) -> NDArray[np.float64]:
    """Give matrices, shape (F, C, C), that turn independent values into those of the field."""
    frequency_f = np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE_HZ)
    apart_cc = np.linalg.norm(microphones_c3[:, None] - microphones_c3[None], axis=2)
    coherence_fcc = np.sinc(2 * frequency_f[:, None, None] * apart_cc / SPEED_OF_SOUND_M_S)
    covariance_fcc = power_f[:, None, None] * coherence_fcc + own_power * np.eye(len(apart_cc))
    value_fc, vector_fcc = np.linalg.eigh(covariance_fcc)
    return np.asarray(vector_fcc * np.sqrt(np.maximum(value_fc, 0.0))[:, None, :])


class PointNoise:
    """Noise from one place, such as a projector, that swells and fades slowly.

    Its power at channel 0 is 1 on average, whatever the way there does to it.

    Parameters
    ----------
    response_cn : impulse responses from its place to the microphones
    """

    def __init__(self, response_cn: Samples, colour: Colour, rng: np.random.Generator) -> None:
        self._source = DiffuseNoise(np.zeros((1, 3)), colour, rng, own_share=0.0)
        num = response_cn.shape[1] + response_cn.shape[1] % 2
        passed_f = np.abs(np.fft.rfft(response_cn[0].astype(np.float64), num)) ** 2
        power = float(np.sum(colour.shares(num) * passed_f))
        self._response_cn = (response_cn / math.sqrt(power)).astype(np.float32)
        self._tail_cn = np.zeros((len(response_cn), response_cn.shape[1] - 1), np.float32)
        self._phase = float(rng.uniform(0, 2 * np.pi))
        self._num_given = 0

    def read(self, num_samples: int) -> Samples:
        """Give the next samples, float32, shape (C, N)."""
        from scipy.signal import oaconvolve

        time_n = np.arange(self._num_given, self._num_given + num_samples) / SAMPLE_RATE_HZ
        swell_n = 10 ** (_SWELL_DB / 20 * np.sin(2 * np.pi * time_n / _SWELL_S + self._phase))
        dry_n = (self._source.read(num_samples)[0] * swell_n).astype(np.float32)
        heard_cn = oaconvolve(dry_n[None], self._response_cn, axes=1)
        heard_cn[:, : self._tail_cn.shape[1]] += self._tail_cn
        self._tail_cn = heard_cn[:, num_samples:]
        self._num_given += num_samples
        return np.asarray(heard_cn[:, :num_samples])
