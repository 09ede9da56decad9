"""The manual annotations of AMI as they are distributed: an archive of NXT's XML files.

Only what the references are made of is read: ``words/*.words.xml`` (what each participant said,
with times), ``segments/*.segments.xml`` (which words are one utterance) and
``corpusResources/meetings.xml`` (who the participants are). Carletta 2007,
doi:10.1007/s10579-007-9040-x; NXT's format: Carletta et al. 2003.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath
from xml.etree import ElementTree as ET

from meetscribe.errors import FormatError
from meetscribe.evaluate.corpora.references import files_below
from meetscribe.formats.reading import seconds

MEETINGS = "meetings.xml"
_WORDS, _SEGMENTS = ".words.xml", ".segments.xml"
_WANTED = re.compile(r"meetings\.xml|[A-Z]{2}\d{4}[a-z]?\.[A-Z]\.(?:words|segments)\.xml")
_VERSION = re.compile(r"manual_(\d+(?:\.\d+)+)")
_ID = "{http://nite.sourceforge.net/}id"
_RANGE = re.compile(r"#id\(([^)]+)\)(?:\.\.id\(([^)]+)\))?$")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError)
"""What the archive readers raise; RuntimeError is a zip with a password."""


@dataclass(frozen=True)
class Annotations:
    """The files of an annotation set by name, each read when it is asked for."""

    source: str
    version: str
    """Such as 1.6.2, "" if neither the archive nor a folder in it says so."""
    files: Mapping[str, Callable[[], bytes]]

    @property
    def meetings(self) -> list[str]:
        """Give the meetings that have words files, sorted."""
        return sorted({name.split(".")[0] for name in self.files if name.endswith(_WORDS)})

    def agents(self, meeting: str) -> list[str]:
        """Give the letters of the participants who have a words file, sorted."""
        own = (name for name in self.files if name.startswith(f"{meeting}."))
        return sorted(name.split(".")[1] for name in own if name.endswith(_WORDS))

    def xml(self, name: str) -> ET.Element:
        """Read and parse a file.

        Raises
        ------
        FormatError
            If it is missing, damaged or not XML.
        """
        if name not in self.files:
            raise FormatError(f"{name}: missing in {self.source}")
        try:
            # the parser of the standard library resolves no external entities, and its expat
            # stops at entities that grow
            return ET.fromstring(self.files[name]())  # noqa: S314
        except ET.ParseError as error:
            raise FormatError(f"{name}:{error.position[0]}: broken XML: {error}") from error
        except _DAMAGED as error:
            raise FormatError(f"{name}: damaged in {self.source}: {error}") from error


@dataclass(frozen=True, slots=True)
class Item:
    """An element of a words file: a word, punctuation, or a sound that is neither.

    Times are None where the file has none, or where the end does not come after the start.
    """

    text: str = ""
    start: float | None = None
    end: float | None = None
    is_punctuation: bool = False

    @property
    def is_word(self) -> bool:
        """Tell whether this is a word that somebody said."""
        return bool(self.text) and not self.is_punctuation


@dataclass(frozen=True, slots=True)
class Segment:
    """An utterance as the transcriber cut it: the ids of its first and last element, its times."""

    first: str
    last: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Meeting:
    """What meetings.xml says: participants by letter as (name, headset), and the length."""

    participants: Mapping[str, tuple[str, int | None]]
    duration: float | None


@contextmanager
def open_annotations(path: Path) -> Iterator[Annotations]:
    """Open an annotation set: a folder, a zip or a tar archive, with or without a top folder.

    Raises
    ------
    FormatError
        If it is none of these, is damaged, has no words files, or has a file twice.
    """
    with ExitStack() as stack:
        try:
            contents = _contents(path, stack)
        except _DAMAGED as error:
            # tarfile tells on further lines what it tried
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise FormatError(
                f"{path}: not a readable zip or tar archive: {reason.rstrip(':')}",
                hint="download it again; expected is ami_public_manual_1.6.2.zip, or its folder",
            ) from error
        yield _annotations(contents, path)


_Content = tuple[str, Callable[[], bytes]]


def _contents(path: Path, stack: ExitStack) -> list[_Content]:
    if path.is_dir():
        return [(str(file), file.read_bytes) for file in files_below(path)]
    if not path.is_file():
        raise FormatError(f"{path}: no such file or folder", hint="check the path")
    if zipfile.is_zipfile(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        return [(name, partial(archive.read, name)) for name in archive.namelist()]
    contents: list[_Content] = []
    # a compressed tar cannot be read out of order: what is wanted of it comes into memory, 120 MB
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if _is_wanted(member.name) else None
            if file is not None:
                contents.append((member.name, BytesIO(file.read()).getvalue))
    return contents


def _is_wanted(name: str) -> bool:
    return _WANTED.fullmatch(PurePosixPath(name).name) is not None


def _annotations(contents: list[_Content], path: Path) -> Annotations:
    files: dict[str, Callable[[], bytes]] = {}
    places: dict[str, str] = {}
    for place, read in contents:
        name = PurePath(place).name
        if not _is_wanted(name):
            continue
        if name in files:
            raise FormatError(
                f"{path}: {name} is there twice: {places[name]} and {place}",
                hint="give one set of annotations",
            )
        files[name], places[name] = read, place
    found = Annotations(str(path), _version(path, places.values()), files)
    if not found.meetings:
        raise FormatError(
            f"{path}: no words of AMI in it, expected words/ES2004a.A.words.xml and others",
            hint="expected is ami_public_manual_1.6.2.zip, or its folder",
        )
    return found


def _version(path: Path, places: Iterable[str]) -> str:
    stated = (_VERSION.search(text) for text in (*places, str(path)))
    return next((match[1] for match in stated if match), "")


def read_meetings(annotations: Annotations) -> dict[str, Meeting]:
    """Read who took part in which meeting.

    Raises
    ------
    FormatError
        If meetings.xml is missing, broken, or an element lacks an attribute.
    """
    found = {}
    for element in annotations.xml(MEETINGS).iter("meeting"):
        length = element.get("duration")
        found[_attribute(element, "observation")] = Meeting(
            participants={
                _attribute(one, "nxt_agent"): (
                    _attribute(one, "global_name"),
                    int(one.get("channel", "")) if one.get("channel", "").isdecimal() else None,
                )
                for one in element.iter("speaker")
            },
            duration=seconds(length, MEETINGS, "a duration") if length else None,
        )
    return found


def _attribute(element: ET.Element, name: str) -> str:
    value = element.get(name)
    if not value:
        raise FormatError(f"{MEETINGS}: a {element.tag} without {name}")
    return value


def read_words(annotations: Annotations, meeting: str, agent: str) -> dict[str, Item]:
    """Read everything in a words file in its order, by id.

    Raises
    ------
    FormatError
        If the file is missing or broken, or a time makes no sense.
    """
    name = f"{meeting}.{agent}{_WORDS}"
    items: dict[str, Item] = {}
    for number, element in enumerate(annotations.xml(name)):
        key = element.get(_ID, f"element {number}")
        if key in items:
            raise FormatError(f"{name}: two elements have the id {key}")
        items[key] = _item(element, f"{name}: {key}")
    return items


def _item(element: ET.Element, where: str) -> Item:
    text = " ".join((element.text or "").split()) if element.tag == "w" else ""
    if not text:
        return Item()
    start, end = (
        seconds(value, where, f"the {name}") if (value := element.get(name)) else None
        for name in ("starttime", "endtime")
    )
    if start is None or end is None or end <= start:
        start = end = None
    return Item(text, start, end, is_punctuation=element.get("punc") == "true")


def read_segments(annotations: Annotations, meeting: str, agent: str) -> list[Segment]:
    """Read the utterances of a segments file, in its order.

    Raises
    ------
    FormatError
        If the file is missing or broken, or a segment does not say which words it has.
    """
    name = f"{meeting}.{agent}{_SEGMENTS}"
    segments = []
    for element in annotations.xml(name).iter("segment"):
        where = f"{name}: {element.get(_ID, 'a segment')}"
        times = [element.get(f"transcriber_{side}", "") for side in ("start", "end")]
        start, end = (seconds(time, where, "a time") for time in times)
        for child in element:
            ids = _RANGE.search(child.get("href", ""))
            if ids is None:
                raise FormatError(f"{where}: '{child.get('href', '')}' names no words")
            segments.append(Segment(ids[1], ids[2] or ids[1], start, end))
    return segments
