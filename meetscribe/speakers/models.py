"""The two models that voices are taken with, loaded when they are first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meetscribe.activity.settings import DiarizationSettings
from meetscribe.engines.device import check_present, torch_device
from meetscribe.engines.meeting_settings import SEGMENTATION, VOICEPRINT
from meetscribe.models import describe_model, fetch
from meetscribe.types import Progress, no_progress

if TYPE_CHECKING:
    from meetscribe.activity import Diarizer
    from meetscribe.activity.voiceprint import Voiceprinter


class VoiceModels:
    """Says where in a recording of one person he speaks, and how he sounds.

    Parameters
    ----------
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``
    offline : never open a socket
    """

    def __init__(self, *, device: str = "auto", offline: bool = False) -> None:
        self._device = device
        self._offline = offline
        self._diarizer: Diarizer | None = None
        self._voiceprinter: Voiceprinter | None = None

    @staticmethod
    def describe() -> dict[str, object]:
        """Give the models by name with their hashes."""
        return {name: describe_model(name) for name in (SEGMENTATION, VOICEPRINT)}

    def voiceprinter(self, progress: Progress = no_progress) -> Voiceprinter:
        """Give CAM++.

        Raises
        ------
        ModelError
            If it cannot be had.
        ConfigError
            If the device that was asked for is not there.
        """
        if self._voiceprinter is None:
            from meetscribe.activity import voiceprint

            check_present(self._device)
            device = torch_device(self._device)
            if device == "cpu":
                import torch

                # as the diarizer: the last bits must not depend on who was here first
                torch.set_num_threads(1)
            folder = fetch(VOICEPRINT, offline=self._offline, progress=progress)
            self._voiceprinter = voiceprint.load(folder, device)
        return self._voiceprinter

    def diarizer(self, progress: Progress = no_progress) -> Diarizer:
        """Give the diarizer, which finds the speech in a recording of one person.

        Raises
        ------
        ModelError
            If its models cannot be had.
        ConfigError
            If the device that was asked for is not there.
        """
        if self._diarizer is None:
            from meetscribe.activity import Diarizer

            check_present(self._device)
            self._diarizer = Diarizer(
                DiarizationSettings(),
                segmentation=fetch(SEGMENTATION, offline=self._offline, progress=progress),
                voiceprint=fetch(VOICEPRINT, offline=self._offline, progress=progress),
                device=torch_device(self._device),
            )
        return self._diarizer
