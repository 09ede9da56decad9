"""Names for a whole batch: from what its records hold, in one order, without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meetscribe import formats
from meetscribe.batch.names import name_speakers
from meetscribe.batch.plan import Request, make_plan
from meetscribe.batch.records import Record, signature_of
from meetscribe.batch.run import Limits
from meetscribe.batch.start import Prepared, prepare
from meetscribe.batch.summary import Summary, row_of, to_csv, to_json, to_markdown
from meetscribe.batch.tasks import Outcome, Session, Verdict
from meetscribe.config import config_hash
from meetscribe.errors import OutputError
from meetscribe.formats import RenderOptions
from meetscribe.pipeline.outputs import SessionFiles, read_transcript, write_formats
from meetscribe.speakers.naming import Known
from meetscribe.speakers.voices import Voice
from tests.speakers.builders import person, transcript, voice

FORMATS = ("json", "txt", "srt", "rttm")

Voices = dict[str, Voice]


class Folder:
    """A batch whose recordings were transcribed: files, transcripts, records."""

    def __init__(self, place: Path) -> None:
        self.source, self.out = place / "in", place / "out"
        self.said: list[str] = []
        self.failed: OutputError | None = None
        self.request = Request(str(self.out), FORMATS, {}, voices=True)

    def add(self, name: str, voices: Voices | None) -> None:
        path = self.source / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        session = Session((str(path),), name)
        made = transcript(session.session_id, *(voices or {"Speaker 1": None}))
        files = SessionFiles(Path(self.request.folder_of(session)), session.session_id)
        write_formats(made, files, FORMATS, RenderOptions())
        kept = None if voices is None else {label: one.to_json() for label, one in voices.items()}
        outcome = Outcome(
            Verdict.DONE,
            signature=signature_of(session) or (),
            run_hash=config_hash("", {}),
            voices=kept,
        )
        self.prepared().records.put(Record(name, session.sources, outcome, {}))

    def prepared(self) -> Prepared:
        self.source.mkdir(parents=True, exist_ok=True)
        if not any(self.source.rglob("*.wav")):
            (self.source / "none.wav").touch()
        return prepare([str(self.source)], self.request)

    def name(self, *people: object, link: bool = True) -> Summary:
        prepared = self.prepared()
        rows = tuple(
            row_of(session, prepared.records.get(session.name), attempts=0)
            for session in prepared.sessions
        )
        summary, self.failed = name_speakers(
            prepared, Summary(rows), Known(people), link=link, say=self.said.append
        )
        return summary

    def names(self, name: str) -> dict[str, str]:
        made = read_transcript(self.out / f"{name}.json")
        return {label: made.name_of(label) for label in made.speakers}

    def state(self) -> dict[str, tuple[int, int, bytes]]:
        return {
            str(path.relative_to(self.out)): (
                path.stat().st_ino,
                path.stat().st_mtime_ns,
                path.read_bytes(),
            )
            for path in sorted(self.out.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Folder]:
    def make(place: str = "batch") -> Folder:
        return Folder(tmp_path / place)

    return make


WEEK: dict[str, Voices] = {
    "week 1/monday": {"Speaker 1": voice(0), "Speaker 2": voice(1)},
    "week 1/tuesday": {"Speaker 1": voice(1, change=1), "Speaker 2": voice(2)},
    "week 2/monday": {"Speaker 1": voice(2, change=1), "Speaker 2": voice(0, change=1)},
}


def test_one_name_through_the_series_in_every_file(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    summary = batch.name()
    assert batch.names("week 1/monday") == {"Speaker 1": "Voice 1", "Speaker 2": "Voice 2"}
    assert batch.names("week 1/tuesday") == {"Speaker 1": "Voice 2", "Speaker 2": "Voice 3"}
    assert batch.names("week 2/monday") == {"Speaker 1": "Voice 3", "Speaker 2": "Voice 1"}
    for end in ("txt", "srt", "rttm"):
        text = (batch.out / f"week 2/monday.{end}").read_text(encoding="utf-8")
        assert "Voice" in text
        assert "Speaker 1" not in text.replace("Speaker_1", "Speaker 1")
    made = json.loads((batch.out / "week 2/monday.json").read_text())
    assert made["provenance"]["speakers"]["Speaker 2"]["score"] == pytest.approx(0.81, abs=0.03)
    rows = {row.recording: row.names for row in summary.rows}
    assert rows["week 2/monday"][1].startswith("Speaker 2 is Voice 1 (0.8")
    assert "Voice 1" in to_csv(summary)
    assert "## Speakers" in to_markdown(summary)
    assert json.loads(to_json(summary))["recordings"][0]["names"]


def test_voices_in_records_are_for_this_user_only(folder: Callable[..., Folder]) -> None:
    batch = folder()
    batch.add("heard", {"Speaker 1": voice(0)})
    batch.add("unheard", None)
    modes = {path.stat().st_mode & 0o077 for path in batch.out.glob(".meetscribe/records/*/*.json")}
    assert 0 in modes
    assert len(modes) == 2


def test_a_second_time_nothing_is_written(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    first = batch.name()
    before = batch.state()
    assert batch.name().rows == first.rows
    assert batch.state() == before
    plan = make_plan(batch.prepared().sessions, batch.prepared().records, batch.request)
    assert plan.todo == []


def test_the_order_of_finishing_decides_nothing(folder: Callable[..., Folder]) -> None:
    made = []
    for place, order in (("one", list(WEEK)), ("other", list(reversed(WEEK)))):
        batch = folder(place)
        for name in order:
            batch.add(name, WEEK[name])
            batch.name()
        made.append({name: state[2] for name, state in batch.state().items() if name[0] != "."})
    assert made[0] == made[1]


def test_one_more_recording_links_all_again(folder: Callable[..., Folder]) -> None:
    batch, whole = folder(), folder("whole")
    for name, voices in WEEK.items():
        batch.add(name, voices)
    batch.name()
    batch.add("week 0", {"Speaker 1": voice(2, change=5), "Speaker 2": voice(7)})
    batch.name()
    assert batch.names("week 0") == {"Speaker 1": "Voice 1", "Speaker 2": "Voice 2"}
    assert batch.names("week 2/monday") == {"Speaker 1": "Voice 1", "Speaker 2": "Voice 3"}
    for name, voices in {
        **WEEK,
        "week 0": {"Speaker 1": voice(2, change=5), "Speaker 2": voice(7)},
    }.items():
        whole.add(name, voices)
    whole.name()
    for name in (*WEEK, "week 0"):
        for end in FORMATS:
            one, other = (place.out / f"{name}.{end}" for place in (batch, whole))
            assert one.read_bytes() == other.read_bytes()


def test_enrolled_people_are_named_and_strangers_are_not(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    batch.name(person("Anna", 1), link=False)
    assert batch.names("week 1/monday") == {"Speaker 1": "Speaker 1", "Speaker 2": "Anna"}
    batch.name(person("Anna", 1), person("Ben", 0), link=True)
    assert batch.names("week 1/monday") == {"Speaker 1": "Ben", "Speaker 2": "Anna"}
    assert batch.names("week 1/tuesday") == {"Speaker 1": "Anna", "Speaker 2": "Voice 1"}


def test_what_people_wrote_stays(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    batch.name()
    path = batch.out / "week 1" / "monday.json"
    corrected = read_transcript(path).renamed({"Speaker 1": "Hanna"})
    path.write_text(formats.render(corrected, "json"), encoding="utf-8")
    notes = batch.out / "week 1" / "tuesday.txt"
    notes.write_text("my own notes")
    batch.name(person("Anna", 1))
    assert batch.names("week 1/monday") == {"Speaker 1": "Hanna", "Speaker 2": "Anna"}
    assert notes.read_text() == "my own notes"
    assert any("tuesday.txt was edited" in line for line in batch.said)


def test_a_damaged_transcript_costs_no_other(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    (batch.out / "week 1" / "monday.json").write_text("{")
    (batch.out / "week 1" / "tuesday.json").unlink()
    batch.name()
    assert batch.names("week 2/monday") == {"Speaker 1": "Voice 3", "Speaker 2": "Voice 1"}
    assert len(batch.said) == 2


def test_results_that_cannot_be_written_cost_no_other(folder: Callable[..., Folder]) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    path = batch.out / "week 1" / "monday.srt"
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    summary = batch.name()
    assert batch.failed is not None
    assert "monday.srt" in batch.failed.message
    assert batch.names("week 2/monday") == {"Speaker 1": "Voice 3", "Speaker 2": "Voice 1"}
    assert {row.recording for row in summary.rows if row.names} == {*WEEK} - {"week 1/monday"}
    path.rmdir()
    path.write_bytes(content)
    batch.name()
    assert batch.failed is None
    assert batch.names("week 1/monday") == {"Speaker 1": "Voice 1", "Speaker 2": "Voice 2"}


def test_a_network_that_fails_is_said_and_costs_no_other(
    folder: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = folder()
    for name, voices in WEEK.items():
        batch.add(name, voices)
    out, fetched = batch.out, []

    def fails_once(place: str, path: Path) -> None:
        fetched.append(place)
        if len(fetched) == 1:
            raise ConnectionResetError("reset by peer")
        there = out / place.removeprefix("s3://texts/")
        if there.exists():
            path.write_bytes(there.read_bytes())

    monkeypatch.setattr("meetscribe.batch.remote.download_if_there", fails_once)
    monkeypatch.setattr("meetscribe.batch.remote.upload", lambda *_: None)
    prepared = replace(batch.prepared(), request=replace(batch.request, output="s3://texts/"))
    _, failed = name_speakers(prepared, Summary(()), Known(), link=True, say=batch.said.append)
    assert failed is not None
    assert "reset by peer" in failed.message
    named = {name for name in WEEK if getattr(prepared.records.get(name), "named", None)}
    assert named == {*WEEK} - {"week 1/monday"}
    assert not [place for place in fetched if "//" in place.removeprefix("s3://")]


def test_a_folder_is_the_same_with_a_slash_at_its_end() -> None:
    session, below = Session(("a.wav",), "a"), Session(("b.wav",), "sub/b")
    for output, folder in (("s3://texts/2026", "s3://texts/2026"), ("out", "out"), ("/", "")):
        for spelt in {output, f"{output.rstrip('/')}/"}:
            request = Request(spelt, FORMATS, {})
            assert request.folder_of(session) == (folder or "/")
            assert request.folder_of(below) == f"{folder}/sub"


def test_done_without_voices_is_to_be_heard(folder: Callable[..., Folder]) -> None:
    batch = folder()
    batch.add("old", None)
    batch.add("new", {})
    plan = make_plan(batch.prepared().sessions, batch.prepared().records, batch.request)
    assert [session.name for session in plan.todo] == ["old"]
    batch.name()
    assert batch.names("old") == {"Speaker 1": "Speaker 1"}


def test_a_run_that_does_not_ask_keeps_the_voices(folder: Callable[..., Folder]) -> None:
    batch = folder()
    batch.add("monday", {"Speaker 1": voice(0)})
    prepared = batch.prepared()
    pool = prepared.batch(None, None, Limits())  # type: ignore[arg-type]
    before = prepared.records.get("monday")
    assert before is not None
    later = replace(before.outcome, voices=None)
    assert pool._with_voices("monday", later).voices == before.outcome.voices
    other = replace(later, run_hash="other")
    assert pool._with_voices("monday", other).voices is None
