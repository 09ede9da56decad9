"""Write sound block by block, 16 bit at 16 kHz, so that no long file is ever in memory whole.

Axes: C channel, N sample.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from meetscribe.errors import OutputError, ShapeError
from meetscribe.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 1 << 15
_WAV_BYTES = (1 << 32) - 4096
"""A WAV file counts its bytes in 32 bits; longer ones are RF64, which is WAV with wider counts."""


class AudioWriter:
    """A FLAC or WAV file that grows; use it in a ``with``.

    Samples are rounded to 16 bit without dither, so that equal samples give equal files; what
    lies beyond full scale is cut off and counted in ``num_clipped``.

    Parameters
    ----------
    path : ends in .flac (8 channels at most) or .wav; a file that is there is replaced
    num_channels : C
    num_samples : about how many will come per channel, which decides whether WAV can hold them

    Raises
    ------
    OutputError
        Here or in ``write``, if the file cannot be written.
    """

    def __init__(self, path: Path, num_channels: int, num_samples: int = 0) -> None:
        import soundfile

        large = 2 * num_channels * num_samples > _WAV_BYTES
        kind = "FLAC" if path.suffix.lower() == ".flac" else "RF64" if large else "WAV"
        self.path = path
        self.num_channels = num_channels
        self.num_samples = 0
        self.num_clipped = 0
        try:
            self._file: Any = soundfile.SoundFile(
                path, "w", SAMPLE_RATE_HZ, num_channels, subtype="PCM_16", format=kind
            )
        except (soundfile.LibsndfileError, OSError) as error:
            raise _cannot_write(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, samples_cn: NDArray[np.floating[Any]]) -> None:
        """Append samples, shape (C, N), full scale 1.

        Raises
        ------
        ShapeError
            If they have not the channels of the file.
        OutputError
            If they cannot be written, for instance because the disk is full.
        """
        import soundfile

        if samples_cn.ndim != 2 or samples_cn.shape[0] != self.num_channels:  # noqa: PLR2004
            raise ShapeError(
                f"{self.path}: samples of shape {samples_cn.shape}, "
                f"expected ({self.num_channels}, N)"
            )
        scaled_cn = np.rint(samples_cn * _FULL_SCALE)
        self.num_clipped += int(
            np.count_nonzero((scaled_cn >= _FULL_SCALE) | (scaled_cn < -_FULL_SCALE))
        )
        values_cn = np.clip(scaled_cn, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        try:
            self._file.write(np.ascontiguousarray(values_cn.T))
        except (soundfile.LibsndfileError, OSError) as error:
            raise _cannot_write(self.path, error) from error
        self.num_samples += samples_cn.shape[1]

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _cannot_write(path: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or error
    return OutputError(
        f"{path}: cannot be written: {reason}", hint="check space and rights, or choose -o DIR"
    )
