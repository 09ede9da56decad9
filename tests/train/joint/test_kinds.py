"""Both kinds of joint model, and the encoder alone, behind the same small interface."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meetscribe.errors import ConfigError
from meetscribe.joint.spatial_stream import ArrayClip
from meetscribe.joint.whisper import checkpoint as whisper_checkpoint
from meetscribe.train.joint.array_clips import array_clip_of
from meetscribe.train.joint.encoder import Pieces, SotTrainee
from meetscribe.train.joint.groups import Group
from meetscribe.train.joint.llm_trainee import LlmTrainee
from meetscribe.train.joint.parts import make_trainee
from meetscribe.train.joint.run import run
from meetscribe.train.joint.settings import EncoderSettings
from meetscribe.train.joint.training import MODEL
from meetscribe.train.machine import Machine
from meetscribe.types import Utterance
from tests.joint.whisper_builders import write_whisper
from tests.train.joint.tiny import group_maker, settings_of, tokenizer

HERE = Machine(device="cpu", workers=0, threads=1)


@pytest.fixture(scope="module")
def trainee(given_settings: dict[str, Any]) -> LlmTrainee:
    made = make_trainee(settings_of(given_settings), "cpu")
    assert isinstance(made, LlmTrainee)
    return made


@pytest.fixture(scope="module")
def groups(given_settings: dict[str, Any], place: Path) -> list[Group]:
    maker = group_maker(given_settings, place / "work")
    return [maker.make(number, 5.0, 2.0) for number in range(3)]


def learning(trainee: LlmTrainee) -> set[str]:
    return {name for name, one in trainee.network.named_parameters() if one.requires_grad}


def test_a_stage_trains_its_parameters_and_no_others(trainee: LlmTrainee) -> None:
    trainee.begin("projectors")
    projectors = learning(trainee)
    assert {name.partition(".")[0] for name in projectors} == {
        "semantic_projector", "voice_projector",
    }  # fmt: skip
    trainee.begin("lora")
    more = learning(trainee) - projectors
    assert projectors < learning(trainee)
    assert all(name.startswith("llm.") and name.endswith((".up", ".down")) for name in more)
    trainee.begin("projectors")
    assert learning(trainee) == projectors


def test_low_rank_changes_must_be_there_to_be_trained(given_settings: dict[str, Any]) -> None:
    model = {**given_settings["model"], "llm": {}}
    made = make_trainee(settings_of({**given_settings, "model": model}), "cpu")
    with pytest.raises(ConfigError, match="no low-rank changes"):
        made.begin("lora")


def test_the_loss_is_of_the_answer_alone(trainee: LlmTrainee, groups: list[Group]) -> None:
    model = trainee.model
    with torch.no_grad():
        loss, parts = trainee.loss(groups)
        expected = 0.0
        for group in groups:
            heard = model.listen(model.features([torch.from_numpy(group.samples_n)]))
            rows = model.training_rows(heard, [trainee._target(group)])
            answer = [label for label in rows[0].labels if label >= 0]
            given = model.training_input(heard, rows)
            scores = model.logits(given)[0, -len(answer) - 1 : -1].log_softmax(dim=-1)
            expected -= float(scores[range(len(answer)), answer].sum())
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert 0.0 <= float(parts["right"]) <= trainee.weight(groups)
    assert trainee.weight(groups) == sum(trainee.weight([group]) for group in groups)


@pytest.mark.parametrize(("more", "fits"), [(-1, False), (12, True)])
def test_what_has_no_room_does_not_fit(
    given_settings: dict[str, Any],
    trainee: LlmTrainee,
    groups: list[Group],
    more: int,
    fits: bool,
) -> None:
    model = trainee.model
    heard = model.listen(model.features([torch.from_numpy(groups[0].samples_n)]))
    (row,) = model.training_rows(heard, [trainee._target(groups[0])])
    llm = {**given_settings["model"]["llm"], "positions": len(row.ids) + more}
    given = {**given_settings, "model": {**given_settings["model"], "llm": llm}}
    assert make_trainee(settings_of(given), "cpu").fits(groups[0]) is fits


def test_constrained_texts_can_all_be_read(trainee: LlmTrainee, groups: list[Group]) -> None:
    with torch.no_grad():
        written = trainee.write(groups, constrained=True)
    for group, utterances in zip(groups, written, strict=True):
        for one in utterances:
            assert 0.0 <= one.start < one.end <= group.duration
    assert len(trainee.write(groups, constrained=False)) == len(groups)


def test_pieces_are_those_of_the_training() -> None:
    pieces = Pieces(tokenizer(), ["Words 1 of 2", "words 3"])
    made = pieces.of("Words 3 of 2 <sc> words 9")
    assert pieces.words(made)[1] == 1
    assert pieces.words(pieces.of("words 1 of 2"))[0] == "words 1 of 2"
    assert all(0 < piece < len(pieces) for piece in made)
    # 9 is in no text of the training
    assert pieces.words(made)[0] == "words 3 of 2 words"


def test_the_encoder_alone_learns_what_is_said(trainee: LlmTrainee, groups: list[Group]) -> None:
    texts = [one.text for group in groups for one in group.utterances]
    settings = EncoderSettings(width=16, layers=1, heads=2)
    torch.manual_seed(0)
    alone = SotTrainee(trainee.model, settings, texts, trainee._settings.order)
    alone.begin()
    assert all(alone.fits(group) for group in groups)
    optimiser = torch.optim.AdamW(alone.network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss, parts = alone.loss(groups)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()) / alone.weight(groups))
        assert float(loss.detach()) == pytest.approx(
            float(0.3 * parts["ctc"] + 0.7 * parts["attention"]), rel=1e-5
        )
    assert losses[-1] < 0.5 * losses[0]
    found = alone.score([groups], lambda *_: None)
    assert set(found) == {"wer", "wer_low", "wer_high", "changes"}


def test_more_words_than_frames_do_not_fit_the_encoder(trainee: LlmTrainee) -> None:
    words = " ".join(str(number) for number in range(60))
    alone = SotTrainee(trainee.model, EncoderSettings(), [words], trainee._settings.order)
    samples_n = np.zeros(16_000, np.float32)
    assert not alone.fits(Group(samples_n, (Utterance("a", 0.0, 0.9, words),)))
    assert not alone.fits(Group(samples_n, ()))
    assert alone.fits(Group(samples_n, (Utterance("a", 0.0, 0.9, "1 2 3"),)))


def test_the_small_model_trains_by_the_same_command(
    given_settings: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    base = tmp_path / "whisper"
    base.mkdir()
    whisper = {
        "base": str(write_whisper(base)),
        "layout": "none",
        "anchors": "none",
        "trailing_s": 0.1,
        "lora": {"rank": 2, "alpha": 2.0},
    }
    stages = [
        {"trains": "encoder", "steps": 2, "learning_rate": 1e-3, "warmup_steps": 1},
        {"trains": "lora", "steps": 2, "learning_rate": 1e-3, "warmup_steps": 1},
    ]
    given = {
        **given_settings,
        "model": {"kind": "whisper", "whisper": whisper},
        "stages": stages,
        "validation": {"groups": 1},
    }
    settings = settings_of(given)
    run(settings, tmp_path / "run", work=place / "work", machine=HERE)
    for stage in ("1-encoder", "2-lora"):
        with (tmp_path / "run" / stage / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2
        assert float(rows[0]["loss"]) == pytest.approx(
            sum(float(rows[0][name]) for name in ("words", "times", "speakers")), rel=1e-4
        )
    folder = tmp_path / "run" / MODEL
    assert whisper_checkpoint.read_settings(folder) == settings.model.whisper
    assert "tokens for 4 speakers" in (folder / "README.md").read_text()
    # and training may begin with it
    again = settings_of({**given, "model": {**given["model"], "start": str(folder)}})
    assert make_trainee(again, "cpu").network is not None


def test_an_array_is_heard_with_the_places_of_who_speaks(
    given_settings: dict[str, Any], place: Path, groups: list[Group]
) -> None:
    maker = group_maker(given_settings, place / "work", channels="all", voices=[0.0, 1.0])
    group = maker.make(1, 7.0, 6.0)
    clip = array_clip_of(group)
    assert isinstance(clip, ArrayClip)
    assert clip.samples_cn.shape == (3, len(group.samples_n))
    assert len(clip.places) == len(group.speakers)
    assert all(one is not None for one in clip.places)
    with pytest.raises(ConfigError, match="channels"):
        array_clip_of(groups[0])
