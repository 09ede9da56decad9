"""What can go wrong, each with what to do next and the exit code of the command line.

Library code raises these; only ``meetscribe.cli`` turns them into text. The message says place,
what was found and what was expected; the hint says the next step.
"""

from __future__ import annotations


class MeetscribeError(Exception):
    """Root of everything that meetscribe raises on purpose.

    Parameters
    ----------
    message : one line: place, what was found, what was expected
    hint : the next step for the person at the keyboard, "" if there is none
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(MeetscribeError):
    """An option, a YAML file or a combination of them makes no sense."""

    exit_code = 2


class NameNotFoundError(ConfigError):
    """A pipeline, model or format of that name does not exist."""


class AudioError(MeetscribeError):
    """A recording that cannot be read, is empty, or has the wrong channels."""

    exit_code = 3


class FormatError(MeetscribeError):
    """A transcript or annotation file that cannot be parsed; the message has path and line."""

    exit_code = 3


class ModelError(MeetscribeError):
    """A model that does not load or run."""

    exit_code = 4


class WeightsError(ModelError):
    """Weights that are missing, cannot be fetched, or have the wrong checksum."""


class DependencyError(ModelError):
    """A library that is missing or broken on this machine."""


class OutputError(MeetscribeError):
    """A result that cannot be written: permissions, disk full, or it would overwrite."""

    exit_code = 6


class ShapeError(MeetscribeError, ValueError):
    """A caller's mistake at a public function: an array of the wrong shape."""
