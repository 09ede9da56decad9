"""The small joint model: begins as plain Whisper, learns, and writes in batches as alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from meetscribe.errors import ConfigError, ModelError, OutputError, ShapeError, WeightsError
from meetscribe.joint.whisper import checkpoint
from meetscribe.joint.whisper.network import WhisperJoint
from meetscribe.joint.whisper.settings import WhisperJointSettings
from meetscribe.joint.whisper.writing import Writer
from meetscribe.models import fetch
from meetscribe.models.whisper_weights import load_whisper
from meetscribe.onestage.features import log_mel
from meetscribe.onestage.tokens import Vocabulary
from meetscribe.onestage.whisper import Whisper, make_whisper
from meetscribe.train.joint.whisper_trainee import WhisperJointTrainee
from tests.conftest import SAMPLE
from tests.joint import whisper_builders as builders
from tests.joint.whisper_builders import END, FIRST, SPEAKER, Group, noise, said
from tests.onestage.conftest import SHAPE

TOKENS = torch.tensor([[END + 1, FIRST, 3, 4, FIRST + 20]])
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"layout": "none", "anchors": "none"},
    {"layout": "none", "anchors": "both"},
    {"anchors": "both", "stack": 8},
    {"layout": "concatenated", "anchors": "none"},
    {"layout": "concatenated", "anchors": "both"},
]
ids = [", ".join(f"{key} {value}" for key, value in one.items()) or "default" for one in LAYOUTS]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return builders.vocabulary(tmp_path_factory.mktemp("words"))


def plain(whisper: Whisper, clip: torch.Tensor, trailing_s: float) -> tuple[torch.Tensor, ...]:
    mel = log_mel(clip, num_bins=whisper.shape.num_mel_bins, trailing_s=trailing_s)
    encoded = whisper.encoder(mel[None])
    decoder = whisper.decoder
    return encoded, decoder.logits(decoder(TOKENS, decoder.begin(encoded)))


@pytest.mark.parametrize("given", [one for one in LAYOUTS if one.get("layout") != "concatenated"])
def test_before_training_it_is_plain_whisper(vocabulary: Vocabulary, given: dict[str, Any]) -> None:
    network = builders.network(vocabulary, **given)
    clip = noise(1.3)
    with torch.no_grad():
        encoded, logits = plain(builders.whisper(), clip, 0.1)
        heard = network.hear([clip])
        made = network.logits(network(heard, TOKENS))
    assert torch.equal(heard.memory_bmd, encoded)
    assert torch.equal(made[..., : SHAPE.vocab_size], logits)
    assert made.shape[-1] == SHAPE.vocab_size + 3


@pytest.mark.weights
def test_before_training_whisper_base_is_whisper_base() -> None:
    samples_nc, _ = soundfile.read(SAMPLE, dtype="float32", always_2d=True, stop=6 * 16_000)
    clip = torch.from_numpy(np.ascontiguousarray(samples_nc[:, 0]))
    folder = fetch("whisper-base")
    network = checkpoint.make(WhisperJointSettings())
    whisper = make_whisper(load_whisper(folder))
    decoder = whisper.decoder
    start = network.vocabulary.start("en", timestamps=True)
    tokens = torch.tensor([[*start, network.vocabulary.first_timestamp, 400, 2000]])
    with torch.no_grad():
        encoded = whisper.encoder(log_mel(clip, trailing_s=1.0)[None])
        logits = decoder.logits(decoder(tokens, decoder.begin(encoded)))
        heard = network.hear([clip])
        made = network.logits(network(heard, tokens))
        size = whisper.shape.vocab_size
        assert torch.equal(heard.memory_bmd, encoded)
        assert torch.equal(made[..., :size], logits)
        # where a speaker is to be named the new tokens are in reach
        scores = made[0].log_softmax(dim=-1)
        assert scores[len(start), size:].max() > -8
    assert sum(one.numel() for one in network.trainable().values()) * 2 < 40e6
    # the rules alone make it name speakers
    (answer,) = Writer(network).write([clip], budgets=[40])
    assert answer.parsed.repairs == ()
    assert "1" in {one.speaker for one in answer.parsed.utterances}


@pytest.mark.parametrize("given", LAYOUTS, ids=ids)
def test_a_batch_is_heard_and_written_as_alone(
    vocabulary: Vocabulary, given: dict[str, Any]
) -> None:
    network = builders.network(vocabulary, **given)
    _disturb(network)
    clips = [noise(length, seed) for seed, length in enumerate((0.5, 1.7, 0.03, 1.21))]
    builders.assert_heard_as_alone(network, clips)
    writer = Writer(network)
    for constrained in (True, False):
        batch = writer.write(clips, constrained=constrained)
        single = [writer.write([clip], constrained=constrained)[0] for clip in clips]
        assert [one.tokens for one in batch] == [one.tokens for one in single]
    assert len({one.tokens for one in batch}) > 1


def _disturb(network: WhisperJoint) -> None:
    """Give everything that can learn some value, as if it had learnt."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in network.trainable().values():
            one.add_(0.1 * torch.randn(one.shape, generator=draw))


def test_voices_reach_the_memory_where_they_sound(vocabulary: Vocabulary) -> None:
    network = builders.network(vocabulary, anchors="none")
    _disturb(network)
    clip = noise(1.0)
    with torch.no_grad():
        with_voices = network.hear([clip]).memory_bmd
        assert network.join is not None
        network.join.weight.zero_()
        without = network.hear([clip]).memory_bmd
    change_s = (with_voices - without).abs().amax(dim=(0, 2))
    # 50 frames of sound, 5 of the silence after it
    assert (change_s[:50] > 0).all()
    assert (change_s[50:] == 0).all()
    # four frames of 20 ms share what is added to them
    added_sd = (with_voices - without)[0, :48].unflatten(0, (12, 4))
    torch.testing.assert_close(added_sd, added_sd[:, :1].expand_as(added_sd), atol=1e-4, rtol=1e-3)


def test_frames_behind_are_told_their_time_by_the_tokens_of_whisper(
    vocabulary: Vocabulary,
) -> None:
    network = builders.network(vocabulary, layout="concatenated")
    clip = noise(1.0)
    with torch.no_grad():
        told = network.hear([clip]).memory_bmd
        assert network.voice_anchor is not None
        weight = network.voice_anchor.weight.clone()
        network.voice_anchor.weight.zero_()
        untold = network.hear([clip]).memory_bmd
        table = network.whisper.decoder.embed_tokens.weight
        expected = table[FIRST : FIRST + 50 : 4] @ weight.T
    assert told.shape[1] == 50 + 5 + 13
    torch.testing.assert_close((told - untold)[0, 55:], expected, atol=1e-5, rtol=1e-4)


def test_what_is_too_long_is_refused(vocabulary: Vocabulary) -> None:
    network = builders.network(vocabulary)
    assert network.longest_s == 2.0
    assert network.hear([noise(2.0)]).lens == [100]
    with pytest.raises(ShapeError, match=r"clip of 2\.02 s, expected at most 2 s"):
        network.hear([noise(2.001)])
    with pytest.raises(ShapeError, match="no clips"):
        network.hear([])
    with pytest.raises(ShapeError, match="without CAM"):
        WhisperJoint(builders.whisper(), None, vocabulary, builders.settings())


@pytest.mark.parametrize("given", LAYOUTS, ids=ids)
def test_everything_that_can_learn_learns(vocabulary: Vocabulary, given: dict[str, Any]) -> None:
    network = builders.network(vocabulary, **given)
    trainee = WhisperJointTrainee(network.train())
    group = Group(noise(0.8).numpy(), said(("a", 0.0, 0.5, "we meet"), ("b", 0.3, 0.7, "no")))
    optimiser = torch.optim.SGD(network.trainable().values(), lr=0.01)
    frozen = {
        name: one.clone()
        for name, one in network.state_dict().items()
        if not _learns(network, name)
    }
    for _ in range(3):
        optimiser.zero_grad()
        trainee.loss([group])[0].backward()
        optimiser.step()
    for name, one in network.trainable().items():
        assert one.grad is not None, name
        # the third speaker is not named here, so only its score learns
        assert one.grad.abs().sum() > 0, name
    for name, one in frozen.items():
        assert torch.equal(network.state_dict()[name], one), name


def _learns(network: WhisperJoint, name: str) -> bool:
    return name in network.trainable()


def test_the_loss_is_the_cross_entropy_of_the_answers(vocabulary: Vocabulary) -> None:
    trainee = WhisperJointTrainee(builders.network(vocabulary))
    groups = [
        Group(noise(1.2, 1).numpy(), said(("x", 0.1, 0.6, "we meet"), ("y", 0.5, 1.0, "yes"))),
        Group(noise(0.7, 2).numpy()),
    ]
    loss, parts = trainee.loss(groups)
    assert trainee.weight(groups) == 11
    assert tuple(parts) == tuple(trainee.columns)
    assert float(sum(parts.values())) == pytest.approx(loss.item(), rel=1e-5)
    expected = 0.0
    for group in groups:
        answer = trainee._writer.form.write(group.utterances, group.duration)
        text = [END + 1, *answer]
        heard = trainee.network.hear([torch.from_numpy(group.samples_n)])
        scores = trainee.network.logits(trainee.network(heard, torch.tensor([text[:-1]])))[0]
        expected -= scores.log_softmax(dim=-1)[range(len(answer)), answer].sum().item()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_who_said_what_and_when_is_learnt(vocabulary: Vocabulary) -> None:
    trainee = WhisperJointTrainee(builders.network(vocabulary))
    groups = [
        Group(noise(0.8, 1).numpy(), said(("a", 0.0, 0.4, "we meet"), ("b", 0.3, 0.8, "no"))),
        Group(noise(0.8, 2).numpy(), said(("a", 0.1, 0.6, "yes"))),
        Group(noise(0.6, 3).numpy()),
    ]
    optimiser = torch.optim.Adam(trainee.network.trainable().values(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        loss, _ = trainee.loss(groups)
        if loss.item() < 0.02 * trainee.weight(groups):
            break
        loss.backward()
        optimiser.step()
    expected = [
        said(("1", 0.0, 0.4, "we meet"), ("2", 0.3, 0.8, "no")),
        said(("1", 0.1, 0.6, "yes")),
        (),
    ]
    for constrained in (True, False):
        assert trainee.write(groups, constrained=constrained) == expected
    # merged for decoding it writes the same
    writer = Writer(trainee.network.for_decoding())
    assert not any(one.requires_grad for one in trainee.network.parameters())
    answers = writer.write([torch.from_numpy(group.samples_n) for group in groups])
    assert [one.parsed.utterances for one in answers] == expected
    assert not any(one.full for one in answers)


def test_what_fits_and_what_does_not(vocabulary: Vocabulary) -> None:
    trainee = WhisperJointTrainee(builders.network(vocabulary))
    short = said(("a", 0.0, 1.0, "we meet"))
    many = said(*((name, 0.0, 1.0, "no") for name in "abcd"))
    # 40 positions, the start takes one; the last token is only written
    most = said(("a", 0.0, 1.0, " ".join(["no"] * 36)))
    more = said(("a", 0.0, 1.0, " ".join(["no"] * 37)))
    for seconds, utterances, fits in [
        (2.0, short, True),
        (2.01, short, False),
        (2.0, many, False),
        (2.0, most, True),
        (2.0, more, False),
        (0.01, (), False),
        (1.0, (), True),
    ]:
        group = Group(noise(seconds).numpy(), utterances)
        assert trainee.fits(group) == fits
    fullest = Group(noise(2.0).numpy(), most)
    assert trainee.weight([fullest]) == 40
    assert trainee.loss([fullest])[0].isfinite()


def test_a_stage_lets_only_its_parameters_learn(vocabulary: Vocabulary) -> None:
    trainee = WhisperJointTrainee(builders.network(vocabulary))

    def learning() -> set[str]:
        return {name for name, one in trainee.network.named_parameters() if one.requires_grad}

    everything = set(trainee.network.trainable())
    trainee.begin("encoder")
    assert all(name.startswith("whisper.encoder") or "added" in name for name in learning())
    assert len(learning()) > 1
    trainee.begin("projectors")
    assert all(not name.startswith("whisper.") or "added" in name for name in learning())
    assert "join.weight" in learning()
    trainee.begin("lora")
    assert learning() == everything
    one_stream = WhisperJointTrainee(builders.network(vocabulary, layout="none"))
    with pytest.raises(ConfigError, match="stage 'projectors'"):
        one_stream.begin("projectors")


def test_the_rules_end_every_answer_within_its_tokens(vocabulary: Vocabulary) -> None:
    network = builders.network(vocabulary)
    _disturb(network)
    writer = Writer(network)
    clips = [noise(0.2 + 0.3 * seed, seed) for seed in range(6)]
    for budget in (1, 3, 5, 6, 17, 1000):
        for answer in writer.write(clips, budgets=[budget] * len(clips), max_speakers=2):
            assert len(answer.tokens) <= min(budget, 40)
            assert answer.tokens[-1] == END
            assert answer.parsed.repairs == ()
            assert {one.speaker for one in answer.parsed.utterances} <= {"1", "2"}
    with pytest.raises(ConfigError, match="'de'"):
        writer.write(clips, language="de")
    assert writer.write(clips[:1], durations=[0.1])[0].parsed.in_clip(0.1).repairs == ()
    assert SPEAKER not in writer.write(clips, budgets=[4] * 6)[0].tokens


@pytest.mark.weights
def test_a_model_is_kept_on_disk(tmp_path: Path) -> None:
    base = builders.write_whisper(_folder(tmp_path / "whisper"))
    settings = builders.settings(base=str(base))
    torch.manual_seed(0)
    trainee = WhisperJointTrainee.make(settings)
    _disturb(trainee.network)
    with torch.no_grad():  # files have half precision
        for one in trainee.network.trainable().values():
            one.copy_(one.half())
    trainee.begin("projectors")
    folder = tmp_path / "new" / "model"
    trainee.save(folder, {"step": 7})
    again = WhisperJointTrainee.load(folder)
    groups = [Group(noise(0.8, seed).numpy()) for seed in range(2)]
    assert again.write(groups, constrained=True) == trainee.write(groups, constrained=True)
    assert again.network.trainable().keys() == trainee.network.trainable().keys()
    for name, one in trainee.network.trainable().items():
        assert torch.equal(again.network.trainable()[name], one), name
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert told["model_type"] == "whisper-joint"
    assert told["about"] == {"step": 7}
    assert checkpoint.is_whisper_joint(folder)
    assert not checkpoint.is_whisper_joint(base)
    _check_damage(folder)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _check_damage(folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    text, data = config.read_text(encoding="utf-8"), weights.read_bytes()
    told = json.loads(text)
    wrong = [
        ("{", WeightsError, "not JSON"),
        ("[]", ModelError, "model_type ''"),
        (json.dumps({**told, "schema": 9}), ModelError, "schema 9, expected 1"),
        (json.dumps({**told, "settings": 1}), WeightsError, "no settings"),
        (json.dumps({**told, "settings": {"layers": 1}}), ConfigError, "layers"),
        (json.dumps({**told, "settings": {**told["settings"], "stack": 2}}), ModelError, "linear1"),
    ]
    for content, kind, said_ in wrong:
        config.write_text(content, encoding="utf-8")
        with pytest.raises(kind, match=said_) as caught:
            checkpoint.load(folder)
        assert "\n" not in caught.value.message
    config.write_text(text, encoding="utf-8")
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        checkpoint.load(folder)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        checkpoint.load(folder)
    config.unlink()
    with pytest.raises(WeightsError, match="No such file"):
        checkpoint.load(folder)


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.save(builders.network(vocabulary), tmp_path / "file" / "model", {})
