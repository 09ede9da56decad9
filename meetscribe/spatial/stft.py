"""Short-time spectra and their exact inverse, for any length of signal.

Axes: C channel, N sample, T frame, F bin. Forward transform exp(-j w t): what arrives later has
a more negative phase.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from meetscribe.config import Settings
from meetscribe.errors import ShapeError
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Window = Literal["blackman", "hann", "sqrt-hann"]
_LOWEST_COVER = 1e-4
"""Sum of squared windows over a sample below which the inverse would magnify errors."""


class StftSettings(Settings):
    """Window, hop and form of a short-time Fourier transform; the FFT is one window long."""

    window_samples: int = Field(1024, ge=2)
    """Length of a frame."""
    hop_samples: int = Field(256, ge=1)
    """Samples between the starts of frames."""
    window: Window = "blackman"
    """Periodic window; ``sqrt-hann`` is the square root of a Hann window."""

    @model_validator(mode="after")
    def _invertible(self) -> Self:
        if self.hop_samples > self.window_samples:
            raise ValueError(
                f"hop_samples {self.hop_samples} is above window_samples {self.window_samples}"
            )
        if float(_cover(self.window, self.window_samples, self.hop_samples).min()) < _LOWEST_COVER:
            raise ValueError(
                f"hop_samples {self.hop_samples} leaves samples that no {self.window} window of"
                f" {self.window_samples} samples covers"
            )
        return self

    @property
    def num_bins(self) -> int:
        """Bins of the one-sided spectrum, F."""
        return self.window_samples // 2 + 1

    @property
    def pad_samples(self) -> int:
        """Zeros before and after the signal, so that its edges are covered like its middle."""
        return self.window_samples - self.hop_samples

    def num_frames(self, num_samples: int) -> int:
        """Give the number of frames T of a signal: frame t spans samples of ``frame_span``."""
        return -(-(num_samples + self.pad_samples) // self.hop_samples)

    def frame_span(self, frame: int) -> tuple[int, int]:
        """Give the samples [first, last) under the window of a frame, negative in the padding."""
        first = frame * self.hop_samples - self.pad_samples
        return first, first + self.window_samples

    def bin_hz(self, sample_rate_hz: int = SAMPLE_RATE_HZ) -> NDArray[np.float64]:
        """Give the centre frequency of each bin, shape (F,)."""
        return np.arange(self.num_bins, dtype=np.float64) * (sample_rate_hz / self.window_samples)


def stft(samples: Tensor, settings: StftSettings | None = None) -> Tensor:
    """Give the one-sided short-time spectrum of every row of a signal.

    Parameters
    ----------
    samples : float32 or float64, shape (..., N)
        Any length, also 0 or less than one window.

    Returns
    -------
    complex64 or complex128, shape (..., F, T), T = ceil((N + window - hop) / hop)
        ``window - hop`` zeros stand before and after the signal, and zeros fill the last frame.

    Raises
    ------
    ShapeError
        If ``samples`` has no axis or is not real floating point.
    """
    import torch

    settings = settings or StftSettings()
    if samples.ndim < 1 or not samples.is_floating_point():
        raise ShapeError(
            f"stft: expected real floating point of shape (..., N), found {samples.dtype}"
            f" of shape {tuple(samples.shape)}"
        )
    num_samples = samples.shape[-1]
    num_frames = settings.num_frames(num_samples)
    padded = (num_frames - 1) * settings.hop_samples + settings.window_samples
    window_n = _tensor(_window(settings.window, settings.window_samples), samples)
    rows_rn = samples.reshape(math.prod(samples.shape[:-1]), num_samples)
    spectrum_rft = torch.empty(
        (len(rows_rn), settings.num_bins, num_frames),
        dtype=torch.promote_types(samples.dtype, torch.complex64),
        device=samples.device,
    )
    # row by row: the frames of all channels of a long block would be four times the signal
    for row_n, spectrum_ft in zip(rows_rn, spectrum_rft, strict=True):
        padded_n = torch.nn.functional.pad(
            row_n, (settings.pad_samples, padded - num_samples - settings.pad_samples)
        )
        frames_tn = padded_n.unfold(0, settings.window_samples, settings.hop_samples)
        spectrum_ft.copy_(torch.fft.rfft(frames_tn * window_n).mT)
    return spectrum_rft.reshape(*samples.shape[:-1], settings.num_bins, num_frames)


def istft(spectrum: Tensor, num_samples: int, settings: StftSettings | None = None) -> Tensor:
    """Give the signal of a short-time spectrum: the exact inverse of ``stft``.

    Parameters
    ----------
    spectrum : complex64 or complex128, shape (..., F, T)
        As made by ``stft`` with the same settings, changed or not.
    num_samples : length N of the signal, which fixes T

    Returns
    -------
    float32 or float64, shape (..., N)

    Raises
    ------
    ShapeError
        If F or T do not fit the settings and ``num_samples``.

    Notes
    -----
    Overlap-add with the window divided by the sum of all its squared shifts by multiples of the
    hop: the least-squares inverse of Griffin and Lim 1984, doi:10.1109/TASSP.1984.1164317.
    """
    import torch

    settings = settings or StftSettings()
    expected = (settings.num_bins, settings.num_frames(num_samples))
    if spectrum.ndim < len("FT") or tuple(spectrum.shape[-2:]) != expected:
        raise ShapeError(
            f"istft: expected shape (..., {expected[0]}, {expected[1]}) for {num_samples} samples,"
            f" found {tuple(spectrum.shape)}"
        )
    size, hop = settings.window_samples, settings.hop_samples
    cover_n = np.resize(_cover(settings.window, size, hop), size)
    synthesis_n = _window(settings.window, size) / cover_n
    num_frames = expected[1]
    # frames in pieces of one hop: piece i of all frames is laid i hops later than piece 0
    pieces = -(-size // hop)
    rows_rft = spectrum.reshape(math.prod(spectrum.shape[:-2]), *expected)
    real = torch.float64 if spectrum.dtype == torch.complex128 else torch.float32
    window_n = torch.from_numpy(synthesis_n).to(spectrum.device, real)
    made_rn = torch.empty((len(rows_rft), num_samples), dtype=real, device=spectrum.device)
    for row_ft, made_n in zip(rows_rft, made_rn, strict=True):
        frames_tn = torch.fft.irfft(row_ft.mT, n=size) * window_n
        frames_tn = torch.nn.functional.pad(frames_tn, (0, pieces * hop - size))
        sum_th = frames_tn.new_zeros((num_frames + pieces - 1, hop))
        for piece in range(pieces):
            part_th = frames_tn[:, piece * hop : (piece + 1) * hop]
            sum_th[piece : piece + num_frames] += part_th
        first = settings.pad_samples
        made_n.copy_(sum_th.reshape(-1)[first : first + num_samples])
    return made_rn.reshape(*spectrum.shape[:-2], num_samples)


def check_spectrum(stft_cft: Tensor, place: str) -> None:
    """Refuse what is no spectrum of several channels.

    Raises
    ------
    ShapeError
        If ``stft_cft`` is not complex of shape (C, F, T); the message begins with ``place``.
    """
    if stft_cft.ndim != len("CFT") or not stft_cft.is_complex():
        raise ShapeError(
            f"{place}: expected a complex spectrum of shape (C, F, T), found {stft_cft.dtype}"
            f" of shape {tuple(stft_cft.shape)}"
        )


def _tensor(values: NDArray[np.float64], like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(values).to(like.device, like.dtype)


@cache
def _window(form: Window, size: int) -> NDArray[np.float64]:
    turn_n = 2 * np.pi * np.arange(size) / size
    if form == "blackman":
        return np.asarray(0.42 - 0.5 * np.cos(turn_n) + 0.08 * np.cos(2 * turn_n))
    hann_n = 0.5 - 0.5 * np.cos(turn_n)
    return np.asarray(np.sqrt(hann_n) if form == "sqrt-hann" else hann_n, dtype=np.float64)


@cache
def _cover(form: Window, size: int, hop: int) -> NDArray[np.float64]:
    """Give the sum of squared windows over each sample of one hop, shape (hop,)."""
    square_n = np.zeros(-(-size // hop) * hop)
    square_n[:size] = _window(form, size) ** 2
    return np.asarray(square_n.reshape(-1, hop).sum(axis=0))
