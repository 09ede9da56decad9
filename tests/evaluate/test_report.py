"""Reports say what scores hold: numbers by hand, the protocol everywhere, nothing lost or run."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetscribe.errors import FormatError, OutputError
from meetscribe.evaluate import report
from meetscribe.evaluate.report import plots
from meetscribe.evaluate.report.error_places import worst_minutes
from meetscribe.evaluate.scores import (
    DiarizationErrors,
    ErrorSpan,
    JaccardErrors,
    Scores,
    SessionScore,
    WordErrors,
)

PROTOCOL = {"corpus": "AMI test", "collar": "±0 s", "overlap": "scored", "normaliser": "chime8"}


def session(name: str, **changes: object) -> SessionScore:
    """Build a session of four speakers with 30 s of 100 s and 12 of 100 words wrong."""
    plain = SessionScore(
        session_id=name,
        reference_speakers=4,
        hypothesis_speakers=4,
        duration=200.0,
        diarization=DiarizationErrors(100.0, 15.0, 10.0, 5.0),
        jaccard=JaccardErrors(1.0, 4),
        words={
            "cpWER": WordErrors(12, 100, 6, 4, 2),
            "ORC-WER": WordErrors(8, 100, 4, 3, 1),
        },
        assignment={"A": "1", "B": None},
        conditions={"speakers": "4", "language": "en"},
        spans=(
            ErrorSpan(10.0, 25.0, "miss", 2),
            ErrorSpan(55.0, 65.0, "falarm", 0),
            ErrorSpan(61.0, 66.0, "confusion", 5),
        ),
        notes=("times rounded",),
    )
    return replace(plain, **changes)


def scores(*sessions: SessionScore) -> Scores:
    return Scores("mono", sessions or (session("one"), session("two")), PROTOCOL, ("a note",))


def row_of(markdown: str, first: str) -> list[str]:
    """Give the cells of the first table row that begins with a cell."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


# results.json

names = st.text(min_size=1, max_size=8)
few = st.integers(0, 10**6)
numbers = st.floats(0, 1e9)
word_errors = st.builds(
    lambda length, s, d, i, exact: WordErrors(s + d + i, length, s, d, i, exact),
    *(few, few, few, few, st.booleans()),
)
spans = st.builds(
    lambda start, length, kind, speakers: ErrorSpan(start, start + length, kind, speakers),
    *(numbers, numbers, st.sampled_from(["miss", "falarm", "confusion"]), st.integers(0, 9)),
)
some_session = st.builds(
    SessionScore,
    session_id=names,
    reference_speakers=few,
    hypothesis_speakers=few,
    duration=numbers,
    diarization=st.none() | st.builds(DiarizationErrors, numbers, numbers, numbers, numbers),
    jaccard=st.none() | st.builds(JaccardErrors, numbers, few),
    words=st.dictionaries(names, word_errors, max_size=3),
    assignment=st.dictionaries(names, st.none() | names, max_size=3),
    conditions=st.dictionaries(names, st.text(), max_size=3),
    spans=st.lists(spans, max_size=3).map(tuple),
    notes=st.lists(st.text(), max_size=2).map(tuple),
    failed=st.text(max_size=5),
)
some_scores = st.builds(
    Scores,
    name=st.text(),
    sessions=st.lists(some_session, max_size=4, unique_by=lambda made: made.session_id).map(tuple),
    protocol=st.dictionaries(names, st.text(), max_size=3),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(some_scores)
@settings(max_examples=100, deadline=None)
def test_results_come_back_exactly(made: Scores) -> None:
    back = report.from_json(report.to_json(made))
    assert back == made
    assert list(back.protocol) == list(made.protocol)


def test_results_hold_rates_for_other_programs() -> None:
    item = json.loads(report.to_json(scores()))
    assert item["schema"] == "meetscribe.results/1"
    assert item["total"]["words"]["cpWER"]["rate"] == 0.12
    assert item["sessions"][0]["diarization"]["rate"] == 0.3


def test_name_that_utf8_cannot_hold_comes_back(tmp_path: Path) -> None:
    made = scores(session("caf\udce9"), session("two"))
    report.write(made, tmp_path)
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert report.from_json(text) == made


def test_rate_beyond_all_numbers_costs_no_results() -> None:
    made = scores(session("one", diarization=DiarizationErrors(2e-309, 0.0, 1.0, 0.0)))
    assert report.from_json(report.to_json(made)) == made


def test_infinite_number_is_refused() -> None:
    with pytest.raises(FormatError, match="JSON"):
        report.to_json(scores(session("one", duration=float("inf"))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda top: top.pop("name"), "r.json: key 'name' is missing"),
        (lambda top: top.update(schema="meetscribe.results/2"), "r.json: schema: found"),
        (lambda top: top.update(protocl={}), "unknown key 'protocl'"),
        (lambda top: top["protocol"].update(collar=0), "protocol.collar: expected a string"),
        (lambda top: top["sessions"].append(top["sessions"][0]), "'one' is there twice"),
        (
            lambda top: top["sessions"][1]["words"]["cpWER"].update(errors=99),
            r"sessions\[1\].words.cpWER.errors: 99, but the kinds of error sum to 12",
        ),
        (
            lambda top: top["sessions"][0]["words"]["cpWER"].update(length=1.5),
            r"sessions\[0\].words.cpWER.length: found 1.5, expected a whole number",
        ),
        (
            lambda top: top["sessions"][0]["diarization"].update(miss_s=-1),
            r"sessions\[0\].diarization.miss_s: found -1",
        ),
        (
            lambda top: top["sessions"][0]["spans"].append([9, 8, "miss", 1]),
            r"sessions\[0\].spans\[3\]: found \[9, 8, 'miss', 1\]",
        ),
        (
            lambda top: top["sessions"][0]["assignment"].update(A=3),
            r"sessions\[0\].assignment.A: expected a string or null",
        ),
    ],
)
def test_mistakes_in_results_are_named_with_their_place(change: object, message: str) -> None:
    top = json.loads(report.to_json(scores()))
    change(top)
    with pytest.raises(FormatError, match=message):
        report.from_json(json.dumps(top), path="r.json")


def test_other_files_are_refused() -> None:
    with pytest.raises(FormatError, match=r"r\.json:1: not JSON"):
        report.from_json("hello", path="r.json")
    with pytest.raises(FormatError, match="found a list, expected an object"):
        report.from_json("[]", path="r.json")


# results.csv


def test_csv_has_a_row_a_session_and_the_total() -> None:
    other = session("two", words={}, jaccard=None, failed="no hypothesis", conditions={})
    frame = pd.read_csv(
        io.StringIO(report.to_csv(scores(session("one"), other)).removeprefix("\ufeff"))
    )
    assert list(frame["row"]) == ["session", "session", "total"]
    assert list(frame["der"]) == [0.3, 0.3, 0.3]
    assert list(frame["cpWER_errors"].fillna(-1)) == [12, -1, 12]
    assert frame["gap_WER"][2] == pytest.approx(0.04)
    assert frame["condition_language"][0] == "en"
    assert set(frame["protocol"]) == {scores().protocol_line}
    assert ",12,100," in report.to_csv(scores(session("one"), other))  # whole numbers stay whole


def test_csv_columns_do_not_depend_on_what_sessions_lack() -> None:
    bare = SessionScore("bare")
    first = report.to_csv(scores(session("one"), bare)).splitlines()[0]
    assert first == report.to_csv(scores(bare, session("one"))).splitlines()[0]
    assert first == report.to_csv(scores(session("one"))).splitlines()[0]


def test_csv_runs_no_formula() -> None:
    assert "\nsession,'=1+1," in report.to_csv(scores(session("=1+1")))


# report.md


def test_totals_are_sums_and_not_means() -> None:
    long = session(
        "long",
        diarization=DiarizationErrors(900.0, 0.0, 0.0, 0.0),
        words={"cpWER": WordErrors(0, 900), "ORC-WER": WordErrors(0, 900)},
    )
    text = report.to_markdown(scores(session("short"), long))
    assert row_of(text, "DER")[1:] == ["3.00 %", "0.00 to 30.00 %", "30.0 s", "1000.0 s", "2"]
    assert row_of(text, "cpWER")[1:] == ["1.20 %", "0.00 to 12.00 %", "12", "1000", "2"]
    gap = row_of(text, "attribution gap (cpWER − ORC-WER)")
    assert gap[1:] == ["0.40 %", "0.00 to 4.00 %", "4", "1000", "2"]


def test_parts_of_errors_and_speaker_counts_are_shown() -> None:
    text = report.to_markdown(scores(session("one"), session("two", hypothesis_speakers=7)))
    assert row_of(text, "false alarm") == ["false alarm", "20.0", "10.00"]
    kinds = ["12 (6.00 %)", "8 (4.00 %)", "4 (2.00 %)"]
    assert [
        row for row in [row_of(text.split("## Who said what")[1], "cpWER")] if row[2:5] == kinds
    ]
    assert "right in 1 of 2 sessions (50.00 %), mean absolute error 1.50" in text


def test_gap_leaves_out_sessions_that_lack_one_of_the_metrics() -> None:
    lacking = session("two", words={"cpWER": WordErrors(100, 100, 100)})
    text = report.to_markdown(scores(session("one"), lacking))
    assert row_of(text, "cpWER")[1] == "56.00 %"
    assert row_of(text, "attribution gap (cpWER − ORC-WER)")[1] == "4.00 %"


def test_bound_is_printed_as_a_bound() -> None:
    words = {
        "cpWER": WordErrors(12, 100, 12),
        "ORC-WER": WordErrors(8, 100, 8, exact=False),
    }
    made = scores(session("one", words=words), session("two"))
    text = report.to_markdown(made)
    assert row_of(text, "ORC-WER")[1] == "≤ 8.00 % (greedy)"
    assert row_of(text, "attribution gap (cpWER − ORC-WER)")[1].startswith("≥ 4.00 %")
    assert report.table(made)[1][-1] == "≤ 8.00 (greedy)"


def test_session_without_reference_speech_is_shown_in_seconds_and_counts() -> None:
    silent = session("silent", diarization=DiarizationErrors(0.0, 0.0, 12.34, 0.0), spans=())
    made = scores(session("one"), silent)
    assert report.table(made)[2][2:6] == ["–", "0.0 s", "12.3 s", "0.0 s"]
    text = report.to_markdown(made)
    assert "silent: no reference speech, so DER is undefined; 12.3 s of false alarm" in text
    assert row_of(text, "DER")[1] == "42.34 %"
    assert "no reference speech" in plots.draw(made)["sessions"].svg


def test_session_without_reference_words_is_named() -> None:
    empty = session("empty", words={"cpWER": WordErrors(3, 0, 0, 0, 3)})
    text = report.to_markdown(scores(session("one"), empty))
    assert "empty: no reference words, so cpWER is undefined; 3 insertions" in text


def test_failed_sessions_are_listed_and_totals_shown_without_them() -> None:
    lost = session(
        "lost",
        diarization=DiarizationErrors(100.0, 100.0),
        words={"cpWER": WordErrors(100, 100, 0, 100)},
        failed="lost.wav: not audio",
    )
    made = scores(session("one"), lost)
    text = report.to_markdown(made)
    assert "- lost: lost.wav: not audio" in text
    assert row_of(text, "all, failed ones as lost")[1:3] == ["2", "65.00"]
    assert row_of(text, "without failed ones")[1:3] == ["1", "30.00"]
    assert "Failed" not in report.to_markdown(scores())
    assert report.table(made)[2][0] == "lost (failed)"


def test_conditions_in_which_sessions_differ_are_broken_down() -> None:
    other = session(
        "two",
        reference_speakers=10,
        diarization=DiarizationErrors(100.0),
        conditions={"speakers": "10", "language": "en", "room": "b"},
    )
    text = report.to_markdown(scores(other, session("one")))
    part = text.split("## By true number of speakers")[1]
    assert row_of(part, "4")[1:4] == ["1", "1 of 1", "30.00"]
    assert part.index("| 4 |") < part.index("| 10 |")  # as numbers
    assert "## By language" not in text  # the same in both
    assert row_of(text.split("## By room")[1], "–")[1] == "1"  # one does not say


def test_protocol_stands_under_every_table() -> None:
    text = report.to_markdown(scores(session("one"), session("two", failed="x")))
    tables = len(re.findall(r"^\| --- \|", text, flags=re.MULTILINE))
    assert tables >= 6
    assert text.count(f"Protocol: {scores().protocol_line}") == tables
    page = report.to_html(scores())
    assert page.count(f"Protocol: {scores().protocol_line}") == page.count("<table>") + page.count(
        "<figure>"
    )


def test_names_do_not_become_markup_in_markdown() -> None:
    text = report.to_markdown(scores(session("a|b <i>*x*\n# new $y$"), session("R8002_M8002")))
    assert r"| a\|b \<i\>\*x\* \# new \$y\$ |" in text
    assert "R8002_M8002" in text


def test_worst_minutes_are_found_and_can_be_listened_to() -> None:
    made = scores(session("one"), session("late", spans=(ErrorSpan(3675.0, 3700.0, "miss", 1),)))
    found = [(m.session_id, m.start, m.end, m.error_s) for m in worst_minutes(made)]
    # 10 to 25 and 55 to 60; the rest of the false alarm and the confusion in the next minute
    assert found == [
        ("late", 3660.0, 3700.0, 25.0),
        ("one", 0.0, 60.0, 20.0),
        ("one", 60.0, 120.0, 10.0),
    ]
    text = report.to_markdown(made, audio={"late": "a b|c.wav"})
    row = next(line for line in text.splitlines() if "1:01:00" in line)
    assert row == (
        "| late | 1:01:00 | 1:01:40 | 25.0 | 25.0 | 0.0 | 0.0 "
        "| `ffplay -ss 3660 -t 40 -autoexit -i 'a b\\|c.wav'` |"
    )
    assert "ffplay" not in report.to_markdown(made)


def test_errors_are_split_by_how_many_people_talk() -> None:
    text = report.to_markdown(scores(session("one")))
    part = text.split("## By number of people talking at once")[1]
    assert row_of(part, "nobody")[1:] == ["0.0", "10.0", "0.0", "10.0", "33.33"]
    assert row_of(part, "2")[1:] == ["15.0", "0.0", "0.0", "15.0", "50.00"]
    assert row_of(part, "3 or more")[1:] == ["0.0", "0.0", "5.0", "5.0", "16.67"]


def test_a_note_of_many_sessions_is_said_once() -> None:
    many = [session(name, notes=("no UEM",)) for name in "abcde"]
    text = report.to_markdown(scores(*many, session("odd", notes=("no words",))))
    part = text.split("## Notes")[1].split()
    assert " ".join(part) == "- a note - 5 sessions (a, b, c ...): no UEM - odd: no words"


# report.html


class Page(HTMLParser):
    """Collects tags and what they refer to, and complains of tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


EVIL = "</svg><script>alert('x')</script>\"&$x_1$ 会议"


def test_page_stands_alone_and_runs_nothing() -> None:
    evil = session(EVIL, notes=(EVIL,), failed=EVIL, conditions={EVIL: EVIL})
    text = report.to_html(scores(evil, session("two")), audio={EVIL: EVIL})
    page = Page(text)
    assert not page.open
    assert page.tags["svg"] == page.tags["figure"] == 4
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    links = [value for name, value in page.attributes if name in {"href", "src", "xlink:href"}]
    assert all(value.startswith("#") for value in links)
    assert not re.search(r"url\((?!#)|@import", text)
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_ids_in_the_page_do_not_meet() -> None:
    page = Page(report.to_html(scores()))
    ids = Counter(value for name, value in page.attributes if name == "id")
    assert ids
    assert max(ids.values()) == 1


def test_plots_are_xml_with_text_and_a_label_and_do_not_change() -> None:
    made = scores(session("one"), session("会议"))
    drawn = plots.draw(made)
    assert list(drawn) == ["sessions", "words", "speakers", "overlap"]
    for plot in drawn.values():
        root = ET.fromstring(plot.svg)  # noqa: S314 - our own
        assert root.get("role") == "img"
        assert root.get("aria-label", "").startswith(plot.caption)
    assert "会议" in drawn["sessions"].svg
    assert "30.00 %" in drawn["sessions"].svg
    assert drawn == plots.draw(made)


def test_own_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib as mpl

    made = plots.draw(scores())
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert plots.draw(scores()) == made
        assert mpl.rcParams["font.size"] == 30


def test_plots_of_many_sessions_show_the_worst() -> None:
    many = [
        session(f"s{number:03d}", diarization=DiarizationErrors(100.0, number), spans=())
        for number in range(100)
    ]
    plot = plots.draw(scores(*many))["sessions"]
    assert "the worst 40 of 100" in plot.caption
    assert "s099" in plot.svg
    assert "s060" in plot.svg
    assert "s059" not in plot.svg
    few, all_shown = (plots.draw(scores(*many[:n]))["sessions"].svg for n in (2, 40))
    heights = [float(ET.fromstring(svg).get("height", "")[:-2]) for svg in (few, all_shown)]  # noqa: S314
    assert heights[1] > 4 * heights[0]


# all of it


def test_write_makes_all_four(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "results"
    paths = report.write(scores(), folder)
    assert [path.name for path in paths] == [
        "results.json",
        "results.csv",
        "report.md",
        "report.html",
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in report.write(scores(), folder)] == first


def test_write_into_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        report.write(scores(), tmp_path / "taken")


@pytest.mark.parametrize(
    "made",
    [
        Scores("none", (), {}),
        scores(SessionScore("bare")),
        scores(session("silent", diarization=DiarizationErrors(), spans=())),
        scores(session("no words", words={}, jaccard=None)),
        scores(session("no turns", diarization=None, jaccard=None, spans=())),
        scores(session("empty", words={"WER": WordErrors()})),
    ],
    ids=lambda made: made.sessions[0].session_id if made.sessions else "no sessions",
)
def test_little_is_enough_for_a_report(made: Scores, tmp_path: Path) -> None:
    assert len(report.write(made, tmp_path)) == 4
    rows = report.table(made)
    assert len({len(row) for row in rows}) == 1
    assert len(rows) == len(made.sessions) + 2


def test_terminal_table_by_hand() -> None:
    assert report.table(scores(session("one"), session("two", hypothesis_speakers=3))) == [
        [
            *("session", "speakers found/true", "DER %", "miss %", "FA %", "conf %", "JER %"),
            *("cpWER %", "ORC-WER %"),
        ],
        ["one", "4/4", "30.00", "15.00", "10.00", "5.00", "25.00", "12.00", "8.00"],
        ["two", "3/4", "30.00", "15.00", "10.00", "5.00", "25.00", "12.00", "8.00"],
        ["total", "1 of 2 right", "30.00", "15.00", "10.00", "5.00", "25.00", "12.00", "8.00"],
    ]
