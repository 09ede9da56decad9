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
_POWER = 0.25
"""Strong cells count a little more than weak ones, up to a quantile of their bin."""
_STRONG = 0.9
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
        Without what all pieces have in common (a small array hears every voice with nearly the
        same phase at low frequencies), so that the cosine of different places is about 0 or below.
        Zeros where nothing is to be heard.

    Notes
    -----
    Time average of the cross-spectra of at most 8 channel pairs, nearly phase-only as in GCC-PHAT
    (Knapp and Carter 1976, doi:10.1109/TASSP.1976.1162830).
    """
    if not spans:
        return np.zeros((0, 1), np.float32)
    made_ud = np.stack([_signature(reader, *span) for span in spans])
    made_ud = made_ud - made_ud.mean(axis=0)
    return _unit_length(made_ud)


def _signature(reader: ChannelReader, start: float, end: float) -> NDArray[np.float32]:
    samples_cn = reader.read_cn(start, max(end, start + _WINDOW / SAMPLE_RATE_HZ))
    window = np.hanning(_WINDOW).astype(np.float32)
    frames_ctn = np.lib.stride_tricks.sliding_window_view(samples_cn, _WINDOW, axis=1)[:, ::_HOP]
    hz_f = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE_HZ)
    low, high = np.searchsorted(hz_f, _BAND_HZ)
    spectra_ctf = np.fft.rfft(frames_ctn * window, axis=-1)[..., low:high]
    first, second = _pairs(len(samples_cn))
    cross_ptf = spectra_ctf[first] * spectra_ctf[second].conj()
    power_ptf = np.abs(cross_ptf)
    strong_pf = np.quantile(power_ptf, _STRONG, axis=1)
    weight_ptf = np.minimum(power_ptf, strong_pf[:, None]) ** _POWER
    mean_pf = (weight_ptf * cross_ptf / np.maximum(power_ptf, 1e-12)).mean(axis=1).ravel()
    made_d = np.concatenate([mean_pf.real, mean_pf.imag]).astype(np.float32)
    signature_d: NDArray[np.float32] = _unit_length(np.nan_to_num(made_d)[None])[0]
    return signature_d


def _pairs(num_channels: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair neighbours in the order of the channels, the last with the first."""
    num = num_channels if num_channels > 2 else 1  # noqa: PLR2004 - two channels are one pair
    first = np.unique(np.linspace(0, num - 1, min(num, _MOST_PAIRS)).round().astype(np.intp))
    return first, (first + 1) % num_channels


def _unit_length(rows_ud: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths_u1 = np.linalg.norm(rows_ud, axis=1, keepdims=True)
    made_ud: NDArray[np.float32] = (rows_ud / np.maximum(lengths_u1, 1e-9)).astype(np.float32)
    return made_ud
