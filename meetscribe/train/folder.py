"""The files of a simulated meeting: whole or not there, and never taken for another's."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from meetscribe import formats
from meetscribe.errors import FormatError, OutputError
from meetscribe.files import write_atomic
from meetscribe.formats import uem
from meetscribe.formats.reading import read_text
from meetscribe.formats.tokens import column
from meetscribe.train.settings import SimulationSettings
from meetscribe.types import Transcript

_IMAGES = ".images"
_TEXTS = {
    "rttm": formats.suffix("rttm"),
    "seglst": formats.suffix("seglst"),
    "uem": ".uem",
    # the last to be moved: it says that a meeting is finished
    "scene": ".scene.json",
}


class MeetingFiles:
    """The files of a meeting: made in a hidden folder beside, moved when all of them are whole.

    While that folder is there, an earlier run was cut off, and whatever has the meeting's name
    is what it left.
    """

    def __init__(self, output: Path, session_id: str, settings: SimulationSettings) -> None:
        self.output = output
        self.session_id = session_id
        self._suffix = f".{settings.audio_format}"
        self._images = settings.images
        self._unfinished = output / f".{session_id}.part"
        self._moving = False

    @property
    def audio(self) -> Path:
        """Where the mixture is when the meeting is finished."""
        return self._path(self._suffix)

    def _path(self, ending: str) -> Path:
        return self.output / f"{self.session_id}{ending}"

    def _wanted(self) -> list[Path]:
        sound = [self._suffix, _IMAGES] if self._images else [self._suffix]
        return [self._path(ending) for ending in (*sound, *_TEXTS.values())]

    def _there(self) -> list[Path]:
        """Give what is there, of any settings: a second run must not leave half of a first."""
        endings = (".flac", ".wav", _IMAGES, *_TEXTS.values())
        return [path for ending in endings if (path := self._path(ending)).exists()]

    def finished(self, made_from: dict[str, str]) -> dict[str, Any] | None:
        """Give the scene of a meeting that was made of the same, None if there is none."""
        if self._unfinished.exists() or not all(path.exists() for path in self._wanted()):
            return None
        with contextlib.suppress(json.JSONDecodeError, FormatError):
            scene = json.loads(read_text(self._path(_TEXTS["scene"])))
            if isinstance(scene, dict) and made_from.items() <= scene.items():
                return scene
        return None

    def prepare(self, *, force: bool) -> None:
        """Make the hidden folder.

        Raises
        ------
        OutputError
            If files stand in the way and may not be replaced, or nothing can be written.
        """
        there = self._there()
        if there and not force and not self._unfinished.exists():
            raise OutputError(
                f"{there[0]} is there already, and not made from this table with these settings",
                hint="replace it with --force, or choose another folder with -o",
            )
        try:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
        except OSError as error:
            raise OutputError(
                f"{self.output}: cannot be written: {error.strerror or error}",
                hint="choose another folder with -o",
            ) from error

    def sound(self, speakers: tuple[str, ...]) -> list[Path]:
        """Give where the mixture and the images are written."""
        folder = self._unfinished / f"{self.session_id}.images"
        if speakers:
            folder.mkdir()
        names = [re.sub(r"[/\\\0]", "_", column(speaker)) for speaker in speakers]
        images = [
            folder / f"{name}{f'-{row}' if names.count(name) > 1 else ''}{self._suffix}"
            for row, name in enumerate(names)
        ]
        return [self._unfinished / self.audio.name, *images]

    def finish(self, transcript: Transcript, report: dict[str, Any]) -> None:
        """Write the texts, and move everything to where it belongs; raises OSError."""
        texts = {
            "rttm": formats.render(transcript, "rttm"),
            "seglst": formats.render(transcript, "seglst"),
            "uem": uem.render({self.session_id: [(0.0, transcript.duration)]}),
            "scene": _json(report),
        }
        places = {name: self._unfinished / self._path(_TEXTS[name]).name for name in texts}
        write_atomic({places[name]: text for name, text in texts.items()})
        self._moving = True
        for path in self._there():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in self._wanted():
            (self._unfinished / path.name).replace(path)
        self._unfinished.rmdir()

    def abandon(self) -> None:
        """Take the hidden folder away, unless some of the files have left it already."""
        if not self._moving:
            shutil.rmtree(self._unfinished, ignore_errors=True)


def _json(report: dict[str, Any]) -> str:
    """Write a key a line, and of lists of objects an object a line."""

    def value(item: Any) -> str:  # noqa: ANN401 - JSON of any shape
        if isinstance(item, list) and item and isinstance(item[0], dict):
            return "[\n  " + ",\n  ".join(map(value, item)) + "\n ]"
        return json.dumps(item, ensure_ascii=False)

    lines = (f" {json.dumps(key)}: {value(item)}" for key, item in report.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
