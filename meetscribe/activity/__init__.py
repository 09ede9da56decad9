"""Who speaks when, on one channel."""

from __future__ import annotations

from meetscribe.activity.diarize import Diarizer
from meetscribe.activity.pyannote_adapter import PyannoteDiarizer
from meetscribe.activity.settings import DiarizationSettings

__all__ = ["DiarizationSettings", "Diarizer", "PyannoteDiarizer"]
