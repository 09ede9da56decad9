"""Where a voice comes from, as a vector: phases between microphones, with no geometry.

Two pieces of speech from one place have the same phase differences between channels, reflections
of the room included, whatever the shape of the array; from two places they differ. The cosine
between such vectors can stand beside that of voiceprints. A speaker who walks changes his
signature: it is evidence beside the voice, never in its place.

Axes: U piece, P channel pair, F bin, T frame, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meetscribe.spatial.streams import ChannelReader

_WINDOW = 512
_HOP = 256
_BAND_HZ = (200.0, 4000.0)
"""Below, phases of a small array hardly differ; above, speech is weak."""
_EVERY_BIN = 2
"""A window of 512 smears each bin over its neighbours."""
_POWER = 0.25
"""Of the cross power: strong cells count a little more than weak ones."""
_DECAY_DB_S = 94.0
"""What falls more slowly than this may be reverberation, which comes from everywhere; a room of
0.6 s of RT60 lets 100 dB fade in a second."""
_BEFORE_S = 0.3
"""What is heard before a piece still rings in it."""
_MOST_PAIRS = 8


def signatures(reader: ChannelReader, spans: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Give the spatial signature of pieces in which one person speaks.

    Parameters
    ----------
    reader : at least two channels that hear everybody
    spans : start and end of each piece in seconds

    Returns
    -------
    float32, shape (U, D), unit length
        Cosines of one place are about 0.95; those of two lie lower, the more so the larger the
        array is, about 0.1 on a table full of microphones, 0.4 on a circle of 8 cm radius. Zeros
        where nothing is to be heard.

    Notes
    -----
    Time average of the cross-spectra of at most 8 channel pairs, nearly phase-only as in GCC-PHAT
    (Knapp and Carter 1976, doi:10.1109/TASSP.1976.1162830), over the cells in which sound arrives:
    what rings on from before is left out, as ears leave it out (the precedence effect).
    """
    if not spans:
        return np.zeros((0, 1), np.float32)
    return np.stack([_signature(reader, *span) for span in spans])


def _signature(reader: ChannelReader, start: float, end: float) -> NDArray[np.float32]:
    before_s = min(_BEFORE_S, start)
    end = max(end, start + _WINDOW / SAMPLE_RATE_HZ)
    samples_cn = reader.read_cn(start - before_s, end)
    window = np.hanning(_WINDOW).astype(np.float32)
    frames_ctn = np.lib.stride_tricks.sliding_window_view(samples_cn, _WINDOW, axis=1)[:, ::_HOP]
    hz_f = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE_HZ)
    low, high = np.searchsorted(hz_f, _BAND_HZ)
    spectra_ctf = np.fft.rfft(frames_ctn * window, axis=-1)[..., low:high:_EVERY_BIN]
    arriving_tf = _arriving((np.abs(spectra_ctf) ** 2).mean(axis=0))
    first_frame = min(round(before_s * SAMPLE_RATE_HZ / _HOP), len(arriving_tf) - 1)
    spectra_ctf, arriving_tf = spectra_ctf[:, first_frame:], arriving_tf[first_frame:]
    first, second = _pairs(len(samples_cn))
    cross_ptf = spectra_ctf[first] * spectra_ctf[second].conj()
    power_ptf = np.abs(cross_ptf)
    weight_ptf = arriving_tf * power_ptf**_POWER
    sum_pf = (weight_ptf * cross_ptf / np.maximum(power_ptf, 1e-12)).sum(axis=1)
    mean_pf = (sum_pf / np.maximum(weight_ptf.sum(axis=1), 1e-9)).ravel()
    made_d = np.nan_to_num(np.concatenate([mean_pf.real, mean_pf.imag]))
    length = max(float(np.linalg.norm(made_d)), 1e-9)
    signature_d: NDArray[np.float32] = (made_d / length).astype(np.float32)
    return signature_d


def _arriving(power_tf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the share of each cell's power that cannot be what rings on from cells before."""
    fading = np.float32(10 ** (-_DECAY_DB_S * _HOP / SAMPLE_RATE_HZ / 10))
    ringing_tf = np.zeros_like(power_tf)
    for now in range(1, len(power_tf)):
        ringing_tf[now] = fading * np.maximum(ringing_tf[now - 1], power_tf[now - 1])
    share_tf: NDArray[np.float32] = np.maximum(1 - ringing_tf / np.maximum(power_tf, 1e-20), 0)
    return share_tf


def _pairs(num_channels: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair neighbours in the order of the channels, the last with the first."""
    num = num_channels if num_channels > 2 else 1  # noqa: PLR2004 - two channels are one pair
    first = np.unique(np.linspace(0, num - 1, min(num, _MOST_PAIRS)).round().astype(np.intp))
    return first, (first + 1) % num_channels
