"""``meetscribe evaluate`` as a person runs it: the goldens from the command line, odd input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meetscribe.cli import cli
from meetscribe.errors import MeetscribeError
from meetscribe.evaluate import words
from meetscribe.evaluate.report import from_json
from tests.conftest import DATA, run_meetscribe

GOLDENS = DATA.parent / "goldens" / "scoring"

needs_goldens = pytest.mark.skipif(not GOLDENS.is_dir(), reason="no scoring goldens here")
needs_meeteval = pytest.mark.skipif(not words.has_meeteval(), reason="needs the extra 'evaluate'")

REF = """\
;; two people
a 1 anna 0.00 2.00 good morning everybody
a 1 ben 1.50 3.00 morning
a 1 anna 4.00 6.00 shall we start
"""
HYP = """\
a 1 S1 0.00 2.00 good morning everybody
a 1 S2 4.00 6.00 shall we start
"""


def evaluate(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, args)], standalone_mode=False)


def scored(*args: str | Path) -> dict[str, Any]:
    done = evaluate(*args, "--json")
    assert done.exit_code in {0, 5}, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "ref.stm").write_text(REF)
    (tmp_path / "hyp.stm").write_text(HYP)
    return tmp_path / "ref.stm", tmp_path / "hyp.stm"


@needs_goldens
@needs_meeteval
@pytest.mark.parametrize("case", sorted(path.name for path in (GOLDENS / "cases").glob("*")))
def test_goldens_from_the_command_line(case: str) -> None:
    """Files in, table out: normaliser, tokens, times and UEM all on the way."""
    folder = GOLDENS / "cases" / case
    expected = json.loads((GOLDENS / "expected.json").read_text(encoding="utf-8"))["cases"][case]
    rates = expected["error_rates"]
    chars = "cpWER" not in rates
    total = scored(
        "--ref", folder / "ref.seglst.json", "--hyp", folder / "hyp.seglst.json",
        "--uem", folder / "all.uem", "--normaliser", "basic",
        "--unit", "char" if chars else "word",
    )["total"]  # fmt: skip
    rate = "CER" if chars else "WER"
    names = {f"cp{rate}": f"cp{rate}", f"tcp{rate}": f"tcp{rate}_5s", rate: f"{rate}_single_stream"}
    for ours, theirs in names.items():
        want = rates[theirs]
        assert (total["words"][ours]["errors"], total["words"][ours]["length"]) == (
            want["errors"],
            want["length"],
        ), ours
    exact = rates.get(f"ORC_{rate}_exact")
    found = total["words"][f"ORC-{rate}"]
    if exact and found["exact"]:
        assert found["errors"] == exact["errors"]
    elif not chars:
        assert found["errors"] <= rates[f"ORC_{rate}_greedy"]["errors"]
    turns = expected["diarization"]["pyannote_metrics"][
        "collar_0_same_speaker_segments_merged_first"
    ]
    if turns["der"] is not None:
        assert total["diarization"]["rate"] == pytest.approx(turns["der"], abs=1e-5)


def test_a_lost_speaker_costs_his_words_and_time(sides: tuple[Path, Path]) -> None:
    total = scored("--ref", sides[0], "--hyp", sides[1], "--metrics", "der,wer,cp")["total"]
    assert (
        total["words"]["cpWER"]["errors"] == 3 + 2
    )  # anna is S2 or S1 and loses three words; ben is the other, with two too many
    assert total["words"]["WER"]["errors"] == 1
    assert total["diarization"]["total_s"] == pytest.approx(5.5)
    assert total["diarization"]["miss_s"] == pytest.approx(1.5)
    # in time it pays to call ben S1: half a second of him is better than none
    assert total["diarization"]["confusion_s"] == pytest.approx(1.5)


def test_results_are_written_once_and_tell_how(sides: tuple[Path, Path], tmp_path: Path) -> None:
    args = ("--ref", sides[0], "--hyp", sides[1], "-o", tmp_path / "out", "--collar", "0.25")
    done = evaluate(*args)
    assert done.exit_code == 0, done.output
    assert "collar=±0.25 s" in done.stdout
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["report.html", "report.md", "results.csv", "results.json"]
    kept = from_json((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert kept.protocol["collar"] == "±0.25 s"
    again = evaluate(*args)
    assert isinstance(again.exception, MeetscribeError)
    assert "--force" in again.exception.hint
    assert evaluate(*args, "--force").exit_code == 0


def test_a_session_without_hypothesis_is_lost_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "ref.stm").write_text(REF + "b 1 anna 0.00 2.00 one two three\n")
    (tmp_path / "hyp.stm").write_text(REF)
    sides = ("--ref", tmp_path / "ref.stm", "--hyp", tmp_path / "hyp.stm", "--metrics", "cp,der")
    lost = scored(*sides)
    assert lost["total"]["words"]["cpWER"]["deletions"] == 3
    assert lost["total"]["failed"] == 1
    assert evaluate(*sides).return_value == 5
    left_out = scored(*sides, "--partial")
    assert left_out["total"]["words"]["cpWER"]["errors"] == 0
    assert "left out (partial)" in " ".join(left_out["notes"])


@pytest.mark.parametrize(("name", "text"), [("hyp.stm", ""), ("hyp.seglst.json", "[]")])
def test_an_empty_hypothesis_is_all_deletions(
    sides: tuple[Path, Path], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    total = scored("--ref", sides[0], "--hyp", tmp_path / name, "--metrics", "cp,der")["total"]
    assert total["words"]["cpWER"]["rate"] == 1.0
    assert total["diarization"]["rate"] == pytest.approx(1.0)


def test_an_empty_reference_has_no_rate(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.stm").write_text("")
    total = scored("--ref", tmp_path / "empty.stm", "--hyp", sides[1], "--metrics", "cp,der")[
        "total"
    ]
    assert total["words"]["cpWER"]["insertions"] == 6
    assert total["words"]["cpWER"]["rate"] is None
    assert total["diarization"]["rate"] is None
    assert total["diarization"]["falarm_s"] == pytest.approx(4.0)


def test_turns_without_words_have_no_word_errors(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "hyp.rttm").write_text("SPEAKER a 1 0 2 <NA> <NA> x <NA> <NA>\n")
    found = scored("--ref", sides[0], "--hyp", tmp_path / "hyp.rttm")
    assert not found["total"]["words"]
    assert "normaliser" not in found["protocol"]
    assert found["total"]["diarization"]["miss_s"] == pytest.approx(3.5)


def test_languages_are_scored_by_their_own_rules(tmp_path: Path) -> None:
    (tmp_path / "ref.stm").write_text(REF + "b 1 anna 0.00 2.00 我们开始吧 OK\n", "utf-8")
    (tmp_path / "hyp.stm").write_text(REF + "b 1 S1 0.00 2.00 我们开时吧ok。\n", "utf-8")
    found = scored("--ref", tmp_path / "ref.stm", "--hyp", tmp_path / "hyp.stm", "--metrics", "cp")
    words_of = {part["session_id"]: part["words"] for part in found["sessions"]}
    assert set(words_of["a"]) == {"cpWER"}
    assert (words_of["b"]["cpCER"]["errors"], words_of["b"]["cpCER"]["length"]) == (1, 7)
    assert "by word (1 session)" in found["protocol"]["normaliser"]


def test_the_reference_may_be_stated(sides: tuple[Path, Path]) -> None:
    args = ("--ref", sides[0], "--hyp", sides[1], "--metrics", "cp")
    assert scored(*args)["protocol"]["reference"] == "ref.stm"
    found = scored(*args, "--state", "reference=only_words-1.6.2")
    assert found["protocol"]["reference"] == "only_words-1.6.2"


@needs_meeteval
def test_an_empty_rttm_is_all_lost_in_tcp_too(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.rttm").write_text("")
    empty = tmp_path / "empty.rttm"
    found = scored("--ref", sides[0], "--hyp", empty, "--metrics", "cp,tcp")["total"]["words"]
    assert found["tcpWER"] == found["cpWER"]
    assert found["tcpWER"]["deletions"] == found["tcpWER"]["length"] > 0


def test_nobodys_report_is_replaced(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    args = ("--ref", sides[0], "--hyp", sides[1], "--metrics", "cp", "-o", tmp_path)
    done = evaluate(*args)
    assert isinstance(done.exception, MeetscribeError)
    assert "report.md" in done.exception.message
    assert (tmp_path / "report.md").read_text() == "mine"
    assert evaluate(*args, "--force").exit_code == 0


def test_rates_that_say_little_are_noted(tmp_path: Path) -> None:
    def noted(ref: str, hyp: str, *more: str) -> str:
        for name, text in (("ref.stm", ref), ("hyp.stm", hyp)):
            (tmp_path / name).write_text(f"a 1 anna 0.00 2.00 {text}\n", "utf-8")
        args = ("--ref", tmp_path / "ref.stm", "--hyp", tmp_path / "hyp.stm", *more)
        return str([part["notes"] for part in scored(*args)["sessions"]])

    der, cp = ("--metrics", "der"), ("--metrics", "cp")
    assert "leave nothing" in noted("hello", "hello", *der, "--collar", "5")
    assert "leave nothing" not in noted("hello", "hello", *der)
    assert "no word of the reference" in noted("hm [noise]", "hello", *cp)
    assert "no word of the hypothesis" in noted("hello", "...", *cp)
    assert "Chinese by words" in noted("我们开始吧", "我们", *cp, "--unit", "word")


def test_without_reference_the_hypothesis_says_the_language(tmp_path: Path) -> None:
    (tmp_path / "a.seglst.json").write_text("[]")
    (tmp_path / "hyp.stm").write_text("a 1 S1 0.00 2.00 我们开始吧\n", "utf-8")
    args = ("--ref", tmp_path / "a.seglst.json", "--hyp", tmp_path / "hyp.stm", "--metrics", "cp")
    assert scored(*args)["total"]["words"]["cpCER"]["insertions"] == 5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--ref and --hyp"),
        (["--ref", "{ref}"], "--ref and --hyp"),
        (["--corpus", "x"], "-o DIR"),
        (["--corpus", "x", "--ref", "{ref}", "-o", "out"], "--ref and --hyp"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--condition", "sdm"], "--corpus"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--min-speakers", "2"], "--min-speakers belongs"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--session", "a"], "--session belongs"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--state", "collar=0.25"], "--state collar"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--tcp-collar", "inf"], "tcp_collar"),
        (["--corpus", "x", "-o", "out", "--uem", "all.uem"], "--uem"),
        (["--corpus", "x", "-o", "out", "--state", "channels=sdm"], "--state"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--metrics", "cp,bleu"], "unknown 'bleu'"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--normaliser", "chime9"], "chime8"),
        (["--ref", "{ref}", "--hyp", "{hyp}", "--protocol", "strickt"], "strict"),
        (["--ref", "{ref}", "--hyp", "missing.stm"], "missing.stm"),
        (["--corpus", "nothing-here", "-o", "out"], "nothing-here"),
    ],
)
def test_wrong_use_is_told_in_a_line(
    sides: tuple[Path, Path], tmp_path: Path, args: list[str], said: str
) -> None:
    made = [part.format(ref=sides[0], hyp=sides[1]) for part in args]
    done = run_meetscribe("evaluate", *made, cwd=tmp_path)
    assert done.returncode in {2, 3}, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_scoring_needs_no_network_no_perl_and_no_model(sides: tuple[Path, Path]) -> None:
    code = (
        "import socket, subprocess, sys\n"
        "def no(*a, **k): raise SystemExit('a connection or a program was wanted')\n"
        "socket.socket.connect = no\n"
        "subprocess.Popen.__init__ = no\n"
        "from click.testing import CliRunner\n"
        "from meetscribe.cli import cli\n"
        f"done = CliRunner().invoke(cli, ['evaluate', '--ref', {str(sides[0])!r}, "
        f"'--hyp', {str(sides[1])!r}])\n"
        "print(done.exit_code, 'torch' in sys.modules)\n"
    )
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 False", done.stderr
