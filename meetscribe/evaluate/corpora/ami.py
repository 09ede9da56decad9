"""AMI: the official audio and manual annotations become sessions with references.

References are "only_words" (BUTSpeechFIT/AMI-diarization-setup): every word is speech, vocal
sounds are not; touching words of one speaker are one turn, and pauses are never bridged. The
utterances of the SegLST are the transcribers' segments, from the start of their first word to the
end of their last (a segment's own times include breath and laughter around the words, and word
times guessed from them would be off).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from meetscribe.errors import FormatError
from meetscribe.evaluate.corpora.ami_annotations import (
    Annotations,
    Item,
    Meeting,
    Segment,
    open_annotations,
    read_meetings,
    read_segments,
    read_words,
)
from meetscribe.evaluate.corpora.ami_audio import CHANNELS, Tracks, find_tracks, use_tracks
from meetscribe.evaluate.corpora.lists import CorpusLists, missing_audio, named, read_lists
from meetscribe.evaluate.corpora.manifest import Corpus
from meetscribe.evaluate.corpora.references import Findings, Prepared, prepared, publish
from meetscribe.types import Progress, Transcript, Turn, Utterance, no_progress

_NAME = "ami"
_LICENCE = "CC BY 4.0"
_PAST_END_S = 0.5


def prepare_ami(
    audio: Path | None, annotations: Path, output: Path, *, progress: Progress = no_progress
) -> Corpus:
    """Make recordings and references of the AMI Meeting Corpus.

    Parameters
    ----------
    audio : folder with the official files at any depth (``<meeting>.Array1-01.wav``,
        ``.Mix-Headset.wav``, ``.Headset-0.wav``); None makes references only
    annotations : ami_public_manual_1.6.2 as a zip or tar archive or a folder
    output : folder of the corpus; what an earlier run wrote there is refreshed
    progress : told of stages ``annotations`` and ``audio``

    Returns
    -------
    Corpus
        Conditions ihm, ihm-mix, sdm and mdm (Array1) as far as there is audio.

    Raises
    ------
    FormatError
        If the annotations cannot be read, or no meeting of theirs can.
    AudioError
        If the audio folder has no AMI recording.
    OutputError
        If the folder cannot be written or belongs to something else.
    """
    lists = read_lists(_NAME)
    findings = Findings()
    tracks: dict[str, Tracks] = {}
    if audio is None:
        findings.notes.append("no audio was given: references only")
    else:
        tracks = find_tracks(audio, findings.problems)
    with open_annotations(annotations) as opened:
        meetings = _meetings(opened, findings)
        references = _references(opened, meetings, findings, progress)
        version = opened.version
    if not references:
        raise FormatError(f"{annotations}: no meeting can be read; {findings.problems[0]}")
    for split, missing, whole in lists.missing(references):
        findings.problems.append(
            f"annotations of {len(missing)} of the {whole} meetings of {split} are missing: "
            f"{named(missing)}"
        )
    sessions = _sessions(references, meetings, tracks, lists, findings=findings, progress=progress)
    corpus = Corpus(
        name=_NAME,
        folder=output,
        reference=f"only_words-{version}" if version else "only_words",
        licence=_LICENCE,
        default_partition=lists.default_partition,
        sessions=tuple(one.session for one in sessions),
        problems=tuple(findings.problems),
        notes=tuple(findings.notes),
    )
    publish(corpus, sessions)
    return corpus


def _meetings(annotations: Annotations, findings: Findings) -> dict[str, Meeting]:
    try:
        return read_meetings(annotations)
    except FormatError as error:
        findings.problems.append(f"{error.message}; speakers are called by their letters")
        return {}


def _references(
    annotations: Annotations,
    meetings: Mapping[str, Meeting],
    findings: Findings,
    progress: Progress,
) -> dict[str, Transcript]:
    found = {}
    names = annotations.meetings
    for number, name in enumerate(names):
        progress("annotations", number / len(names))
        try:
            found[name] = _reference(annotations, name, meetings.get(name), findings)
        except FormatError as error:
            # a reference without one of its speakers would call right words wrong
            findings.problems.append(f"{error.message}; {name} is left out")
    progress("annotations", 1.0)
    return found


def _reference(
    annotations: Annotations, name: str, meeting: Meeting | None, findings: Findings
) -> Transcript:
    participants = meeting.participants if meeting else {}
    turns: list[Turn] = []
    utterances: list[Utterance] = []
    for agent in sorted({*annotations.agents(name), *participants}):
        items = read_words(annotations, name, agent)
        if not any(item.is_word for item in items.values()):
            continue
        if participants and agent not in participants:
            findings.problems.append(f"{name}.{agent}: not a speaker of meetings.xml")
        speaker, _ = participants.get(agent, (f"{name}.{agent}", None))
        turns += turns_of(items.values(), speaker)
        try:
            segments = read_segments(annotations, name, agent)
        except FormatError as error:
            findings.problems.append(f"{error.message}; utterances are cut at pauses instead")
            segments = []
        made, lost = utterances_of(items, segments, speaker)
        utterances += made
        if lost:
            findings.notes.append(
                f"{name}.{agent}: left out {lost} words that have no time and are in no segment"
            )
    return Transcript(name, tuple(utterances), turns=tuple(turns), language="en")


def turns_of(items: Iterable[Item], speaker: str) -> list[Turn]:
    """Give the only_words turns: words joined where they touch, pauses never bridged.

    Words whose time is missing or empty, punctuation and vocal sounds are no speech.

    Notes
    -----
    Equal to the public RTTMs of all dev and test meetings, line by line. Words of one speaker that
    overlap are one turn; the public ones of the train meetings keep four such pairs apart.
    """
    turns: list[Turn] = []
    spans = sorted(
        (item.start, item.end)
        for item in items
        if item.is_word and item.start is not None and item.end is not None
    )
    for start, end in spans:
        if turns and start <= turns[-1].end:
            turns[-1] = replace(turns[-1], end=max(end, turns[-1].end))
        else:
            turns.append(Turn(start, end, speaker))
    return turns


def utterances_of(
    items: Mapping[str, Item], segments: Sequence[Segment], speaker: str
) -> tuple[list[Utterance], int]:
    """Give the utterances of a speaker, and how many words are in none.

    Segments without words (laughter, coughs) give no utterance; one whose words have no times
    has the transcriber's. Words with times that no segment has are utterances by themselves, cut
    at pauses; without times either, they are left out and counted.
    """
    places = {key: place for place, key in enumerate(items)}
    order = list(items.values())
    free = [True] * len(order)
    made: list[Utterance] = []
    for segment in segments:
        first, last = places.get(segment.first, 0), places.get(segment.last, -1)
        inside = [place for place in range(first, last + 1) if free[place]]
        for place in inside:
            free[place] = False
        made += _utterance([order[place] for place in inside], speaker, segment)
    left = [item for item, is_free in zip(order, free, strict=True) if is_free]
    timed = [item for item in left if item.is_punctuation or item.start is not None]
    for run in _cut_at_pauses(timed):
        made += _utterance(run, speaker)
    return made, sum(item.is_word and item.start is None for item in left)


def _utterance(
    items: Sequence[Item], speaker: str, segment: Segment | None = None
) -> list[Utterance]:
    words = [item for item in items if item.is_word]
    starts = [word.start for word in words if word.start is not None]
    ends = [word.end for word in words if word.end is not None]
    if not words or not (starts or segment):
        return []
    if not starts and segment:
        starts, ends = [segment.start], [max(segment.start, segment.end)]
    return [Utterance(speaker, min(starts), max(ends), spelled(items))]


def spelled(items: Iterable[Item]) -> str:
    """Write words with spaces between them and punctuation attached to the word before it.

    >>> spelled([Item("Okay", 0, 1), Item(",", is_punctuation=True), Item("so", 1, 2)])
    'Okay, so'
    """
    line = ""
    for item in items:
        if item.is_word:
            line += f" {item.text}" if line else item.text
        elif item.is_punctuation and line:
            line += item.text
    return line


def _cut_at_pauses(items: Sequence[Item]) -> list[list[Item]]:
    runs: list[list[Item]] = []
    reached = -1.0
    for item in items:
        if item.is_punctuation:
            if runs:
                runs[-1].append(item)
            continue
        start, end = item.start or 0.0, item.end or 0.0
        if start > reached or not runs:
            runs.append([])
        runs[-1].append(item)
        reached = end
    return runs


def _sessions(
    references: Mapping[str, Transcript],
    meetings: Mapping[str, Meeting],
    tracks: Mapping[str, Tracks],
    lists: CorpusLists,
    *,
    findings: Findings,
    progress: Progress,
) -> list[Prepared]:
    places = lists.places()
    sessions = []
    guessed = []
    for number, (name, reference) in enumerate(references.items()):
        if tracks:
            progress("audio", number / len(references))
        meeting = meetings.get(name)
        worn = [headset for _, headset in meeting.participants.values()] if meeting else []
        audio, length = use_tracks(name, tracks.get(name, {}), worn, findings.problems)
        last = max((turn.end for turn in reference.turns), default=0.0)
        if length is None:
            guessed.append(name)
            length = max(last, (meeting and meeting.duration) or 0.0)
        elif last > length + _PAST_END_S:
            findings.problems.append(
                f"{name}: the audio ends at {length:.1f} s, the last word at {last:.1f} s"
            )
        sessions.append(
            prepared(
                replace(reference, duration=length),
                audio=audio,
                channels={condition: CHANNELS[condition] for condition in audio},
                splits=places.get(name, {}),
            )
        )
    if tracks:
        progress("audio", 1.0)
        findings.problems += missing_audio([one.session for one in sessions], lists)
    if guessed:
        findings.notes.append(
            f"without audio the UEM of {len(guessed)} meetings is the length that meetings.xml "
            "states, which is some seconds off, in places two minutes"
        )
    return sessions
