from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meetscribe.recognize import RecognizedRegion, convert_script
from meetscribe.recognize.script import convert_words
from meetscribe.types import Word


def spelled(*texts: str) -> list[Word]:
    return [Word(text, at, at + 1.0, 0.5) for at, text in enumerate(texts)]


def test_traditional_becomes_simplified_by_default_words_and_times_stay() -> None:
    region = RecognizedRegion(0.0, 3.0, tuple(spelled("會", "議,", "meeting", "開始")))
    (made,) = convert_script([region], "zh", "simplified")
    assert [word.text for word in made.words] == ["会", "议,", "meeting", "开始"]
    assert [word.start for word in made.words] == [0.0, 1.0, 2.0, 3.0]


def test_the_right_traditional_character_depends_on_its_neighbours() -> None:
    made = convert_words(spelled("头", "发"), "traditional")
    assert [word.text for word in made] == ["頭", "髮"]


def test_as_is_and_other_languages_are_left_alone() -> None:
    region = RecognizedRegion(0.0, 3.0, tuple(spelled("會", "議")))
    assert convert_script([region], "zh", "as-is") == [region]
    assert convert_script([region], "ja", "simplified") == [region]


@given(st.lists(st.text(alphabet="會议頭發干后裡a ,。", min_size=1, max_size=4), max_size=8))
def test_the_number_of_words_is_conserved(texts: list[str]) -> None:
    for script in ("simplified", "traditional"):
        made = convert_words(spelled(*texts), script)
        assert len(made) == len(texts)
