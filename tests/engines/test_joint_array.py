"""The joint engine on arrays: separated streams, places beside one signal, and one microphone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from meetscribe import formats
from meetscribe.engines.joint_kinds import Answer
from meetscribe.engines.joint_models import JointModels
from meetscribe.engines.joint_settings import GroupSettings, JointSettings
from meetscribe.engines.joint_signal import Item, PlacedSignal, StreamSignal
from meetscribe.engines.joint_streams import own_words
from meetscribe.engines.joint_turns import read_answers
from meetscribe.engines.joint_writing import Written
from meetscribe.engines.leakage import LeakageSettings
from meetscribe.errors import ConfigError
from meetscribe.ingest import ChannelsInMemory, InMemory
from meetscribe.joint.parsed import UNKNOWN, Parsed
from meetscribe.joint.spatial_settings import SpatialStreamSettings
from meetscribe.joint.spatial_stream import ArrayClip
from meetscribe.joint.whisper import checkpoint
from meetscribe.joint.whisper.settings import WhisperJointSettings
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.spatial.streams import SeparatedStreams
from meetscribe.types import Segment, Transcript, Turn, Utterance, no_progress
from tests.conftest import SAMPLE
from tests.engines.stores import CountingStore
from tests.joint import whisper_builders as builders
from tests.joint.array_builders import TURNS, meeting

FROM_S, CLIP_S = 22.0, 9.0
"""Of the sample: two people, who speak at once where they change."""
QUICK = {"decoding.max_new_tokens": 64, "decoding.splits": 0, "separation.block_s": 5.0}


def made_model(folder: Path, **given: Any) -> Path:
    """Make a tiny model of random weights; all of it has learnt something."""
    (folder / "whisper").mkdir()
    base = builders.write_whisper(folder / "whisper")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        own = builders.settings(base=str(base), layout="none", trailing_s=1.0, **given)
        network = checkpoint.make(own, offline=True)
        with torch.no_grad():
            for one in network.trainable().values():
                one.add_(0.1 * torch.randn(one.shape))
    checkpoint.save(network, folder / "joint", {})
    return folder / "joint"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model(tmp_path_factory.mktemp("placed"), spatial=SpatialStreamSettings())


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give some seconds of the sample, all eight channels."""
    first, last = round(FROM_S * 16_000), round((FROM_S + CLIP_S) * 16_000)
    samples_nc, rate_hz = soundfile.read(SAMPLE, start=first, stop=last, dtype="int16")
    path = tmp_path_factory.mktemp("array") / "array.wav"
    soundfile.write(path, samples_nc, rate_hz)
    return path


@pytest.fixture(scope="module")
def store() -> CountingStore:
    """Share what the activity stage keeps: it takes most of the time."""
    return CountingStore()


def run(model: Path, audio: Path, store: Any, **overrides: Any) -> Transcript:
    given = {"model": str(model), **QUICK, **overrides}
    runner = Runner("joint-array", load_spec("joint-array", given), threads=1, keep_stages=False)
    runner.store = store
    return runner.transcribe(runner.probe([audio]))


@pytest.mark.weights
def test_an_array_becomes_a_transcript_of_separated_speakers(
    plain: Path, array: Path, store: CountingStore
) -> None:
    made = run(plain, array, store)
    assert any("speakers separated with 8 channels" in line for line in made.warnings)
    groups = made.provenance["groups"]
    assert groups["count"] >= 2
    assert groups["failed"] == 0
    assert set(groups["repairs"]) <= {"loop"}
    assert {"leaked", "copied"} <= groups.keys()
    assert made.utterances
    assert all(0 <= turn.start < turn.end <= CLIP_S + 1e-3 for turn in made.turns)
    assert {one.speaker for one in made.utterances} <= {"Speaker 1", "Speaker 2", "Speaker 3"}
    assert "link" not in made.provenance["timings_s"]
    for name in formats.names():
        formats.render(made, name)
    before = list(store.made)
    again = run(plain, array, store)
    assert store.made == before
    assert (again.utterances, again.turns) == (made.utterances, made.turns)


class StoppingStore(CountingStore):
    """Dies after so many batches, as a run that is killed does."""

    left = 2

    def get_or_make(self, stage: str, inputs_hash: str, config_hash: str, make: Any) -> Any:
        if stage == "joint" and (stage, inputs_hash, config_hash) not in self.kept:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
        return super().get_or_make(stage, inputs_hash, config_hash, make)


@pytest.mark.weights
def test_a_run_that_was_stopped_goes_on_after_the_last_batch(
    plain: Path, array: Path, store: CountingStore
) -> None:
    alone = {"decoding.batch_s": 0.1}
    whole = run(plain, array, store, **alone)
    stopping = StoppingStore()
    shared = {key: one for key, one in store.kept.items() if key[0] != "joint"}
    stopping.kept = dict(shared)
    with pytest.raises(KeyboardInterrupt):
        run(plain, array, stopping, **alone)
    stopping.left = 1000
    assert run(plain, array, stopping, **alone).utterances == whole.utterances
    assert stopping.made == ["joint"] * whole.provenance["groups"]["count"]


@pytest.mark.weights
def test_places_are_heard_beside_one_signal(
    placed: Path, array: Path, store: CountingStore
) -> None:
    made = run(placed, array, store, signal="spatial")
    assert any("places of the speakers heard with 8 channels" in line for line in made.warnings)
    assert store.made.count("activity") == 1
    assert made.utterances
    assert set(made.provenance["groups"]["repairs"]) <= {"loop"}
    assert "leaked" not in made.provenance["groups"]


@pytest.mark.weights
def test_one_microphone_is_one_signal(
    plain: Path, placed: Path, array: Path, tmp_path: Path
) -> None:
    samples_nc, rate_hz = soundfile.read(array, stop=5 * 16_000)
    soundfile.write(tmp_path / "one.wav", samples_nc[:, 0], rate_hz)
    own = CountingStore()
    for model, signal in ((plain, "separated"), (placed, "spatial")):
        made = run(model, tmp_path / "one.wav", own, signal=signal)
        assert any(f"signal {signal}: not several" in line for line in made.warnings)
        assert made.utterances
    assert own.made.count("activity") == 1


@pytest.mark.weights
def test_whisper_base_before_training_writes_words_of_the_streams(
    array: Path, store: CountingStore, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    start = WhisperJointSettings(layout="none", spatial=None)
    checkpoint.save(checkpoint.make(start), tmp_path / "base", {})
    made = run(tmp_path / "base", array, store, **{"decoding.max_new_tokens": None})
    said = formats.parse_file(SAMPLE.with_suffix(".seglst.json")).utterances
    inside = [one for one in said if FROM_S < one.start < FROM_S + CLIP_S]
    true = {word.strip(".,?!").lower() for one in inside for word in one.text.split()}
    heard = {word.strip(".,?!").lower() for one in made.utterances for word in one.text.split()}
    assert len(heard & true) > 0.4 * len(true)


@pytest.mark.weights
def test_a_model_and_a_signal_that_do_not_fit_are_refused(plain: Path, placed: Path) -> None:
    for model, signal, said in (
        (plain, "spatial", "no stream of places"),
        (placed, "best-channel", "hears places"),
        (placed, "separated", "hears places"),
    ):
        settings = JointSettings(model=str(model), signal=signal)
        models = JointModels(settings, device="cpu", threads=1, offline=True)
        with pytest.raises(ConfigError, match=said) as caught:
            models.fetch(no_progress)
        assert "signal: " in caught.value.hint
    with pytest.raises(ConfigError, match="signal"):
        load_spec("joint-array", {"signal": "beamformed"})


def written(speaker: str, group: Segment, *turns: tuple[str, float, float, str, float]) -> Written:
    parsed = Parsed.of([(Utterance(*turn[:4]), "u") for turn in turns], [])
    levels = tuple(turn[4] for turn in turns)
    return Written(group, Answer(parsed, 9, full=False), speaker, levels)


def test_a_stream_is_the_loudest_voice_in_it() -> None:
    made = [
        written(
            "b",
            Segment(10.0, 20.0),
            ("1", 0.0, 1.0, "so I", 0.01),
            ("2", 1.0, 3.0, "we could", 0.1),
            (UNKNOWN, 4.0, 5.0, "or not", 0.02),
            ("2", 6.0, 7.0, "", 0.1),
        ),
        written("a", Segment(9.0, 12.0), ("1", 0.0, 2.0, "yes", 0.2)),
        written("a", Segment(30.0, 31.0)),
    ]
    own = own_words(made, read_answers(made), LeakageSettings())
    assert (own.leaked, own.copied) == (1, 0)
    assert [(one.speaker, one.start, one.text) for one in own.utterances] == [
        ("Speaker 1", 9.0, "yes"),
        ("Speaker 2", 11.0, "we could"),
        ("Speaker 2", 14.0, "or not"),
        ("Speaker 2", 16.0, ""),
    ]
    assert [one.flags for one in own.utterances] == [(), (), ("unclear",), ()]


def test_a_stream_that_says_the_same_to_its_end_says_it_once() -> None:
    again = [("1", 1.0 + at, 1.5 + at, "Yeah.", 0.01 * (at + 1)) for at in range(9)]
    made = [
        written("a", Segment(0.0, 12.0), *again, ("2", 10.0, 11.0, "so we go", 0.2)),
        written("b", Segment(0.0, 12.0), ("1", 0.0, 4.0, "Yeah that is it", 0.1)),
    ]
    reading = read_answers(made)
    assert reading.faults == {"loop": 1}
    own = own_words(made, reading, None)
    assert [(one.start, one.text) for one in own.utterances] == [
        (0.0, "Yeah that is it"),
        (10.0, "so we go"),
    ]
    assert own.leaked == 1


def test_words_of_two_streams_stay_where_they_are_louder() -> None:
    made = [
        written("a", Segment(0.0, 9.0), ("1", 1.0, 3.0, "we could meet here", 0.01)),
        written("b", Segment(0.0, 9.0), ("1", 1.1, 3.1, "we could meet here", 0.1)),
        written("a", Segment(9.0, 19.0), ("1", 0.0, 3.0, "it is late now so", 0.02)),
        written("b", Segment(9.0, 19.0), ("1", 1.0, 3.0, "late now so", 0.1)),
    ]
    own = own_words(made, read_answers(made), LeakageSettings())
    assert (own.leaked, own.copied) == (0, 7)
    texts = {(one.speaker, one.text) for one in own.utterances}
    assert texts == {
        ("Speaker 1", "we could meet here"),
        ("Speaker 2", "it is"),
        ("Speaker 1", "late now so"),
    }
    both = own_words(made, read_answers(made), None)
    assert len(both.utterances) == 4


def test_a_speaker_is_heard_with_his_own_pauses() -> None:
    samples_cn = meeting().numpy()
    turns = [*TURNS, Turn(4.5, 4.8, "ben")]
    with SeparatedStreams(ChannelsInMemory(samples_cn), turns) as streams:
        signal = StreamSignal(InMemory(samples_cn[0]), turns, streams)
        items = signal.items(GroupSettings(margin_s=0.0))
    # half a second of another voice does not end his group; nobody else is in it
    assert items == [
        Item(Segment(0.0, 2.0), "ann"),
        Item(Segment(2.0, 4.8), "ben"),
        Item(Segment(4.0, 4.8), "cid"),
    ]


def test_a_clip_has_the_places_of_those_who_speak_in_it() -> None:
    samples_cn = meeting().numpy()
    channels: Any = ChannelsInMemory(samples_cn)
    signal = PlacedSignal(InMemory(samples_cn[2]), TURNS, channels, device="cpu")
    clip = signal.clip(Item(Segment(1.5, 4.5)), JointSettings())
    assert [place is not None for place in clip.places] == [True, True, True]
    assert clip.places[:2] == (signal.places["ann"], signal.places["ben"])
    heard = clip.heard()
    assert isinstance(heard, ArrayClip)
    assert np.array_equal(heard.samples_cn, samples_cn[:, 24_000:72_000])
    assert np.array_equal(heard.samples_n, samples_cn[2, 24_000:72_000])
    (place,) = signal.clip(Item(Segment(4.2, 4.3)), JointSettings()).places
    assert place == signal.places["cid"]
    alone = PlacedSignal(InMemory(samples_cn[2]), TURNS, None, device="cpu")
    one = alone.clip(Item(Segment(1.5, 4.5)), JointSettings()).heard()
    assert isinstance(one, ArrayClip)
    assert (one.samples_cn.shape, one.places) == ((1, 48_000), ())
