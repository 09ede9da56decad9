"""The recordings of AMI: which files there are, and which condition they belong to."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from meetscribe.errors import AudioError
from meetscribe.evaluate.corpora.references import check_recording, files_below

CHANNELS: Mapping[str, str] = {
    "ihm": "per-speaker",
    "ihm-mix": "mono",
    "sdm": "mono",
    "mdm": "array",
}
"""Condition -> what its channels are."""

Tracks = dict[str, Path]
"""The recordings of a meeting by the name of the microphone: ``Array1-01``, ``Headset-0`` ..."""

_FILE = re.compile(
    r"([A-Z]{2}\d{4}[a-z]?)\.(Mix-Headset|Headset-\d|Array1-0[1-8])\.(?:wav|flac)", re.IGNORECASE
)
_MIX, _SDM = "Mix-Headset", "Array1-01"
_ARRAY_SIZE = 8


def find_tracks(folder: Path, problems: list[str]) -> dict[str, Tracks]:
    """Find the recordings below a folder, by meeting.

    Raises
    ------
    AudioError
        If there is no such folder, or no recording of AMI in it.
    """
    found: dict[str, Tracks] = {}
    for path in files_below(folder):
        name = _FILE.fullmatch(path.name)
        if name is None:
            continue
        # the site writes ES2004a; copies of it on other disks may have lost the capitals
        meeting = name[1][:2].upper() + name[1][2:].lower()
        first = found.setdefault(meeting, {}).setdefault(name[2].title(), path)
        if first != path:
            problems.append(f"{path}: there is also {first}, which is taken")
    if not found:
        raise AudioError(
            f"{folder}: no recording of AMI, expected names such as ES2004a.Array1-01.wav",
            hint="check --audio; leave it out to make references only",
        )
    return found


def use_tracks(
    meeting: str, tracks: Tracks, worn: Collection[int | None], problems: list[str]
) -> tuple[dict[str, tuple[Path, ...]], float | None]:
    """Sort the recordings of a meeting into conditions; damaged ones are named and left out.

    An array lacking microphones is used as it is, for every one of them hears everybody. Headsets
    are not used when one that a speaker wore is missing: its speaker would be scored as lost.

    Returns
    -------
    audio : condition -> files in the order of channels
    length : seconds of the recording, None without audio
    """
    lengths: dict[str, float] = {}
    for track, path in sorted(tracks.items()):
        try:
            lengths[track] = check_recording(path).duration
        except AudioError as error:
            problems.append(error.message)
    array = [track for track in lengths if track.startswith("Array1-")]
    headsets = [track for track in lengths if track.startswith("Headset-")]
    wanted = {
        "ihm": headsets if _has_all(meeting, headsets, worn, problems) else [],
        "ihm-mix": [_MIX] if _MIX in lengths else [],
        "sdm": [_SDM] if _SDM in lengths else [],
        "mdm": array if len(array) > 1 else [],
    }
    if 1 < len(array) < _ARRAY_SIZE:
        lacking = [f"{n:02}" for n in range(1, _ARRAY_SIZE + 1) if f"Array1-{n:02}" not in array]
        problems.append(
            f"{meeting}: mdm has {len(array)} of {_ARRAY_SIZE} channels, "
            f"Array1-{', '.join(lacking)} missing"
        )
    audio = {
        condition: tuple(tracks[track] for track in names)
        for condition, names in wanted.items()
        if names
    }
    return audio, _length(lengths)


def _has_all(
    meeting: str, headsets: Sequence[str], worn: Collection[int | None], problems: list[str]
) -> bool:
    lacking = [f"Headset-{n}" for n in worn if n is not None and f"Headset-{n}" not in headsets]
    if headsets and lacking:
        problems.append(
            f"{meeting}: {', '.join(sorted(lacking))} missing or damaged, ihm is left out"
        )
    return not lacking


def _length(lengths: Mapping[str, float]) -> float | None:
    """Give the length of the mixed recording, as the public UEMs have it, or the nearest to it."""
    for track in (_MIX, _SDM):
        if track in lengths:
            return lengths[track]
    return max(lengths.values(), default=None)
