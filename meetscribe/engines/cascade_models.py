"""The models of the cascade: named, fetched before anything else, loaded once when needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetscribe.engines import stages
from meetscribe.engines.engine import ModelsBase
from meetscribe.engines.meeting_settings import OWN_DIARIZER, SEGMENTATION, VOICEPRINT
from meetscribe.engines.run import KeptParts, Run, under_one_name
from meetscribe.engines.settings import CascadeSettings
from meetscribe.errors import ConfigError
from meetscribe.models import describe_model, fetch, resolve_whisper
from meetscribe.recognize import RecognizedRegion
from meetscribe.types import AudioReader, Progress, Segment

if TYPE_CHECKING:
    from meetscribe.activity import Diarizer, PyannoteDiarizer
    from meetscribe.recognize import Recognizer

VAD = "silero-vad"
"""Tells the recogniser which stretches sound like speech; faster-whisper carries it."""


class CascadeModels(ModelsBase[CascadeSettings]):
    """Diarizer and recogniser, as the settings name them."""

    def __init__(
        self, settings: CascadeSettings, *, device: str, threads: int, offline: bool
    ) -> None:
        super().__init__(settings, device=device, threads=threads, offline=offline)
        self._diarizer: Diarizer | PyannoteDiarizer | None = None
        self._recognizer: Recognizer | None = None

    @property
    def own_diarizer(self) -> bool:
        """Whether the diarizer is this program's, which hears places beside voices."""
        return self.settings.diarizer == OWN_DIARIZER

    @property
    def of_activity(self) -> list[str]:
        """Names of the models that tell who speaks when."""
        own = [SEGMENTATION, VOICEPRINT]
        return own if self.own_diarizer else [self.settings.diarizer]

    def describe(self) -> dict[str, Any]:
        """Give the models by name with their hashes."""
        names = [*self.of_activity, self.settings.recognizer.model, VAD]
        return {name: describe_model(name) for name in names}

    def fetch(self, progress: Progress) -> None:
        """Have all models on disk; before the audio is decoded, so that a lack is said at once.

        Raises
        ------
        ModelError
            If a model cannot be had.
        ConfigError
            If the recogniser does not know the language that was asked for.
        """
        report = under_one_name(progress, "models")
        whisper = resolve_whisper(
            self.settings.recognizer.model, offline=self.offline, progress=report
        )
        self._check_language(whisper)
        if self.own_diarizer:
            for name in self.of_activity:
                fetch(name, offline=self.offline, progress=report)

    def _check_language(self, whisper: Path) -> None:
        # the recogniser would say so itself, but only after the whole recording was diarized
        language, tokenizer = self.settings.language, whisper / "tokenizer.json"
        if language == "auto" or not tokenizer.is_file():
            return
        if f'"<|{language}|>"' not in tokenizer.read_text(encoding="utf-8"):
            raise ConfigError(
                f"language '{language}': the model {self.settings.recognizer.model} "
                "does not know it",
                hint="give an ISO 639-1 code such as en or zh, or auto",
            )

    def diarizer(self) -> Diarizer | PyannoteDiarizer:
        """Give the diarizer, loaded once."""
        if self._diarizer is None:
            from meetscribe.activity import Diarizer, PyannoteDiarizer

            if self.own_diarizer:
                segmentation, voiceprint = self.of_activity
                self._diarizer = Diarizer(
                    self.settings.activity,
                    segmentation=fetch(segmentation, offline=self.offline),
                    voiceprint=fetch(voiceprint, offline=self.offline),
                    device=self.device,
                )
            else:
                self._diarizer = PyannoteDiarizer(
                    self.settings.diarizer, device=self.device, offline=self.offline
                )
        return self._diarizer

    def recognizer(self) -> Recognizer:
        """Give the recogniser, loaded once."""
        if self._recognizer is None:
            from meetscribe.recognize import Recognizer

            self._recognizer = Recognizer(
                self.settings.recognizer,
                model_dir=resolve_whisper(self.settings.recognizer.model, offline=self.offline),
                device=self.device,
                threads=self.threads,
            )
        return self._recognizer

    def word_parts(
        self, run: Run, stage: str, decided_by: tuple[object, ...]
    ) -> KeptParts[list[RecognizedRegion]]:
        """Keep words part by part; ``decided_by`` is all that decides them but the recogniser.

        Not by the batch size: after want of memory it is 1, and what was heard before counts.
        """
        recognizer = self.settings.recognizer.model_dump(exclude={"batch_size"})
        return run.parts(
            stage,
            (recognizer, *decided_by),
            pack=stages.regions_to_json,
            unpack=stages.regions_from_json,
        )

    def language(self, audio: AudioReader, regions: Sequence[Segment]) -> str:
        """Give the language asked for or heard; "" if what passed for activity is not speech."""
        if self.settings.language != "auto":
            return self.settings.language
        return self.recognizer().detect_language(audio, regions)[0]
