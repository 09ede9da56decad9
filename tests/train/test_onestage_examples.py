"""From read speech to what the network takes: words known, places known, nothing held out."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meetscribe.config import build
from meetscribe.errors import ConfigError
from meetscribe.onestage.features import log_mel
from meetscribe.spatial.embedding_inputs import SpatialPlanes
from meetscribe.train.bank import make_banks, make_room
from meetscribe.train.data_settings import RoomSettings, SpeechSettings
from meetscribe.train.library import (
    Library,
    Piece,
    dev_speakers,
    draw_piece,
    draw_stretch,
    make_library,
)
from meetscribe.train.onestage.examples import ExampleMaker
from meetscribe.train.onestage.scenes import Scene, SceneMaker
from meetscribe.train.onestage.settings import OnestageTraining, SceneSettings, Stage
from meetscribe.train.speech import speech_regions
from meetscribe.train.wording import Atom, Written, cut, sentence, write
from meetscribe.types import SAMPLE_RATE_HZ, Segment, Word
from tests.train.builders import write_table
from tests.train.tiny import settings_of, tiny_training

COLUMNS = ("path", "speaker", "text", "duration_s", "language", "split")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> OnestageTraining:
    return settings_of(tiny_training(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def library(settings: OnestageTraining, tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("speech")
    return make_library(settings.speech, folder, hear=None, recogniser="")[0]


@pytest.fixture(scope="module")
def scenes(
    settings: OnestageTraining, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> SceneMaker:
    bank, _ = make_banks(settings.rooms, tmp_path_factory.mktemp("rooms"))
    return SceneMaker(settings.scenes, library, bank, seed=0)


def words(*timed: tuple[str, float, float]) -> list[Word]:
    return [Word(*one) for one in timed]


def test_heard_words_give_spelling_and_times_the_reference_gives_the_words() -> None:
    heard = words(("Well,", 0, 1), ("Mr.", 1, 2), ("Smiff", 2, 3), ("uh", 3, 4), ("isn't", 4, 5))
    made, share = write("WELL MISTER SMITH I'M ISN'T", heard)
    assert [one.text for one in made] == ["Well,", "Mr.", "smith", "I'm", "isn't"]
    assert [one.start for one in made] == [0, 1, None, None, 4]
    assert share == pytest.approx(0.6)
    assert write("HELLO", []) == ([Written("hello")], 0.0)


def test_an_utterance_is_cut_where_words_and_pause_agree() -> None:
    regions = [Segment(0.2, 1.0), Segment(1.5, 2.5), Segment(3.0, 4.0)]
    made = cut(
        [Written("a", 0.2, 1.05), Written("b", 1.4, 2.0), Written("c"), Written("d", 2.9, 4.0)],
        regions,
    )
    # beside the second pause stands a word whose time is not known
    assert [(one.start, one.end, one.text) for one in made] == [
        (0.2, 1.0, "a"),
        (1.5, 4.0, "b c d"),
    ]


def test_a_word_that_fills_the_pause_is_no_place_to_cut() -> None:
    regions = [Segment(0.0, 1.0), Segment(2.0, 3.0)]
    assert len(cut([Written("a", 0.0, 0.9), Written("b", 1.1, 2.9)], regions)) == 2
    assert len(cut([Written("a", 0.0, 1.4), Written("b", 1.9, 2.9)], regions)) == 1
    assert len(cut([Written("a", 0.0, 0.9), Written("b", 1.0, 1.9)], regions)) == 1


def test_speech_is_cut_and_kept_with_its_words(tmp_path: Path) -> None:
    table = write_table(tmp_path / "speech", speakers=4, utterances=9, columns=COLUMNS)
    asked = []

    def hear(samples_n: np.ndarray, language: str) -> list[Word]:
        """Hear the first word before the pause and the others after it."""
        asked.append(language)
        regions = speech_regions(samples_n, 0.2)
        number = len(asked) - 1
        texts = ["Words", f"{number % 9}", "of", f"{2 * (number // 9)},"]
        if len(regions) == 1:
            regions = [*regions, Segment(regions[0].end, regions[0].end)]
        first, last = regions[0], regions[-1]
        return [
            Word(texts[0], first.start, first.end),
            *(Word(text, last.start, last.end) for text in texts[1:]),
        ]

    settings = SpeechSettings(table=str(table), language="en", dev_speakers=1)
    library, notes = make_library(settings, tmp_path, hear=hear, recogniser="fake")
    assert set(library.names) == {"spk0", "spk2"}, "the split and the language"
    assert set(asked) == {"en"}
    cut_ones = [one for one in library.utterances if len(one.atoms) == 2]
    assert cut_ones
    assert {one.atoms[0].text for one in cut_ones} == {"Words"}
    assert all(one.atoms[1].text.startswith(tuple("0123456789")) for one in cut_ones)
    again, _ = make_library(settings, tmp_path, hear=hear, recogniser="fake")
    assert again == library
    assert len(asked) == 18, "made once"
    assert notes == []
    before = library.path.read_bytes()
    library.path.unlink()
    again, _ = make_library(settings, tmp_path, hear=hear, recogniser="fake")
    assert len(asked) == 18
    assert library.path.read_bytes() == before
    loud = library.read(cut_ones[0], cut_ones[0].atoms[0].start, cut_ones[0].atoms[0].end)
    assert np.sqrt(np.mean(np.square(loud))) == pytest.approx(1.0, rel=0.1)


def test_a_short_pause_is_one_only_where_two_words_meet() -> None:
    regions = [Segment(0.0, 1.0), Segment(1.06, 2.0)]
    assert len(cut([Written("a", 0.0, 1.1), Written("b", 1.1, 1.9)], regions)) == 2
    # the pause is one within the first word: a stop
    assert len(cut([Written("a", 0.0, 1.4), Written("b", 1.4, 1.9)], regions)) == 1
    assert len(cut([Written("a", 0.0, 0.7), Written("b", 0.7, 1.9)], regions)) == 1


def test_what_was_heard_is_kept_whatever_the_pauses_are(tmp_path: Path) -> None:
    table = write_table(tmp_path / "speech", speakers=3, utterances=6, columns=COLUMNS)
    asked = []

    def hear(samples_n: np.ndarray, _language: str) -> list[Word]:
        asked.append(len(samples_n))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return [Word("words", 0.0, 1.0)]

    settings = SpeechSettings(table=str(table), least_matched=0.0)
    with pytest.raises(KeyboardInterrupt):
        make_library(settings, tmp_path, hear=hear, recogniser="fake")
    make_library(settings, tmp_path, hear=hear, recogniser="fake")
    assert len(asked) == 7, "six, and the one that was broken off"
    (kept,) = tmp_path.glob("heard-*.jsonl")
    with kept.open("a") as file:
        file.write('{"signal": "cut sh')
    other = settings.model_copy(update={"pause_s": 0.5})
    make_library(other, tmp_path, hear=hear, recogniser="fake")
    assert len(asked) == 7


def test_what_was_hardly_heard_is_left_out_and_counted(tmp_path: Path) -> None:
    table = write_table(tmp_path / "speech", speakers=3, utterances=6, columns=COLUMNS)
    count = iter(range(99))

    def hear(_samples_n: np.ndarray, _language: str) -> list[Word]:
        number = next(count)
        texts = f"words {number % 6} of {2 * (number // 6)}".split() if number % 2 else ["no"]
        return [Word(text, 0.0, 1.0) for text in texts]

    settings = SpeechSettings(table=str(table))
    library, notes = make_library(settings, tmp_path, hear=hear, recogniser="fake")
    assert len(library.utterances) == 3
    assert notes == ["3 utterances left out: too few of their words were heard"]


@pytest.mark.parametrize("split", ["heldout", "test"])
def test_what_is_held_out_is_refused(split: str) -> None:
    with pytest.raises(ValueError, match="never for training"):
        OnestageTraining(speech=SpeechSettings(split=split))


def test_speakers_to_score_on_stay_the_same_when_others_come() -> None:
    names = [f"spk{number}" for number in range(40)]
    chosen = dev_speakers(names, 5)
    assert len(chosen) == 5
    assert dev_speakers(names[::-1], 5) == chosen
    assert len(chosen & dev_speakers([*names, "new"], 5)) >= 4
    with pytest.raises(ConfigError, match="expected at least two"):
        dev_speakers(names[:6], 5)


def test_a_library_travels_without_its_samples(library: Library) -> None:
    one = library.utterances[0]
    here = library.read(one, 0.0, 1.0)
    packed = pickle.dumps(library)
    assert len(packed) < 100_000
    assert np.array_equal(pickle.loads(packed).read(one, 0.0, 1.0), here)  # noqa: S301


def test_a_piece_is_as_long_as_it_should_be(library: Library) -> None:
    rng = np.random.default_rng(0)
    own = library.speakers[library.names[0]]
    made = [draw_piece(own, (0.5, 2.5), rng) for _ in range(50)]
    found = [one for one in made if one is not None]
    assert found
    assert all(0.5 <= one.duration <= 2.5 for one in found)
    assert all(one.text == sentence(one.text) != "" for one in found)
    assert draw_piece(own, (40.0, 50.0), rng) is None


def test_a_stretch_is_of_what_somebody_says(library: Library) -> None:
    rng = np.random.default_rng(0)
    own = library.speakers[library.names[0]]
    made = [draw_stretch(own, (0.5, 1.5), rng) for _ in range(50)]
    found = [one for one in made if one is not None]
    assert len({round(one.start, 4) for one in found}) > 10
    for one in found:
        assert 0.5 <= one.duration <= 1.5 + 1e-9
        assert one.uttered.atoms[0].start <= one.start
        assert one.end <= one.uttered.atoms[-1].end + 1e-9
        assert not one.text
    assert draw_stretch(own, (40.0, 50.0), rng) is None


def test_a_piece_takes_no_part_of_what_is_said_beside_it(library: Library) -> None:
    one = library.utterances[0]
    atoms = (Atom(0.2, 0.5, "a"), Atom(0.54, 0.8, "b"), Atom(1.4, 1.6, "c"))
    cut_one = replace(one, atoms=atoms)
    read_n, before = library.read_piece(Piece(cut_one, 0.54, 0.8, "B"))
    assert before == pytest.approx(0.02)
    # to the next one there is room for all of the edge
    assert len(read_n) / SAMPLE_RATE_HZ == pytest.approx(0.02 + 0.26 + 0.08, abs=1e-3)


def test_without_words_all_speech_is_drawn_from(scenes: SceneMaker) -> None:
    whole = [
        replace(one, atoms=(Atom(0.0, one.num_samples / SAMPLE_RATE_HZ, "long"),))
        for one in scenes.library.utterances
    ]
    library = Library(scenes.library.path, tuple(whole))
    shortest = min(one.num_samples for one in library.utterances) / SAMPLE_RATE_HZ
    assert not library.with_pieces(shortest - 0.1).utterances
    first, last = scenes.settings.stages
    stages = (first.model_copy(update={"words": False}), last)
    wordless = replace(
        scenes, library=library, settings=scenes.settings.model_copy(update={"stages": stages})
    )
    made = [wordless.make(number, 0.1) for number in range(6)]
    assert all(scene.spoken for scene in made)
    assert {text for scene in made for text in scene.texts.values()} == {""}


def test_rooms_are_made_once_and_follow_from_their_number(tmp_path: Path) -> None:
    settings = RoomSettings(count=2, dev=1, channels=2, seats=2, rt60_s=(0.12, 0.15), seed=1)
    shown: list[float] = []
    train, dev = make_banks(settings, tmp_path, progress=lambda _, done: shown.append(done))
    assert shown[-1] == 1.0
    again = make_room(settings, "train", 1)
    assert np.array_equal(train.room(1).responses_kcn, again.responses_kcn)
    assert again.responses_kcn.shape[:2] == (2, 2)
    assert not np.array_equal(dev.room(0).responses_kcn, train.room(0).responses_kcn)
    (path,) = tmp_path.glob("rooms-*")
    stamps = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    (path / "train0000.safetensors").write_bytes(b"cut short")
    more = settings.model_copy(update={"count": 3})
    make_banks(more, tmp_path)
    changed = {file.name for file in path.iterdir() if stamps.get(file) != file.stat().st_mtime_ns}
    assert changed == {"train0000.safetensors", "train0002.safetensors"}


def test_a_scene_follows_from_its_number(scenes: SceneMaker) -> None:
    one, same, other = scenes.make(3, 0.9), scenes.make(3, 0.9), scenes.make(4, 0.9)
    assert np.array_equal(one.samples_cn, same.samples_cn)
    assert one.texts == same.texts
    assert one.samples_cn.shape != other.samples_cn.shape


def test_a_scene_is_what_it_says(scenes: SceneMaker) -> None:
    for number in range(12):
        scene = scenes.make(number, 0.9)
        assert 2 <= len(scene.samples_cn) <= 3
        assert scene.region.duration <= 3.4 + 1e-6
        assert scene.region.end == pytest.approx(scene.duration, abs=1e-3)
        assert {turn.speaker for turn in scene.turns} == set(scene.texts)
        assert all(turn.end < scene.region.start for turn in scene.turns)
        assert all(scene.region.start <= turn.start for turn in scene.spoken)
        assert all(turn.end <= scene.region.end for turn in scene.spoken)
        talking = {name for name, text in scene.texts.items() if text}
        assert talking <= {turn.speaker for turn in scene.spoken}
        assert np.abs(scene.samples_cn).max() < 0.6
        first = round(scene.region.start * SAMPLE_RATE_HZ)
        speech = sum(scene.images.values())
        heard = scene.samples_cn[:, first:]
        # what is no speech is noise, at least 10 dB below
        share = np.mean(np.square(heard - speech)) / np.mean(np.square(heard))
        assert share < 0.3
        for name, text in scene.texts.items():
            # what others said before may still ring on
            loud = np.sqrt(np.mean(np.square(scene.images[name])))
            assert (loud > 0.02 * np.sqrt(np.mean(np.square(heard)))) or not text


def test_the_curriculum_goes_from_one_at_a_time_to_overlap(scenes: SceneMaker) -> None:
    early = [scenes.make(number, 0.1) for number in range(20)]
    late = [scenes.make(number, 0.9) for number in range(20)]
    assert max(scene.overlap for scene in early) == 0.0
    assert max(scene.overlap for scene in late) > 0.3
    silent = [scene for scene in late if "" in scene.texts.values()]
    assert 2 <= len(silent) <= 18


def test_all_voices_are_targets_with_their_own_words(
    settings: OnestageTraining, scenes: SceneMaker
) -> None:
    maker = ExampleMaker(
        scenes, settings.model, batch=4, num_batches=10, num_mel_bins=80, alone=True
    )
    packed = maker(9)
    made: list[Scene] = [scenes.make(number, 0.9) for number in range(36, 40)]
    assert packed.texts == [text for scene in made for text in scene.texts.values()]
    assert packed.scene_b == [scene.number for scene in made for _ in scene.texts]
    inputs = packed.inputs("cpu")
    inputs.planes.check(settings.model.embedding)
    assert inputs.planes.target_bctf is not None
    assert inputs.planes.target_bctf.dtype == torch.float32
    scene = made[0]
    (target, *_) = scene.texts
    assert packed.alone_bft is not None
    alone = [log_mel(image_n, trailing_s=0.2) for image_n in scene.images[target]]
    found = torch.from_numpy(packed.alone_bft[0, :, : 2 * packed.steps[0]])
    assert any(torch.equal(found, one) for one in alone)
    assert packed.steps[0] == -(-round(scene.region.duration * 16_000) // 320) + 10


def test_packing_halves_precision_and_nothing_else(
    settings: OnestageTraining, scenes: SceneMaker
) -> None:
    maker = ExampleMaker(scenes, settings.model, 1, None, 80, alone=False)
    scene = scenes.make(0, 1.0)
    one = maker.pack([scene])
    assert one.alone_bft is None
    hearing = maker._hear(scene)[0]
    planes = one.inputs("cpu").planes
    own = hearing.planes
    assert own.target_bctf is not None
    assert planes.target_bctf is not None
    shape = own.target_bctf.shape
    found = planes.target_bctf[:1, : shape[1], : shape[2]]
    torch.testing.assert_close(found, own.target_bctf, atol=1e-3, rtol=1e-3)
    assert isinstance(planes, SpatialPlanes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stages": [{"until": 0.5}]}, "ascend to 1.0"),
        ({"channels": [1, 4]}, "at least 2"),
        ({"lines": [3, 1]}, "range from 0"),
    ],
)
def test_scenes_that_make_no_sense_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(SceneSettings, given, where="scenes")


def test_more_voices_than_seats_are_refused() -> None:
    stage = Stage(voices=(0.2, 0.2, 0.2, 0.4))
    with pytest.raises(ValueError, match="one more, for who is silent"):
        OnestageTraining(scenes=SceneSettings(stages=(stage,)))


def test_a_piece_has_a_little_around_it(library: Library) -> None:
    one = library.utterances[0]
    atom = one.atoms[0]
    samples_n, before = library.read_piece(Piece(one, atom.start, atom.end, atom.text))
    assert before == pytest.approx(0.08, abs=1e-3)
    assert len(samples_n) == pytest.approx((atom.end - atom.start + 0.16) * SAMPLE_RATE_HZ, abs=2)
