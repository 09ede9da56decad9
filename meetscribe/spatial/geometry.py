"""Spatial features from geometry: the phases that a source at a known place must have.

For simulation, and for rooms where somebody measured where the microphones and the people are.
Where nobody did, a solo segment of the speaker gives as much (``solo``).

Axes: C channel, P pair, F bin, T frame, 3 coordinates in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meetscribe.errors import ShapeError
from meetscribe.spatial.phase import FEATURE_STFT, Pair, match_phases
from meetscribe.spatial.stft import StftSettings
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Metres = Tensor | NDArray[np.floating] | Sequence[Sequence[float]] | Sequence[float]

SPEED_OF_SOUND_M_S = 343.0


def point_tpd(
    source_3: Metres,
    microphones_c3: Metres,
    pairs: Sequence[Pair],
    settings: StftSettings = FEATURE_STFT,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> Tensor:
    """Give the phase differences of a source at a known point ("3-D"), without reflections.

    Parameters
    ----------
    source_3 : shape (..., 3), metres; axes before are sources
    microphones_c3 : shape (C, 3), in the same coordinates

    Returns
    -------
    float64, shape (..., P, F), radians, not wrapped: -w (d_m1 - d_m2) / c

    Raises
    ------
    ShapeError
        If a position has not three coordinates, or a pair names no microphone.

    Notes
    -----
    Target phase difference of arXiv 2111.11023 with w = 2 pi f_Hz, half the constant that is
    printed there, and the sign of the transform exp(-j w t). Distances come from coordinates:
    the printed law of cosines holds on one half of a line only.
    """
    import torch

    source_3 = torch.as_tensor(source_3, dtype=torch.float64).cpu()
    microphones_c3 = torch.as_tensor(microphones_c3, dtype=torch.float64).cpu()
    if source_3.shape[-1:] != (3,) or microphones_c3.shape[1:] != (3,):
        raise ShapeError(
            f"point_tpd: source {tuple(source_3.shape)} and microphones"
            f" {tuple(microphones_c3.shape)}, expected (..., 3) and (C, 3)"
        )
    index_2p = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).T
    if index_2p.numel() and not 0 <= int(index_2p.min()) <= int(index_2p.max()) < len(
        microphones_c3
    ):
        raise ShapeError(
            f"point_tpd: pairs {list(pairs)}, expected channels below {len(microphones_c3)}"
        )
    away_c = torch.linalg.vector_norm(source_3[..., None, :] - microphones_c3, dim=-1)
    longer_p = away_c[..., index_2p[0]] - away_c[..., index_2p[1]]
    tpd_pf: Tensor = -longer_p[..., None] / speed_m_s * _angular(settings, sample_rate_hz)
    return tpd_pf


def plane_tpd(
    spacing_p: Metres,
    angle_rad_p: Metres | float,
    settings: StftSettings = FEATURE_STFT,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    speed_m_s: float = SPEED_OF_SOUND_M_S,
) -> Tensor:
    """Give the phase differences of a source far away in a known direction ("1-D").

    Parameters
    ----------
    spacing_p : shape (..., P), metres between the two microphones of each pair
    angle_rad_p : shape (..., P) or one number, between the direction from m2 to m1 and that to
        the source: 0 where m1 is nearest

    Returns
    -------
    float64, shape (..., P, F), radians, not wrapped: +w d_p cos(angle) / c

    Notes
    -----
    Target phase difference of arXiv 2111.11023; constant and sign as in ``point_tpd``.
    """
    import torch

    spacing_p = torch.as_tensor(spacing_p, dtype=torch.float64).cpu()
    angle_p = torch.as_tensor(angle_rad_p, dtype=torch.float64).cpu()
    ahead_s_p = spacing_p * angle_p.cos() / speed_m_s
    return ahead_s_p[..., None] * _angular(settings, sample_rate_hz)


def spatial_feature(
    stft_cft: Tensor, tpd_pf: Tensor, pairs: Sequence[Pair], *, average: bool = False
) -> Tensor:
    """Give SF: how well every cell fits a place whose phase differences are known.

    Parameters
    ----------
    stft_cft : complex64 or complex128, shape (..., C, F, T)
    tpd_pf : radians, shape (..., P, F), as of ``point_tpd``, ``plane_tpd``
    average : divide by P, for a value in [-1, 1]; the paper has the plain sum

    Returns
    -------
    float32 or float64, shape (..., T, F): sum over p of cos(IPD_p - TPD_p)

    Raises
    ------
    ShapeError
        If the shapes do not fit together, or a pair names no channel.

    Notes
    -----
    arXiv 2111.11023; P at every cell where one source is alone in a room without echo.
    """
    import torch

    # turned into unit vectors before precision is lost: unwrapped phases are large numbers
    steering_pf = torch.polar(torch.ones_like(tpd_pf), tpd_pf)
    return match_phases(stft_cft, steering_pf, pairs, average=average)


def _angular(settings: StftSettings, sample_rate_hz: int) -> Tensor:
    """Give w of every bin, radians per second, float64, shape (F,)."""
    import torch

    return 2 * math.pi * torch.from_numpy(settings.bin_hz(sample_rate_hz))
