"""What several microphones know that one does not: features of place, and separated speakers.

    stft       spectra with an exact inverse
    dereverb   late reverberation removed (WPE)
    mixture    which speaker dominates which cell (cACGMM, guided by who speaks when)
    beamform   one filter over the channels per speaker (Souden MVDR)
    separate   these four, for one block in memory (guided source separation)
    streams    each speaker's signal of a whole recording, made when read

    phase      phase differences, correlations and delays of chosen microphone pairs
    solo       Solo-SF: how well each cell fits a speaker who was heard alone (``solo_segments``)
    geometry   the same from positions, where they are known
    rir        the same from room impulse responses

Axes, at the end of names: C channel, N sample, T frame, F bin, P pair, K class, speaker or tap,
D delay.
Samples are float32 at 16 kHz, full scale 1; spectra complex64; nothing here is differentiable.
"""

from __future__ import annotations

from meetscribe.spatial.separate import SeparationSettings, separate
from meetscribe.spatial.streams import ChannelReader, SeparatedStreams, SpeakerStream

__all__ = [
    "ChannelReader",
    "SeparatedStreams",
    "SeparationSettings",
    "SpeakerStream",
    "separate",
]
