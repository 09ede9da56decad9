"""Normalisers: the goldens, each convention's own examples, and what must hold for any text."""

from __future__ import annotations

import json
import re
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meetscribe.errors import ConfigError, DependencyError, NameNotFoundError
from meetscribe.evaluate.normalise import (
    choose,
    english,
    get,
    is_chinese,
    names,
    numbers_chinese,
    numbers_english,
    tokens,
)
from meetscribe.evaluate.normalise.basic import HAN
from tests.conftest import DATA

GOLDENS = DATA.parent / "goldens" / "scoring" / "expected.json"

VARIANTS = [
    (name, fillers, numerals)
    for name in names()
    for fillers in ("keep", "drop")
    for numerals in ("keep", "unify")
]
PIECES = (
    "it's 1,000 5% $5 $ % 100 21st 90s mr. uh hmm mm-hmm [x] (y) <z> ( < ' ’ . ... £5 5.5 can't "
    "'d been 's gotta wi fi colour okay! é ﬁ ² ½ ٣ İ ß one hundred and two a point first per cent "
    "O K UH HUH er 一 二 三百 二十一 两 万 亿 十 零 〇 千 1 2 12 3.5 百分之 嗯 啊 會議 一起 <sil> "
    "<%> <s il> ， 。 ！ Ａ ｂ １２ ` & 乾 裡 \ud800 \x00 \u200b \u0301 ﷽"
)
# bits of conventions glued together in every way, with any character in between
texts = st.lists(st.sampled_from([*PIECES.split(), " "]) | st.characters(), max_size=12).map(
    "".join
)


def normalised(name: str, text: str, **variants: str) -> str:
    return get(name, **variants)(text)


class TestBasic:
    def test_every_golden_example(self) -> None:
        if not GOLDENS.is_file():
            pytest.skip("no shared goldens here")
        examples = json.loads(GOLDENS.read_text(encoding="utf-8"))["normaliser"]["examples"]
        basic = get("basic")
        for known in examples:
            text = basic(known["input"])
            assert " ".join(tokens(text, "word")) == known["word"]
            assert tokens(text, "char") == known["char"]
            assert tokens(text, "mixed") == known["mixed"]
        assert len(examples) >= 13

    def test_fillers_of_both_languages_can_go(self) -> None:
        assert normalised("basic", "Mm-hmm, 嗯好啊 uh OK", fillers="drop") == "好 ok"

    def test_chinese_numerals_are_unified_only_beside_chinese(self) -> None:
        assert normalised("basic", "在二〇二三年", numerals="unify") == "在2023年"
        assert normalised("basic", "room 3", numerals="unify") == "room 3"


class TestChime8:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                'Hello, World! hm hmm [noise] wi-fi word-word 1.1 11 Mr. then," said',
                "hello world wifi word word 1.1 eleven mister then said",
            ),
            ("Oh [unintelligible] <sil> one (laughs) of them", "oh one of them"),
            (
                "she's been, he's like, it’s gotta, let's",
                "she has been he is like it has got to let us",
            ),
            ("won't can't didn't ain't shan't", "will not can not did not ain not shall not"),
            ("Dr. Kim Jr., St. Ives, Mrs.", "doctor kim junior saint ives missus"),
            ("mm-hmm uh-huh ahh umm eh ha", ""),
            ("ohhh ooh ho wow", "oh oh oh wow"),
            ("okay, everyday setup goin", "ok every day set up going"),
            ("The colour of archaeology", "the color of archeology"),
            ("1,000 100 101 0 000", "thousand hundred one hundred one zero thousand"),
            ("in 1985, 0.5", "in 1985 0.5"),
            ("$5 5$ 5% £5", "five dollars five dollars five percent £5"),
            (
                "the 2nd, 9th, 20th, 21st in the 90s",
                "the second ninth twentieth 21st in the nineties",
            ),
            ("naïve café, Łódź", "naive cafe lodz"),
            ("sci-fi", "swifi"),
        ],
    )
    def test_follows_the_convention(self, text: str, expected: str) -> None:
        assert normalised("chime8", text) == expected

    @pytest.mark.parametrize(
        ("spoken", "written"),
        [
            ("two thousand twenty three", "2023"),
            ("one hundred and five", "105"),
            ("a hundred", "100"),
            ("one point five million dollars", "$1.5 million"),
            ("twelve per cent", "12%"),
            ("the one hundred twenty first", "the 121st"),
            ("zero zero seven", "007"),
            ("nineteen and five", "19 and 5"),
        ],
    )
    def test_unified_numbers_are_words(self, spoken: str, written: str) -> None:
        unified = get("chime8", numerals="unify")
        assert unified(spoken) == unified(written)
        assert not re.search(r"\d", unified(written))

    def test_dropping_fillers_takes_er_and_keeps_oh(self) -> None:
        assert normalised("chime8", "er, oh, erm yes", fillers="drop") == "oh yes"

    def test_names_the_missing_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "whisper_normalizer.english", None)
        english._library.cache_clear()
        with pytest.raises(DependencyError, match="whisper_normalizer"):
            english._library()


class TestWhisperAndAmi:
    def test_whisper_writes_digits(self) -> None:
        assert (
            normalised("whisper", "It cost one thousand dollars, um, okay") == "it cost $1000 okay"
        )

    def test_whisper_survives_a_number_that_its_library_refuses(self) -> None:
        assert normalised("whisper", "1" * 5000) == "1" * 5000

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Mm-hmm. Uh-huh, um, O_K, it's 5!", "MM-HMM UH-HUH UM OK IT'S 5"),
            ("o. k. ok Okay", "OK OK OKAY"),
        ],
    )
    def test_ami_is_upper_case_with_fillers(self, text: str, expected: str) -> None:
        assert normalised("ami", text) == expected

    def test_ami_variants(self) -> None:
        assert (
            normalised("ami", "Mm-hmm, er, 21 oh", fillers="drop", numerals="unify")
            == "TWENTY ONE OH"
        )


class TestChinese:
    def test_m2met_to_the_letter(self) -> None:
        text = "嗯<sil>，`ａb&,丶、好。吗？<%><->！： 會 １"
        assert normalised("m2met", text) == "嗯AB好吗！： 會 １"
        assert tokens(normalised("m2met", text), "char") == list("嗯AB好吗！：會１")

    def test_m2met_leaves_full_width_letters_that_the_script_does_not_name(self) -> None:
        assert normalised("m2met", "Ｔｔ好ｚ") == "ＴT好Ｚ"

    def test_zh_is_simplified_without_marks(self) -> None:
        text = "會議：“深度學習”……Ｗｉ-Ｆｉ_６，don't 裡\u200b面！<space>"
        assert normalised("zh", text) == "会议深度学习wi fi 6dont 里面"

    def test_fillers_can_go(self) -> None:
        assert normalised("zh", "嗯，對啊！OK啊yes", fillers="drop") == "对ok yes"
        assert normalised("m2met", "呃哦", fillers="drop") == ""

    @pytest.mark.parametrize(
        ("spoken", "written", "unified"),
        [
            ("二零二三年", "2023年", "2023年"),
            ("二〇二三", "2023", "2023"),
            ("三百二十一", "321", "321"),
            ("百分之五", "5%", "百分之五"),
            ("百分之二十点五", "20.5%", "百分之20点五"),
            ("三点一四", "3.14", "三点14"),
            ("一万五", "1万5", "15000"),
            ("一万零五", "10,005", "10005"),
            ("两千零二十三", "2023", "2023"),
            ("二十万", "20万", "200000"),
            ("一亿五千万", "1亿5千万", "150000000"),
            ("一万亿", "1000000000000", "1000000000000"),
            ("二十，三十", "20、30", "2030"),
            ("十个", "10个", "10个"),
            ("三个", "3个", "三个"),
            ("两个", "2个", "二个"),
            ("第一", "第1", "第一"),
        ],
    )
    def test_numerals_are_unified(self, spoken: str, written: str, unified: str) -> None:
        zh = get("zh", numerals="unify")
        assert zh(spoken) == zh(written) == unified

    def test_traditional_numerals_are_read(self) -> None:
        assert normalised("m2met", "兩萬，三億！", numerals="unify") == "20000300000000！"

    @pytest.mark.parametrize(
        "text", ["一起一些一个一下", "万一", "千万不要", "百万", "两三百", "三十零"]
    )
    def test_words_and_what_is_no_number_stay(self, text: str) -> None:
        assert normalised("zh", text, numerals="unify") == text

    def test_digits_beside_latin_stay(self) -> None:
        assert normalised("zh", "iphone 6 和mp3", numerals="unify") == "iphone 6 和mp3"


class TestChoice:
    def test_unknown_name_gets_near_ones(self) -> None:
        with pytest.raises(NameNotFoundError) as caught:
            get("chime")
        assert caught.value.hint == "did you mean: chime8, whisper?"
        with pytest.raises(NameNotFoundError) as caught:
            get("qqq")
        assert "basic, chime8" in caught.value.hint

    def test_unknown_variant_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="keep or drop"):
            get("zh", fillers="maybe")  # type: ignore[arg-type]

    def test_auto_goes_by_the_larger_part_of_the_letters(self) -> None:
        assert choose("auto", ["我们用 Python", "好的好的好的"]).name == "zh"
        assert choose("auto", ["we say 你好"]).name == "chime8"
        assert choose("auto", []).name == "chime8"
        assert choose("ami", ["好"]).name == "ami"
        assert not is_chinese(["ほとんど漢字ではない"])

    def test_versions_name_the_variants(self) -> None:
        versions = {get(name, fillers=f, numerals=n).version for name, f, n in VARIANTS}
        assert len(versions) == len(VARIANTS)
        assert choose("auto", ["好"], fillers="drop", numerals="unify").version == (
            "zh/1+nofillers+numerals"
        )


@pytest.mark.parametrize(("name", "fillers", "numerals"), VARIANTS)
@given(text=texts | st.text(max_size=40))
@example(text="<<sil>sil>好")
@example(text="e.\u0301")
@example(text="\ud800<")
@example(text="二嗯十")
@settings(max_examples=60, deadline=None)
def test_any_text_is_taken_and_settled(name: str, fillers: str, numerals: str, text: str) -> None:
    normaliser = get(name, fillers=fillers, numerals=numerals)
    once = normaliser(text)
    if name != "whisper":
        assert normaliser(once) == once
        if fillers == "keep" and re.search(f"[{HAN}]", text.replace("丶", "")):
            assert once


@given(st.integers(0, 10**12 - 1))
@settings(deadline=None)
def test_words_of_an_integer_are_read_back(number: int) -> None:
    from whisper_normalizer.english import EnglishNumberNormalizer

    read = EnglishNumberNormalizer()(numbers_english.integer_words(number))
    assert read.replace("one", "1").replace("zero", "0") == str(number)


@pytest.mark.parametrize("number", [-1, 10**12])
def test_integers_out_of_range_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        numbers_english.integer_words(number)


def chinese(number: int) -> str:
    """Write 0 < number < 10**16 as it is said, in a way independent of the code under test."""
    for size, unit in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= size:
            head, rest = divmod(number, size)
            gap = "零" if 0 < rest < size // 10 else ""
            return chinese(head) + unit + gap + (chinese(rest) if rest else "")
    return "零一二三四五六七八九"[number]


@given(st.integers(10, 10**15))
@example(10)
@example(10_010_010)
@example(1_0005_0000_0000)
@settings(deadline=None)
def test_chinese_numbers_are_read_as_they_are_said(number: int) -> None:
    assert numbers_chinese.unify(chinese(number)) == str(number)
    if number < 20:
        assert numbers_chinese.unify(chinese(number).removeprefix("一")) == str(number)
