"""Whatever is in a folder: links in a circle, names that differ by case, closed doors, channels."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetscribe.batch.discover import discover
from meetscribe.errors import AudioError, ConfigError, DependencyError

Make = Callable[..., Path]


def names(*inputs: object, **options: object) -> list[str]:
    return [session.name for session in discover([*map(str, inputs)], **options).sessions]


def test_folders_are_searched_and_other_files_left_aside(recordings: Make) -> None:
    folder = recordings("b.wav", "sub/deep/a.MP3", "notes.txt", ".hidden.wav", ".git/x.wav")
    assert names(folder) == ["b", "sub/deep/a"]
    session = discover([str(folder)]).sessions[1]
    assert session.sources == (str(folder / "sub" / "deep" / "a.MP3"),)
    assert (session.session_id, session.num_bytes) == ("a", 99)


def test_several_folders_keep_their_own_names(recordings: Make) -> None:
    folder = recordings("one/a.wav", "two/a.wav")
    assert names(folder / "one", folder / "two") == ["one/a", "two/a"]
    assert names(folder / "one" / "a.wav", folder / "two") == ["a", "two/a"]


def test_links_in_a_circle_end_and_double_ways_count_once(recordings: Make) -> None:
    folder = recordings("a.wav", "sub/b.wav")
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "sub", target_is_directory=True)
    (folder / "sub" / "self").symlink_to(folder / "sub" / "self")
    (folder / "0-first.wav").symlink_to(folder / "a.wav")
    found = discover([str(folder)])
    assert [session.name for session in found.sessions] == ["a", "sub/b"]


def test_link_to_nothing_is_a_recording_that_fails_later(recordings: Make) -> None:
    folder = recordings("a.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    assert names(folder) == ["a", "gone"]


def test_links_elsewhere_are_followed(recordings: Make, tmp_path: Path) -> None:
    folder = recordings("a.wav")
    (tmp_path / "picked").mkdir()
    (tmp_path / "picked" / "monday.wav").symlink_to(folder / "a.wav")
    assert names(tmp_path / "picked") == ["monday"]


def test_names_that_differ_only_in_case_or_ending_get_results_of_their_own(
    recordings: Make,
) -> None:
    folder = recordings("Call.wav", "call.wav", "call.mp3", "CALL.wav", "summary.wav")
    given = names(folder)
    assert len(given) == len({name.casefold() for name in given}) == 5
    assert "summary" not in given
    assert given == names(folder)


def test_a_name_stays_when_others_come(recordings: Make) -> None:
    folder = recordings("b.wav")
    before = {session.sources: session.name for session in discover([str(folder)]).sessions}
    recordings("b.aac")
    found = {
        one.sources[0][-5:]: one.name for one in discover([str(folder)], names=before).sessions
    }
    assert found == {"b.wav": "b", "b.aac": "b.aac"}


def test_moved_recordings_keep_their_names_and_other_ones_do_not_take_them(
    recordings: Make, tmp_path: Path
) -> None:
    folder = recordings("a.wav")
    before = {session.sources: session.name for session in discover([str(folder)]).sessions}
    shutil.copytree(folder, tmp_path / "copy")
    assert [one.name for one in discover([str(tmp_path / "copy")], names=before).sessions] == [
        "a.wav"
    ]
    shutil.rmtree(folder)
    assert [one.name for one in discover([str(tmp_path / "copy")], names=before).sessions] == ["a"]


def test_channels_of_a_session_come_together(recordings: Make) -> None:
    many = [f"meet_ch{number}.wav" for number in (10, 2, 1)]
    folder = recordings(*many, "x/meet_ch1.wav", "alone.wav")
    found = discover([str(folder)], group_channels=r"_ch\d+").sessions
    assert [session.name for session in found] == ["alone", "meet", "x/meet"]
    inside = [Path(source).name for source in found[1].sources]
    assert inside == ["meet_ch1.wav", "meet_ch2.wav", "meet_ch10.wav"]


def test_sessions_of_other_places_with_the_same_name_stay_apart(
    recordings: Make, tmp_path: Path
) -> None:
    days = ("mon", "tue")
    folder = recordings(*(f"{day}/rec/up_ch{number}.wav" for day in days for number in (1, 2)))
    apart = [
        [str(folder / day / "rec" / f"up_ch{number}.wav") for number in (1, 2)] for day in days
    ]
    in_lists = []
    for day, channels in zip(days, apart, strict=True):
        in_lists.append(tmp_path / f"{day}.csv")
        in_lists[-1].write_text("path,session\n" + "".join(f"{one},up\n" for one in channels))
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps({"path": channels}) for channels in apart))
    numbered = tmp_path / "numbered.jsonl"
    numbered.write_text(
        "\n".join(
            json.dumps({"path": one, "session": number})
            for number, channels in enumerate(apart)
            for one in channels
        )
    )
    grouped = {"group_channels": r"_ch\d+"}
    for inputs, options in (
        ([folder / day / "rec" for day in days], grouped),
        ([folder / day / "rec" / "*.wav" for day in days], grouped),
        (in_lists, {}),
        ([lines], {}),
        ([numbered], {}),
    ):
        sessions = discover([*map(str, inputs)], **options).sessions
        assert sorted(list(one.sources) for one in sessions) == apart
        assert len({one.name for one in sessions}) == 2


def test_a_recording_is_the_same_on_every_way_to_it(recordings: Make, tmp_path: Path) -> None:
    folder = recordings("a.wav", "sub/b.wav")
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    (tmp_path / "copy").mkdir()
    shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
    for first, second in ((folder, "link"), (tmp_path / "link", folder)):
        before = {one.sources: one.name for one in discover([str(first)]).sessions}
        again = discover([str(tmp_path / second)], names=before).sessions
        assert [one.name for one in again] == ["a", "sub/b"]
    # wherever the link leads now
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "copy", target_is_directory=True)
    again = discover([str(tmp_path / "link")], names=before).sessions
    assert [one.name for one in again] == ["a", "sub/b"]


@pytest.mark.parametrize("expression", ["(", ".*", r"\d*"])
def test_expression_that_groups_everything_is_refused(recordings: Make, expression: str) -> None:
    with pytest.raises(ConfigError, match="group-channels"):
        discover([str(recordings("a.wav"))], group_channels=expression)


def test_patterns(recordings: Make) -> None:
    folder = recordings("2026/a/x.wav", "2026/b/x.wav", "2025/x.wav", "2026/b/x.txt")
    assert names(f"{folder}/2026/*/x.*") == ["a/x", "b/x"]
    assert names(f"{folder}/**/*.wav") == ["2025/x", "2026/a/x", "2026/b/x"]
    assert names(f"{folder}/**") == ["2025/x", "2026/a/x", "2026/b/x"]
    assert names(f"{folder}/**/b") == ["2026/b/x"]
    assert names(f"{folder}/**/2026/*") == ["2026/a/x", "2026/b/x"]
    assert names(f"{folder}/**/") == ["2025/x", "2026/a/x", "2026/b/x"]
    assert names(f"{folder}/20*") == ["2025/x", "2026/a/x", "2026/b/x"]
    with pytest.raises(AudioError, match="nothing matches"):
        names(f"{folder}/*.nothing")


def test_manifests(recordings: Make, tmp_path: Path) -> None:
    folder = recordings("a.wav", "b.wav", "c.wav")
    table = folder / "list.csv"
    table.write_text("\ufeffPath;session;who\na.wav;standup;x\nb.wav;standup;y\nc.wav;;\n")
    found = discover([str(table)]).sessions
    assert [(one.name, len(one.sources)) for one in found] == [("c", 1), ("standup", 2)]
    lines = tmp_path / "list.jsonl"
    lines.write_text(
        '{"path": ["in/b.wav", "in/a.wav"], "session": "two"}\n\n{"audio": "in/c.wav"}'
    )
    found = discover([str(lines)]).sessions
    assert [one.name for one in found] == ["in/c", "two"]
    assert found[1].sources == (str(folder / "b.wav"), str(folder / "a.wav"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,length\na.wav,3\n", r"l.csv:1: .*a column `path`"),
        ("l.csv", "path\n", "no recordings in it"),
        ("l.jsonl", '{"path": "a.wav"}\n{"path": 3}', r"l.jsonl:2: no path"),
        ("l.jsonl", "[1]", "expected an object"),
        ("l.jsonl", "{", r"l.jsonl:1: not JSON"),
        ("l.jsonl", '{"path": "a.wav", "session": "../../x"}', "expected a name"),
        ("l.jsonl", '{"path": "a.wav", "session": ["a"]}', "expected a name"),
        ("l.jsonl", '{"path": "a.wav", "session": true}', "expected a name"),
    ],
)
def test_manifest_that_makes_no_sense(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        discover([str(tmp_path / name)])


@given(st.text(max_size=200))
def test_any_text_as_manifest_gives_sessions_or_a_clear_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("x.csv", "x.jsonl"):
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            with contextlib.suppress(ConfigError, AudioError, DependencyError):
                discover([str(path)])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no recordings found"):
        discover([str(tmp_path)])
    with pytest.raises(AudioError, match="no such file or folder"):
        discover([str(tmp_path / "nowhere")])


@pytest.fixture
def closed() -> Iterator[Path]:
    """Give a folder with a room that this process may not enter, root or not."""
    folder = Path(tempfile.mkdtemp())
    (folder / "room").mkdir()
    (folder / "a.wav").write_bytes(b"x")
    (folder / "room" / "b.wav").write_bytes(b"x")
    folder.chmod(0o755)
    (folder / "room").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    (folder / "room").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="rights work otherwise here")
def test_closed_folder_is_named_and_costs_no_other(closed: Path) -> None:
    found = discover([str(closed)])
    assert [session.name for session in found.sessions] == ["a"]
    assert [(Path(one.place).name, one.reason) for one in found.problems] == [
        ("room", "Permission denied")
    ]


def test_two_thousand_files_are_found(recordings: Make) -> None:
    folder = recordings(*(f"{number % 20}/{number}.wav" for number in range(2000)))
    assert len(names(folder)) == 2000


def test_names_that_are_no_text_are_made_so(recordings: Make) -> None:
    folder = recordings("a.wav")
    strange = os.fsencode(folder) + b"/caf\xe9.wav"
    try:
        Path(os.fsdecode(strange)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert names(folder) == ["a", "caf\ufffd"]


def test_urls_are_read_by_fsspec(recordings: Make) -> None:
    pytest.importorskip("fsspec")
    folder = recordings("a.wav", "sub/b.wav", "c.txt")
    found = discover([f"file://{folder}"]).sessions
    assert [one.name for one in found] == ["a", "sub/b"]
    assert found[0].sources == (f"file://{folder}/a.wav",)
    assert found[0].num_bytes == 100
    with pytest.raises((AudioError, DependencyError), match="nosuch"):
        discover(["nosuch://bucket/x"])
