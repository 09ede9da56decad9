"""Any causal language model of transformers will do, and says so when it will not."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from meetscribe.errors import DependencyError, ModelError, WeightsError
from meetscribe.joint.checkpoint import load
from meetscribe.joint.llm import llm_config, load_llm, load_tokenizer
from meetscribe.joint.prompt import Chat
from tests.joint import builders

KINDS = {
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "llama": {},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "gemma3_text": {"head_dim": 8, "sliding_window": 16},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_gets_the_same_answer_alone_and_beside_others(tmp_path, kind):
    llm = builders.LLM | KINDS[kind] | {"model_type": kind}
    model = load(builders.write_checkpoint(tmp_path, llm=llm))
    clips = [builders.clip(seconds, seed=at) for at, seconds in enumerate((0.6, 3.1, 1.9))]
    together = model.generate(model.listen(model.features(clips)), max_new_tokens=12)
    alone = [
        model.generate(model.listen(model.features([clip])), max_new_tokens=12) for clip in clips
    ]
    assert [answer.ids for answer in together] == [answer.ids for (answer,) in alone]
    assert len({token for answer in together for token in answer.ids}) > 2


@pytest.mark.parametrize("composite", [False, True])
def test_a_model_whose_scores_are_made_by_its_embeddings(tmp_path, composite):
    llm = builders.LLM | {"model_type": "llama", "tie_word_embeddings": True}
    model = load(builders.write_checkpoint(tmp_path, llm=llm, composite=composite))
    assert model.llm.get_output_embeddings().weight is model.llm.get_input_embeddings().weight
    digits = model.llm.get_input_embeddings().weight[
        model.chat.tokenizer.convert_tokens_to_ids(list("0123456789"))
    ]
    torch.testing.assert_close(model.digits_kd, digits, atol=1e-3, rtol=0)


def test_the_audio_token_needs_no_embedding(tmp_path):
    folder = builders.write_checkpoint(tmp_path, llm=builders.LLM | {"vocab_size": 259})
    model = load(folder)
    assert model.chat.audio_id >= 259
    heard = model.listen(model.features([builders.clip(1.0)]))
    assert len(model.generate(heard, max_new_tokens=2)) == 1


def test_padding_with_the_token_that_closes_turns_masks_no_turn(tmp_path):
    model = load(builders.write_checkpoint(tmp_path))
    model.chat.tokenizer.pad_token = "<|im_end|>"  # noqa: S105 - no secret
    chat = Chat(model.chat.tokenizer, tags=["text", "speaker"])
    rows = [chat.training_row((1, 1), "a"), chat.training_row((3, 1), "a long answer")]
    batch = chat.batch(rows, left=False)
    assert chat.pad_id == chat.end_id
    assert batch.mask_bs.sum(dim=1).tolist() == [len(row.ids) for row in rows]
    learned = batch.labels_bs[0][batch.labels_bs[0] >= 0]
    assert chat.tokenizer.decode(learned) == "a<|im_end|>\n"


def test_a_gguf_file_needs_the_extra(tmp_path, monkeypatch):
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "gguf" else find(name, *rest),
    )
    for read in (lambda: load_llm(tmp_path, dtype=torch.float32), lambda: load_tokenizer(tmp_path)):
        with pytest.raises(DependencyError, match=r"small\.gguf") as caught:
            read()
        assert "meetscribe[joint]" in caught.value.hint


def test_a_kind_that_transformers_does_not_know_is_named():
    with pytest.raises(ModelError, match="like 'nonsense'"):
        llm_config({"model_type": "nonsense"}, where="config.json")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match="nowhere: not found"):
        load_llm(tmp_path / "nowhere", dtype=torch.float32)
