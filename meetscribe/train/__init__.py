"""Make what training and benchmarks need: so far, simulated meetings.

    load_corpus(table) -> Corpus                    read speech, a row an utterance (speech)
    choose_speakers, converse -> Conversation       who says what when (casting, conversation)
    draw_scene, simulate_room -> Acoustics          where everybody sits, how it sounds (rooms)
    Stage, Mixer                                    speech and noise, block by block (mixing, noise)
    simulate(table, output, settings) -> paths      audio with its reference, on disk (simulate)

Axes: C channel, N sample, K speaker, T frame, F bin.
"""

from __future__ import annotations

from meetscribe.train.settings import SimulationSettings
from meetscribe.train.simulate import simulate

__all__ = ["SimulationSettings", "simulate"]
