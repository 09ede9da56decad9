"""``meetscribe compare``: two runs side by side, and what may not be compared is said first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meetscribe.cli import cli
from meetscribe.errors import FormatError, OutputError
from meetscribe.evaluate.compare import compare
from meetscribe.evaluate.report import to_json
from meetscribe.evaluate.scores import DiarizationErrors, Scores, SessionScore, WordErrors
from tests.conftest import run_meetscribe

PROTOCOL = {
    "corpus": "ami test",
    "channels": "sdm",
    "collar": "±0 s",
    "normaliser": "chime8 1 by word",
    "failed": "0/3 (as deletions)",
}


def session(name: str, wrong: int, miss_s: float = 10.0, **changes: object) -> SessionScore:
    made = SessionScore(
        session_id=name,
        reference_speakers=4,
        hypothesis_speakers=4,
        duration=100.0,
        diarization=DiarizationErrors(100.0, miss_s, 5.0, 5.0),
        words={"cpWER": WordErrors(wrong, 100, wrong), "ORC-WER": WordErrors(5, 100, 5)},
    )
    return replace(made, **changes)


def run(name: str, *sessions: SessionScore, **protocol: str) -> Scores:
    return Scores(name, sessions, {**PROTOCOL, **protocol})


def mono() -> Scores:
    return run("mono", session("a", 30), session("b", 40), session("c", 50))


def array(**protocol: str) -> Scores:
    sessions = (session("b", 20, miss_s=4.0), session("c", 60), session("d", 10))
    return run("array", *sessions, **protocol)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes results as `meetscribe evaluate -o` does."""

    def save(scores: Scores, folder: str) -> Path:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "results.json").write_text(to_json(scores), encoding="utf-8")
        return tmp_path / folder

    return save


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, args)])


def test_metrics_over_the_sessions_of_both(saved: Callable[..., Path]) -> None:
    shown = invoke(saved(mono(), "a"), saved(array(), "b") / "results.json")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    # b and c: 90 of 200 words wrong in A, 80 in B; 40 of 200 s in A, 34 in B
    assert ["cpWER", "45.00", "40.00", "−5.00", "−20.00", "to", "10.00"] in [
        row[:7] for row in lines
    ]
    assert ["DER", "20.00", "17.00", "−3.00"] in [row[:4] for row in lines]
    assert ["attribution", "gap", "WER", "40.00", "35.00", "−5.00"] in [row[:6] for row in lines]
    assert "1 session only in A, left out: a" in shown.output
    assert "1 session only in B, left out: d" in shown.output
    assert "WARNING" not in shown.output
    assert shown.output.count("A: corpus=ami test, channels=sdm") == 3  # under every table


def test_biggest_gains_come_first_and_biggest_losses_last(saved: Callable[..., Path]) -> None:
    shown = invoke(saved(mono(), "a"), saved(array(), "b"))
    part = shown.output.split("Sessions that moved most: cpWER")[1]
    assert "B is better in 1, worse in 1 of 2 sessions" in part
    rows = [line.split() for line in part.splitlines() if line.startswith(("b ", "c "))]
    assert rows == [
        ["b", "40.00", "20.00", "−20.00", "40", "20"],
        ["c", "50.00", "60.00", "+10.00", "50", "60"],
    ]


def test_what_makes_numbers_incomparable_is_said_first(saved: Callable[..., Path]) -> None:
    other = array(collar="±0.25 s", channels="mdm", failed="1/3 (as deletions)")
    shown = invoke(saved(mono(), "a"), saved(other, "b"))
    assert shown.exit_code == 0
    first, second, third = shown.output.splitlines()[:3]
    assert first.startswith("WARNING: these numbers may not be compared")
    assert second.startswith("  collar differs: A ±0 s, B ±0.25 s")
    assert not third.strip()  # channels differ on purpose, failures are an outcome
    assert "channels differs: A sdm, B mdm (on purpose" in shown.output


@pytest.mark.parametrize(
    "key",
    ["collar", "overlap", "reference", "normaliser", "segmentation", "corpus", "speaker count"],
)
def test_every_such_entry_warns_also_where_one_does_not_say(key: str) -> None:
    found = compare(mono(), array(**{key: "something else"}))
    assert [line.split(" differs")[0] for line in found.warnings] == [key]
    assert not compare(mono(), array()).warnings


def test_another_reference_is_noticed_though_protocols_agree() -> None:
    other = session("b", 20, words={"cpWER": WordErrors(20, 90, 20)})
    found = compare(mono(), run("other", other, session("c", 60)))
    assert found.warnings == (
        "cpWER: the reference is not the same in 1 session, such as b: 100 in A, 90 in B (tokens)",
    )


def test_bounds_failures_and_lone_metrics_are_remarked() -> None:
    words = {"cpWER": WordErrors(9, 100, 9), "ORC-WER": WordErrors(5, 100, 5, exact=False)}
    lost = session("b", 9, words={**words, "WER": WordErrors(9, 100, 9)}, failed="no hypothesis")
    found = compare(mono(), run("other", lost))
    assert "failed in B, counted as lost: b" in found.remarks
    assert "only in B: WER" in found.remarks
    assert any(line.startswith("ORC-WER: a bound") for line in found.remarks)
    assert [each.metric for each in found.metrics if not each.b.exact] == [
        "ORC-WER",
        "attribution gap WER",
    ]


def test_a_run_compared_with_itself_does_not_differ() -> None:
    found = compare(mono(), mono())
    assert not found.warnings
    assert {each.difference.point for each in found.metrics} == {0.0}
    assert {(each.difference.low, each.difference.high) for each in found.metrics} == {(0.0, 0.0)}


def test_json_holds_every_session_and_metric(saved: Callable[..., Path]) -> None:
    shown = invoke(saved(mono(), "a"), saved(array(), "b"), "--json")
    item = json.loads(shown.stdout)
    metrics = {each["metric"]: each for each in item["metrics"]}
    assert metrics["cpWER"]["a"]["rate"] == 0.45
    assert metrics["cpWER"]["difference"]["point"] == -0.05
    assert item["only_a"] == ["a"]
    assert item["b"]["protocol"] == PROTOCOL
    rows = [row for row in item["sessions"] if row["metric"] == "cpWER"]
    assert [row["session_id"] for row in rows] == ["b", "c"]


def test_markdown_is_written_and_not_replaced_unasked(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    a, b, file = saved(mono(), "a"), saved(array(), "b"), tmp_path / "new" / "c.md"
    assert invoke(a, b, "-o", file).exit_code == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# mono and array\n")
    assert text.count("Protocol: A: corpus=ami test") == text.count("| --- |") == 3
    again = invoke(a, b, "-o", file)
    assert isinstance(again.exception, OutputError)
    assert invoke(a, b, "-o", file, "--force").exit_code == 0


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(FormatError, match="no session in common") as caught:
        compare(mono(), run("other", session("x", 1)))
    assert caught.value.hint == "A has a, b, c; B has x"


def test_other_files_are_named_with_what_was_expected(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    a = saved(mono(), "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "transcript.json").write_text('{"schema": "meetscribe.transcript/1"}')
    for other, message in (
        ("gone", "gone: no such file"),
        ("empty", "empty: a folder without results.json"),
        ("transcript.json", "transcript.json: schema: found 'meetscribe.transcript/1'"),
    ):
        failed = invoke(a, tmp_path / other)
        assert isinstance(failed.exception, FormatError)
        assert message in failed.exception.message


def test_error_is_one_line_and_a_hint_on_the_command_line(tmp_path: Path) -> None:
    done = run_meetscribe("compare", tmp_path, tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}: a folder without results.json",
        "hint: `meetscribe evaluate ... -o DIR` writes one",
    ]


def test_how_many_sessions_were_normalised_so_is_no_difference() -> None:
    ours, theirs = (
        replace(run, protocol={**run.protocol, "normaliser": f"chime8/1 by word{count}; zh/1"})
        for run, count in ((mono(), " (3 sessions)"), (array(), " (1 session)"))
    )
    assert not compare(ours, theirs).warnings
