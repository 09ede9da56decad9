"""The whole model against golden intermediates, losses, gradients and answers."""

from __future__ import annotations

import json

import pytest
import torch

from meetscribe.errors import ShapeError
from meetscribe.joint.batch import Padded
from meetscribe.joint.checkpoint import load
from meetscribe.joint.prompt import IGNORED, TokenRow
from tests.joint import builders
from tests.joint.conftest import CASES

NAMES = {"sem": "semantic", "voi": "voice"}
MODES = {
    "f32": (torch.float32, torch.float32),
    "mix": (torch.float32, torch.float16),
    "f16": (torch.float16, torch.float16),
}
# mix has no stated limits; rounding to float16 turns last bits of float32 into steps of 4e-3
LOGITS = {"f32": 1e-3, "mix": 5e-3, "f16": 8e-2}
LOSS = {"f32": 1e-5, "mix": 1e-4, "f16": 2e-3}
TRAINING = {"train": ("batch", 800), "train_trunc": ("batch", 130), "train_ali": ("ali", 800)}


def close(found, expected, atol):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0, check_dtype=True)


@pytest.fixture(scope="module")
def half(goldens):
    return load(goldens.tiny, llm_dtype=torch.float16)


@pytest.fixture
def at(model, half):
    """Give the model in a mode of the goldens."""

    def choose(mode):
        llm, projected = MODES[mode]
        chosen = half if llm == torch.float16 else model
        chosen.projected_dtype = projected
        return chosen

    yield choose
    model.projected_dtype, half.projected_dtype = torch.float32, torch.float16


def given(model, goldens, tag, features=None):
    case, length = TRAINING[tag]
    heard = model.listen(features or model.features(goldens.clips(case)), apart=False)
    targets = [goldens.texts["targets"][name] for name in CASES[case]]
    rows = model.training_rows(heard, targets)
    rows = [TokenRow(row.ids[:length], row.labels[:length]) for row in rows]
    return model.training_input(heard, rows)


@pytest.mark.parametrize("case", CASES)
def test_every_step_to_the_language_model(model, goldens, io, case):
    features = model.features(goldens.clips(case))
    frames = model.encode(features, apart=False)
    projected = model.project(frames)
    heard = model.with_anchors(projected)
    close(features["semantic"].values_btd, io[f"{case}/fbank"], 2e-4)
    assert list(features["voice"].lens) == io[f"{case}/fbank_lens"].tolist()
    steps = {"enc_out": frames, "proj": projected, "anchored": heard}
    for short, name in NAMES.items():
        for step, found in steps.items():
            close(found[name].values_btd, io[f"f32/{case}/{short}_{step}"], 2e-4)
            lens = io[f"{case}/{short}_{step.removesuffix('_out')}_lens"]
            assert list(found[name].lens) == lens.tolist()
    prompt = model.prompt_input(heard)
    assert torch.equal(prompt.tokens.ids_bs, io[f"{case}/input_ids"])
    close(prompt.tokens.mask_bs.float(), io[f"f32/{case}/attention_mask"], 0)
    close(prompt.embeds_bsd, io[f"f32/{case}/inputs_embeds"], 2e-4)


@pytest.mark.parametrize("mode", ["mix", "f16"])
def test_projected_frames_are_rounded_to_the_format_asked_for(at, goldens, io, mode):
    model = at(mode)
    heard = model.listen(model.features(goldens.clips("batch")), apart=False)
    prompt = model.prompt_input(heard)
    expected = io[f"{mode}/batch/inputs_embeds"]
    assert prompt.embeds_bsd.dtype == expected.dtype
    # one step of float16 at values up to 8
    close(prompt.embeds_bsd, expected, 4e-3)
    if mode == "f16":
        close(heard["voice"].values_btd, io["f16/batch/voi_anchored"], 4e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_scores_and_answers(at, goldens, io, mode, case):
    model = at(mode)
    heard = model.listen(model.features(goldens.clips(case)), apart=False)
    prompt = model.prompt_input(heard)
    last = model.logits(prompt, last=1)[:, -1]
    close(last.float(), io[f"{mode}/{case}/logits_last"], LOGITS[mode])
    written = model.llm.generate(
        inputs_embeds=prompt.embeds_bsd,
        attention_mask=prompt.tokens.mask_bs,
        generation_config=model.generation_config(20),
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert torch.equal(written.sequences, io[f"{case}/generated_ids"])
    scores = torch.stack(written.logits, dim=1).float()
    close(scores, io[f"{mode}/{case}/step_logits"], LOGITS[mode])


@pytest.mark.parametrize("apart", [True, False])
def test_the_same_answers_batched_and_alone(model, goldens, io, apart):
    written = {}
    for case in CASES:
        heard = model.listen(model.features(goldens.clips(case)), apart=apart)
        written[case] = model.generate(heard, max_new_tokens=120)
        expected = io[f"{case}/generated_ids_full"].tolist()
        for answer, ids in zip(written[case], expected, strict=True):
            assert list(answer.ids) == ids[: len(answer.ids)]
            assert answer.closed
        assert [answer.text for answer in written[case]] == goldens.texts["modes"]["f32"][case][
            "text_full"
        ]
    assert written["batch"] == written["ami"] + written["ali"]


def test_a_clip_heard_apart_does_not_depend_on_its_neighbours(model, goldens):
    together = model.features(goldens.clips("batch"))
    alone = model.features(goldens.clips("ami"))
    expected = model.encode(alone, apart=True)["voice"].values_btd[0]
    found = model.encode(together, apart=True)["voice"].rows()[0]
    close(found, expected, 1e-5)
    padded = model.encode(together, apart=False)["voice"].rows()[0]
    assert (padded - expected).abs().max() > 0.1


def test_an_answer_that_runs_out_of_tokens_is_not_closed(model, goldens):
    heard = model.listen(model.features(goldens.clips("ami")))
    (answer,) = model.generate(heard, max_new_tokens=20)
    assert not answer.closed
    assert answer.text == goldens.texts["modes"]["f32"]["ami"]["text"][0]


def test_processors_see_what_was_written_and_change_what_comes(model, goldens):
    seen = []

    def only_newlines(written_bs, scores_bv):
        seen.append(tuple(written_bs.shape))
        return torch.full_like(scores_bv, -torch.inf).index_fill(1, torch.tensor([198]), 0.0)

    heard = model.listen(model.features(goldens.clips("batch")))
    answers = model.generate(heard, max_new_tokens=3, processors=[only_newlines])
    assert [answer.ids for answer in answers] == [(198,) * 3] * 2
    assert seen == [(2, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tag", TRAINING)
def test_loss(at, goldens, io, mode, tag):
    model = at(mode)
    batch = given(model, goldens, tag)
    assert torch.equal(batch.tokens.ids_bs, io[f"{tag}/input_ids"])
    assert torch.equal(batch.tokens.labels_bs, io[f"{tag}/labels"])
    loss = model.loss(batch)
    assert float(loss.mean) == pytest.approx(float(io[f"{mode}/{tag}/loss"]), abs=LOSS[mode])
    assert loss.accuracy == pytest.approx(float(io[f"{mode}/{tag}/acc"]), abs=1e-6)
    assert loss.num_tokens == goldens.texts["modes"][mode]["train"][tag]["n_label_tokens"]


def test_scores_of_a_training_batch(model, goldens, io):
    batch = given(model, goldens, "train")
    close(batch.embeds_bsd, io["f32/train/inputs_embeds"], 2e-4)
    close(batch.tokens.mask_bs.float(), io["f32/train/attention_mask"], 0)
    close(model.logits(batch), io["f32/train/logits"], 1e-3)


def test_gradients(goldens, io):
    model = load(goldens.tiny).requires_grad_()
    expected = goldens.tensors("grads_f32")
    # of the same features to the last bit, so that the limit can be half of the one stated
    heard = Padded(io["batch/fbank"], tuple(io["batch/fbank_lens"].tolist()))
    features = {"semantic": heard, "voice": heard}
    model.loss(given(model, goldens, "train", features)).mean.backward()
    found = {n: weight.grad for n, weight in model.named_parameters() if weight.grad is not None}
    assert found.keys() == expected.keys()
    far = {}
    for name, gradient in expected.items():
        error = float((found[name] - gradient).norm() / gradient.norm())
        if error > 1e-3:
            far[name] = error
    assert far == {}


def test_only_projectors_learn_when_only_they_are_asked_to(tmp_path):
    model = load(builders.write_checkpoint(tmp_path))
    assert not any(weight.requires_grad for weight in model.parameters())
    for stream in model.streams:
        model.get_submodule(stream.projector).requires_grad_()
    heard = model.listen(model.features([builders.clip(2.0)]))
    batch = model.training_input(heard, model.training_rows(heard, ["<text>\n</text>"]))
    model.loss(batch).mean.backward()
    learned = {n.split(".")[0] for n, weight in model.named_parameters() if weight.grad is not None}
    assert learned == {"semantic_projector", "voice_projector"}


def test_a_batch_without_an_answer_has_no_loss(model, goldens):
    heard = model.listen(model.features(goldens.clips("ami")))
    (row,) = model.training_rows(heard, ["x"])
    cut = TokenRow(row.ids[:40], row.labels[:40])
    with pytest.raises(ShapeError, match="no token of an answer"):
        model.loss(model.training_input(heard, [cut]))


def test_the_prompt_is_the_fixed_one_whatever_the_tokenizer_brings(model, goldens):
    assert model.chat.tokenizer.chat_template is not None
    assert model.chat.prompt == goldens.texts["prompt_string"]


def test_an_answer_that_holds_the_audio_token_is_refused(model, goldens):
    heard = model.listen(model.features(goldens.clips("ami")))
    with pytest.raises(ShapeError, match="3 audio tokens"):
        model.training_rows(heard, ["a <|AUDIO|> b"])
    with pytest.raises(ShapeError, match="2 answers for 1 clips"):
        model.training_rows(heard, ["a", "b"])


def test_labels_are_the_answer_and_what_closes_it(model):
    row = model.chat.training_row((2, 1), "<text>\n你好\n</text>")
    learned = [token for token in row.labels if token != IGNORED]
    assert model.chat.tokenizer.decode(learned) == "<text>\n你好\n</text><|im_end|>\n"
    prompt = model.chat.prompt_row((2, 1))
    assert row.ids[: len(prompt.ids)] == prompt.ids
    assert set(row.labels[: len(prompt.ids)]) == {IGNORED}


def test_a_clip_too_short_for_a_projected_frame_still_has_a_prompt(tmp_path):
    model = load(builders.write_checkpoint(tmp_path))
    heard = model.listen(model.features([builders.clip(0.1), builders.clip(1.0)]))
    assert heard["semantic"].lens == (0, 7)
    answers = model.generate(heard, max_new_tokens=4)
    assert len(answers) == 2


def test_the_large_language_model_fits_the_checkpoint_on_paper(goldens):
    from meetscribe.joint.llm import llm_config, new_llm

    about = json.loads((goldens.folder / "zipformer_large_keys.json").read_text())
    mapping = about["tagspeech_config_json"]["llm_config"]
    config = llm_config(mapping, where="config.json")
    with torch.device("meta"):
        llm = new_llm(config, dtype=torch.bfloat16)
    assert sum(weight.numel() for weight in llm.parameters()) == 7_615_616_512
    assert all(weight.is_meta for weight in llm.parameters())
