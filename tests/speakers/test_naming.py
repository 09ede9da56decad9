"""Names into transcripts: nothing else changes, and what people wrote stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from meetscribe import formats
from meetscribe.formats import transcript_json
from meetscribe.speakers.matching import Match
from meetscribe.speakers.naming import Known, matches_in, named
from meetscribe.speakers.store import SpeakerStore
from tests.speakers.builders import person, transcript, voice

ANNA = {"Speaker 1": Match("Anna", 0.7), "Speaker 2": Match("", 0.2, "Anna")}


def test_only_names_change_and_the_score_is_told() -> None:
    before = transcript("monday", "Speaker 1", "Speaker 2")
    after = named(before, ANNA)
    assert (after.utterances, after.turns, after.warnings) == (
        before.utterances,
        before.turns,
        before.warnings,
    )
    assert after.name_of("Speaker 1") == "Anna"
    assert after.name_of("Speaker 2") == "Speaker 2"
    assert matches_in(after) == ANNA
    assert named(after, ANNA) == after
    read = transcript_json.parse(formats.render(after, "json"))
    assert matches_in(read) == ANNA
    assert named(read, ANNA) == read


def test_without_matches_nothing_is_left_of_them() -> None:
    before = transcript("monday", "Speaker 1", "Speaker 2")
    assert named(named(before, ANNA), {}) == before
    other = named(named(before, ANNA), {"Speaker 1": Match("Voice 3", 0.6)})
    assert other.name_of("Speaker 1") == "Voice 3"


def test_what_a_person_wrote_stays() -> None:
    before = named(transcript("monday", "Speaker 1", "Speaker 2"), ANNA)
    corrected = before.renamed({"Speaker 1": "Hanna"})
    assert named(corrected, ANNA).name_of("Speaker 1") == "Hanna"
    taken_back = before.renamed({"Speaker 1": ""})
    assert named(taken_back, ANNA).names == {}


def test_damaged_provenance_names_nobody() -> None:
    before = transcript("monday", "Speaker 1")
    for made in ("text", [1], {"Speaker 1": 3}):
        odd = replace(before, provenance={"speakers": made})
        assert matches_in(odd) == {}


def test_two_voices_of_a_recording_that_were_merged_are_one_person(tmp_path: Path) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    meeting = {"Speaker 1": voice(0), "Speaker 2": voice(1)}
    Known(store=store, remember=True).link([meeting])
    store.merge("Voice 1", ["Voice 2"])
    strangers = [{"Speaker 1": voice(2)}, {"Speaker 1": voice(3)}]
    found = Known(store=store, remember=True).link([meeting, *strangers])
    names = [{label: one.name for label, one in matches.items()} for matches in found]
    assert names[0] == {"Speaker 1": "Voice 1", "Speaker 2": "Voice 1"}
    assert names[1] != names[2]
    assert "Voice 1" not in {*names[1].values(), *names[2].values()}
    made = named(transcript("monday", "Speaker 1", "Speaker 2"), found[0])
    assert {made.name_of(label) for label in made.speakers} == {"Voice 1"}


def test_who_was_remembered_meanwhile_is_known(tmp_path: Path) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    first, second = (Known(store=store, remember=True) for _ in range(2))
    ((one,),) = (matches.values() for matches in first.link([{"Speaker 1": voice(0)}]))
    ((other,),) = (matches.values() for matches in second.link([{"Speaker 1": voice(0, change=1)}]))
    assert one.name == other.name
    assert len(store.people()) == 1


def test_remembered_voices_are_the_same_in_later_runs(tmp_path: Path) -> None:
    store = SpeakerStore(tmp_path / "speakers.sqlite")
    first = [{"Speaker 1": voice(0), "Speaker 2": voice(1)}, {"Speaker 1": voice(1, change=1)}]
    found = Known(store=store, remember=True).link(first)
    assert Known(store=store, remember=True).link(first) == found
    later = Known(store=store).match({"Speaker 1": voice(1, change=2), "Speaker 2": voice(9)})
    assert later["Speaker 1"].name == "Voice 2"
    assert later["Speaker 2"].name == ""
    assert [one.name for one in store.people()] == ["Voice 1", "Voice 2"]
    assert Known([person("Anna", 1)], store).match({"Speaker 1": voice(9)})["Speaker 1"].nearest


def test_two_runs_at_once_never_give_two_people_one_name(tmp_path: Path) -> None:
    path = tmp_path / "speakers.sqlite"
    one = Known(store=SpeakerStore(path), remember=True)
    other = Known(store=SpeakerStore(path), remember=True)
    assert one.match({"Speaker 1": voice(0)})["Speaker 1"].name == "Voice 1"
    # the other one has not seen that
    assert other.match({"Speaker 1": voice(1)})["Speaker 1"].name == "Voice 2"
    assert [len(kept.voices) for kept in SpeakerStore(path).people()] == [1, 1]
