"""What the microphones of a simulated room hear: voices through its responses, noise, level.

Axes: C channel, N sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meetscribe.train.noise import Colour, DiffuseNoise, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UTTERANCE_DB, _MICROPHONE_DB = 1.5, 0.7
_LEVEL_DB = (-25.0, 0.0)
_PEAK = 0.4
_FADE = 160
_LEAST_RMS = 1e-9


def add_voice(
    heard_cn: Samples,
    dry_n: Samples,
    responses_cn: Samples,
    *,
    first: int,
    gain_db: float,
    rng: np.random.Generator,
) -> None:
    """Add what is heard of a piece of speech to what is heard already.

    Parameters
    ----------
    heard_cn : changed; what lasts beyond its end is lost
    dry_n : at the mouth; its ends are faded
    responses_cn : from the seat to the microphones
    first : sample at which it begins, moved inside if it is below 0
    gain_db : of the voice; every utterance differs from it a little
    """
    from scipy.signal import oaconvolve

    gain_db += rng.uniform(-_UTTERANCE_DB, _UTTERANCE_DB)
    dry_n = dry_n * np.float32(10 ** (gain_db / 20))
    fade_n = np.linspace(0, 1, min(_FADE, len(dry_n)), dtype=np.float32)
    dry_n[: len(fade_n)] *= fade_n
    dry_n[-len(fade_n) :] *= fade_n[::-1]
    voice_cn = oaconvolve(dry_n[None], responses_cn, axes=1)
    first = max(0, first)
    kept_cn = voice_cn[:, : heard_cn.shape[1] - first]
    heard_cn[:, first : first + kept_cn.shape[1]] += kept_cn


def add_noise(
    speech_cn: Samples,
    microphones_c3: NDArray[np.float64],
    *,
    since: int,
    snr_db: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Samples, Samples]:
    """Add diffuse noise, and give every microphone its gain and the whole a level.

    Parameters
    ----------
    since : sample of the first channel from which on the level of speech is measured
    snr_db : range of speech against noise there

    Returns
    -------
    float32, shape (C, N)
        The mixture.
    float32, shape (C, 1)
        The gain of every channel in it.
    """
    heard_n = speech_cn[0, since:] if np.any(speech_cn[0, since:]) else speech_cn[0]
    rms = max(_LEAST_RMS, float(np.sqrt(np.mean(np.square(heard_n, dtype=np.float64)))))
    noise = DiffuseNoise(microphones_c3, Colour.draw(rng), rng)
    noise_rms = np.float32(rms * 10 ** (-rng.uniform(*snr_db) / 20))
    mixture_cn = speech_cn + noise_rms * noise.read(speech_cn.shape[1])
    gain_c = 10 ** (rng.normal(0.0, _MICROPHONE_DB, len(mixture_cn)) / 20)
    peak = max(_LEAST_RMS, float(np.abs(mixture_cn).max()))
    level = _PEAK / peak * 10 ** (rng.uniform(*_LEVEL_DB) / 20)
    gain_c1 = (gain_c * level).astype(np.float32)[:, None]
    return mixture_cn * gain_c1, gain_c1
