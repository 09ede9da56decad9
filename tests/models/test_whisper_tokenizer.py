"""Whisper's tokenizer: what published files lack, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers

from meetscribe.errors import WeightsError
from meetscribe.models import fetch
from meetscribe.models.whisper_tokenizer import load_tokenizer


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"model": {}}', '{"model": 1, "added_tokens": []}', "\udcff"],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match=r"tokenizer\.json: not a tokenizer") as caught:
        load_tokenizer(tmp_path)
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_merge_that_published_files_have_lost_is_put_back(tmp_path: Path) -> None:
    pieces = ["Ġ", "t", "h", "e", "o", "Ġt", "he", "Ġthe", "Ġto"]
    merges = [("h", "e"), ("Ġt", "he"), ("Ġt", "o")]
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE({piece: at for at, piece in enumerate(pieces)}, merges)
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    assert made.encode(" to the").tokens != ["Ġto", "Ġthe"]
    mended = load_tokenizer(tmp_path)
    assert mended.encode(" to the").tokens == ["Ġto", "Ġthe"]
    assert mended.decode(mended.encode("to the").ids) == "to the"


@pytest.mark.weights
def test_words_with_t_are_one_token_of_the_published_model() -> None:
    tokens = load_tokenizer(fetch("whisper-base")).encode(" the team", add_special_tokens=False)
    assert tokens.tokens == ["Ġthe", "Ġteam"]
