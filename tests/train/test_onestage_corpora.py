"""Regions of real meetings: all their words are known, and nothing for measuring gets in."""

from __future__ import annotations

import dataclasses
import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.config import build
from meetscribe.errors import ConfigError
from meetscribe.evaluate.corpora import Corpus, prepare_folder
from meetscribe.evaluate.corpora.references import prepared, publish
from meetscribe.formats import parse_file
from meetscribe.onestage.adapter import load_adapter
from meetscribe.train import SimulationSettings, simulate
from meetscribe.train.corpora import stretches
from meetscribe.train.data_settings import CorpusSettings
from meetscribe.train.machine import Machine
from meetscribe.train.onestage.corpora import GAP_S, MeetingSet, load_meetings
from meetscribe.train.onestage.meetings import MeetingScenes, MixedScenes
from meetscribe.train.onestage.run import _identity, gather, prepare, run
from meetscribe.train.onestage.settings import SceneSettings
from meetscribe.types import SAMPLE_RATE_HZ, Transcript, Turn, Utterance
from tests.train.test_onestage_run import column
from tests.train.tiny import settings_of, tiny_training

HERE = Machine(device="cpu", workers=0, threads=1)
SCENES = build(
    SceneSettings,
    {
        "channels": [2, 3],
        "solo_s": [1.2, 1.5],
        "lacking_solo": 0.0,
        "stages": [
            {"until": 0.5, "voices": [1.0], "longest_s": 3.4, "piece_s": [0.5, 2.5], "silent": 0.0},
            {"voices": [0.2, 0.8], "longest_s": 3.4, "piece_s": [0.5, 2.5], "silent": 0.5},
        ],
    },
    where="test",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def given_settings(place: Path) -> dict[str, Any]:
    return tiny_training(place)


@pytest.fixture(scope="module")
def simulated(place: Path, given_settings: dict[str, Any]) -> list[Path]:
    """Three meetings that stand for real ones."""
    wanted = SimulationSettings(
        meetings=3, minutes=0.5, channels=3, rt60_s=(0.2, 0.25), speakers=(3, 3),
        utterance_s=(0.3, 3.0), overlap=(0.05, 0.1), audio_format="wav", split="train", repeat=True,
    )  # fmt: skip
    return simulate(given_settings["speech"]["table"], place / "sim", wanted)


@pytest.fixture(scope="module")
def corpus(place: Path, simulated: list[Path]) -> Path:
    """In the layout of AMI: a file a microphone, splits, and conditions."""
    sessions = []
    for path, split in zip(simulated, ("train", "train", "test"), strict=True):
        words = parse_file(path.with_suffix(".seglst.json"))
        turns = parse_file(path.with_suffix(".rttm")).turns
        samples_nc, rate = soundfile.read(path, dtype="int16")
        files = [place / f"{path.stem}.Array1-0{n + 1}.wav" for n in range(samples_nc.shape[1])]
        for file, samples_n in zip(files, samples_nc.T, strict=True):
            soundfile.write(file, samples_n, rate)
        reference = Transcript(
            path.stem, words.utterances, turns=turns, language="en",
            duration=len(samples_nc) / rate,
        )  # fmt: skip
        audio = {"mdm": files, "sdm": files[:1]}
        channels = {"mdm": "array", "sdm": "mono"}
        sessions.append(prepared(reference, audio=audio, channels=channels, splits={"full": split}))
    (place / "corpus").mkdir()
    told = Corpus(
        name="ami", folder=place / "corpus", reference="only_words", licence="CC BY 4.0",
        default_partition="full", sessions=tuple(one.session for one in sessions),
    )  # fmt: skip
    publish(told, sessions)
    return place / "corpus"


def wanted(corpus: Path, **more: Any) -> CorpusSettings:
    return CorpusSettings.model_validate(
        {"path": str(corpus), "share": 0.5, "condition": "mdm", **more}
    )


@pytest.fixture(scope="module")
def meetings(corpus: Path) -> MeetingSet:
    found, notes = load_meetings(wanted(corpus), SCENES, language="en")
    assert notes == []
    return found


def places(part_cn: np.ndarray, meetings: MeetingSet, place: Path) -> tuple[str, int]:
    """Find where in all recordings these samples are, whatever the order of channels."""
    for one in meetings.meetings:
        samples_nc, _ = soundfile.read(
            place / "sim" / f"{one.recording.session_id}.wav", dtype="float32"
        )
        windows = np.lib.stride_tricks.sliding_window_view(samples_nc[:, 0], 400)
        found = {
            int(at)
            for row_n in part_cn
            for column in samples_nc.T
            for at in np.flatnonzero(column[: len(windows)] == row_n[0])
            if np.array_equal(column[at : at + len(row_n)], row_n)
        }
        if found:
            (at,) = found
            return one.recording.session_id, at
    pytest.fail("these samples are in no recording")


def test_a_scene_is_cut_out_of_a_meeting_with_all_its_words(
    meetings: MeetingSet, place: Path
) -> None:
    scenes = MeetingScenes(SCENES, meetings, seed=1, stream=3)
    for number in range(8):
        scene = scenes.make(number, 0.9)
        assert 2 <= len(scene.samples_cn) <= 3
        assert scene.region.duration <= 3.4 + 1e-3
        assert scene.region.end == pytest.approx(scene.duration)
        name, first = places(scene.read_cn(scene.region.start, scene.region.end), meetings, place)
        start = first / SAMPLE_RATE_HZ
        end = start + scene.region.duration
        reference = parse_file(place / "corpus" / "seglst" / f"{name}.seglst.json").utterances
        inside = [one for one in reference if one.end > start and one.start < end]
        assert inside
        # whoever speaks there is wholly inside
        assert all(start <= one.start and one.end <= end for one in inside)
        assert set(scene.texts) <= {one.speaker for one in reference}
        for target, text in scene.texts.items():
            own = [one.text for one in inside if one.speaker == target]
            assert text == " ".join(own)
        late = scene.region.start - start
        starts = sorted(one.start for one in inside)
        assert [turn.start - late for turn in scene.spoken] == pytest.approx(starts, abs=1e-3)


def test_the_moments_alone_are_of_that_speaker_and_outside_of_the_region(
    meetings: MeetingSet, place: Path
) -> None:
    scenes = MeetingScenes(SCENES, meetings, seed=1, stream=3)
    for number in range(4):
        scene = scenes.make(number, 0.9)
        assert [turn.speaker for turn in scene.turns] == list(scene.texts)
        where, region = places(scene.read_cn(scene.region.start, scene.region.end), meetings, place)
        turns = parse_file(place / "corpus" / "rttm" / f"{where}.rttm").turns
        for turn in scene.turns:
            assert 1.2 <= turn.duration <= 1.5
            name, first = places(scene.read_cn(turn.start, turn.end), meetings, place)
            start = first / SAMPLE_RATE_HZ
            active = {
                one.speaker
                for one in turns
                if one.end > start + 0.01 and one.start < start + turn.duration - 0.01
            }
            assert (name, active) == (where, {turn.speaker})
            apart = max(region / SAMPLE_RATE_HZ - start, start - region / SAMPLE_RATE_HZ)
            assert apart >= min(turn.duration, scene.region.duration)


def test_a_scene_follows_from_its_number_in_any_process(meetings: MeetingSet) -> None:
    scenes = MeetingScenes(SCENES, meetings, seed=1, stream=3)
    one, other = scenes.make(5, 0.9), pickle.loads(pickle.dumps(scenes)).make(5, 0.9)  # noqa: S301
    assert np.array_equal(one.samples_cn, other.samples_cn)
    assert one.texts == other.texts
    assert len(scenes.make(6, 0.9).samples_cn[0]) != len(one.samples_cn[0])


def test_the_curriculum_chooses_voices_and_silent_targets(meetings: MeetingSet) -> None:
    scenes = MeetingScenes(SCENES, meetings, seed=0, stream=3)
    early = [scenes.make(number, 0.1) for number in range(12)]
    late = [scenes.make(number, 0.9) for number in range(12)]
    assert {len({turn.speaker for turn in one.spoken}) for one in early} == {1}
    assert max(len({turn.speaker for turn in one.spoken}) for one in late) > 1
    assert not any("" in one.texts.values() for one in early)
    assert any("" in one.texts.values() for one in late)
    assert all(any(one.texts.values()) for one in late)


@pytest.mark.parametrize("split", ["test", "Eval", "dev", "heldout"])
def test_splits_for_measuring_are_refused(split: str) -> None:
    with pytest.raises(ValueError, match="never for training"):
        CorpusSettings(path="ami", split=split)


def test_what_makes_no_sense_is_refused(corpus: Path, place: Path) -> None:
    for more, said in (
        ({"condition": "sdm"}, "all microphones of an array"),
        ({"condition": "ihm"}, "no condition 'ihm'"),
        ({"split": None}, "divided into splits"),
        ({"split": "other"}, "no split"),
        ({"condition": None}, "2 conditions"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_meetings(wanted(corpus, **more), SCENES, language="en")
    with pytest.raises(ConfigError, match="2 meetings left out: not in 'zh'"):
        load_meetings(wanted(corpus), SCENES, language="zh")
    with pytest.raises(ConfigError, match="3 channels"):
        load_meetings(wanted(corpus), SCENES, language="en", num_channels=8)
    with pytest.raises(ConfigError, match="more than 1 together"):
        settings_of({"corpora": [{"path": "a", "share": 0.6}, {"path": "b", "share": 0.5}]})
    prepare_folder(place / "sim", place / "own")
    undivided = wanted(place / "own", condition=None, split=None)
    found, notes = load_meetings(undivided, SCENES, language="en")
    assert len(found.meetings) == 2
    assert [note.partition(":")[0] for note in notes] == ["sim"]
    assert "1 meetings left out: no region of it is short enough" in notes[0]
    with pytest.raises(ConfigError, match="not divided"):
        load_meetings(wanted(place / "own", condition=None), SCENES, language="en")


def said(*timed: tuple[str, float, float]) -> list[Utterance]:
    return [Utterance(who, start, end, f"words of {who}") for who, start, end in timed]


def test_speech_that_nobody_wrote_down_spoils_a_stretch() -> None:
    words = said(("a", 1.0, 2.0), ("b", 4.0, 5.0), ("a", 7.0, 8.0), ("b", 11.0, 12.0))
    words[2] = dataclasses.replace(words[2], text=" ")
    turns = [Turn(0.95, 2.05, "a"), Turn(4.0, 5.0, "b"), Turn(4.8, 5.5, "c"), Turn(11, 12, "b")]
    found = [one for one in stretches(words, turns, [(0.0, 10.0)], gap_s=GAP_S) if one.said]
    assert [(one.start, one.end) for one in found] == [(1.0, 2.0)]
    found = [one for one in stretches(words, turns[:1], [(0.0, 20.0)], gap_s=GAP_S) if one.said]
    assert [one.start for one in found] == [1.0, 4.0, 11.0]


SPAN = st.tuples(st.sampled_from("abc"), st.integers(0, 300), st.integers(1, 60))


@given(st.lists(SPAN, max_size=20), st.lists(SPAN, max_size=5))
def test_nothing_crosses_the_ends_of_a_stretch(
    first: list[tuple[str, int, int]], more: list[tuple[str, int, int]]
) -> None:
    words = said(*((who, start / 10, (start + length) / 10) for who, start, length in first))
    turns = [Turn(start / 10, (start + length) / 10, who) for who, start, length in more]
    made = list(stretches(words, turns, [(0.0, 25.0)], gap_s=GAP_S))
    spans = [(one.start, one.end) for one in [*words, *turns]]
    for one in made:
        for start, end in spans:
            # a turn is allowed to be a little longer than its utterance
            crossing = start < one.start - 0.11 < end or start < one.end + 0.11 < end
            assert not crossing
        if one.said:
            assert 0.0 <= one.start <= one.end <= 25.0
            assert sorted(one.said, key=lambda u: u.start) == list(one.said)
    gaps = [after.start - one.end for one, after in pairwise(made)]
    assert all(gap >= 0.2 - 1e-9 for gap in gaps)
    kept = [part for one in made for part in one.said]
    assert len(kept) == len(set(map(id, kept)))


def with_corpus(given: dict[str, Any], corpus: Path, share: float) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(given))
    changed["corpora"] = [{"path": str(corpus), "share": share, "condition": "mdm"}]
    changed["scenes"]["solo_s"] = [1.5, 1.5]
    changed["scenes"]["batch"] = 2
    changed["loop"] |= {"steps": 3, "accumulate": 1, "score_every": 3}
    return changed


def test_items_without_the_target_alone_learn_words_only(
    given_settings: dict[str, Any], corpus: Path, place: Path, tmp_path: Path
) -> None:
    settings = settings_of(with_corpus(given_settings, corpus, 0.5))
    task, _ = prepare(settings, tmp_path, work=place / "work", machine=HERE)
    assert isinstance(task.training.scenes, MixedScenes)
    packed = next(one for one in task.batches(0) if one.alone_b and any(one.alone_b))
    known = packed.alone_b
    assert known is not None
    assert packed.alone_bft is not None
    assert [bool(one.any()) for one in packed.alone_bft] == known
    with torch.no_grad():
        _, parts = task.loss(packed)
        other = packed.alone_bft.copy()
        other[[not one for one in known]] = 1.0
        _, changed = task.loss(dataclasses.replace(packed, alone_bft=other))
        _, every = task.loss(dataclasses.replace(packed, alone_b=None))
    assert {name: float(one) for name, one in parts.items()} == {
        name: float(one) for name, one in changed.items()
    }
    assert float(parts["mel"]) > 0
    assert float(parts["words"]) == float(every["words"])
    assert float(parts["mel"]) != float(every["mel"])
    # of the known ones it is what they would have alone: by the mean over their frames
    inputs = packed.inputs("cpu")
    frames = inputs.planes.spectral_bctf.shape[2]
    mixture = inputs.mel_bft[..., :frames]
    alone = torch.from_numpy(packed.alone_bft)[..., :frames]
    apart = 4 * (mixture - torch.maximum(alone, mixture - 0.75)).abs().mean(dim=1)
    there = torch.tensor(known)[:, None].expand_as(apart)
    if inputs.planes.frames_bt is not None:
        there = there & inputs.planes.frames_bt.bool()
    tokens = [len(task.vocabulary.encode(text)) + 1 if text else 5 for text in packed.texts]
    weight = sum(one for one, there in zip(tokens, known, strict=True) if there)
    assert float(parts["mel"]) == pytest.approx(float(apart[there].mean()) * weight, rel=1e-4)


def test_batches_of_real_meetings_alone_have_no_target_alone(
    given_settings: dict[str, Any], corpus: Path, place: Path, tmp_path: Path
) -> None:
    settings = settings_of(with_corpus(given_settings, corpus, 1.0))
    task, _ = prepare(settings, tmp_path, work=place / "work", machine=HERE)
    packed = next(task.batches(0))
    assert packed.alone_bft is None
    loss, parts = task.loss(packed)
    loss.backward()
    assert (float(parts["distil"]), float(parts["mel"])) == (0.0, 0.0)
    assert float(loss.detach()) == float(parts["words"].detach()) > 0
    without_words = json.loads(json.dumps(with_corpus(given_settings, corpus, 1.0)))
    without_words["scenes"]["stages"][0]["words"] = False
    task, _ = prepare(settings_of(without_words), tmp_path, work=place / "work", machine=HERE)
    assert next(task.batches(0)).alone_bft is not None, "only simulated ones say anything there"
    assert next(task.batches(2)).alone_bft is None


def test_a_training_with_real_meetings_says_so(
    given_settings: dict[str, Any], corpus: Path, place: Path, tmp_path: Path
) -> None:
    given = with_corpus(given_settings, corpus, 0.5)
    run(settings_of(given), tmp_path, work=place / "work", machine=HERE)
    assert len(column(tmp_path)) == 3
    text = (tmp_path / "adapter" / "README.md").read_text()
    assert "real meetings of ami (CC BY 4.0; only_words): 2" in text
    assert "No real meeting" not in text
    _, _, about = load_adapter(tmp_path / "adapter")
    assert set(about["meeting_minutes"]) == {"ami"}
    other = settings_of(with_corpus(given_settings, corpus, 0.4))
    with pytest.raises(ConfigError, match="meetings"):
        run(other, tmp_path, work=place / "work", machine=HERE)


def test_without_real_meetings_a_run_is_what_it_was(
    given_settings: dict[str, Any], place: Path
) -> None:
    settings = settings_of(given_settings)
    told = _identity(settings, gather(settings, place / "work"), 1)
    assert {"corpora", "meetings"}.isdisjoint(told)
    assert told["loop"]["accumulate"] == 2
    shared = settings_of({**given_settings, "loop": {**given_settings["loop"], "accumulate": 1}})
    assert _identity(shared, gather(shared, place / "work"), 2) == told
