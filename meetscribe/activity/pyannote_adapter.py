"""pyannote.audio's own diarization pipelines, for people who have access to their weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from meetscribe.errors import DependencyError, WeightsError
from meetscribe.models.torchaudio_import import ensure_importable
from meetscribe.types import SAMPLE_RATE_HZ, Activity, AudioReader, Progress, Turn, no_progress


class PyannoteDiarizer:
    """A pipeline of the hub, such as ``pyannote/speaker-diarization-community-1``.

    Parameters
    ----------
    name : hub name, or a folder with the pipeline's files
    device : ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``
    offline : take the pipeline from the hub's local cache only
    pipeline : one that is loaded already; None loads ``name`` at the first use
    """

    def __init__(
        self,
        name: str,
        *,
        device: str = "cpu",
        offline: bool = False,
        pipeline: Any = None,  # noqa: ANN401 - pyannote.audio has no types
    ) -> None:
        self.name = name
        self.device = device
        self.offline = offline
        self._pipeline = pipeline

    def diarize(
        self,
        audio: AudioReader,
        *,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        progress: Progress = no_progress,
    ) -> Activity:
        """Say who speaks when; the pipeline wants the whole signal in memory.

        Raises
        ------
        DependencyError
            If pyannote.audio cannot be imported.
        WeightsError
            If the pipeline cannot be had: no access, no network, no such name.
        """
        if self._pipeline is None:
            self._pipeline = _load(self.name, self.device, offline=self.offline)
        import torch

        samples_n = np.ascontiguousarray(audio.read(0.0, audio.duration), dtype=np.float32)
        progress("pyannote", 0.0)
        output = self._pipeline(
            {"waveform": torch.from_numpy(samples_n)[None], "sample_rate": SAMPLE_RATE_HZ},
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
        )
        progress("pyannote", 1.0)
        return to_activity(output)


def to_activity(output: Any) -> Activity:  # noqa: ANN401 - pyannote.audio has no types
    """Map what a pipeline returns: an annotation, or an object that holds two and embeddings."""
    whole = getattr(output, "speaker_diarization", output)
    rows = list(_rows(whole))
    single = getattr(output, "exclusive_speaker_diarization", None)
    names = list(dict.fromkeys(row[2] for row in sorted(rows)))
    label = {name: f"Speaker {number}" for number, name in enumerate(names, start=1)}
    return Activity(
        turns=tuple(sorted(Turn(a, b, label[name]) for a, b, name in rows)),
        exclusive=tuple(
            sorted(Turn(a, b, label[name]) for a, b, name in _rows(single) if name in label)
        ),
        voiceprints=_prints(output, whole, label),
    )


def _rows(annotation: Any) -> Iterable[tuple[float, float, str]]:  # noqa: ANN401
    if annotation is None:
        return
    for segment, _, name in annotation.itertracks(yield_label=True):
        start, end = max(0.0, float(segment.start)), float(segment.end)
        if start < end:
            yield round(start, 4), round(end, 4), str(name)


def _prints(output: Any, whole: Any, label: dict[str, str]) -> dict[str, tuple[float, ...]]:  # noqa: ANN401
    embeddings = getattr(output, "speaker_embeddings", None)
    if embeddings is None:
        return {}
    made = {}
    for name, row in zip(whole.labels(), embeddings, strict=False):
        length = float(np.linalg.norm(row))
        if str(name) in label and np.isfinite(length) and length > 0:
            made[label[str(name)]] = tuple(float(value) for value in np.asarray(row) / length)
    return made


def _load(name: str, device: str, *, offline: bool) -> Any:  # noqa: ANN401
    if offline:
        # the hub library reads the variable once, when it is first imported
        os.environ["HF_HUB_OFFLINE"] = "1"
    pipeline_class = import_pipeline()
    import torch
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or offline
    hint = f"accept its conditions at https://huggingface.co/{name}, then `hf auth login`"
    try:
        pipeline = pipeline_class.from_pretrained(name)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise WeightsError(f"{name}: cannot be loaded: {_first_line(error)}", hint=hint) from error
    if pipeline is None:  # what pyannote.audio gives where access is refused
        raise WeightsError(f"{name}: no access to the pipeline", hint=hint)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline.to(torch.device(device))
    return pipeline


def import_pipeline() -> Any:  # noqa: ANN401
    """Import pyannote.audio's ``Pipeline`` without its telemetry.

    Raises
    ------
    DependencyError
        If it is missing or broken.
    """
    os.environ["PYANNOTE_METRICS_ENABLED"] = "false"
    hint = "pip install pyannote.audio, or use the default diarizer, which does without"
    try:
        ensure_importable()
        from pyannote.audio import Pipeline
    except (ImportError, OSError) as error:
        raise DependencyError(f"pyannote.audio: {_first_line(error)}", hint=hint) from error
    return Pipeline


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
