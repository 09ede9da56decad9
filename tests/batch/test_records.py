"""What is known of recordings: remembered, found again, and not believed when it is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meetscribe import formats
from meetscribe.batch.plan import Request, is_done, make_plan
from meetscribe.batch.records import Record, Records, signature_of
from meetscribe.batch.start import prepare, state_folder
from meetscribe.batch.tasks import Outcome, Session, Verdict
from meetscribe.config import config_hash
from meetscribe.ingest import content_hash
from meetscribe.types import AudioFile, Recording, Transcript

Make = Callable[..., Path]


def finished(folder: Path, name: str, out: Path, records: Records, **changed: object) -> Session:
    """Let a recording be done: a transcript is there, and a record of it."""
    path = folder / f"{name}.wav"
    session = Session((str(path),), name, path.stat().st_size)
    digest = content_hash(Recording(name, (AudioFile(str(path), 1, 1, 1),)))
    outcome = Outcome(
        Verdict.DONE,
        signature=signature_of(session) or (),
        content_hash=digest,
        run_hash=config_hash(digest, {}),
    )
    records.put(Record(name, session.sources, replace(outcome, **changed), {}))
    transcript = out / f"{name}.json"
    transcript.parent.mkdir(parents=True, exist_ok=True)
    transcript.touch()
    return session


def request(out: Path, **changed: object) -> Request:
    return Request(**{"output": str(out), "formats": ("json",), "described": {}, **changed})


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(state_folder(str(tmp_path / "out")) / "records")


def test_record_is_found_again(records: Records) -> None:
    strange = "weiß\udce9"
    outcome = Outcome(Verdict.BAD, "no", "record it", warnings=("a",), signature=([1, 2, 3],))
    records.put(Record(strange, ("/x\udce9.wav",), outcome, {"max_lines": 1}, 3))
    again = Records(records.folder)
    assert again.get(strange) == records.get(strange) == again.fresh(strange)
    assert again.names == {("/x\udce9.wav",): strange}
    assert again.fresh("other") is None


@pytest.mark.parametrize("text", ["", "[]", '{"name": 1}', '{"name": "a", "sources": 1}', "\0"])
def test_damaged_record_is_found_out_again(
    recordings: Make, tmp_path: Path, records: Records, text: str
) -> None:
    folder = recordings("a.wav")
    finished(folder, "a", tmp_path / "out", records)
    next(records.folder.glob("*/*.json")).write_text(text)
    prepared = prepare([str(folder)], request(tmp_path / "out"))
    assert [session.name for session in prepared.plan.todo] == ["a"]


def test_any_change_of_a_file_is_seen(recordings: Make, tmp_path: Path, records: Records) -> None:
    folder = recordings("a.wav")
    out = tmp_path / "out"
    session = finished(folder, "a", out, records)
    assert make_plan([session], records, request(out)).todo == []
    assert is_done(session, records.get("a"), request(out))
    path = folder / "a.wav"
    content, stat = path.read_bytes(), path.stat()
    # a wrong clock: whatever the time is now, it is another one
    os.utime(path, (4e9, 4e9))
    assert make_plan([session], records, request(out)).todo == [session]
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert make_plan([session], records, request(out)).todo == []
    # the same size and time, other content, in place: only reading it tells
    path.write_bytes(content[::-1].replace(b"x", b"y"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert make_plan([session], records, request(out)).todo == []
    assert make_plan([session], records, request(out, verify=True)).todo == [session]
    path.unlink()
    assert make_plan([session], records, request(out)).todo == [session]


def test_without_records_a_transcript_tells_whose_it_is(recordings: Make, tmp_path: Path) -> None:
    folder, out = recordings("call.flac", "call.wav"), tmp_path / "out"
    out.mkdir()
    made = Transcript("call", (), (), provenance={"input": {"files": ["call.wav"]}})
    (out / "call.json").write_text(formats.render(made, "json"))
    prepared = prepare([str(folder)], request(out))
    called = {Path(one.sources[0]).name: one.name for one in prepared.sessions}
    assert called == {"call.wav": "call", "call.flac": "call.flac"}
    records = Records(state_folder(str(out)) / "records")
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    for session in prepared.sessions:
        outcome = Outcome(Verdict.BAD, "no", signature=signature_of(session) or ())
        records.put(Record(session.name, session.sources, outcome, {}))
    assert prepare([str(link)], request(out)).plan.todo == []
    shutil.rmtree(state_folder(str(out)))
    (out / "call.json").write_text("{")
    assert {one.name for one in prepare([str(folder)], request(out)).sessions} == {
        "call",
        "call.wav",
    }


def test_a_name_too_long_for_results_costs_no_other(recordings: Make, tmp_path: Path) -> None:
    folder = recordings("a.wav", f"{'x' * 251}.wav", f"{'x' * 250}.flac", f"{'x' * 250}.mp3")
    assert len(prepare([str(folder)], request(tmp_path / "out")).plan.todo) == 4


def test_failure_is_remembered_until_the_program_changes(
    recordings: Make, tmp_path: Path, records: Records
) -> None:
    folder = recordings("a.wav")
    session = finished(folder, "a", tmp_path / "out", records, verdict=Verdict.BAD)
    asked = request(tmp_path / "out")
    assert list(make_plan([session], records, asked).known) == ["a"]
    assert not is_done(session, records.get("a"), asked)
    assert make_plan([session], records, replace(asked, retry_failed=True)).todo == [session]
    record = records.get("a")
    assert record is not None
    records.put(replace(record, version="0.0.0"))
    assert make_plan([session], records, asked).todo == [session]


def test_of_two_thousand_finished_recordings_none_is_read(
    recordings: Make, tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    folder = recordings(*(f"{number % 9}/{number}.wav" for number in range(2000)))
    for number in range(2000):
        finished(folder, f"{number % 9}/{number}", tmp_path / "out", records)
    read = []
    monkeypatch.setattr("meetscribe.ingest.content_hash", lambda one: read.append(one.session_id))
    prepared = prepare([str(folder)], request(tmp_path / "out"))
    assert (len(prepared.plan.known), prepared.plan.todo, read) == (2000, [], [])
    prepare([str(folder)], request(tmp_path / "out", verify=True))
    assert len(read) == 2000


def test_record_that_cannot_be_kept_costs_only_time(recordings: Make, tmp_path: Path) -> None:
    folder = recordings("a.wav")
    (tmp_path / "file").touch()
    records = Records(tmp_path / "file" / "below")
    session = finished(folder, "a", tmp_path / "out", records)
    assert make_plan([session], records, request(tmp_path / "out")).todo == []


def test_state_of_results_behind_a_url_is_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETSCRIBE_CACHE", "/cache")
    assert state_folder("s3://bucket/out") == state_folder("s3://bucket/out/")
    assert state_folder("s3://bucket/out").is_relative_to("/cache/batch")
