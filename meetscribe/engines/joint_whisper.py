"""A small joint model: Whisper that was taught to write who said what and when."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from meetscribe.engines.joint_kinds import Answer, Clip, JointKind
from meetscribe.engines.joint_settings import JointSettings
from meetscribe.errors import ConfigError, ModelError
from meetscribe.models import fetch
from meetscribe.types import Progress

if TYPE_CHECKING:
    from meetscribe.joint.whisper.settings import WhisperJointSettings
    from meetscribe.joint.whisper.writing import Writer

_HEARS_S = 30.0
_FRAME_S = 0.02
"""Times are cut to frames: a group is shorter by that, so that none is one too long."""


class WhisperKind(JointKind):
    """The model, and the Whisper that it belongs to."""

    @cached_property
    def about(self) -> WhisperJointSettings:
        """What its config.json states.

        Raises
        ------
        ModelError, ConfigError
            If that is missing, or not understood.
        """
        from meetscribe.joint.whisper.checkpoint import read_settings

        return read_settings(self.folder)

    def check(self) -> None:
        """Refuse what is no whole model."""
        from meetscribe.joint.whisper.checkpoint import check

        check(self.folder)

    @property
    def parts(self) -> tuple[str, ...]:
        """Its Whisper, and the CAM++ that makes the voice frames."""
        from meetscribe.joint.whisper.settings import VOICE_MODEL

        voices = () if self.about.layout == "none" else (VOICE_MODEL,)
        return (self.about.base, *voices)

    @property
    def hears_places(self) -> bool:
        """As its settings say."""
        return self.about.spatial is not None

    def fetch(self, settings: JointSettings, progress: Progress) -> None:
        """Have both on disk, and see that Whisper knows the language."""
        from meetscribe.joint.whisper.checkpoint import whisper_folder

        whisper, *voices = self.parts
        folder = whisper_folder(whisper, offline=self.offline, progress=progress)
        for name in voices:
            fetch(name, offline=self.offline, progress=progress)
        language, tokenizer = settings.language, folder / "tokenizer.json"
        if language == "auto" or not tokenizer.is_file():
            return
        if f'"<|{language}|>"' not in tokenizer.read_text(encoding="utf-8"):
            raise ConfigError(
                f"language '{language}': the model {whisper} does not know it",
                hint="give an ISO 639-1 code such as en or zh, or auto",
            )

    def longest_s(self, settings: JointSettings) -> float:
        """Give Whisper's own limit, what the model was trained on, or what is set below that."""
        from meetscribe.joint.whisper.checkpoint import longest_trained_s

        trained_s = longest_trained_s(self.folder) or _HEARS_S
        longest = min(settings.groups.longest_s, trained_s, _HEARS_S - _FRAME_S)
        if longest < settings.groups.shortest_s:
            raise ModelError(f"joint: groups of {longest:g} s are too short")
        return longest

    def write(self, clips: Sequence[Clip], settings: JointSettings) -> list[Answer]:
        """Write about a batch of clips, in the language that was asked for or trained."""
        answers = self._writer.write(
            [clip.heard() for clip in clips],
            durations=[clip.duration for clip in clips],
            budgets=[clip.budget for clip in clips],
            constrained=settings.decoding.constrained,
            language=None if settings.language == "auto" else settings.language,
            max_speakers=settings.most_speakers,
        )
        return [Answer(one.parsed, len(one.tokens), one.full) for one in answers]

    @cached_property
    def _writer(self) -> Writer:
        from meetscribe.joint.whisper.checkpoint import load
        from meetscribe.joint.whisper.writing import Writer

        network = load(self.folder, offline=self.offline).for_decoding()
        # features are made in double precision, which mps has not
        device = "cpu" if self.device == "mps" else self.device
        return Writer(network.to(device))
