"""A miniature AMI and a miniature AliMeeting in the official layouts, with audio.

The audio is coded: channel c of every recording is the constant (c + 1) / 100 with a little
noise, so that a wrong channel is a wrong number. Tests that need voices give ``speech``, which
every channel then holds; the references stay as they are.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from meetscribe import formats
from meetscribe.evaluate.corpora import Corpus, CorpusSession
from meetscribe.formats import uem

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
Words = Sequence[tuple[str, float | None, float | None]]
"""Text, start and end; text such as "." is punctuation, "<laugh>" a vocal sound."""

_XMLNS = 'xmlns:nite="http://nite.sourceforge.net/"'

AMI_WORDS: Mapping[str, Mapping[str, Sequence[Words]]] = {
    # meeting -> participant -> segments -> words
    "ES2004a": {
        "A": [
            [("Okay", 0.5, 0.9), (",", 0.9, 0.9), ("let&#39;s", 0.9, 1.2), ("start", 1.3, 1.6)],
            [("<laugh>", 2.0, 2.4)],
            [("<laugh>", 4.0, 4.2), ("Right", 4.2, 4.6), (".", 4.6, 4.6)],
        ],
        "B": [[("caf\xe9", 1.4, 2.0), ("au", 2.0, 2.2), ("lait", 2.2, 2.5), ("?", 2.5, 2.5)]],
        "C": [[("Mm-hmm", 3.0, 3.3), (".", 3.3, 3.3)]],
        "D": [[("So", 5.0, 5.2), ("so", 5.2, 5.4), ("well", None, None)]],
    },
    "EN2002c": {
        "A": [[("Who", 0.2, 0.4), ("is", 0.4, 0.5), ("it", 0.5, 0.7), ("?", 0.7, 0.7)]],
        "B": [[("Me", 1.0, 1.4), (".", 1.4, 1.4)]],
        "C": [[("No", 1.2, 1.6), (".", 1.6, 1.6)]],
        "D": [],  # as in the corpus: a words file without a speaker
    },
    "ES2003a": {
        "A": [[("One", 0.5, 0.8)]],
        "B": [[("Two", 1.0, 1.3)]],
        "C": [[("Three", 1.5, 1.8)]],
        "D": [[("Four", 2.0, 2.3)]],
    },
}
_PEOPLE = ("FEE013", "MEO015", "MEE014", "FEE016")
AMI_SECONDS = 6.0


def write_audio(
    path: Path,
    seconds: float = AMI_SECONDS,
    channels: int = 1,
    seed: int = 0,
    speech: NDArray[np.float32] | None = None,
) -> Path:
    """Write coded noise, or ``speech`` of shape (N,) at 16 kHz in every channel."""
    if speech is None:
        rng = np.random.default_rng(seed)
        samples_nc = 0.003 * rng.standard_normal((round(seconds * RATE_HZ), channels))
        samples_nc += (np.arange(channels) + 1) / 100
    else:
        samples_nc = np.repeat(speech[:, None], channels, axis=1).astype(float)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples_nc.astype(np.float32), RATE_HZ, subtype="PCM_16")
    return path


def cut_off(path: Path, share: float = 0.5) -> Path:
    """Leave only a part of a file, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def write_ami_annotations(
    folder: Path, meetings: Mapping[str, Mapping[str, Sequence[Words]]] = AMI_WORDS
) -> Path:
    """Write words, segments and meetings.xml below ``folder/ami_public_manual_1.6.2``."""
    top = folder / "ami_public_manual_1.6.2"
    for part in ("words", "segments", "corpusResources"):
        (top / part).mkdir(parents=True, exist_ok=True)
    entries = []
    for meeting, agents in meetings.items():
        # as in the corpus, headsets of EN2002c are 1 to 3
        first = 1 if meeting == "EN2002c" else 0
        speakers = []
        for number, (agent, segments) in enumerate(agents.items()):
            words, spans = _words_xml(meeting, agent, segments)
            # the real ones are ISO-8859-1 and say so
            (top / "words" / f"{meeting}.{agent}.words.xml").write_bytes(words.encode("latin-1"))
            (top / "segments" / f"{meeting}.{agent}.segments.xml").write_text(spans)
            if segments:
                speakers.append(
                    f'<speaker nite:id="{meeting}_{number}" channel="{number + first}" '
                    f'nxt_agent="{agent}" global_name="{_PEOPLE[number]}"/>'
                )
        entries.append(
            f'<meeting observation="{meeting}" duration="7">{"".join(speakers)}</meeting>'
        )
    (top / "corpusResources" / "meetings.xml").write_text(
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<nite:root {_XMLNS}>{"".join(entries)}'
        "</nite:root>\n"
    )
    return top


def _words_xml(meeting: str, agent: str, segments: Sequence[Words]) -> tuple[str, str]:
    words, spans, number = [], [], 0
    stem = f"{meeting}.{agent}"
    for place, segment in enumerate(segments):
        first = number
        for text, start, end in segment:
            times = "" if start is None else f' starttime="{start}" endtime="{end}"'
            key = f'nite:id="{stem}.words{number}"{times}'
            if text.startswith("<"):
                words.append(f'<vocalsound {key} type="{text[1:-1]}"/>')
            else:
                punctuation = "" if text[0].isalpha() else ' punc="true"'
                words.append(f"<w {key}{punctuation}>{text}</w>")
            number += 1
        spans.append(
            f'<segment nite:id="{stem}.{place}" channel="0" transcriber_start="{place}" '
            f'transcriber_end="{place + 9}"><nite:child href="{stem}.words.xml'
            f'#id({stem}.words{first})..id({stem}.words{number - 1})"/></segment>'
        )
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<nite:root {_XMLNS}>\n'
        + "\n".join(words)
        + "\n</nite:root>\n",
        f'<?xml version="1.0" encoding="UTF-8"?>\n<nite:root {_XMLNS}>\n'
        + "\n".join(spans)
        + "\n</nite:root>\n",
    )


def write_ami_audio(
    folder: Path,
    meetings: Sequence[str] = tuple(AMI_WORDS),
    tracks: Sequence[str] = (
        *(f"Headset-{n}" for n in range(4)),
        "Mix-Headset",
        *(f"Array1-{n:02}" for n in range(1, 9)),
    ),
    speech: NDArray[np.float32] | None = None,
) -> Path:
    """Write the recordings of meetings as the corpus's site lays them out."""
    for meeting in meetings:
        for number, track in enumerate(tracks):
            path = folder / meeting / "audio" / f"{meeting}.{track}.wav"
            write_audio(path, seed=number, speech=speech)
    return folder


def zipped(folder: Path, archive: Path, *, with_top: bool = True) -> Path:
    """Put a folder into a zip or tar.gz archive."""
    base = folder.parent if with_top else folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for path in files:
                made.write(path, str(path.relative_to(base)))
    else:
        with tarfile.open(archive, "w:gz") as made_tar:
            for path in files:
                made_tar.add(path, str(path.relative_to(base)))
    return archive


ALI_SECONDS = 8.0
ALI: Mapping[str, Mapping[str, Mapping[str, Sequence[tuple[float, float, str]]]]] = {
    # split -> far recording -> speaker -> intervals with text
    "Eval": {
        "R8001_M8004_MS801": {
            "N_SPK8013": [(0.5, 1.5, "大家好"), (1.5, 2.5, "我们开始"), (6.0, 7.0, "好的")],
            "N_SPK8014": [(2.25, 3.5, "嗯行")],
        },
    },
    "Test": {
        "R8002_M8002_MS802": {
            "N_SPK8001": [(0.25, 1.0, "第一个")],
            "N_SPK8002": [(0.75, 2.0, "用 PPT 讲"), (4.0, 4.5, "对")],
            "N_SPK8003": [(3.0, 3.5, "嗯")],
        },
    },
}


def textgrid(tiers: Mapping[str, Sequence[tuple[float, float, str]]], seconds: float) -> str:
    """Write a TextGrid whose pauses are empty intervals."""
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {seconds}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        filled: list[tuple[float, float, str]] = []
        for start, end, text in (*intervals, (seconds, seconds, "")):
            reached = filled[-1][1] if filled else 0.0
            if start > reached:
                filled.append((reached, start, ""))
            if text:
                filled.append((start, end, text))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {seconds}",
            f"        intervals: size = {len(filled)}",
        ]
        for place, (start, end, text) in enumerate(filled, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start}",
                f"            xmax = {end}",
                f'            text = "{text}"',
            ]
    return "\n".join(lines) + "\n"


def write_alimeeting(
    root: Path, *, near: bool = True, speech: NDArray[np.float32] | None = None
) -> Path:
    """Write far and near recordings with their TextGrids as the official archives unpack."""
    for split, sessions in ALI.items():
        for session, speakers in sessions.items():
            meeting = session.rpartition("_")[0]
            far = root / f"{split}_Ali" / f"{split}_Ali_far"
            write_audio(far / "audio_dir" / f"{session}.wav", ALI_SECONDS, 8, speech=speech)
            grids = far / "textgrid_dir"
            grids.mkdir(parents=True, exist_ok=True)
            (grids / f"{meeting}.TextGrid").write_text(
                textgrid(speakers, ALI_SECONDS), encoding="utf-8"
            )
            if near:
                close = root / f"{split}_Ali" / f"{split}_Ali_near"
                (close / "textgrid_dir").mkdir(parents=True, exist_ok=True)
                for seed, (speaker, intervals) in enumerate(speakers.items()):
                    stem = f"{meeting}_{speaker}"
                    path = close / "audio_dir" / f"{stem}.wav"
                    write_audio(path, ALI_SECONDS, seed=seed, speech=speech)
                    (close / "textgrid_dir" / f"{stem}.TextGrid").write_text(
                        textgrid({speaker: intervals}, ALI_SECONDS), encoding="utf-8"
                    )
    return root


def by_id(corpus: Corpus) -> dict[str, CorpusSession]:
    """Give the sessions of a corpus by name."""
    return {session.session_id: session for session in corpus.sessions}


def turns(corpus: Corpus, session: str) -> list[tuple[float, float, str]]:
    """Read the RTTM of a session."""
    found = formats.parse_file(corpus.path(by_id(corpus)[session].rttm)).turns
    return [(turn.start, turn.end, turn.speaker) for turn in found]


def segments(corpus: Corpus, session: str) -> list[tuple[str, float, float, str]]:
    """Read the SegLST of a session."""
    rows = json.loads(corpus.path(by_id(corpus)[session].seglst).read_text(encoding="utf-8"))
    assert {row["session_id"] for row in rows} == {session}
    return [(row["speaker"], row["start_time"], row["end_time"], row["words"]) for row in rows]


def regions(corpus: Corpus, session: str) -> list[tuple[float, float]]:
    """Read the UEM of a session."""
    path = corpus.path(by_id(corpus)[session].uem)
    return uem.parse(path.read_text())[session]
