"""Corpora: AliMeeting, anyone's folder, and the manifest that all of them have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe import formats
from meetscribe.config import build
from meetscribe.errors import AudioError, ConfigError, FormatError, NameNotFoundError, OutputError
from meetscribe.evaluate.corpora import (
    Corpus,
    CorpusSession,
    load,
    prepare_alimeeting,
    prepare_ami,
    prepare_folder,
    save,
)
from meetscribe.evaluate.corpora import manifest as manifest_module
from meetscribe.evaluate.corpora.lists import CorpusLists, read_lists
from meetscribe.formats import rttm
from meetscribe.types import Transcript, Turn, Utterance
from tests.evaluate import builders
from tests.evaluate.builders import by_id, regions, segments, turns

# --- AliMeeting ----------------------------------------------------------------------------------


@pytest.fixture
def ali(tmp_path: Path) -> Path:
    return builders.write_alimeeting(tmp_path / "AliMeeting")


def test_alimeeting_references_are_the_intervals(ali: Path, tmp_path: Path) -> None:
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    assert corpus.reference == "TextGrid"
    assert turns(corpus, "R8001_M8004_MS801") == [
        (0.5, 1.5, "SPK8013"),
        (1.5, 2.5, "SPK8013"),  # intervals that touch stay two lines, as in the public RTTMs
        (2.25, 3.5, "SPK8014"),
        (6.0, 7.0, "SPK8013"),
    ]
    assert ("SPK8002", 0.75, 2.0, "用 PPT 讲") in segments(corpus, "R8002_M8002_MS802")
    assert by_id(corpus)["R8001_M8004_MS801"].language == "zh"


def test_alimeeting_conditions_and_splits(ali: Path, tmp_path: Path) -> None:
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    (session,) = corpus.select(split="test")
    names = {key: [Path(path).name for path in files] for key, files in session.audio.items()}
    assert names == {
        "far-ch1": ["R8002_M8002_MS802.wav"],
        "far": ["R8002_M8002_MS802.wav"],
        "near": [f"R8002_M8002_N_SPK800{n}.wav" for n in (1, 2, 3)],
    }
    assert session.channels == {"far-ch1": "0", "far": "array", "near": "per-speaker"}
    assert regions(corpus, session.session_id) == [(0.0, builders.ALI_SECONDS)]
    assert corpus.select(split="eval")[0].session_id == "R8001_M8004_MS801"


@pytest.mark.parametrize("root", ["AliMeeting/Eval_Ali", "AliMeeting/Eval_Ali/Eval_Ali_far"])
def test_alimeeting_root_may_be_one_archive(root: str, ali: Path, tmp_path: Path) -> None:
    assert ali.is_dir()
    corpus = prepare_alimeeting(tmp_path / root, tmp_path / "out")
    assert [session.session_id for session in corpus.sessions] == ["R8001_M8004_MS801"]
    assert corpus.select(split="eval")


def test_alimeeting_names_listed_sessions_that_are_missing(ali: Path, tmp_path: Path) -> None:
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    (test,) = [line for line in corpus.problems if line.startswith("test: ")]
    assert "19 of 20 sessions are missing" in test
    assert "R8009_M8028_MS812" in test
    assert not [line for line in corpus.problems if line.startswith("train")]


def test_alimeeting_broken_far_textgrid_falls_back_to_the_speakers_own(
    ali: Path, tmp_path: Path
) -> None:
    grid = ali / "Test_Ali/Test_Ali_far/textgrid_dir/R8002_M8002.TextGrid"
    whole = prepare_alimeeting(ali, tmp_path / "whole")
    builders.cut_off(grid)
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    assert turns(corpus, "R8002_M8002_MS802") == turns(whole, "R8002_M8002_MS802")
    assert any("R8002_M8002.TextGrid" in line for line in corpus.problems)
    assert "R8002_M8002_MS802: the reference is the speakers' own TextGrids" in corpus.notes


def test_alimeeting_session_without_reference_is_left_out(ali: Path, tmp_path: Path) -> None:
    (ali / "Test_Ali/Test_Ali_far/textgrid_dir/R8002_M8002.TextGrid").unlink()
    (ali / "Test_Ali/Test_Ali_near/textgrid_dir/R8002_M8002_N_SPK8003.TextGrid").unlink()
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    assert set(by_id(corpus)) == {"R8001_M8004_MS801"}
    (line,) = [line for line in corpus.problems if "left out" in line]
    assert "R8002_M8002_N_SPK8003.TextGrid is missing" in line


def test_alimeeting_headset_missing_leaves_out_near(ali: Path, tmp_path: Path) -> None:
    (ali / "Test_Ali/Test_Ali_near/audio_dir/R8002_M8002_N_SPK8003.wav").unlink()
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    assert "near" not in by_id(corpus)["R8002_M8002_MS802"].audio
    assert (
        "R8002_M8002_MS802: headset of SPK8003 missing or damaged, near is left out"
        in corpus.problems
    )


def test_alimeeting_damaged_far_recording_is_named(ali: Path, tmp_path: Path) -> None:
    builders.cut_off(ali / "Eval_Ali/Eval_Ali_far/audio_dir/R8001_M8004_MS801.wav")
    corpus = prepare_alimeeting(ali, tmp_path / "out")
    assert set(by_id(corpus)["R8001_M8004_MS801"].audio) == {"near"}
    assert any("R8001_M8004_MS801.wav: cut off" in line for line in corpus.problems)


def test_alimeeting_without_near_field(tmp_path: Path) -> None:
    root = builders.write_alimeeting(tmp_path / "far", near=False)
    corpus = prepare_alimeeting(root, tmp_path / "out")
    assert corpus.conditions == ("far-ch1", "far")
    assert not [line for line in corpus.problems if "near" in line]


def test_alimeeting_wrong_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="nothing of AliMeeting"):
        prepare_alimeeting(tmp_path, tmp_path / "out")


def test_alimeeting_lists_are_those_of_the_public_references(data: Path) -> None:
    lists = read_lists("alimeeting").splits_of("official")
    for split in ("eval", "test"):
        text = (data / "alimeeting" / f"alimeeting_{split}.uem").read_text().splitlines()
        assert sorted(lists[split]) == sorted(line.split()[0] for line in text)


def test_alimeeting_public_turns_survive_a_textgrid(data: Path, tmp_path: Path) -> None:
    """Metrics section 8.7: 20 sessions and 16,358 lines, by way of TextGrids made of them."""
    text = (data / "alimeeting" / "alimeeting_test.rttm").read_text()
    sessions = rttm.parse_sessions(text)
    grids = tmp_path / "Test_Ali" / "Test_Ali_far" / "textgrid_dir"
    grids.mkdir(parents=True)
    for session in sessions:
        tiers: dict[str, list[tuple[float, float, str]]] = {}
        for turn in session.turns:
            tiers.setdefault(f"N_SPK{turn.speaker}", []).append((turn.start, turn.end, "嗯"))
        path = grids / f"{session.session_id.rpartition('_')[0]}.TextGrid"
        path.write_text(builders.textgrid(tiers, session.duration), encoding="utf-8")
    corpus = prepare_alimeeting(tmp_path, tmp_path / "out")
    assert not corpus.problems
    assert [one.session_id for one in corpus.sessions] == [one.session_id for one in sessions]
    lines = 0
    for session in sessions:
        found = turns(corpus, session.session_id)
        lines += len(found)
        wanted = [(turn.start, turn.end, f"SPK{turn.speaker}") for turn in session.turns]
        assert sorted(found) == sorted(wanted)
    assert lines == 16_358


# --- anyone's folder -----------------------------------------------------------------------------

RTTM = "SPEAKER x 1 0.500 1.000 <NA> <NA> anna <NA> <NA>\n"
STM = "x 1 anna 0.5 1.5 hello there\n"


def seglst(**more: str) -> str:
    row = {"session_id": "x", "speaker": "anna", "start_time": 0.5, "end_time": 1.5}
    return json.dumps([{**row, "words": "hello there", **more}])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".rttm", RTTM),
        (".stm", STM),
        (".seglst.json", seglst()),
        (".json", seglst()),
        (".ctm", "x 1 0.5 0.5 hello\nx 1 1.0 0.5 there\n"),
        (".TextGrid", builders.textgrid({"anna": [(0.5, 1.5, "hello there")]}, 3)),
    ],
)
def test_folder_takes_every_reference_format(name: str, text: str, tmp_path: Path) -> None:
    builders.write_audio(tmp_path / "mine" / "meeting1.wav", 3.0)
    (tmp_path / "mine" / f"meeting1{name}").write_text(text)
    corpus = prepare_folder(tmp_path / "mine", tmp_path / "out")
    assert corpus.name == "mine"
    assert not corpus.problems
    (session,) = corpus.sessions
    assert session.session_id == "meeting1"
    assert session.channels == {"audio": "mono"}
    (turn,) = formats.parse_file(corpus.path(session.rttm)).turns
    assert (turn.start, turn.end) == (0.5, 1.5)
    if name == ".rttm":
        assert session.seglst == ""
    else:
        assert [row[3] for row in segments(corpus, "meeting1")] == ["hello there"]
    assert regions(corpus, "meeting1") == [(0.0, 3.0)]


def test_folder_takes_turns_from_rttm_and_words_from_the_other(tmp_path: Path) -> None:
    builders.write_audio(tmp_path / "mine" / "meeting1.wav", 3.0)
    (tmp_path / "mine" / "meeting1.rttm").write_text(RTTM.replace("1.000", "0.250"))
    (tmp_path / "mine" / "meeting1.stm").write_text(STM)
    corpus = prepare_folder(tmp_path / "mine", tmp_path / "out", language="en")
    assert turns(corpus, "meeting1") == [(0.5, 0.75, "anna")]
    assert segments(corpus, "meeting1") == [("anna", 0.5, 1.5, "hello there")]
    assert corpus.reference == "as given (rttm + stm)"
    assert corpus.sessions[0].language == "en"


def test_folder_a_session_and_folders_a_kind(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    builders.write_audio(mine / "standup" / "audio.flac", 3.0, 2)
    (mine / "standup" / "ref.rttm").write_text(RTTM)
    builders.write_audio(mine / "wav" / "review.wav", 3.0)
    (mine / "stm").mkdir()
    (mine / "stm" / "review.stm").write_text(STM)
    corpus = prepare_folder(mine, tmp_path / "out")
    assert [one.session_id for one in corpus.sessions] == ["review", "standup"]
    assert by_id(corpus)["standup"].channels == {"audio": "auto"}
    assert not corpus.problems


def test_folder_names_what_has_no_partner_and_what_is_broken(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("good", "alone", "broken", "cut"):
        builders.write_audio(mine / f"{name}.wav", 3.0)
    builders.cut_off(mine / "cut.wav")
    for name in ("good", "cut", "silent"):
        (mine / f"{name}.rttm").write_text(RTTM)
    (mine / "broken.rttm").write_text("SPEAKER x 1 soon 1.0 <NA> <NA> a <NA> <NA>\n")
    (mine / "settings.json").write_text("{}")
    corpus = prepare_folder(mine, tmp_path / "out")
    assert [one.session_id for one in corpus.sessions] == ["good"]
    assert len(corpus.problems) == 4
    joined = "\n".join(corpus.problems)
    assert "alone.wav: a recording without its reference; alone is left out" in joined
    assert "silent.rttm: a reference without its recording" in joined
    assert "broken.rttm:1: the start is 'soon'" in joined
    assert "cut.wav: cut off" in joined


def test_folder_with_two_recordings_of_a_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("a.wav", "a.flac", "b.wav"):
        builders.write_audio(mine / name, 3.0)
    for name in ("a", "b"):
        (mine / f"{name}.rttm").write_text(RTTM)
    corpus = prepare_folder(mine, tmp_path / "out")
    assert [one.session_id for one in corpus.sessions] == ["b"]
    assert "of the same session" in corpus.problems[0]


def test_folder_pseudo_words_are_not_scored(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    builders.write_audio(mine / "a" / "audio.wav", 3.0)
    (mine / "a" / "ref.seglst.json").write_text(seglst(words_status="PSEUDO (base)"))
    corpus = prepare_folder(mine, tmp_path / "out")
    assert corpus.sessions[0].seglst == ""
    assert turns(corpus, "a") == [(0.5, 1.5, "anna")]
    assert "a: the words are not scored, they are marked 'PSEUDO (base)'" in corpus.notes


def test_folder_uem_limits_what_is_scored(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    builders.write_audio(mine / "a.wav", 3.0)
    (mine / "a.rttm").write_text(RTTM)
    (mine / "a.uem").write_text("x 1 0.25 2.0\n")
    corpus = prepare_folder(mine, tmp_path / "out")
    assert regions(corpus, "a") == [(0.25, 2.0)]


def test_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no session with a recording and a reference"):
        prepare_folder(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="among the originals"):
        prepare_folder(tmp_path, tmp_path)


def test_folder_output_inside_is_not_read_again(tmp_path: Path) -> None:
    builders.write_audio(tmp_path / "a.wav", 3.0)
    (tmp_path / "a.rttm").write_text(RTTM)
    first = prepare_folder(tmp_path, tmp_path / "corpus", name="mine")
    assert prepare_folder(tmp_path, tmp_path / "corpus", name="mine") == first


@pytest.mark.parametrize("results", ["", "results/transcripts"])
def test_folder_does_not_take_what_meetscribe_heard_for_a_reference(
    results: str, tmp_path: Path
) -> None:
    """After `transcribe a.wav`, or `evaluate --corpus . -o results`, run a second time."""
    builders.write_audio(tmp_path / "a.wav", 3.0)
    (tmp_path / "a.stm").write_text(STM)
    first = prepare_folder(tmp_path, tmp_path / "results" / "corpus", name="mine")
    heard = Transcript(
        "a",
        (Utterance("Speaker 1", 0.0, 2.0, "hollow there"),),
        turns=(Turn(0.0, 2.0, "Speaker 1"),),
        duration=3.0,
        provenance={"meetscribe": "0.1"},
    )
    for kind in ("json", "rttm"):
        path = tmp_path / results / f"a.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(formats.render(heard, kind))
    for output in (tmp_path / "results" / "corpus", tmp_path / "other"):
        again = prepare_folder(tmp_path, output, name="mine")
        assert again.sessions[0].audio == first.sessions[0].audio
        assert not again.problems
        assert [row[3] for row in segments(again, "a")] == ["hello there"]
        assert turns(again, "a") == turns(first, "a")
        assert any("a.json" in note and "left out" in note for note in again.notes)


def test_folder_with_nothing_but_what_meetscribe_heard_says_so(tmp_path: Path) -> None:
    builders.write_audio(tmp_path / "a.wav", 3.0)
    said = (Utterance("Speaker 1", 0.0, 2.0, "hello"),)
    heard = Transcript("a", said, duration=3.0, provenance={"meetscribe": "0.1"})
    (tmp_path / "a.json").write_text(formats.render(heard, "json"))
    (note,) = prepare_folder(tmp_path, tmp_path / "out").notes
    assert "no reference unless somebody corrected it" in note


def test_folder_words_marked_manual_are_scored(tmp_path: Path) -> None:
    builders.write_audio(tmp_path / "a.wav", 3.0)
    (tmp_path / "a.seglst.json").write_text(seglst(words_status="manual"))
    assert prepare_folder(tmp_path, tmp_path / "out").sessions[0].seglst


def test_folder_of_the_real_clips(data: Path, tmp_path: Path) -> None:
    corpus = prepare_folder(data / "meetings", tmp_path / "out")
    assert len(corpus.sessions) == 10
    assert not corpus.problems
    without = [one.session_id for one in corpus.sessions if not one.seglst]
    assert without == ["alimeeting_R8009_M8028_857-866s"]
    clip = by_id(corpus)["ami_EN2002c_615-622s"]
    assert clip.duration == pytest.approx(6.72, abs=0.05)
    public = (data / "meetings" / clip.session_id / "ref.rttm").read_text()
    assert corpus.path(clip.rttm).read_text() == public


# --- manifest ------------------------------------------------------------------------------------


@pytest.fixture
def ami(tmp_path: Path) -> Path:
    builders.write_ami_annotations(tmp_path / "ami")
    builders.write_ami_audio(tmp_path / "ami" / "amicorpus")
    return tmp_path / "ami"


@pytest.fixture
def mine(tmp_path: Path) -> Corpus:
    for name in ("a", "b"):
        builders.write_audio(tmp_path / "originals" / f"{name}.wav", 3.0)
        (tmp_path / "originals" / f"{name}.rttm").write_text(RTTM)
    return prepare_folder(tmp_path / "originals", tmp_path / "corpora" / "mine", name="mine")


def test_manifest_comes_back_as_it_was(mine: Corpus, ami: Path, tmp_path: Path) -> None:
    assert load(mine.folder) == mine
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert corpus.problems
    assert load(corpus.folder) == corpus
    assert load(corpus.folder / "corpus.json") == corpus


_TEXT = st.text(max_size=8)
_MAPPINGS = st.dictionaries(_TEXT, _TEXT, max_size=3)
_SESSIONS = st.builds(
    CorpusSession,
    session_id=_TEXT,
    audio=st.dictionaries(_TEXT, st.lists(_TEXT, min_size=1, max_size=3).map(tuple), max_size=3),
    channels=_MAPPINGS,
    splits=_MAPPINGS,
    duration=st.none() | st.floats(0, 1e6),
    language=_TEXT,
    speakers=st.lists(_TEXT, max_size=3).map(tuple),
    rttm=_TEXT,
    seglst=_TEXT,
    uem=_TEXT,
)


@given(
    st.builds(
        Corpus,
        name=_TEXT,
        folder=st.just(Path("here")),
        reference=_TEXT,
        licence=_TEXT,
        default_partition=_TEXT,
        sessions=st.lists(_SESSIONS, max_size=3, unique_by=lambda one: one.session_id).map(tuple),
        problems=st.lists(_TEXT, max_size=2).map(tuple),
        notes=st.lists(_TEXT, max_size=2).map(tuple),
    )
)
def test_any_manifest_survives_json(corpus: Corpus) -> None:
    text = manifest_module.render(corpus)
    assert manifest_module.parse(text, Path("here/corpus.json")) == corpus


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("meetscribe.corpus/1", "meetscribe.corpus/9", "schema: found 'meetscribe.corpus/9'"),
        ('"licence"', '"license"', "unknown key 'license'"),
        ('"session_id": "b"', '"session_id": "a"', "two sessions are called 'a'"),
        ('"duration": 3.0', '"duration": "long"', r"sessions\[0\].duration: found a string"),
        ('"audio": {"audio": [', '"audio": {"audio": [1, ', "expected a list of files"),
        ('"problems"', '"problems', "not JSON"),
    ],
)
def test_manifest_that_does_not_fit_is_refused(old: str, new: str, said: str, mine: Corpus) -> None:
    path = mine.folder / "corpus.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(FormatError, match=said) as caught:
        load(mine.folder)
    assert str(path) in caught.value.message


def test_corpora_are_found_by_name(
    mine: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("mine").sessions == mine.sessions
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(NameNotFoundError, match="no prepared corpus"):
        load("mine")
    monkeypatch.setenv("MEETSCRIBE_CORPORA", str(tmp_path / "corpora"))
    assert load("mine") == mine
    with pytest.raises(NameNotFoundError) as caught:
        load("yours")
    assert caught.value.hint == "there are: mine"


def test_save_writes_what_load_reads(mine: Corpus) -> None:
    changed = replace(mine, licence="CC0")
    save(changed)
    assert load(mine.folder) == changed


def test_select_says_what_there_is(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")

    def ids(**part: str) -> list[str]:
        return [one.session_id for one in corpus.select(**part)]

    assert ids(split="test") == ["EN2002c", "ES2004a"]
    assert ids(split="train", condition="sdm") == ["ES2003a"]
    assert ids(split="dev", partition="full-corpus") == ["ES2003a"]
    assert ids(partition="scenario-only") == ["ES2003a", "ES2004a"]
    for part, hint in (
        ({"split": "eval"}, "there are: test, train"),
        ({"partition": "kaldi"}, "there are: full-corpus-asr, full-corpus, scenario-only"),
        ({"condition": "mic"}, "there are: ihm, ihm-mix, sdm, mdm"),
    ):
        with pytest.raises(ConfigError) as caught:
            corpus.select(**part)
        assert caught.value.hint == hint
    with pytest.raises(ConfigError, match="4 conditions"):
        corpus.only_condition(corpus.sessions)


def test_select_of_an_undivided_corpus(mine: Corpus) -> None:
    assert mine.select() == mine.sessions
    assert mine.select(condition="audio", partition="") == mine.sessions
    assert mine.only_condition(mine.sessions) == "audio"
    with pytest.raises(ConfigError, match="not divided"):
        mine.select(split="test")


def test_select_tells_that_a_split_has_no_audio(ami: Path, tmp_path: Path) -> None:
    audio = builders.write_ami_audio(tmp_path / "test", ["ES2004a"], ["Array1-01"])
    corpus = prepare_ami(audio, ami, tmp_path / "out")
    assert "test: no audio for sdm of 1: EN2002c" in corpus.problems
    with pytest.raises(ConfigError, match="none of the 1 sessions of train has audio"):
        corpus.select(split="train", condition="sdm")


def test_preparing_again_refreshes_and_takes_away_what_is_gone(
    mine: Corpus, tmp_path: Path
) -> None:
    (mine.folder / "rttm" / "mine-too.rttm").write_text("keep\n")
    (tmp_path / "originals" / "b.wav").unlink()
    (tmp_path / "originals" / "b.rttm").unlink()
    again = prepare_folder(tmp_path / "originals", mine.folder, name="mine")
    assert [one.session_id for one in again.sessions] == ["a"]
    assert sorted(path.name for path in (mine.folder / "rttm").iterdir()) == [
        "a.rttm",
        "mine-too.rttm",
    ]


def test_other_peoples_files_are_not_overwritten(mine: Corpus, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds the corpus 'mine', expected 'other'"):
        prepare_folder(tmp_path / "originals", mine.folder, name="other")
    foreign = tmp_path / "foreign" / "rttm" / "a.rttm"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("precious\n")
    with pytest.raises(OutputError, match="is there already"):
        prepare_folder(tmp_path / "originals", tmp_path / "foreign")
    assert foreign.read_text() == "precious\n"
    assert not (tmp_path / "foreign" / "corpus.json").exists()


def test_damaged_manifest_of_ours_is_written_anew(mine: Corpus, tmp_path: Path) -> None:
    builders.cut_off(mine.folder / "corpus.json")
    again = prepare_folder(tmp_path / "originals", mine.folder, name="mine")
    assert load(mine.folder) == again == mine


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"default_partition": "b"}, "no partition 'b'"),
        ({"partitions": {"a": {"dev": ["x"], "test": ["x"]}}}, "has x twice"),
        ({"partitions": {"a": {"dev": "x"}}}, "dev"),
    ],
)
def test_lists_that_contradict_themselves(change: dict[str, object], said: str) -> None:
    good = {"summary": "s", "default_partition": "a", "partitions": {"a": {"dev": ["IS1000ab"]}}}
    assert build(CorpusLists, good, where="x").splits_of("a") == {"dev": ("IS1000a", "IS1000b")}
    with pytest.raises(ConfigError, match=said):
        build(CorpusLists, {**good, **change}, where="x")
