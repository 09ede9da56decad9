"""AMI: the official layout becomes sessions with references; what is amiss is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe import formats
from meetscribe.errors import AudioError, ConfigError, FormatError
from meetscribe.evaluate.corpora import prepare_ami
from meetscribe.evaluate.corpora.ami import turns_of, utterances_of
from meetscribe.evaluate.corpora.ami_annotations import (
    Annotations,
    Item,
    Segment,
    open_annotations,
    read_meetings,
    read_words,
)
from meetscribe.evaluate.corpora.lists import read_lists
from meetscribe.types import Turn
from tests.evaluate import builders
from tests.evaluate.builders import by_id, regions, segments, turns


@pytest.fixture(scope="module")
def ami_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ami")
    builders.write_ami_annotations(folder)
    builders.write_ami_audio(folder / "amicorpus")
    return folder


@pytest.fixture
def ami(ami_files: Path, tmp_path: Path) -> Path:
    """Give a copy that a test may damage."""
    return Path(shutil.copytree(ami_files, tmp_path / "ami"))


def test_ami_turns_are_words_only_and_bridge_no_pause(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert corpus.reference == "only_words-1.6.2"
    assert turns(corpus, "ES2004a") == [
        (0.5, 1.2, "FEE013"),  # Okay , let's: they touch
        (1.3, 1.6, "FEE013"),  # 0.1 s of pause stays a pause
        (1.4, 2.5, "MEO015"),
        (3.0, 3.3, "MEE014"),
        (4.2, 4.6, "FEE013"),  # laughter before it is no speech
        (5.0, 5.4, "FEE016"),
    ]


def test_ami_utterances_have_punctuation_and_the_times_of_their_words(
    ami: Path, tmp_path: Path
) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert segments(corpus, "ES2004a") == [
        ("FEE013", 0.5, 1.6, "Okay, let's start"),
        ("MEO015", 1.4, 2.5, "café au lait?"),
        ("MEE014", 3.0, 3.3, "Mm-hmm."),
        ("FEE013", 4.2, 4.6, "Right."),
        ("FEE016", 5.0, 5.4, "So so well"),  # a word without time is a word
    ]


def test_ami_conditions_have_their_files_in_order(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    session = by_id(corpus)["ES2004a"]
    names = {key: [Path(path).name for path in files] for key, files in session.audio.items()}
    assert names == {
        "ihm": [f"ES2004a.Headset-{n}.wav" for n in range(4)],
        "ihm-mix": ["ES2004a.Mix-Headset.wav"],
        "sdm": ["ES2004a.Array1-01.wav"],
        "mdm": [f"ES2004a.Array1-{n:02}.wav" for n in range(1, 9)],
    }
    assert session.channels == {
        "ihm": "per-speaker",
        "ihm-mix": "mono",
        "sdm": "mono",
        "mdm": "array",
    }
    assert all(Path(path).is_file() for files in session.audio.values() for path in files)
    assert session.duration == builders.AMI_SECONDS
    assert regions(corpus, "ES2004a") == [(0.0, builders.AMI_SECONDS)]
    assert session.speakers == ("FEE013", "FEE016", "MEE014", "MEO015")


@pytest.mark.parametrize("layout", ["official", "flat", "deep"])
def test_ami_audio_is_found_at_any_depth(layout: str, ami: Path, tmp_path: Path) -> None:
    audio = tmp_path / "audio" / ("one/two/three" if layout == "deep" else "")
    audio.mkdir(parents=True)
    for path in (ami / "amicorpus").rglob("*.wav"):
        place = path.relative_to(ami / "amicorpus") if layout == "official" else Path(path.name)
        (audio / place).parent.mkdir(parents=True, exist_ok=True)
        path.rename(audio / place)
    corpus = prepare_ami(tmp_path / "audio", ami, tmp_path / "out")
    assert len(by_id(corpus)["ES2004a"].audio["mdm"]) == 8


@pytest.mark.parametrize("with_top", [True, False])
@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ""])
def test_ami_annotations_come_in_any_packing(
    ending: str, with_top: bool, ami: Path, tmp_path: Path
) -> None:
    top = ami / "ami_public_manual_1.6.2"
    source = ami if with_top else top
    if ending:
        source = builders.zipped(
            top, tmp_path / f"ami_public_manual_1.6.2{ending}", with_top=with_top
        )
    corpus = prepare_ami(None, source, tmp_path / "out")
    assert [session.session_id for session in corpus.sessions] == ["EN2002c", "ES2003a", "ES2004a"]
    assert corpus.reference == "only_words-1.6.2"
    assert len(turns(corpus, "ES2004a")) == 6


def test_ami_without_audio_makes_references_and_says_so(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(None, ami, tmp_path / "out")
    assert not any(session.audio for session in corpus.sessions)
    assert "no audio was given: references only" in corpus.notes
    assert any("the length that meetings.xml states" in note for note in corpus.notes)
    assert regions(corpus, "ES2004a") == [(0.0, 7.0)]
    with pytest.raises(ConfigError, match="no condition 'sdm'"):
        corpus.select(condition="sdm")


def test_ami_agent_without_words_is_no_speaker(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert len(by_id(corpus)["EN2002c"].speakers) == 3
    assert not [line for line in corpus.problems if "EN2002c.D" in line]


def test_ami_names_meetings_of_a_split_that_are_missing(ami: Path, tmp_path: Path) -> None:
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    (line,) = [line for line in corpus.problems if " of test are missing" in line]
    assert "14 of the 16 meetings" in line
    assert "ES2004b" in line
    assert not [line for line in corpus.problems if " of dev are missing" in line]


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [_remove, builders.cut_off])
def test_ami_array_goes_on_without_a_microphone(
    damage: Callable[[Path], object], ami: Path, tmp_path: Path
) -> None:
    damage(ami / "amicorpus/ES2004a/audio/ES2004a.Array1-03.wav")
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    files = [Path(path).name for path in by_id(corpus)["ES2004a"].audio["mdm"]]
    assert files == [f"ES2004a.Array1-{n:02}.wav" for n in (1, 2, 4, 5, 6, 7, 8)]
    assert "ES2004a: mdm has 7 of 8 channels, Array1-03 missing" in corpus.problems
    if damage is builders.cut_off:
        assert any("ES2004a.Array1-03.wav: cut off" in line for line in corpus.problems)


def test_ami_headset_of_a_speaker_missing_leaves_out_ihm(ami: Path, tmp_path: Path) -> None:
    (ami / "amicorpus/ES2004a/audio/ES2004a.Headset-2.wav").unlink()
    (ami / "amicorpus/EN2002c/audio/EN2002c.Headset-0.wav").unlink()  # nobody wore it
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert "ihm" not in by_id(corpus)["ES2004a"].audio
    assert "ES2004a: Headset-2 missing or damaged, ihm is left out" in corpus.problems
    assert len(by_id(corpus)["EN2002c"].audio["ihm"]) == 3


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all"])
def test_ami_damaged_recording_is_named_and_the_rest_goes_on(
    content: bytes, ami: Path, tmp_path: Path
) -> None:
    (ami / "amicorpus/ES2004a/audio/ES2004a.Mix-Headset.wav").write_bytes(content)
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert any("ES2004a.Mix-Headset.wav" in line for line in corpus.problems)
    assert set(by_id(corpus)["ES2004a"].audio) == {"ihm", "sdm", "mdm"}
    assert "test: no audio for ihm-mix of 1: ES2004a" in corpus.problems


def test_ami_with_one_microphone_has_no_array(ami: Path, tmp_path: Path) -> None:
    audio = builders.write_ami_audio(tmp_path / "sdm", tracks=["Array1-01"])
    corpus = prepare_ami(audio, ami, tmp_path / "out")
    assert corpus.conditions == ("sdm",)
    assert not [line for line in corpus.problems if "mdm" in line or "audio" in line]


def test_ami_recording_shorter_than_its_words_is_named(ami: Path, tmp_path: Path) -> None:
    builders.write_audio(ami / "amicorpus/ES2004a/audio/ES2004a.Mix-Headset.wav", 3.0)
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert "ES2004a: the audio ends at 3.0 s, the last word at 5.4 s" in corpus.problems


@pytest.mark.parametrize("damage", [_remove, builders.cut_off])
def test_ami_words_of_a_speaker_missing_leave_out_the_meeting(
    damage: Callable[[Path], object], ami: Path, tmp_path: Path
) -> None:
    damage(ami / "ami_public_manual_1.6.2/words/ES2004a.B.words.xml")
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert set(by_id(corpus)) == {"EN2002c", "ES2003a"}
    (line,) = [line for line in corpus.problems if "ES2004a.B.words.xml" in line]
    assert line.endswith("ES2004a is left out")


@pytest.mark.parametrize("damage", [_remove, builders.cut_off])
def test_ami_segments_missing_leave_utterances_cut_at_pauses(
    damage: Callable[[Path], object], ami: Path, tmp_path: Path
) -> None:
    damage(ami / "ami_public_manual_1.6.2/segments/ES2004a.A.segments.xml")
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert any("ES2004a.A.segments.xml" in line for line in corpus.problems)
    assert [row for row in segments(corpus, "ES2004a") if row[0] == "FEE013"] == [
        ("FEE013", 0.5, 1.2, "Okay, let's"),
        ("FEE013", 1.3, 1.6, "start"),
        ("FEE013", 4.2, 4.6, "Right."),
    ]


def test_ami_without_meetings_xml_has_letters_for_speakers(ami: Path, tmp_path: Path) -> None:
    (ami / "ami_public_manual_1.6.2/corpusResources/meetings.xml").unlink()
    corpus = prepare_ami(None, ami, tmp_path / "out")
    assert by_id(corpus)["EN2002c"].speakers == ("EN2002c.A", "EN2002c.B", "EN2002c.C")
    assert any("meetings.xml: missing" in line for line in corpus.problems)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('starttime="1.4"', 'starttime="soon"', "the starttime is 'soon'"),
        ('starttime="1.4"', 'starttime="-1.4"', "the starttime is '-1.4'"),
        ("ES2004a.B.words1", "ES2004a.B.words0", "two elements have the id"),
        ("<w ", "<w <", "broken XML"),
    ],
)
def test_ami_words_that_make_no_sense_are_named(
    old: str, new: str, said: str, ami: Path, tmp_path: Path
) -> None:
    path = ami / "ami_public_manual_1.6.2/words/ES2004a.B.words.xml"
    path.write_text(path.read_text("latin-1").replace(old, new, 1), "latin-1")
    corpus = prepare_ami(None, ami, tmp_path / "out")
    assert any(said in line and "ES2004a.B.words" in line for line in corpus.problems)


def test_ami_word_of_no_length_is_no_speech(ami: Path, tmp_path: Path) -> None:
    path = ami / "ami_public_manual_1.6.2/words/ES2004a.C.words.xml"
    path.write_text(path.read_text().replace('endtime="3.3"', 'endtime="3.0"', 1))
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    assert "MEE014" not in {speaker for _, _, speaker in turns(corpus, "ES2004a")}
    # it is a word all the same, with the time of the transcriber's segment
    assert ("MEE014", 0.0, 9.0, "Mm-hmm.") in segments(corpus, "ES2004a")


def test_ami_words_left_out_are_told(ami: Path, tmp_path: Path) -> None:
    path = ami / "ami_public_manual_1.6.2/words/ES2004a.C.words.xml"
    lost = '<w nite:id="ES2004a.C.words9">lost</w></nite:root>'
    path.write_text(path.read_text().replace("</nite:root>", lost))
    corpus = prepare_ami(ami / "amicorpus", ami, tmp_path / "out")
    (note,) = corpus.notes
    assert note == "ES2004a.C: left out 1 words that have no time and are in no segment"


def test_ami_entity_bomb_is_refused(ami: Path, tmp_path: Path) -> None:
    path = ami / "ami_public_manual_1.6.2/words/ES2004a.B.words.xml"
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><a><w>&e9;</w></a>')
    corpus = prepare_ami(None, ami, tmp_path / "out")
    assert any("ES2004a.B.words.xml" in line for line in corpus.problems)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken", b"\x1f\x8b\x08 gz"])
def test_ami_archive_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "annotations.zip"
    archive.write_bytes(content)
    with pytest.raises(FormatError, match=r"annotations\.zip"):
        prepare_ami(None, archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_ami_archive_cut_off_is_refused(ending: str, ami: Path, tmp_path: Path) -> None:
    archive = builders.zipped(ami / "ami_public_manual_1.6.2", tmp_path / f"a{ending}")
    builders.cut_off(archive)
    with pytest.raises(FormatError, match="not a readable"):
        prepare_ami(None, archive, tmp_path / "out")


def test_ami_damaged_member_of_an_archive_is_named(ami: Path, tmp_path: Path) -> None:
    archive = builders.zipped(ami / "ami_public_manual_1.6.2", tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    at = content.index(b"words/ES2004a.B.words.xml") + 40
    content[at : at + 20] = bytes(20)
    archive.write_bytes(content)
    corpus = prepare_ami(None, archive, tmp_path / "out")
    assert set(by_id(corpus)) == {"EN2002c", "ES2003a"}
    assert any("ES2004a.B.words.xml: damaged" in line for line in corpus.problems)


def test_ami_two_sets_of_annotations_are_refused(ami: Path, tmp_path: Path) -> None:
    shutil.copytree(ami / "ami_public_manual_1.6.2", ami / "ami_public_manual_1.6.1")
    with pytest.raises(FormatError, match="there twice"):
        prepare_ami(None, ami, tmp_path / "out")


def test_ami_wrong_folders(ami: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AudioError, match="no recording of AMI"):
        prepare_ami(empty, ami, tmp_path / "out")
    with pytest.raises(AudioError, match="no such folder"):
        prepare_ami(tmp_path / "nowhere", ami, tmp_path / "out")
    with pytest.raises(FormatError, match="no words of AMI"):
        prepare_ami(None, empty, tmp_path / "out")
    with pytest.raises(FormatError, match="no such file"):
        prepare_ami(None, tmp_path / "nowhere.zip", tmp_path / "out")


def test_words_in_no_segment_are_kept_if_they_have_a_time() -> None:
    items = {
        "w0": Item("in", 1.0, 1.2),
        "w1": Item("out", 3.0, 3.2),
        "w2": Item(".", is_punctuation=True),
        "w3": Item("lost"),
        "w4": Item("touching", 3.2, 3.5),
    }
    made, lost = utterances_of(items, [Segment("w0", "w0", 0.5, 2.0)], "A")
    assert [(one.start, one.end, one.text) for one in made] == [
        (1.0, 1.2, "in"),
        (3.0, 3.5, "out. touching"),
    ]
    assert lost == 1


def test_segment_whose_words_have_no_times_has_its_own() -> None:
    made, lost = utterances_of({"w0": Item("hm")}, [Segment("w0", "w0", 0.5, 2.0)], "A")
    assert [(one.start, one.end) for one in made] == [(0.5, 2.0)]
    assert lost == 0


def test_segment_of_unknown_words_leaves_them_to_themselves() -> None:
    items = {"w0": Item("yes", 1.0, 1.2)}
    made, _ = utterances_of(items, [Segment("w7", "w9", 0.5, 2.0)], "A")
    assert [one.text for one in made] == ["yes"]


_SPANS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 20)).map(lambda x: (x[0] / 4, (x[0] + x[1]) / 4)),
    max_size=30,
)


@given(_SPANS)
def test_turns_cover_exactly_the_words(spans: list[tuple[float, float]]) -> None:
    items = [Item("w", start, end) for start, end in spans]
    found = turns_of(items, "A")
    inside = {n / 8 for n in range(1, 1000, 2)}  # the middle of every quarter of a second

    def covered(parts: list[tuple[float, float]]) -> set[float]:
        return {time for time in inside for start, end in parts if start < time < end}

    assert covered([(turn.start, turn.end) for turn in found]) == covered(spans)
    ends = [turn.end for turn in found][:-1]
    assert all(end < turn.start for end, turn in zip(ends, found[1:], strict=True))


def test_ami_lists_are_those_of_the_corpus(data: Path) -> None:
    official = read_lists("ami").splits_of("full-corpus-asr")
    for split in ("train", "dev", "test"):
        text = (data / "ami" / f"{split}.meetings.txt").read_text().split()
        assert sorted(official[split]) == sorted(text)


def test_ami_partitions_move_four_series() -> None:
    lists = read_lists("ami")
    asr, full = lists.splits_of("full-corpus-asr"), lists.splits_of("full-corpus")
    scenario = lists.splits_of("scenario-only")
    assert {split: len(names) for split, names in scenario.items()} == {
        "train": 98,
        "dev": 20,
        "test": 20,
    }
    assert {name[:-1] for name in set(full["test"]) - set(asr["test"])} == {"ES2014", "TS3007"}
    assert {name[:-1] for name in set(full["dev"]) - set(asr["dev"])} == {"ES2003", "TS3006"}
    everything = [sum(map(len, splits.values())) for splits in (asr, full, scenario)]
    assert everything == [170, 170, 138]
    assert "IB4005" not in lists.places()


def test_ami_references_of_the_archive_are_the_public_ones(data: Path) -> None:
    archive = data / "ami" / "ami_public_manual_1.6.2_words_segments.tar.gz"
    folder = data / "ami" / "rttm_only_words"
    lines = {"dev": 0, "test": 0}
    with open_annotations(archive) as opened:
        names = _global_names(opened)
        for split in lines:
            for path in sorted((folder / split).glob("*.rttm")):
                ours = _turns_of_archive(opened, path.stem, names)
                lines[split] += len(ours)
                assert ours == sorted(formats.parse_file(path).turns), path.stem
    assert lines == {"dev": 8664, "test": 7493}


def _global_names(opened: Annotations) -> dict[tuple[str, str], str]:
    return {
        (meeting, agent): name
        for meeting, about in read_meetings(opened).items()
        for agent, (name, _) in about.participants.items()
    }


def _turns_of_archive(
    opened: Annotations, meeting: str, names: dict[tuple[str, str], str]
) -> list[Turn]:
    found: list[Turn] = []
    for agent in opened.agents(meeting):
        items = read_words(opened, meeting, agent).values()
        found += turns_of(items, names.get((meeting, agent), agent))
    return sorted(found)
