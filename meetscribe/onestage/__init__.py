"""One stage: a whole array and one target speaker in, that speaker's words out.

    log-mel of one channel ------------> encoder -> decoder -> the target's words
    embedding of space and target ---^ (conditioning, through paths that start at zero)

Light to import: the modules with networks import torch, this one and ``settings`` do not.

Axes: B batch, F mel bin, T frame of 10 ms, S frame of the encoder (20 ms), D feature, L token,
H attention head, V token of the vocabulary.
"""

from __future__ import annotations

from meetscribe.onestage.settings import (
    ConditioningSettings,
    DecodingSettings,
    LoraSettings,
    TargetWhisperSettings,
)

__all__ = ["ConditioningSettings", "DecodingSettings", "LoraSettings", "TargetWhisperSettings"]
