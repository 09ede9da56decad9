"""The joint engine from end to end, with random weights in the published layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from meetscribe import formats
from meetscribe.engines.joint_groups import utterance_groups
from meetscribe.engines.joint_kinds import Answer, answer_from_json, answer_to_json, budget
from meetscribe.engines.joint_models import JointModels, describe_joint, resolve_joint
from meetscribe.engines.joint_settings import DecodingSettings, JointSettings
from meetscribe.engines.joint_turns import (
    language_of,
    link_speakers,
    named,
    read_answers,
    turns_of,
)
from meetscribe.engines.joint_writing import Written
from meetscribe.engines.run import Run
from meetscribe.engines.timer import Timer
from meetscribe.errors import ConfigError, ModelError, NameNotFoundError, WeightsError
from meetscribe.ingest import open_mono, plan_mono, probe
from meetscribe.joint.parse import parse
from meetscribe.joint.serialise import serialise
from meetscribe.pipeline.runner import Runner
from meetscribe.pipeline.spec import load_spec
from meetscribe.types import (
    Activity,
    NoStore,
    Segment,
    Transcript,
    Turn,
    Utterance,
    no_progress,
)
from tests.conftest import SAMPLE, run_meetscribe
from tests.engines.stores import CountingStore
from tests.joint import builders

CLIP_S = 7.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.write_checkpoint(tmp_path_factory.mktemp("joint"))


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the first seconds of the sample, one channel: two people, a pause between them."""
    samples_nc, rate_hz = soundfile.read(SAMPLE, stop=round(CLIP_S * 16_000), dtype="float32")
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, samples_nc[:, 0], rate_hz)
    return path


def runner(checkpoint: Path, store: object = None, **settings: Any) -> Runner:
    overrides = {
        "model": str(checkpoint),
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    made = Runner("joint", load_spec("joint", overrides), threads=1, keep_stages=False)
    made.store = store or NoStore()  # type: ignore[assignment]
    return made


def run(checkpoint: Path, audio: Path, store: object = None, **settings: Any) -> Transcript:
    made = runner(checkpoint, store, **settings)
    return made.transcribe(made.probe([audio]))


@pytest.mark.weights
def test_random_weights_give_a_transcript_that_every_format_can_hold(
    checkpoint: Path, talk: Path
) -> None:
    store = CountingStore()
    settings = {"decoding__splits": 0, "groups__pause_s": 0.0}
    made = run(checkpoint, talk, store, decoding__max_new_tokens=160, **settings)
    groups = made.provenance["groups"]
    assert groups["count"] >= 2
    assert groups["failed"] == 0
    assert groups["repaired"] == 0
    assert groups["tokens"] > 0
    assert made.provenance["engine"] == "joint"
    hashes = made.provenance["models"]["joint"]["sha256"]
    assert {"config.json", "projectors.pt", "llm/model.safetensors"} <= hashes.keys()
    assert all(0 <= turn.start < turn.end <= CLIP_S + 1e-3 for turn in made.turns)
    assert {one.speaker for one in made.utterances} <= set(made.speakers)
    assert all(one.text and not one.words for one in made.utterances)
    for name in formats.names():
        formats.render(made, name)
    # a second run makes nothing again, and another way to cut does not need activity anew
    assert store.made.count("activity") == 1
    before = list(store.made)
    again = run(checkpoint, talk, store, decoding__max_new_tokens=160, **settings)
    assert store.made == before
    assert again.utterances == made.utterances
    assert again.turns == made.turns
    run(checkpoint, talk, store, decoding__max_new_tokens=96, **settings)
    assert store.made.count("activity") == 1
    assert store.made.count("joint") > before.count("joint")


@pytest.mark.weights
def test_what_cannot_be_read_is_counted_and_said(checkpoint: Path, talk: Path) -> None:
    made = run(
        checkpoint,
        talk,
        decoding__constrained=False,
        decoding__max_new_tokens=64,
        decoding__splits=0,
    )
    groups = made.provenance["groups"]
    assert groups["failed"] == groups["count"] > 0
    assert made.utterances == ()
    assert any("nothing could be read" in line for line in made.warnings)


@pytest.mark.weights
def test_a_group_that_is_too_full_is_cut_in_two(checkpoint: Path, talk: Path) -> None:
    store = CountingStore()
    whole = run(checkpoint, talk, store, decoding__max_new_tokens=64, decoding__splits=0)
    cut = run(checkpoint, talk, store, decoding__max_new_tokens=64, decoding__splits=1)
    assert whole.provenance["groups"]["out_of_tokens"] > 0
    assert any("ran out of tokens" in line for line in whole.warnings)
    assert cut.provenance["groups"]["count"] > whole.provenance["groups"]["count"]
    assert cut.provenance["groups"]["longest_s"] < whole.provenance["groups"]["longest_s"]


@pytest.mark.weights
def test_the_same_groups_in_other_batches_give_the_same_words(checkpoint: Path, talk: Path) -> None:
    one = {"decoding__max_new_tokens": 80, "decoding__splits": 0}
    alone = run(checkpoint, talk, **one, decoding__batch_s=0.1)
    together = run(checkpoint, talk, **one, decoding__batch_s=60.0)
    assert [(part.text, part.start) for part in alone.utterances] == [
        (part.text, part.start) for part in together.utterances
    ]


@pytest.mark.weights
def test_silence_is_an_empty_transcript(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    made = run(checkpoint, tmp_path / "silence.wav")
    assert (made.utterances, made.turns) == ((), ())
    assert made.provenance["groups"]["count"] == 0


@pytest.mark.weights
def test_the_command_line_takes_a_checkpoint_by_path(
    checkpoint: Path, talk: Path, tmp_path: Path
) -> None:
    pipeline = tmp_path / "quick.yaml"
    pipeline.write_text(
        "schema: 1\nengine: joint\njoint: {decoding: {max_new_tokens: 64, splits: 0}}\n"
    )
    done = run_meetscribe(
        *("transcribe", talk, "--pipeline", pipeline, "--model", checkpoint),
        *("-o", tmp_path, "-f", "rttm", "--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    read = formats.parse_file(tmp_path / "talk.json")
    assert read.provenance["settings"]["model"] == str(checkpoint)
    assert read.provenance["groups"]["count"] == 1
    assert (tmp_path / "talk.rttm").is_file()


@pytest.mark.weights
def test_the_speakers_of_the_sample_are_linked_when_the_model_writes_the_truth() -> None:
    recording = probe([SAMPLE])
    said = formats.parse_file(SAMPLE.with_suffix(".seglst.json"))
    true = Activity(tuple(Turn(one.start, one.end, one.speaker) for one in said.utterances))
    models = JointModels(JointSettings(), device="cpu", threads=1, offline=True)
    with open_mono(recording, plan_mono(recording)) as audio:
        groups = utterance_groups(true.turns, audio, models.settings.groups)
        written = [_as_written(group, said.utterances) for group in groups]
        reading = read_answers(written)
        run_ = Run(recording, "", NoStore(), no_progress, Timer())
        # nothing of the activity stage helps here
        linked = link_speakers(reading, written, Activity(()), audio=audio, run=run_, models=models)
    assert len(groups) > 5
    assert reading.failed == ()
    seconds: dict[tuple[str, str], float] = {}
    for part in linked:
        for one in said.utterances:
            common = min(part.end, one.end) - max(part.start, one.start)
            if common > 0 and part.text.split()[0] in one.text:
                key = (part.speaker, one.speaker)
                seconds[key] = seconds.get(key, 0.0) + part.end - part.start
    assert len({part.speaker for part in linked}) == len(said.speakers)
    best = {
        speaker: max(seconds, key=lambda key, who=speaker: (key[0] == who) * seconds[key])[1]
        for speaker, _ in seconds
    }
    assert len(set(best.values())) == len(best)
    right = sum(length for (one, other), length in seconds.items() if best[one] == other)
    assert right / sum(seconds.values()) > 0.95


def _as_written(group: Segment, utterances: tuple[Utterance, ...]) -> Written:
    inside = [
        Utterance(one.speaker, max(0.0, one.start - group.start), one.end - group.start, one.text)
        for one in utterances
        if group.start <= (one.start + one.end) / 2 < group.end
    ]
    return wrote(group, serialise(inside))


def wrote(group: Segment, text: str) -> Written:
    return Written(group, Answer(parse(text), 9, full=False))


def test_times_are_put_on_the_meetings_clock_and_inside_their_group() -> None:
    text = serialise([Utterance("x", 0.5, 1.5, "one"), Utterance("y", 1.0, 9.0, "two")])
    reading = read_answers([wrote(Segment(100.0, 102.0), text)])
    spans = [(one.utterance.start, one.utterance.end, one.utterance.text) for one in reading.said]
    assert spans == [(100.5, 101.5, "one"), (101.0, 102.0, "two")]
    assert reading.faults == {"outside-clip": 1}
    assert (reading.repaired, reading.failed) == (1, ())


def test_words_that_nobody_has_are_kept_apart() -> None:
    text = "<text>\n0.00-1.00>one\n1.00-2.00>two\n</text>\n<speaker>\n</speaker>"
    reading = read_answers([wrote(Segment(5.0, 7.0), text)])
    assert len({one.utterance.speaker for one in reading.said}) == 2
    assert not any(one.certain for one in reading.said)
    assert reading.faults["no-speaker"] == 2


def test_what_is_no_transcript_fails_and_an_empty_one_does_not() -> None:
    group = Segment(0.0, 3.0)
    texts = ["I cannot hear anything", serialise([])]
    reading = read_answers([wrote(group, text) for text in texts])
    assert reading.failed == (group,)
    assert reading.said == ()


def test_words_that_are_written_again_and_again_are_left_out() -> None:
    again = [("1", 0.5 * at, 0.5 * at + 0.4, "Yeah.") for at in range(2, 12)]
    turns = [
        Utterance(*turn)
        for turn in [
            ("1", 0.0, 1.0, "so I said"),
            *again,
            ("1", 7.0, 8.0, "Yeah. Right then."),
            ("2", 1.0, 2.0, "No no no no"),
            ("2", 2.0, 3.0, "no, well"),
            ("2", 4.0, 12.0, " ".join(["thank you all"] * 16)),
        ]
    ]
    reading = read_answers([wrote(Segment(10.0, 25.0), serialise(turns))])
    made = [(one.utterance.start, one.utterance.end, one.utterance.text) for one in reading.said]
    assert made == [
        (10.0, 11.0, "so I said"),
        (11.0, 11.4, "Yeah."),
        (11.0, 12.0, "No no no no"),
        (12.0, 13.0, "no, well"),
        (14.0, 14.5, "thank you all"),
        (pytest.approx(17.33, abs=0.1), 18.0, "Right then."),
    ]
    assert (reading.repaired, reading.failed) == (1, ())
    assert reading.faults == {"loop": 2}
    persons = named([(one, one.utterance.speaker) for one in reading.said])
    assert all("unclear" in one.flags for one in persons)
    alone = read_answers([wrote(Segment(10.0, 25.0), serialise(turns[:3]))])
    assert [one.looped for one in alone.said] == [False] * 3


def test_turns_of_a_speaker_that_touch_are_one() -> None:
    said = [Utterance("a", 0, 2, "x"), Utterance("b", 1, 3, "y"), Utterance("a", 2, 4, "z")]
    assert turns_of(said) == (Turn(0, 4, "a"), Turn(1, 3, "b"))


@pytest.mark.parametrize(
    ("text", "language"),
    [("我们开会", "zh"), ("会議です", ""), ("회의", ""), ("bonjour", ""), ("", ""), ("12", "")],
)
def test_only_chinese_is_told_by_its_letters(text: str, language: str) -> None:
    assert language_of([Utterance("a", 0, 1, text)]) == language


def test_groups_are_only_as_long_as_the_language_model_can_hold(tmp_path: Path) -> None:
    small = builders.LLM | {"max_position_embeddings": 600}
    folder = builders.write_checkpoint(tmp_path, llm=small)
    settings = JointSettings(model=str(folder))
    models = JointModels(settings, device="cpu", threads=1, offline=True)
    longest_s = models.kind().longest_s(settings)
    assert 5 < longest_s < 20
    decoding = DecodingSettings(max_new_tokens=590)
    with pytest.raises(ModelError, match="600 positions"):
        models.kind().longest_s(settings.model_copy(update={"decoding": decoding}))


def test_an_answer_is_kept_as_it_was() -> None:
    for text in (serialise([Utterance("x", 0.5, 1.5, "one")]), "<text>\n0.00-1.00>two", "nothing"):
        answer = Answer(parse(text), 7, full=True)
        assert answer_from_json(json.loads(json.dumps(answer_to_json(answer)))) == answer


def test_tokens_are_given_by_length() -> None:
    assert budget(30.0, JointSettings()) > budget(3.0, JointSettings()) > 100
    fixed = JointSettings(decoding=DecodingSettings(max_new_tokens=77))
    assert budget(30.0, fixed) == budget(3.0, fixed) == 77


@pytest.mark.parametrize("name", ["config.json", "llm", "voice_encoder", "projectors.pt"])
def test_a_checkpoint_with_a_part_missing_is_refused_before_anything_runs(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "joint")
    part = folder / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    models = JointModels(JointSettings(model=str(folder)), device="cpu", threads=1, offline=True)
    with pytest.raises(WeightsError, match=name) as caught:
        models.fetch(no_progress)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("model", "kind", "said"),
    [
        ("small", ConfigError, "'small' is a model for recognition"),
        ("./nowhere", NameNotFoundError, "no such folder"),
        ("nowhere", NameNotFoundError, "no such folder"),
    ],
)
def test_what_is_no_joint_model_is_refused(model: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        resolve_joint(model, offline=True)
    assert "AudenAI/TagSpeech-AMI" in caught.value.hint  # type: ignore[attr-defined]


def test_no_name_is_no_joint_model() -> None:
    with pytest.raises(ConfigError, match="model: "):
        load_spec("joint", {"model": ""})


def test_the_model_that_comes_along_is_the_default() -> None:
    model = JointSettings().model
    folder = resolve_joint(model, offline=True)
    assert {"config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40e6
    assert describe_joint(model)["sha256"].keys() == {"config.json", "model.safetensors"}


def test_a_name_on_the_hub_that_is_not_here_is_said_offline() -> None:
    with pytest.raises(WeightsError, match=r"AudenAI/TagSpeech-AMI: not in the hub's cache"):
        resolve_joint("AudenAI/TagSpeech-AMI", offline=True)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    for name, content, said in (
        ("model.bin", "", "a Whisper model"),
        ("config.json", '{"model_type": "llama"}', "expected 'tagspeech'"),
        ("config.json", "{", "not JSON"),
    ):
        folder = tmp_path / said.split()[-1].strip("'")
        folder.mkdir()
        (folder / name).write_text(content)
        settings = JointSettings(model=str(folder))
        models = JointModels(settings, device="cpu", threads=1, offline=True)
        with pytest.raises(ModelError, match=said):
            models.fetch(no_progress)


def test_another_byte_of_the_checkpoint_is_another_run(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    assert describe_joint(str(folder)) == describe_joint(str(checkpoint))
    (folder / "llm" / "config.json").write_text("{}")
    assert describe_joint(str(folder)) != describe_joint(str(checkpoint))
    assert describe_joint("AudenAI/TagSpeech-AMI")["origin"] == "AudenAI/TagSpeech-AMI"
